"""The Optuna study of a search: its journal on disk, and values that are a function of seed, trial and key.

The only module that loads optuna, which takes half a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import itertools
import json
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from engine.errors import RunError
from engine.preset.text import plain
from engine.record.files import cause
from engine.search.declaration import LOWER, METHOD, Dimension, SearchFile, is_whole, labels_of
from engine.search.journal import WAY_OUT, Journal
from engine.search.plan import Value, Values, applies, rounded
from engine.search.trials import LEAST_FOR_IMPORTANCE

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

STARTUP = 6
"""Trials whose values are drawn at random, before "tpe" learns from them and "median" compares with them."""
TENTHS = 10
"""Into how many parts a student's training is divided, after each of which a trial may be pruned."""
OWNER = "search"
"""The attribute of the study that says which search it belongs to."""
STATE, WHY, SECONDS, TENTH = "state", "why", "seconds", "tenth"
"""Attributes of trials that are over: how they ended in crild's words, why, how long their runs took together, and after
which tenth of the training they were pruned."""


class SearchStudy:
    """The trials of a search, on disk. Only the process that holds the search's lock opens it."""

    def __init__(self, journal: Path, file: SearchFile, methods: tuple[str, ...], created: float = 0.0) -> None:
        """Open or create the journal of a search that was created then.

        Raises RunError when it cannot be read or written, was changed, or belongs to another search.
        """
        self.file, self._methods = file, methods
        self._study = _open(journal, file, self)
        self._check_owner(journal, f"{file.name}, created at {created!r}")

    def _check_owner(self, journal: Path, owner: str) -> None:
        """Refuse the journal of another search; note in a new one whose it is."""
        known = self._study.user_attrs.get(OWNER)
        if known is None and not self.trials():
            with _written():
                self._study.set_user_attr(OWNER, owner)
        elif known != owner:
            sentence = f"this is the journal of another search ({plain(str(known))}): {WAY_OUT}"
            raise RunError(sentence, kind="journal-of-another-search", file=str(journal))

    # -- looking

    def trials(self) -> list[FrozenTrial]:
        """All trials, in their order."""
        return list(self._study.get_trials(deepcopy=False))

    def running(self) -> list[FrozenTrial]:
        """The trials that have no result yet."""
        from optuna.trial import TrialState

        return list(self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    def values_of(self, trial: FrozenTrial) -> dict[str, Value]:
        """The values of a trial by dimension, as its presets use them; missing ones are drawn first."""
        return dict(self._suggested(trial))

    def best(self) -> int | None:
        """The number of the trial that is best by the first aim, of equals by the next; None before one is complete."""
        signs = [1 if aim in LOWER else -1 for aim in self.file.aims]
        figures = [
            (*(sign * value for sign, value in zip(signs, one.values, strict=True)), one.number)
            for one in self._complete()
        ]
        return int(min(figures)[-1]) if figures else None

    def front(self) -> list[int]:
        """The trials to which none is better in one aim without being worse in another."""
        if len(self.file.aims) == 1:
            return []
        return sorted(trial.number for trial in self._study.best_trials)

    def importance(self) -> dict[str, float]:
        """How much of the first aim's results each dimension explains, by PED-ANOVA (Watanabe et al., 2023), which needs
        no scikit-learn; nothing before ten trials are complete, and
        where all reached the same."""
        complete = self._complete()
        names = sorted({name for one in complete for name in one.params})
        varied = [name for name in names if len({one.params.get(name) for one in complete}) > 1]
        if len(complete) < LEAST_FOR_IMPORTANCE or not varied or len({one.values[0] for one in complete}) == 1:
            return {}
        evaluators = _importance_module()
        with contextlib.suppress(ValueError, RuntimeError), _quiet():
            found = evaluators.get_param_importances(
                self._study,
                evaluator=evaluators.PedAnovaImportanceEvaluator(),
                params=varied,
                target=(lambda trial: trial.values[0]) if len(self.file.aims) > 1 else None,
            )
            return {name: float(share) for name, share in found.items()}
        return {}

    def _complete(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        return list(self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))

    # -- asking

    def ask(self, start: Values | None = None) -> FrozenTrial:
        """A new trial, with these values if it is the first; else drawn. Raises RunError when it cannot be written."""
        from optuna.trial import TrialState, create_trial

        with _quiet(), _written():
            if start is None:
                number = self._study.ask().number
            else:
                distributions = {name: self._distribution(name) for name in start}
                first = create_trial(state=TrialState.RUNNING, params=dict(start), distributions=distributions)
                self._study.add_trial(first)
                number = 0
            return self.trials()[number]

    def is_exhausted(self) -> bool:
        """Whether a grid has no further point."""
        return self.file.search.sampler == "grid" and len(self.trials()) > len(self.grid())

    def grid(self) -> list[tuple[Value, ...]]:
        """The points of a grid in the order of their trials, which the seed shuffles."""
        points = list(itertools.product(*(_all_values(self._distribution(name)) for name in self._names())))
        random.Random(self.file.search.seed).shuffle(points)
        return points

    def _names(self) -> list[str]:
        return [*([METHOD] if len(self._methods) > 1 else []), *self.file.space]

    def _suggested(self, frozen: FrozenTrial) -> Iterator[tuple[str, Value]]:
        """The values of a trial in the order of the file; those that a killed process didn't draw are drawn."""
        from optuna.trial import Trial, TrialState

        trial: Trial | None = None
        values: dict[str, Value] = {METHOD: self._methods[0]}
        for name in self._names():
            dimension = self.file.space.get(name)
            if dimension is not None and not applies(dimension, values):
                continue
            value = frozen.params.get(name)
            if value is None:
                if frozen.number == 0 or frozen.state != TrialState.RUNNING:
                    continue
                trial = trial or Trial(self._study, frozen._trial_id)
                with _quiet(), _written():
                    value = _suggest(trial, name, self._distribution(name))
            if isinstance(value, float) and dimension is not None:
                value = rounded(value, dimension)
            values[name] = value
            yield name, value

    def _distribution(self, name: str) -> BaseDistribution:
        if name == METHOD:
            from optuna.distributions import CategoricalDistribution

            return CategoricalDistribution(self._methods)
        return _distribution(self.file.space[name])

    # -- telling

    def report(self, trial: FrozenTrial, tenth: int, value: float) -> bool:
        """Report a value of a running trial after a tenth of its training; whether it should be pruned."""
        from optuna.trial import Trial

        one = Trial(self._study, trial._trial_id)
        with _quiet(), _written():
            if tenth not in trial.intermediate_values:
                one.report(value, tenth)
            return bool(one.should_prune())

    def tell(
        self, trial: FrozenTrial, state: str, facts: Mapping[str, Any], results: list[float] | None = None
    ) -> None:
        """Record how a trial ended: complete (with its results), pruned, failed, infeasible or repeated; `facts` are its
        attributes."""
        from optuna.trial import Trial, TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        if len(self.file.aims) == 1:
            states["infeasible"] = TrialState.PRUNED  # tpe keeps away from them; with several aims it takes none
        one = Trial(self._study, trial._trial_id)
        with _quiet(), _written():
            for name, value in {STATE: state, **facts}.items():
                one.set_user_attr(name, value)
            self._study.tell(trial.number, results, state=states.get(state, TrialState.FAIL))


def state_of(trial: FrozenTrial) -> str:
    """The state of a trial in crild's words."""
    from optuna.trial import TrialState

    if trial.state == TrialState.RUNNING:
        return "running"
    return str(trial.user_attrs.get(STATE, "failed"))


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Value:
    """The value that a trial has, or gets, for a distribution."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case CategoricalDistribution(choices=choices):
            return str(trial.suggest_categorical(name, choices))
        case IntDistribution(low=low, high=high, step=step, log=log):
            return int(trial.suggest_int(name, low, high, step=step, log=log))
        case FloatDistribution(low=low, high=high, step=step, log=log):
            return float(trial.suggest_float(name, low, high, step=step, log=log))
        case _:
            raise AssertionError(distribution)


def _open(journal: Path, file: SearchFile, owner: SearchStudy) -> Study:
    import optuna
    from optuna.storages import JournalStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with _quiet(), _written():
            return optuna.create_study(
                storage=JournalStorage(Journal(journal)),
                study_name="search",
                directions=["minimize" if aim in LOWER else "maximize" for aim in file.aims],
                sampler=_sampler(file, owner),
                pruner=_pruner(file),
                load_if_exists=True,
            )
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        sentence = f"the journal of this search cannot be read ({error}): {WAY_OUT}"
        raise RunError(sentence, kind="unreadable-journal", file=str(journal)) from error


def _importance_module() -> ModuleType:
    """optuna.importance, without scikit-learn: where that is installed, optuna imports it for other evaluators, and
    pandas and SciPy with it, which takes seconds."""
    hidden = "sklearn" not in sys.modules
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]  # what importing it finds
    try:
        return importlib.import_module("optuna.importance")
    finally:
        if hidden:
            del sys.modules["sklearn"]


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Turn what the system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the journal of this search cannot be used: {cause(error)}", kind="cannot-use-journal"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without optuna's warnings of what is experimental, and of values reported again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    labels = labels_of(dimension)
    if labels is not None:
        return CategoricalDistribution(labels)
    low, high = dimension.low, dimension.high
    assert low is not None
    assert high is not None
    with _quiet():  # a high end that the step misses moves down
        if is_whole(dimension):
            return IntDistribution(int(low), int(high), log=dimension.log, step=int(dimension.step or 1))
        return FloatDistribution(float(low), float(high), log=dimension.log, step=dimension.step)


def _all_values(distribution: BaseDistribution) -> list[Value]:
    """Every value of a choice or of a range with steps."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return [str(choice) for choice in distribution.choices]
    low, high, step = distribution.low, distribution.high, distribution.step
    count = round((high - low) / step)
    whole = isinstance(distribution, IntDistribution)
    return [int(low + index * step) if whole else low + index * step for index in range(count + 1)]


def _sampler(file: SearchFile, owner: SearchStudy) -> BaseSampler:
    from optuna.samplers import BaseSampler, RandomSampler, TPESampler

    def seeded(number: int, name: str) -> BaseSampler:
        words = json.dumps([file.search.seed, number, name]).encode()
        seed = int.from_bytes(hashlib.sha256(words).digest()[:4])
        if file.search.sampler == "random":
            return RandomSampler(seed=seed)
        return TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True)

    class Drawn(BaseSampler):  # type: ignore[misc]
        """Draws each value with a generator of its own, so that no generator's state has to survive a kill."""

        def infer_relative_search_space(self, *_: object) -> dict[str, BaseDistribution]:
            return {}

        def sample_relative(self, *_: object) -> dict[str, Any]:
            return {}

        def sample_independent(
            self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
        ) -> Any:
            if file.search.sampler == "grid":
                points = owner.grid()
                return points[(trial.number - 1) % len(points)][owner._names().index(param_name)]
            return seeded(trial.number, param_name).sample_independent(study, trial, param_name, param_distribution)

    return Drawn()


def _pruner(file: SearchFile) -> Any:
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    makers: dict[str | None, Callable[[], Any]] = {
        "median": lambda: MedianPruner(n_startup_trials=STARTUP),
        "hyperband": lambda: HyperbandPruner(min_resource=1, max_resource=TENTHS, reduction_factor=3),
        None: NopPruner,
    }
    return makers[file.pruner]()
