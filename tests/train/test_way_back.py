"""A run whose files were damaged goes back to the newest whole state, says so, and ends with the same student."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import CrildError
from engine.preset.load import load_preset
from engine.preset.write import dump
from engine.record.checkpoints import Checkpoints
from engine.record.events import Event, EventWriter, read_events
from engine.record.run import read_run
from engine.train.loop import StageRun
from tests.record.checkpoint_samples import flip
from tests.train.tiny_run import make, materials, work

SETTINGS = (
    "teacher.finetune.epochs=0.5", "stage.ild.epochs=0.5", "stage.kd.epochs=1.5", "stage.kd.evaluate=3",
    "train.checkpoint_every=1", "train.keep_checkpoints=4", "baseline.enabled=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task and a teacher, and with the cache of all runs of this module."""
    folder = tmp_path_factory.mktemp("way-back")
    (folder / "preset.toml").write_text(materials(folder))
    return folder


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))


def make_run(folder: Path, name: str, *settings: str) -> Path:
    return make(folder, (folder / "preset.toml").read_text(), *SETTINGS, *settings, name=name)


def in_cache(folder: Path, build: Callable[[], Path]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        return build()


@pytest.fixture(scope="module")
def student(folder: Path) -> bytes:
    """The student of the run that nothing happened to."""

    def build() -> Path:
        run_dir = make_run(folder, "whole")
        assert work(run_dir) is not None
        return run_dir

    return weights(in_cache(folder, build))


@pytest.fixture(scope="module")
def stopped_run(folder: Path) -> Path:
    """A run that was stopped at step 5 of its last stage, whose best weights are those of step 3."""

    def build() -> Path:
        run_dir = make_run(folder, "stopped")
        assert work(run_dir, stop_after=("kd", 5)) is None
        return run_dir

    return in_cache(folder, build)


@pytest.fixture
def run_dir(stopped_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    copied = tmp_path / stopped_run.name
    shutil.copytree(stopped_run, copied)
    return copied


def weights(run_dir: Path) -> bytes:
    return (run_dir / "student" / "model.safetensors").read_bytes()


def started(run_dir: Path) -> Event:
    """The first event of the last attempt."""
    return list(read_events(run_dir, {"run_started"}))[-1]


def warnings(run_dir: Path) -> list[str]:
    return [
        e["text"] for e in read_events(run_dir, {"message"}) if e["level"] == "warning" and "checkpoint" in e["text"]
    ]


def of_newest(name: str) -> Callable[[Path], Path]:
    return lambda run_dir: Checkpoints(run_dir).named[0].path / name


def of_best(name: str) -> Callable[[Path], Path]:
    return lambda run_dir: run_dir / "checkpoints" / "best-kd-00000003" / name


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def change(run_dir: Path, *settings: str) -> None:
    """Change settings of a run, as `crild resume --set` does."""
    file = run_dir / "preset.toml"
    file.write_text(dump(load_preset([str(file)], settings).preset))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (of_newest("model.safetensors"), flip),
        (of_newest("optimiser.safetensors"), cut),
        (of_newest("state.json"), flip),
        (of_newest("manifest.json"), Path.unlink),
    ],
    ids=["model", "optimiser", "state", "manifest"],
)
def test_a_damaged_newest_checkpoint_is_passed_over(
    run_dir: Path, student: bytes, file: Callable[[Path], Path], damage: Callable[[Path], None]
) -> None:
    damage(file(run_dir))
    assert work(run_dir) is not None
    assert weights(run_dir) == student
    event = started(run_dir)
    assert (event["stage"], event["step"], event["repeated"]) == ("kd", 4, 1)
    (warning,) = warnings(run_dir)
    assert all(fact in warning for fact in ("002-kd-00000005", "stage kd", "step 4", "1 step"))


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["bit", "removed"])
def test_damaged_best_weights_send_it_back_to_where_they_were_the_weights(
    run_dir: Path, student: bytes, damage: Callable[[Path], None]
) -> None:
    damage(of_best("model.safetensors")(run_dir))
    assert work(run_dir) is not None
    assert weights(run_dir) == student
    assert (started(run_dir)["step"], started(run_dir)["repeated"]) == (3, 2)
    (warning,) = warnings(run_dir)
    assert "best-kd-00000003" in warning


def test_best_weights_that_are_damaged_while_it_trains_end_one_attempt_only(
    folder: Path, student: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run(folder, "damaged-late")
    assert work(run_dir, stop_after=("kd", 3), kind="checkpoint") is None  # at step 4

    def damaging(stage: StageRun) -> None:
        flip(of_best("model.safetensors")(stage.context.run_dir))

    with monkeypatch.context() as patch:
        patch.setattr(StageRun, "_finished", damaging)
        with pytest.raises(CrildError) as caught:
            work(run_dir)
    assert caught.value.kind == "best-weights-damaged"
    assert work(run_dir) is not None
    assert weights(run_dir) == student


def test_without_checkpoints_it_starts_again_and_says_so(run_dir: Path, student: bytes) -> None:
    shutil.rmtree(run_dir / "checkpoints")
    assert work(run_dir) is not None
    assert weights(run_dir) == student
    assert (started(run_dir)["step"], started(run_dir)["repeated"]) == (0, 7)
    (warning,) = warnings(run_dir)
    assert all(fact in warning for fact in ("step 5", "stage kd", "step 0", "7 steps"))


def test_a_new_checkpoint_outlives_damaged_ones_with_higher_numbers(run_dir: Path, student: bytes) -> None:
    change(run_dir, "train.keep_checkpoints=1")
    for checkpoint in Checkpoints(run_dir).named:
        flip(checkpoint.path / "model.safetensors")
    assert work(run_dir, stop_after=("ild", 1)) is None
    assert started(run_dir)["repeated"] == 7
    assert [one.name for one in Checkpoints(run_dir).whole()] == ["001-ild-00000001"]
    assert [one.name for one in Checkpoints(run_dir).named] == ["001-ild-00000001"], "damaged ones take no space"
    assert work(run_dir) is not None
    assert (started(run_dir)["stage"], started(run_dir)["step"]) == ("ild", 1)
    assert weights(run_dir) == student


def test_a_run_that_was_only_killed_gives_no_warning(run_dir: Path) -> None:
    assert work(run_dir) is not None
    assert started(run_dir)["repeated"] == 0
    assert not warnings(run_dir)


# -- a finished run that is trained for longer


@pytest.fixture(scope="module")
def finished_run(folder: Path) -> Path:
    """A finished run with a baseline."""

    def build() -> Path:
        run_dir = make_run(folder, "finished", "baseline.enabled=true", "train.checkpoint_every=2")
        assert work(run_dir) is not None
        return run_dir

    return in_cache(folder, build)


@pytest.fixture(scope="module")
def extended_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """The same, trained for longer without a stop."""

    def build() -> Path:
        run_dir = copied(finished_run, tmp_path_factory.mktemp("extended"))
        change(run_dir, "stage.kd.epochs=2.5")
        assert work(run_dir) is not None
        return run_dir

    return in_cache(folder, build)


def copied(run_dir: Path, folder: Path) -> Path:
    shutil.copytree(run_dir, folder / run_dir.name)
    return folder / run_dir.name


def outcome(run_dir: Path) -> list[bytes]:
    """Student, and weights and answers of the baseline."""
    baseline = next(one for one in Checkpoints(run_dir).named if one.stage == "baseline")
    assert baseline.step == 12
    answers = run_dir / "predictions" / "baseline.jsonl"
    return [weights(run_dir), (baseline.path / "model.safetensors").read_bytes(), answers.read_bytes()]


def curve(run_dir: Path) -> list[tuple[str, int, float]]:
    return [(e["stage"], e["step"], e["loss"]) for e in read_events(run_dir, {"step"}) if e["stage"] == "baseline"]


@pytest.mark.parametrize("point", [("kd", 8), ("baseline", 3)])
def test_a_stop_while_a_finished_run_is_extended_changes_nothing(
    finished_run: Path, extended_run: Path, tmp_path: Path, point: tuple[str, int]
) -> None:
    run_dir = copied(finished_run, tmp_path)
    change(run_dir, "stage.kd.epochs=2.5")
    assert work(run_dir, stop_after=point) is None
    if point[0] == "kd":  # as crild up to 0.2 left it
        old = Path("checkpoints", "003-baseline-00000008")
        shutil.copytree(finished_run / old, run_dir / old, dirs_exist_ok=True)
    assert work(run_dir) is not None
    assert (started(run_dir)["stage"], started(run_dir)["step"]) == point
    assert outcome(run_dir) == outcome(extended_run)
    assert curve(run_dir) == curve(extended_run)
    assert not warnings(run_dir)


def test_a_stage_is_not_shortened_below_what_its_extension_has_done(finished_run: Path, tmp_path: Path) -> None:
    run_dir = copied(finished_run, tmp_path)
    change(run_dir, "stage.kd.epochs=2.5")
    assert work(run_dir, stop_after=("kd", 9)) is None
    change(run_dir, "stage.kd.epochs=2")
    with pytest.raises(CrildError) as caught:
        work(run_dir)
    assert caught.value.kind == "incompatible-change"
    assert "9 steps" in str(caught.value)


def test_a_finished_run_writes_lost_results_again(finished_run: Path, tmp_path: Path) -> None:
    run_dir = copied(finished_run, tmp_path)
    before = weights(run_dir)
    (run_dir / "results.json").write_text("torn")
    shutil.rmtree(run_dir / "student")
    assert work(run_dir) is not None
    assert weights(run_dir) == before
    assert read_run(run_dir).state == "finished"


# -- a directory that is renamed, removed or copied while the run works


def at_step(monkeypatch: pytest.MonkeyPatch, point: tuple[str, int], act: Callable[[], object]) -> None:
    """Do something to the run directory once, when a step is reported."""
    real = EventWriter.write
    waiting = [act]

    def write(self: EventWriter, kind: str, **fields: Any) -> None:
        real(self, kind, **fields)
        if kind == "step" and (fields["stage"], fields["step"]) == point and waiting:
            waiting.pop()()

    monkeypatch.setattr(EventWriter, "write", write)


def test_a_renamed_run_goes_on_in_its_directory(folder: Path, student: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(folder, "old-name")
    new = run_dir.with_name("nice-name")
    at_step(monkeypatch, ("kd", 2), lambda: run_dir.rename(new))
    results = work(run_dir)
    assert results is not None
    assert not run_dir.exists()
    assert weights(new) == student
    assert str(new) in results["command"]
    entry = read_run(new)
    assert entry.status is not None
    assert (entry.state, entry.status.id) == ("finished", "nice-name")
    assert [e["step"] for e in read_events(new, {"step"}) if e["stage"] == "kd"] == [1, 2, 3, 4, 5, 6]
    assert any("nice-name" in e["text"] for e in read_events(new, {"message"}))


def test_another_run_with_the_old_name_is_left_alone(
    folder: Path, student: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run(folder, "taken")
    new = run_dir.with_name("moved")
    other = make_run(folder, "other")

    def exchange() -> None:
        run_dir.rename(new)
        other.rename(run_dir)

    at_step(monkeypatch, ("kd", 2), exchange)
    assert work(run_dir) is not None
    assert weights(new) == student
    assert sorted(path.name for path in run_dir.iterdir()) == ["environment.json", "preset.toml", "status.json"]
    assert read_run(run_dir).state == "created"


def test_a_removed_run_stops_and_is_not_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(folder, "removed")
    at_step(monkeypatch, ("kd", 2), lambda: shutil.rmtree(run_dir))
    with pytest.raises(CrildError) as caught:
        work(run_dir)
    assert caught.value.kind == "run-directory-gone"
    assert not run_dir.exists()


def test_a_copy_made_while_it_works_is_a_run_of_its_own(
    folder: Path, student: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run(folder, "original")
    copy = run_dir.with_name("copy")
    at_step(monkeypatch, ("kd", 2), lambda: shutil.copytree(run_dir, copy))
    assert work(run_dir) is not None
    assert weights(run_dir) == student
    assert read_run(copy).state == "lost"
    assert work(copy) is not None
    assert weights(copy) == student


def test_a_run_that_is_renamed_while_it_trains_its_own_teacher_keeps_it(
    folder: Path, student: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_run(folder, "own-teacher", "train.save_teacher_cache=false")
    new = run_dir.with_name("new-home")
    at_step(monkeypatch, ("teacher", 1), lambda: run_dir.rename(new))
    assert work(run_dir) is not None
    assert not run_dir.exists()
    assert (new / "teacher" / "model.safetensors").is_file()
    assert weights(new) == student
