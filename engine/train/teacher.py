"""The teacher of a run: fine-tuned in this run, taken from the cache, or used as it is."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.data.tokens import TokenSet
from engine.data.types import TaskSpec
from engine.errors import ModelError
from engine.evaluate.metrics import compute
from engine.evaluate.predict import predict
from engine.models.class_names import align
from engine.models.export import save_model
from engine.models.load import LoadedModel
from engine.preset.schema import Finetune
from engine.record.files import cause, read_json, write_json
from engine.record.lock import FileLock
from engine.record.paths import cache_dir
from engine.record.phases import Report, unreported
from engine.record.removal import OpenFolder

RECIPE = 1
"""Increased when the engine would train a different teacher from the same settings, so that cached ones don't match."""
MOST_ORDERS = 3
"""Up to this many classes, an unknown label order is found by trying all orders."""


def cache_key(model_hash: str, tune: Finetune, train: TokenSet, dev: TokenSet, spec: TaskSpec, precision: str) -> str:
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
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def data_hash(tokens: TokenSet) -> str:
    """A hash of tokenised texts and their labels."""
    found = hashlib.sha256(tokens.content.encode())
    if tokens.labels is not None:
        found.update(tokens.labels.tobytes())
    return found.hexdigest()


def cached(key: str) -> Cached:
    """The cache entry of a key."""
    return Cached(cache_dir() / "teachers" / key)


class Cached:
    """A fine-tuned teacher on disk: a folder in the Hugging Face layout, with facts about its training."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.facts = folder / "crild.json"

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
        """Load the cached weights into the model; returns the facts about their training, or None if nothing is cached."""
        facts = read_json(self.facts)
        if facts is None:
            return None
        try:
            loaded.model.load_state_dict(load_file(self.folder / "model.safetensors"))
        except (
            SafetensorError,
            RuntimeError,
            FileNotFoundError,
        ) as error:  # a read error does not prove damage
            with contextlib.suppress(OSError), OpenFolder.at(self.folder.parent) as parent:
                parent.remove(self.folder.name)
            sentence = (
                f"the cached teacher was damaged and has been removed ({type(error).__name__}); "
                "crild resume trains it again"
            )
            raise ModelError(sentence, kind="cached-teacher-damaged", file=str(self.folder)) from error
        return facts

    def store(self, loaded: LoadedModel, spec: TaskSpec, facts: dict[str, Any]) -> None:
        """Store the fine-tuned model; the facts are written last, so that half a teacher is never used."""
        save_model(loaded.model, loaded.tokenizer, spec, self.folder, root=self.folder.parent.parent)
        write_json(self.facts, facts)

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[bool], None]) -> Iterator[None]:
        """Hold a lock on the entry while training, so that ten runs on one task train their teacher once.

        `waiting(first)` is called about once a second while another run holds the lock; an exception ends the wait.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
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


def cache_entry(key: str, run_dir: Path, *, shared: bool) -> tuple[Cached, str | None]:
    """Where the fine-tuned teacher is or will be stored: in the cache if `shared` and possible, otherwise in the run.

    If the cache cannot be used, a sentence that says why is returned with it.
    """
    own, entry = Cached(run_dir / "teacher" / key), cached(key)
    if not shared or own.facts.is_file():
        return own, None
    reason = entry.unusable_reason()
    if reason is None:
        return entry, None
    return own, (
        f"the teacher cache {entry.folder.parent} cannot be used ({reason}); the fine-tuned teacher is stored in this run only"
    )


def settle_order(
    loaded: LoadedModel, spec: TaskSpec, dev: TokenSet, *, device: Any, pad_id: int, report: Report = unreported
) -> str | None:
    """Find the label order of a teacher whose config doesn't name its classes, by measuring every order on dev.

    Returns a sentence for the user, or None if the order was known. Raises ModelError when two orders fit equally well,
    or when there are too many classes to try.
    """
    if loaded.order_known:
        return None
    names = ", ".join(spec.labels)
    way_out = f"name them in [teacher]: labels = [...] with {names} in the teacher's order"
    if len(spec.labels) > MOST_ORDERS:
        sentence = f"the teacher's config does not name its {len(spec.labels)} classes; {way_out}"
        raise ModelError(sentence, kind="unnamed-classes")
    logits = predict(
        loaded.model, dev, batch_size=64, device=device, pad_id=pad_id,
        report=report, phase="finding the order of the teacher's classes",
    )  # fmt: skip
    assert dev.labels is not None
    scored = sorted(
        (
            (compute(spec, logits[:, list(order)], dev.labels)[spec.primary], order)
            for order in itertools.permutations(range(len(spec.labels)))
        ),
        reverse=True,
    )
    (first, order), (second, _) = scored[0], scored[1]
    if first - second < 0.05:
        raise ModelError(
            f"the teacher's config does not name its classes, and their order cannot be measured "
            f"({spec.primary} on dev is {first:.3f} in one order, {second:.3f} in another); {way_out}",
            kind="unnamed-classes",
        )
    align(loaded.model, order, spec.labels)
    return (
        f"the teacher's config does not name its classes: using the order with the best {spec.primary} on dev, {first:.3f} "
        f"(the next best gives {second:.3f}); to be sure, {way_out}"
    )
