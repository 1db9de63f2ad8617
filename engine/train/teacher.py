"""The teacher of a run: fine-tuned in this run, taken from the cache, or used as it is."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError

from engine.data.tokens import TokenSet
from engine.data.types import TaskSpec
from engine.errors import ModelError, RunError
from engine.evaluate.metrics import compute
from engine.evaluate.predict import LengthBatches, predict
from engine.models.class_names import align
from engine.models.export import save_model
from engine.models.load import LoadedModel
from engine.models.tensor_files import load_tensors
from engine.preset.schema import Finetune
from engine.preset.text import plain
from engine.record.files import cause, finite, read_json, read_object, why_unreadable, write_json
from engine.record.lock import FileLock
from engine.record.manifest import damage, manifest_of
from engine.record.paths import TEACHER, cache_dir
from engine.record.phases import Report, unreported
from engine.record.removal import OpenFolder
from engine.record.teacher_folder import POINTER
from engine.report.units import metric

RECIPE = 1
"""Increased when the engine would train a different teacher from the same settings, so that cached ones don't match."""
FACTS = "crild.json"
WEIGHTS = "model.safetensors"
MOST_ORDERS = 3
"""Up to this many classes, an unknown label order is found by trying all orders."""


def cache_key(
    model_hash: str,
    tune: Finetune,
    train: TokenSet,
    dev: TokenSet,
    spec: TaskSpec,
    precision: str,
    class_weights: Sequence[float] = (),
    evaluate_precision: str = "fp32",
) -> str:
    """A hash of everything the fine-tuned teacher depends on: model, texts, labels, settings, precision.

    `model_hash` is the `content_hash` of the model as loaded. The dev set is included because the best evaluation picks
    the weights.
    """
    parts = {
        "recipe": RECIPE,
        "model": model_hash,
        "train": data_hash(train),
        "dev": data_hash(dev),
        "labels": spec.labels,
        "metric": spec.primary,
        "precision": precision,
        "settings": tune.model_dump(mode="json"),
    }
    if class_weights:
        parts["class_weights"] = [*class_weights]
    if evaluate_precision != "fp32":
        parts["evaluate_precision"] = evaluate_precision
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def data_hash(tokens: TokenSet) -> str:
    """A hash of tokenised texts and their labels."""
    found = hashlib.sha256(tokens.content.encode())
    if tokens.labels is not None:
        found.update(tokens.labels.tobytes())
    return found.hexdigest()


class StoredTeacher:
    """A fine-tuned teacher on disk: a folder in the Hugging Face layout, with facts about its training in crild.json.

    That file also has size and hash of all others, and a hash of itself, so that damage is noticed before use.
    """

    def __init__(self, folder: Path, key: str, root: Path):
        """`root` is the cache or the run that the folder is in."""
        self.folder = folder
        self.key = key
        self.root = root
        self.facts = folder / FACTS

    @classmethod
    def cached(cls, key: str) -> Self:
        """The entry of a key in the cache that all runs share."""
        return cls(cache_dir() / "teachers" / key, key, cache_dir())

    @classmethod
    def of_run(cls, run_dir: Path, key: str) -> Self:
        """The teacher that a run stores for itself: its folder `teacher`, or a folder in there, as before 0.3."""
        folder = run_dir / TEACHER
        return cls(folder / key if os.path.lexists(folder / POINTER) else folder, key, run_dir)

    def exists(self) -> bool:
        """Whether something is stored here; a link into the cache does not count."""
        return os.path.lexists(self.facts) and not self.folder.is_symlink()

    def unusable_reason(self) -> str | None:
        """Why nothing can be stored here, as the end of a sentence; None if it can."""
        try:
            self.folder.parent.parent.mkdir(parents=True, exist_ok=True)
            OpenFolder.at(self.folder.parent.parent, self.folder.parent.name, create=True).close()
            with tempfile.TemporaryFile(dir=self.folder.parent):  # a file system can be read-only despite its modes
                return None
        except OSError as error:
            return cause(error)

    def load_into(self, loaded: LoadedModel) -> dict[str, Any] | None:
        """Load the stored weights into the model; returns the facts about their training, or None if none are stored.

        No file is used before it was compared with its hash, and the model changes only if all is well. Deletes nothing.
        Raises ModelError: "stored-teacher-damaged" when files were read and are not what was written,
        "stored-teacher-unreadable" when one could not be read, which proves no damage.
        """
        try:
            facts = self._facts()
            if facts is None or facts.pop("key", self.key) != self.key:
                return None
            try:
                problem = damage(self.folder, facts.pop("files", {}))
            except ValueError:
                problem = f"{FACTS} is not what was written"
            if problem is not None:
                raise self._damaged(problem)
            tensors = load_tensors(self.folder / WEIGHTS)
        except FileNotFoundError:
            raise self._damaged(f"{WEIGHTS} is missing") from None
        except OSError as error:
            sentence = f"the fine-tuned teacher in {plain(str(self.folder))} cannot be read: {cause(error)}"
            raise ModelError(sentence, kind="stored-teacher-unreadable") from error
        except SafetensorError as error:
            raise self._damaged(f"{WEIGHTS} is no whole safetensors file") from error
        own = loaded.model.state_dict()
        if {name: tensor.shape for name, tensor in tensors.items()} != {name: t.shape for name, t in own.items()}:
            raise self._damaged(f"{WEIGHTS} has other tensors than the model")
        loaded.model.load_state_dict(tensors)
        return facts

    def store(self, loaded: LoadedModel, spec: TaskSpec, facts: dict[str, Any]) -> None:
        """Store the fine-tuned model with the facts; replaces what is stored here, or a link to it. Raises RunError."""

        def complete(folder: OpenFolder) -> None:
            self._write_facts(folder.path, facts)
            with OpenFolder.at(self.folder.parent) as parent:
                if parent.is_link(self.folder.name):
                    parent.remove(self.folder.name)

        save_model(loaded.model, loaded.tokenizer, spec, self.folder, complete=complete, root=self.root)

    def record_hashes(self) -> None:
        """Add hashes to an entry of a version that wrote none, so that damage from now on is noticed.

        Does nothing if they are recorded, or cannot be: the entry may belong to another user.
        """
        facts = read_json(self.facts)
        if facts is not None and "files" not in facts:
            with contextlib.suppress(OSError, RunError):
                self._write_facts(self.folder, facts)

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[bool], None]) -> Iterator[None]:
        """Hold a lock on the entry while training, so that ten runs on one task train their teacher once.

        `waiting(first)` is called about once a second while another run holds the lock; an exception ends the wait.
        Raises OSError when the lock file cannot be opened.
        """
        lock = FileLock(self.folder.parent / f"{self.folder.name}.lock")
        first = True
        while not lock.try_acquire():
            waiting(first)
            first = False
            time.sleep(1.0)
        try:
            yield
        finally:
            lock.release()

    def _facts(self) -> dict[str, Any] | None:
        """The facts, with `key` and `files` where they are recorded. Raises OSError, and ModelError for damage."""
        if (reason := why_unreadable(self.facts)) is not None:
            sentence = f"the fine-tuned teacher in {plain(str(self.folder))} cannot be read: {reason}"
            raise ModelError(sentence, kind="stored-teacher-unreadable")
        try:
            facts = read_object(self.facts)
        except FileNotFoundError:
            return None
        except RunError as error:
            raise self._damaged(f"{FACTS} {error.sentence}") from error
        if facts.get("sha256", own_hash(facts)) != own_hash(facts):
            raise self._damaged(f"{FACTS} is not what was written")
        facts.pop("sha256", None)
        return facts

    def _write_facts(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write crild.json into a folder that holds all other files of the teacher."""
        files = manifest_of(path for path in folder.iterdir() if path.is_file() and path.name != FACTS)
        recorded = finite({**facts, "key": self.key, "files": files})
        write_json(folder / FACTS, {**recorded, "sha256": own_hash(recorded)})

    def _damaged(self, problem: str) -> ModelError:
        sentence = f"the fine-tuned teacher in {plain(str(self.folder))} is damaged: {problem}"
        return ModelError(sentence, kind="stored-teacher-damaged")


def own_hash(facts: Mapping[str, Any]) -> str:
    """A hash of everything in crild.json but itself."""
    rest = {name: value for name, value in facts.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def open_teacher(
    key: str,
    run_dir: Path,
    loaded: LoadedModel,
    *,
    shared: bool,
    waiting: Callable[[bool], None],
    loading: Callable[[], AbstractContextManager[object]],
    warn: Callable[[str], None],
) -> Iterator[tuple[StoredTeacher, dict[str, Any] | None]]:
    """Where the fine-tuned teacher is or will be stored, and the facts about its training if it could be loaded.

    In the cache if `shared`, otherwise in the run. What is damaged is trained again. What cannot be read (permission, too
    many open files, a failing disk) stays as it is: then the run trains a teacher of its own, as where the cache cannot
    be written. An entry of the cache is locked inside the block, if it can be written; `waiting` as in
    `StoredTeacher.locked`, and `loading` is the context in which weights are read. Raises ModelError when the run's own teacher cannot be read.
    """
    own, entry = StoredTeacher.of_run(run_dir, key), StoredTeacher.cached(key)
    if not shared or own.exists():
        with loading():
            facts = _load(own, loaded, warn)
        yield own, facts
        return
    with contextlib.ExitStack() as stack:
        reason = entry.unusable_reason()
        if reason is None:
            try:
                stack.enter_context(entry.locked(waiting))
            except OSError as error:  # the lock file of another user
                reason = cause(error)
        with loading():
            entry, facts = _look_up(entry, own, loaded, warn, reason)
        yield entry, facts


def _look_up(
    entry: StoredTeacher, own: StoredTeacher, loaded: LoadedModel, warn: Callable[[str], None], unwritable: str | None
) -> tuple[StoredTeacher, dict[str, Any] | None]:
    """The entry of the cache with its facts, or the run's own where the cache cannot be read, or needs to be written."""
    try:
        facts = _load(entry, loaded, warn)
    except ModelError as error:
        warn(f"{error.sentence}. It stays as it is; this run trains its own")
        return own, None
    if facts is None and unwritable is not None:
        warn(
            f"the teacher cache {entry.folder.parent} cannot be used ({unwritable}); "
            "the fine-tuned teacher is stored in this run only"
        )
        return own, None
    if facts is not None and unwritable is None:
        entry.record_hashes()
    return entry, facts


def _load(entry: StoredTeacher, loaded: LoadedModel, warn: Callable[[str], None]) -> dict[str, Any] | None:
    """What `load_into` returns; a damaged teacher counts as none, with a warning. Raises ModelError for other errors."""
    try:
        return entry.load_into(loaded)
    except ModelError as error:
        if error.kind != "stored-teacher-damaged":
            raise
        warn(f"{error.sentence}; it is trained again")
        return None


def store_teacher(
    entry: StoredTeacher,
    run_dir: Path,
    loaded: LoadedModel,
    spec: TaskSpec,
    facts: dict[str, Any],
    warn: Callable[[str], None],
) -> StoredTeacher:
    """Store a teacher that this run has trained; where the cache refuses it, in the run. Returns where it is.

    Raises RunError when neither can be written.
    """
    own = StoredTeacher.of_run(run_dir, entry.key)
    if entry.root == cache_dir():  # not a folder of the run, which may have been renamed meanwhile
        try:
            entry.store(loaded, spec, facts)
        except RunError as error:
            warn(f"{error.sentence} ({error.file}); the fine-tuned teacher is stored in this run only")
        else:
            return entry
    own.store(loaded, spec, facts)
    return own


def settle_order(
    loaded: LoadedModel, spec: TaskSpec, dev: TokenSet, *, device: Any, pad_id: int, report: Report = unreported
) -> str | None:
    """Find the label order of a teacher whose config doesn't name its classes, by measuring every order on dev.

    Returns a sentence for the user, or None if the order was known. Raises ModelError when two orders fit equally well,
    or when there are too many classes to try.
    """
    if loaded.order_known:
        return None
    names = ", ".join(map(plain, spec.labels))
    way_out = f"name them in [teacher]: labels = [...] with {names} in the teacher's order"
    if len(spec.labels) > MOST_ORDERS:
        sentence = f"the teacher's config does not name its {len(spec.labels)} classes; {way_out}"
        raise ModelError(sentence, kind="unnamed-classes")
    batches = LengthBatches(dev, torch.device(device), pad_id)
    logits = predict(loaded.model, batches, report=report, phase="finding the order of the teacher's classes")
    assert dev.labels is not None
    scored = sorted(
        (
            (compute(spec, logits[:, list(order)], dev.labels, dev.groups)[spec.primary], order)
            for order in itertools.permutations(range(len(spec.labels)))
        ),
        reverse=True,
    )
    (first, order), (second, _) = scored[0], scored[1]
    if first - second < 0.05:
        raise ModelError(
            f"the teacher's config does not name its classes, and their order cannot be measured "
            f"({spec.primary} on dev is {metric(first)} in one order, {metric(second)} in another); {way_out}",
            kind="unnamed-classes",
        )
    align(loaded.model, order, spec)
    return (
        f"the teacher's config does not name its classes: using the order with the best {spec.primary} on dev, "
        f"{metric(first)} (the next best gives {metric(second)}). The teacher's figures on dev are therefore "
        f"optimistic, and all of it is wrong if the order is; to be sure, {way_out}"
    )


def unnamed_classes(model: str, spec: TaskSpec) -> ModelError:
    """The error for a model that is to be measured, and whose config doesn't name its classes."""
    return ModelError(
        f"the config of {plain(model)} does not name its classes, and an order chosen by the dev set would flatter its "
        f"figures there; name them with --set 'teacher.labels=[...]': {', '.join(map(plain, spec.labels))} in the model's order",
        kind="unnamed-classes",
        key="teacher.labels",
    )
