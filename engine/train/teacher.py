"""The teacher of a run: fine-tuned here, taken from the cache, or ready as it came."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
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
from engine.models.export import content_hash, save_model
from engine.models.load import LoadedModel, align
from engine.preset.schema import Finetune
from engine.record.files import cause, read_json, write_json
from engine.record.lock import FileLock
from engine.record.paths import cache_dir

RECIPE = 1
"""Raised when the engine would train another teacher from the same settings, so that old ones are not taken for it."""
MOST_ORDERS = 3
"""Classes up to which an unknown order of labels is found by trying all of them."""


def cache_key(
    loaded: LoadedModel, tune: Finetune, train: TokenSet, dev: TokenSet, spec: TaskSpec, precision: str
) -> str:
    """A hash of everything that the fine-tuned teacher depends on: model, texts, labels, settings, precision.

    The dev set counts because the best evaluation picks the weights.
    """
    parts = {
        "recipe": RECIPE,
        "model": content_hash(loaded.model),
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
    """The place that the teacher cache has for a key."""
    return Cached(cache_dir() / "teachers" / key)


class Cached:
    """A place for a fine-tuned teacher: a folder in the Hugging Face layout, and what is known of its training."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.facts = folder / "crild.json"

    def refused(self) -> str | None:
        """Why nothing can be kept here, in words that end a sentence; None where it can."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder.parent):  # a file system may be read-only, whatever modes say
                return None
        except OSError as error:
            return cause(error)

    def load_into(self, loaded: LoadedModel) -> dict[str, Any] | None:
        """Put the cached weights into the model; returns the facts of their training, or None when there are none."""
        facts = read_json(self.facts)
        if facts is None:
            return None
        try:
            loaded.model.load_state_dict(load_file(self.folder / "model.safetensors"))
        except (
            SafetensorError,
            RuntimeError,
            FileNotFoundError,
        ) as error:  # a disk that fails to read proves no damage
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ModelError(
                f"the cached teacher was damaged and has been removed ({type(error).__name__}); "
                "crild resume trains it again",
                file=str(self.folder),
            ) from error
        return facts

    def store(self, loaded: LoadedModel, spec: TaskSpec, facts: dict[str, Any]) -> None:
        """Keep the fine-tuned model; the facts are written last, so that half a teacher is never taken."""
        save_model(loaded.model, loaded.tokenizer, spec, self.folder)
        write_json(self.facts, facts)

    @contextlib.contextmanager
    def alone(self, waiting: Callable[[bool], None]) -> Iterator[None]:
        """Hold the place while training, so that ten runs on one task train their teacher once.

        `waiting(first)` is called about once a second while another run holds it; what it raises ends the wait.
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


def place_of(key: str, run_dir: Path, *, shared: bool) -> tuple[Cached, str | None]:
    """Where a fine-tuned teacher is, or will be kept: in the cache, unless that is not wanted (`shared`) or cannot be.

    In the latter case, the sentence that says so comes with it.
    """
    own, place = Cached(run_dir / "teacher" / key), cached(key)
    if not shared or own.facts.is_file():
        return own, None
    reason = place.refused()
    if reason is None:
        return place, None
    return own, (
        f"the teacher cache {place.folder.parent} cannot be used ({reason}): the fine-tuned teacher is kept in this run "
        "alone"
    )


def settle_order(loaded: LoadedModel, spec: TaskSpec, dev: TokenSet, *, device: Any, pad_id: int) -> str | None:
    """Bring a teacher whose label names don't tell their order into the task's order, by measuring each order on dev.

    Returns a sentence for the user, or None when the order was known. Raises ModelError when two orders fit equally
    well, or when there are too many classes to try.
    """
    if loaded.order_known:
        return None
    names = ", ".join(spec.labels)
    way_out = f"say which output is which: in [teacher], labels = [...] with the names {names} in the teacher's order"
    if len(spec.labels) > MOST_ORDERS:
        raise ModelError(f"the teacher's config does not name its {len(spec.labels)} classes; {way_out}")
    logits = predict(loaded.model, dev, batch_size=64, device=device, pad_id=pad_id)
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
            f"the teacher's config does not name its classes, and measuring does not tell their order "
            f"({spec.primary} on dev is {first:.3f} in one order, {second:.3f} in another); {way_out}"
        )
    align(loaded.model, order, spec.labels)
    return (
        f"the teacher's config does not name its classes: of all orders the one with {spec.primary} {first:.3f} on dev "
        f"was taken (the next gives {second:.3f}); to be sure, {way_out}"
    )
