"""Find the problems of a preset that only its files and model configs show, before a run directory is created."""

from __future__ import annotations

from engine.errors import CrildError, DataError, PresetError
from engine.preflight.data import data_problems
from engine.preflight.models import model_problems
from engine.preflight.own_code import own_code_problems
from engine.preset.load import Loaded
from engine.user.consent import Consent


class UnusableError(DataError):
    """Several problems of data and models at once; kind, location and category are the first one's."""

    def __init__(self, problems: list[CrildError]):
        first = problems[0]
        super().__init__(first.sentence, kind=first.kind, file=first.file, line=first.line, key=first.key)
        self.category = first.category  # type: ignore[misc]  # of this error, where others have it from their class
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def check(loaded: Loaded, consent: Consent | None = None) -> None:
    """Find what would make a run fail, as far as that is known without torch, network or more than the heads of files.

    With `consent`, also models whose own code may not run with it, if nothing else is wrong; leave it out where nothing is
    to run.

    Raises PresetError (exit code 2) when the preset asks for something impossible, followed by what is wrong with data
    and models. Otherwise, when data or models cannot be used (exit code 3): the DataError or ModelError itself, or
    `UnusableError` with all of them. A hub model whose config is not in the local cache is left to the engine.
    """
    problems = [*model_problems(loaded), *data_problems(loaded)]
    if consent is not None and not problems:
        problems += own_code_problems(loaded, consent)
    preset = [problem for problem in problems if problem.exit_code != DataError.exit_code]
    other = [problem for problem in problems if problem.exit_code == DataError.exit_code]
    if preset:
        raise PresetError([*preset, *other])
    if len(other) > 1:
        raise UnusableError(other)
    if other:
        raise other[0]
