"""Teacher logits, computed once for inputs that never change, and reused over epochs and runs."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.data.array_files import DamagedFileError, bytes_of, read_arrays, write_arrays
from engine.data.batches import Indices, collate, evaluation_batches
from engine.data.spool import room
from engine.data.tokens import TokenSet
from engine.distill.activations import ActivationSpec
from engine.models.export import content_hash
from engine.models.partial_encoder import PartialEncoder
from engine.preset.kinds import WORD_LABELS
from engine.preset.text import plain
from engine.record.files import cause, write_all
from engine.record.inventory import PARTIAL, PARTIAL_MARK
from engine.record.lock import waiting_lock
from engine.record.paths import cache_dir
from engine.record.phases import Report, unreported
from engine.record.removal import OpenFolder
from engine.train.row_order import rows_read
from engine.train.settings import StageSettings
from engine.train.step import Autocast

BATCH = 64
FOLDER = "logits"
"""Subfolder of the cache directory."""

_DIGEST = hashlib.sha256().digest_size

Logits = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


def can_cache(settings: StageSettings) -> bool:
    """Whether the stage reads teacher logits of inputs that are the same in every epoch, one answer for each row.

    Where labels are by word, the teacher answers in each step: its answers would take more room than the texts many times over.
    """
    return "logits" in settings.stage.terms() and settings.mixup is None and settings.kind != WORD_LABELS


def teacher_logits(
    settings: StageSettings,
    teacher: PreTrainedModel | None,
    tokens: TokenSet,
    *,
    read_as: TokenSet | None = None,
    autocast: Autocast,
    precision: str,
    device: torch.device,
    pad_id: int,
    report: Report = unreported,
    warn: Callable[[str], None] = log.warning,
) -> Tensor | None:
    """The teacher's logits (rows, classes) in fp32 for the rows that the stage reads, or None if they cannot be cached.

    `tokens` are the inputs as the teacher reads them; `read_as` are those of the student, where it reads other tokens:
    its batches decide. Other rows are NaN, so that a step that reads one ends the run. Logits are computed in the precision of training, in
    batches that depend only on the rows that the whole stage reads (`rows_read`): so a resumed run computes the same bits.
    Cached files are keyed by the content of model and data and by these rows, verified by a hash when they are read, and
    mapped. A computation that was stopped or killed continues after its last batch; a run that finds another one at it
    waits. `warn` takes a sentence if a file is damaged, cannot be read or has no room. `report` is called for each batch.
    """
    if teacher is None or not can_cache(settings):
        return None
    report("hashing the teacher")
    own = tokens if read_as is None else read_as
    rows = rows_read(settings, own.lengths, own.candidates)
    parts = [content_hash(teacher), tokens.content, precision, device.type]
    if len(rows) < len(tokens):
        parts.append(hashlib.sha256(rows.tobytes()).hexdigest())
    entry = LogitsEntry(hashlib.sha256("-".join(parts).encode()).hexdigest()[:32])
    logits, storable = entry.read(len(rows), warn)
    if logits is None:
        with entry.locked(report) as is_ours:
            if storable and is_ours:  # another run may have stored them meanwhile
                logits, storable = entry.read(len(rows), lambda _: None)
            if logits is None:
                partial = PartialLogits(entry) if storable and is_ours else None
                phase = f"computing the teacher's answers for stage {settings.name}"
                logits = _compute(teacher, tokens, rows, autocast, device, pad_id, report, phase, partial)
                if storable:
                    entry.write(logits, warn)
                if partial is not None:
                    partial.remove()
    if len(rows) < len(tokens):
        spread = np.full((len(tokens), logits.shape[1]), np.nan, dtype=np.float32)
        spread[rows] = logits
        logits = spread
    return torch.from_numpy(logits).to(device)


class LogitsEntry:
    """A file of the cache: logits (rows, classes), with a hash of them and of the key."""

    def __init__(self, key: str) -> None:
        self.key = key

    @property
    def path(self) -> Path:
        """The file."""
        return cache_dir() / FOLDER / f"{self.key}.safetensors"

    def read(self, rows: int, warn: Callable[[str], None]) -> tuple[Logits | None, bool]:
        """The logits, if the file holds them undamaged for so many rows; and whether others may be stored in its place.

        A file that cannot be opened or read may be good, and somebody else's: it stays.
        """
        try:
            arrays, _ = read_arrays(self.path, writable=True)  # PyTorch takes no others
            logits, digest = arrays["logits"], arrays["digest"].tobytes()
            is_whole = logits.dtype == np.float32 and logits.ndim == 2 and len(logits) == rows
        except FileNotFoundError:
            return None, True
        except OSError as error:
            warn(
                f"the cached teacher logits {self.path} cannot be read ({cause(error)}); they stay as they are, and the "
                "teacher's answers are computed again"
            )
            return None, False
        except (DamagedFileError, KeyError):
            is_whole = False
        if not is_whole or digest != self._digest(logits):
            warn(f"the cached teacher logits {self.path} are damaged; the teacher's answers are computed again")
            return None, True
        return logits, True

    def write(self, logits: Logits, warn: Callable[[str], None]) -> None:
        """Store logits; a failure only costs the next run time, and `warn` takes a sentence where the disk has no room."""
        digest = np.frombuffer(self._digest(logits), np.uint8)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if (free := room(self.path.parent)) < logits.nbytes:
                warn(
                    f"{logits.nbytes / 1e9:.1f} GB of teacher's answers are not stored, because the disk of "
                    f"{plain(str(self.path.parent))} has only {max(free, 0) / 1e9:.1f} GB to spare; the next run computes "
                    "them again"
                )
                return
            write_arrays(self.path, {"logits": logits, "digest": digest}, {}, root=cache_dir())
        except OSError as fault:
            log.warning("teacher logits cannot be cached (%s): %s", cause(fault), self.path)

    def _digest(self, logits: Logits) -> bytes:
        found = hashlib.sha256(f"{self.key} {logits.shape}".encode())
        found.update(bytes_of(np.ascontiguousarray(logits)))
        return found.digest()

    @contextmanager
    def locked(self, report: Report) -> Iterator[bool]:
        """Hold the entry's lock while its logits are computed, so that of several runs one computes them: the others wait.

        Whether it is held: not where the cache cannot be written. `report` is called once a second.
        """
        with contextlib.ExitStack() as held:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                path, phase = self.path.with_suffix(".lock"), "waiting for the teacher's answers of another run"
                held.enter_context(waiting_lock(path, report, phase))
                is_ours = True
            except OSError:
                is_ours = False
            yield is_ours


class PartialLogits:
    """The logits of an entry that is being computed: a file to which each batch is appended, so that a run which was killed
    continues where it ended.

    It begins with `PARTIAL_MARK` and the number of classes (4 bytes). A batch is its logits in fp32 and a SHA-256 of them, of
    the entry's key and of the batch's number; the first that does not match ends what is known. Batches follow from the rows,
    so that a continued computation gives the same bits. A failure to write only costs time.
    """

    def __init__(self, entry: LogitsEntry) -> None:
        self._key, self.path = entry.key, entry.path.with_suffix(PARTIAL)
        self._count = 0
        self._classes = 0
        self._file: BinaryIO | None = None
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            self._file = os.fdopen(handle, "r+b", buffering=0)
            head = self._file.read(len(PARTIAL_MARK) + 4)
            if head[: len(PARTIAL_MARK)] == PARTIAL_MARK:
                self._classes = int.from_bytes(head[len(PARTIAL_MARK) :], "little")
        except OSError as fault:
            self._give_up(fault)

    def next(self, rows: int) -> Logits | None:
        """The logits (rows, classes) of the next batch, if they are known. After the first that is not, none is."""
        if self._file is None or not self._classes:
            return None
        size = 4 * rows * self._classes
        try:
            start = self._file.tell()
            content = self._file.read(size + _DIGEST)
            if len(content) < size + _DIGEST or content[size:] != self._digest(content[:size]):
                self._file.seek(start)
                self._file.truncate()
                self._classes = 0
                return None
        except OSError as fault:
            self._give_up(fault)
            return None
        self._count += 1
        return np.frombuffer(content, np.float32, rows * self._classes).reshape(rows, self._classes)

    def append(self, logits: Logits) -> None:
        """Add the logits of the next batch."""
        if self._file is None:
            return
        try:
            if not self._count:
                self._file.seek(0)
                self._file.truncate()
                write_all(self._file.fileno(), PARTIAL_MARK + logits.shape[1].to_bytes(4, "little"))
            content = logits.astype(np.float32).tobytes()
            write_all(self._file.fileno(), content + self._digest(content))
        except OSError as fault:
            self._give_up(fault)
        self._count += 1

    def remove(self) -> None:
        """Delete the file: the entry has all logits, or cannot be stored."""
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError), OpenFolder.at(cache_dir(), FOLDER) as folder:
            folder.remove(self.path.name)

    def _digest(self, content: bytes) -> bytes:
        return hashlib.sha256(f"{self._key} {self._count} ".encode() + content).digest()

    def _give_up(self, fault: OSError) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        log.warning("the teacher's answers cannot be saved while they are computed (%s): %s", cause(fault), self.path)


def _compute(
    teacher: PreTrainedModel,
    tokens: TokenSet,
    rows: Indices,
    autocast: Autocast,
    device: torch.device,
    pad_id: int,
    report: Report,
    phase: str,
    partial: PartialLogits | None,
) -> Logits:
    """The logits (rows, classes) of some rows, in their order; `partial` holds those of the first batches, and gets the
    others."""
    run = PartialEncoder(teacher, ActivationSpec(logits=True))
    teacher.eval()
    found: Logits | None = None
    with torch.inference_mode(), autocast():
        for done, places in enumerate(evaluation_batches(tokens.lengths[rows], BATCH)):
            report(phase, done * BATCH, len(rows), "rows")
            values = None if partial is None else partial.next(len(places))
            if values is None:
                logits = run(collate(tokens, rows[places], pad_id=pad_id).to(device)).logits
                assert logits is not None
                values = logits.float().cpu().numpy()
                if partial is not None:
                    partial.append(values)
            if found is None:
                found = np.zeros((len(rows), values.shape[1]), dtype=np.float32)
            found[places] = values
    assert found is not None, "a stage has rows"
    return found
