"""The teacher's answers: for the rows that a stage reads and no others, the same bits every time, verified in the cache."""

from __future__ import annotations

import errno
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.data.batches import Batch, collate, evaluation_batches
from engine.data.tokens import TokenSet
from engine.distill.activations import ActivationSpec
from engine.models.partial_encoder import PartialEncoder
from engine.preset.schema import Stage
from engine.record.inventory import PARTIAL
from engine.record.lock import FileLock
from engine.record.paths import cache_dir
from engine.record.stop_request import Stopped
from engine.train import teacher_logits as module
from engine.train.row_order import batches_of, rows_read
from engine.train.settings import StageSettings
from engine.train.teacher_logits import BATCH, teacher_logits
from tests.models.tiny_models import tiny
from tests.refused_files import refuse

ROWS = 400
CPU = torch.device("cpu")
SETTINGS = StageSettings(
    name="kd", role="student", seed=7, kind="classification", stage=Stage(name="kd", objectives={"logits": 1.0}), batch_size=8,
    learning_rate=1e-3, weight_decay=0.0, warmup=0.0, clip=1.0, accumulate=1, evaluate="epoch", keep_best=False, epochs=1.0,
)  # fmt: skip
FEW = replace(SETTINGS, epochs=None, fixed_steps=5)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def teacher() -> Any:
    torch.manual_seed(0)
    return tiny("bert", layers=2).eval()


@pytest.fixture(scope="module")
def tokens() -> TokenSet:
    draw = np.random.default_rng(0)
    lengths = draw.integers(3, 20, ROWS)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenSet(
        ids=tuple(f"train-{row}" for row in range(ROWS)), offsets=offsets,
        input_ids=draw.integers(5, 20, offsets[-1]).astype(np.int32), type_ids=None,
        labels=np.zeros(ROWS, np.int64), cut=0, content="some texts",
    )  # fmt: skip


class Reports:
    """Counts reports, and asks to stop at one."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.done: list[int] = []
        self.stop_at = stop_at

    def __call__(self, phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        if unit != "rows":
            return
        assert total is not None
        assert "kd" in phase
        self.done.append(done)
        if len(self.done) == self.stop_at:
            raise Stopped


def answers(settings: StageSettings, teacher: Any, tokens: TokenSet, report: Any = None, **words: Any) -> Tensor:
    found = teacher_logits(
        settings, teacher, tokens, autocast=nullcontext, precision="fp32", device=CPU, pad_id=0,
        report=report or Reports(), **words,
    )  # fmt: skip
    assert found is not None
    return found


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows that the teacher was run on."""
    rows: list[int] = []

    def watch(*arguments: Any, **words: Any) -> Batch:
        batch = collate(*arguments, **words)
        rows.extend(batch.index.tolist())
        return batch

    monkeypatch.setattr(module, "collate", watch)
    return rows


def test_a_whole_epoch_is_computed_in_batches_of_all_rows(teacher: Any, tokens: TokenSet, computed: list[int]) -> None:
    found = answers(SETTINGS, teacher, tokens)
    encoder = PartialEncoder(teacher, ActivationSpec(logits=True))
    expected = torch.zeros(ROWS, 2)
    with torch.inference_mode():
        for rows in evaluation_batches(tokens.lengths, BATCH):
            expected[rows] = encoder(collate(tokens, rows, pad_id=0)).logits
    encoder.remove()
    assert torch.equal(found, expected)
    assert sorted(computed) == list(range(ROWS))
    assert rows_read(SETTINGS, tokens.lengths).tolist() == list(range(ROWS))


def test_no_work_is_done_for_rows_that_no_step_reads(teacher: Any, tokens: TokenSet, computed: list[int]) -> None:
    found = answers(FEW, teacher, tokens)
    read = np.sort(np.concatenate(batches_of(FEW, tokens.lengths, 0)[:5]))
    assert sorted(computed) == read.tolist()
    assert len(read) == 5 * 8
    assert torch.isfinite(found[read]).all()
    others = np.setdiff1d(np.arange(ROWS), read)
    assert torch.isnan(found[others]).all(), "a step that reads a row without an answer must not go unnoticed"
    assert torch.allclose(found[read], answers(SETTINGS, teacher, tokens)[read], atol=1e-6)


def test_what_the_cache_holds_of_other_stages_changes_no_bit(teacher: Any, tokens: TokenSet) -> None:
    first = answers(FEW, teacher, tokens)
    answers(SETTINGS, teacher, tokens)
    read = rows_read(FEW, tokens.lengths)
    assert torch.equal(answers(FEW, teacher, tokens)[read], first[read])


def test_cached_answers_are_read_and_not_computed(teacher: Any, tokens: TokenSet, computed: list[int]) -> None:
    first = answers(SETTINGS, teacher, tokens)
    computed.clear()
    again = answers(SETTINGS, teacher, tokens)
    assert torch.equal(again, first)
    assert computed == []
    again.zero_()  # and can be written


def test_a_request_to_stop_is_heard_between_batches_and_leaves_no_whole_file(teacher: Any, tokens: TokenSet) -> None:
    with pytest.raises(Stopped):
        answers(SETTINGS, teacher, tokens, Reports(stop_at=3))
    assert files() == []
    whole = answers(SETTINGS, teacher, tokens)
    with pytest.raises(Stopped):
        answers(replace(SETTINGS, seed=8, fixed_steps=3), teacher, tokens, Reports(stop_at=1))
    assert torch.equal(answers(SETTINGS, teacher, tokens), whole)


def files() -> list[Path]:
    return list((cache_dir() / "logits").glob("*.safetensors"))


def partial_files() -> list[Path]:
    return list((cache_dir() / "logits").glob(f"*{PARTIAL}"))


def stopped(teacher: Any, tokens: TokenSet, after: int) -> Path:
    """The file of a computation that was stopped after some batches."""
    with pytest.raises(Stopped):
        answers(SETTINGS, teacher, tokens, Reports(stop_at=after + 1))
    (file,) = partial_files()
    return file


def test_a_stopped_computation_continues_after_its_last_batch(
    teacher: Any, tokens: TokenSet, computed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(teacher, tokens, 3)
    assert len(computed) == 3 * BATCH
    computed.clear()
    stopped(teacher, tokens, 5)
    assert len(computed) == 2 * BATCH, "a second stop: nothing is computed twice"
    computed.clear()
    found = answers(SETTINGS, teacher, tokens)
    assert len(computed) == ROWS - 5 * BATCH
    assert partial_files() == []
    assert len(files()) == 1
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "another"))
    assert torch.equal(found, answers(SETTINGS, teacher, tokens)), "the same bits as without a stop"


@pytest.mark.parametrize("damage", ["cut", "flip", "mark", "empty", "others"])
def test_what_is_damaged_of_a_stopped_computation_is_computed_again(
    teacher: Any, tokens: TokenSet, computed: list[int], damage: str
) -> None:
    record = 4 * 2 * BATCH + 32
    file = stopped(teacher, tokens, 4)
    good = file.read_bytes()
    head = len(good) - 4 * record
    flipped = bytearray(good)
    flipped[head + 2 * record + 5] ^= 1
    bad, known = {
        "cut": (good[:-9], 3),
        "flip": (bytes(flipped), 2),
        "mark": (b"x" + good[1:], 0),
        "empty": (b"", 0),
        "others": (good[:head] + good[head + record :], 0),
    }[damage]
    file.write_bytes(bad)
    computed.clear()
    found = answers(SETTINGS, teacher, tokens)
    assert len(computed) == ROWS - known * BATCH
    files()[0].unlink()
    assert torch.equal(found, answers(SETTINGS, teacher, tokens))


def test_a_run_waits_for_the_answers_that_another_one_computes(
    teacher: Any, tokens: TokenSet, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answers(SETTINGS, teacher, tokens)
    (file,) = files()
    content = file.read_bytes()
    file.unlink()
    computed.clear()
    looks = iter((False, False, True))
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:  # the other run ends
            file.write_bytes(content)

    monkeypatch.setattr(FileLock, "try_acquire", lambda _: next(looks))
    monkeypatch.setattr("engine.train.teacher_logits.time.sleep", wait)
    assert torch.equal(answers(SETTINGS, teacher, tokens), whole)
    assert len(waited) == 2
    assert computed == []


def test_without_room_on_the_disk_the_answers_are_used_and_not_stored(
    teacher: Any, tokens: TokenSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answers(SETTINGS, teacher, tokens)
    files()[0].unlink()
    monkeypatch.setattr(module, "room", lambda _: 100)
    warnings: list[str] = []
    assert torch.equal(answers(SETTINGS, teacher, tokens, warn=warnings.append), first)
    assert len(warnings) == 1
    assert str(cache_dir() / "logits") in warnings[0]
    assert files() == partial_files() == []


def test_a_damaged_file_is_noticed_said_and_replaced(teacher: Any, tokens: TokenSet, computed: list[int]) -> None:
    first = answers(SETTINGS, teacher, tokens)
    (file,) = files()
    good = file.read_bytes()
    damages = [good[:-1], good[: len(good) // 2], b"", bytes(len(good))]
    places = np.linspace(0, len(good) - 1, 60).astype(int)
    damages += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in places]
    for damage in damages:
        file.write_bytes(damage)
        warnings: list[str] = []
        computed.clear()
        assert torch.equal(answers(SETTINGS, teacher, tokens, warn=warnings.append), first)
        assert len(warnings) == 1
        assert str(file) in warnings[0]
        assert len(computed) == ROWS
        assert file.read_bytes() == good


def test_the_file_of_another_teacher_is_not_taken(teacher: Any, tokens: TokenSet, computed: list[int]) -> None:
    answers(SETTINGS, teacher, replace(tokens, content="other texts"))
    (other,) = files()
    first = answers(SETTINGS, teacher, tokens)
    (file,) = set(files()) - {other}
    file.write_bytes(other.read_bytes())
    computed.clear()
    assert torch.equal(answers(SETTINGS, teacher, tokens), first)
    assert len(computed) == ROWS


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE])
def test_a_file_that_cannot_be_opened_is_not_damaged(
    teacher: Any, tokens: TokenSet, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    first = answers(SETTINGS, teacher, tokens)
    (file,) = files()
    good, warnings = file.read_bytes(), list[str]()

    with monkeypatch.context() as patch:
        refuse(patch, file, number)
        assert torch.equal(answers(SETTINGS, teacher, tokens, warn=warnings.append), first)
    assert file.read_bytes() == good
    assert len(warnings) == 1
    assert "damaged" not in warnings[0]


def test_a_cache_that_cannot_be_written_costs_only_time(
    teacher: Any, tokens: TokenSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module, "write_arrays", fail)
    first = answers(SETTINGS, teacher, tokens)
    assert torch.equal(answers(SETTINGS, teacher, tokens), first)
    assert files() == []


@pytest.mark.parametrize(("steps", "count"), [(1, 8), (5, 40), (49, 392), (50, 400), (51, 400)])
def test_the_rows_that_a_stage_reads_are_known_before_its_first_step(tokens: TokenSet, steps: int, count: int) -> None:
    settings = replace(FEW, fixed_steps=steps)
    found = rows_read(settings, tokens.lengths)
    assert len(found) == count
    taken = {row for batch in batches_of(settings, tokens.lengths, 0)[:steps] for row in batch.tolist()}
    assert set(found.tolist()) == taken
    assert found.tolist() == sorted(found.tolist())
