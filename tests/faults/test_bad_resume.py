"""Runs that were edited, torn or finished: a resume that cannot be is refused, and leaves the run as it was."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import engine.launch.start
from engine.errors import DataError
from engine.preset.load import load_preset
from engine.record.run import read_status, update_status
from engine.record.stop_request import Stopped
from tests.cli.samples import make_run
from tests.faults.conftest import QUICK, Crild, Said

Edit = Callable[[str], str]


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, made once."""
    from tests.train.tiny_run import make, materials, work

    folder = tmp_path_factory.mktemp("worked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRILD_CACHE_DIR", str(folder / "cache"))
        run_dir = make(folder, materials(folder), *QUICK, "stage.kd.epochs=2")
        assert work(run_dir) is not None
    return run_dir


@pytest.fixture
def run_dir(worked: Path, runs_dir: Path) -> Path:
    """A copy of it, with a copy of its data."""
    runs_dir.mkdir()
    copied = runs_dir / worked.name
    shutil.copytree(worked, copied)
    return copied


def snapshot(run_dir: Path) -> dict[str, bytes]:
    """What a resume must leave alone."""
    return {name: (run_dir / name).read_bytes() for name in ("status.json", "preset.toml", "events.1.jsonl")}


@pytest.fixture
def unmoved(crild: Crild, run_dir: Path) -> Callable[..., Said]:
    """`crild resume` of the run with these words is refused, and changes nothing."""

    def call(*words: str, code: int = 2) -> Said:
        before = snapshot(run_dir)
        said = crild("resume", run_dir.name, *words)
        assert said.code == code, said.err
        assert said.out == ""
        assert all(line.startswith("error: ") for line in said.err.splitlines())
        assert snapshot(run_dir) == before
        return said

    return call


# -- finished


def test_a_finished_run_is_not_resumed_as_it_is(unmoved: Callable[..., Said], run_dir: Path) -> None:
    printed = unmoved().err
    assert f"{run_dir.name} is finished" in printed
    assert f"crild resume {run_dir.name} --set stage.kd.epochs=8" in printed


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("stage.kd.epochs=1", ("stage kd", "8 steps", "epochs = 1 would be 4")),
        ("stage.ild.epochs=5", ("stage ild", "2 steps", "later stages")),
        ("stage.kd.epochs=many", ("stage.kd.epochs must be",)),
        ("stage.kx.epochs=3", ('"kx"',)),
        ("stage.kd.epochs=", ("stage.kd.epochs must be",)),
    ],
)
def test_lengths_that_can_no_longer_change(unmoved: Callable[..., Said], setting: str, facts: tuple[str, ...]) -> None:
    printed = unmoved("--set", setting).err
    assert printed.startswith(f"error: --set {setting}: ")
    assert all(fact in printed for fact in facts), printed


@pytest.mark.parametrize("setting", ["seed=3", "student.layers=1", "task.max_length=8", "stage.kd.batch_size=4"])
def test_settings_that_can_no_longer_change(unmoved: Callable[..., Said], setting: str) -> None:
    printed = unmoved("--set", "stage.kd.epochs=4", "--set", setting).err
    assert printed.startswith(f"error: {setting.partition('=')[0]} ")
    assert f"--set '{setting}'" in printed


# -- edited by hand


@pytest.mark.parametrize(
    ("edit", "key", "was", "now"),
    [
        (lambda text: text.replace("batch_size = 16", "batch_size = 8"), "stage.ild.batch_size", "16", "8"),
        (lambda text: text.replace("layers = 2", "layers = 3"), "student.layers", "2", "3"),
        (lambda text: text.replace("value = 0.5", "value = 0.7"), "stage.ild.objectives.value", "0.5", "0.7"),
        (lambda text: text.replace("seed = 7", "seed = 8"), "seed", "7", "8"),
        (lambda text: text.replace('name = "ild"', 'name = "ilx"'), "stages", '["ild", "kd"]', '["ilx", "kd"]'),
        (lambda text: text.replace("train.csv", "dev.csv"), "task.files.train", "train.csv", "dev.csv"),
    ],
)
def test_a_preset_that_no_longer_fits_the_run(
    unmoved: Callable[..., Said], run_dir: Path, edit: Edit, key: str, was: str, now: str
) -> None:
    update_status(run_dir, state="stopped")
    file = run_dir / "preset.toml"
    file.write_text(edit(file.read_text()))
    printed = unmoved().err
    _, named, rest = printed.partition(f" {key} ")
    before, new, _ = rest.partition(now)
    assert named
    assert new
    assert was in before
    assert f"{file}:" in printed


def test_an_engine_that_is_started_otherwise_refuses_it_too(run_dir: Path) -> None:
    """The command line checks first, so that the run keeps its state; the engine checks whoever starts it."""
    from engine.errors import PresetError
    from tests.train.tiny_run import work

    update_status(run_dir, state="stopped")
    file = run_dir / "preset.toml"
    file.write_text(file.read_text().replace("seed = 7", "seed = 8"))
    with pytest.raises(PresetError) as caught:
        work(run_dir)
    assert [problem.kind for problem in caught.value.problems] == ["incompatible-change"]
    assert "seed was 7" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x1b[31m[[[", ":1: not valid TOML at column 1"),
        (b"", "empty"),
        (b"\xff\xfe\x00", "UTF-16"),
        (b"nonsense = 1\n", '"nonsense"'),
    ],
)
def test_a_preset_that_is_none_any_more(unmoved: Callable[..., Said], run_dir: Path, content: bytes, said: str) -> None:
    update_status(run_dir, state="stopped")
    (run_dir / "preset.toml").write_bytes(content)
    assert said in unmoved().err


def test_data_that_moved_are_followed_and_data_that_changed_are_refused(
    crild: Crild, engine_here: None, run_dir: Path, tmp_path: Path
) -> None:
    preset = load_preset([str(run_dir / "preset.toml")]).preset
    assert preset.task.files is not None
    old, new = Path(preset.task.files.train).parent, tmp_path / "elsewhere"
    new.mkdir()
    for name in ("train.csv", "dev.csv"):
        shutil.copy(old / name, new)
    shutil.copytree(old / "teacher", new / "teacher")
    file = run_dir / "preset.toml"
    file.write_text(file.read_text().replace(str(old), str(new)))
    assert crild("resume", run_dir.name, "--set", "stage.kd.epochs=3", "--quiet").code == 0
    assert read_status(run_dir).state == "finished"
    before, written = read_status(run_dir), file.read_bytes()
    train = new / "train.csv"
    train.write_text(train.read_text().replace(",good", ",bad", 1))
    said = crild("resume", run_dir.name, "--set", "stage.kd.epochs=4", "--quiet")
    assert said.code == 3
    assert said.err.startswith(f"error: {train}:")
    assert "56 rows" in said.err
    after = read_status(run_dir)
    assert (after.state, after.started, after.ended) == ("finished", before.started, before.ended), "its results stand"
    assert file.read_bytes() == written, "and its preset is theirs"


@pytest.mark.parametrize(
    ("ending", "code", "kind"),
    [
        (DataError("the file server is gone", kind="gone"), 3, "data"),
        (Stopped(), 143, "run"),
        (AssertionError("a bug"), 1, "bug"),
    ],
)
def test_an_extension_that_ends_before_it_trains_leaves_the_run_finished(
    engine_here: None,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: BaseException,
    code: int,
    kind: str | None,
) -> None:
    def end(*_arguments: object, **_named: object) -> None:
        raise ending

    monkeypatch.setattr("engine.train.experiment.load_materials", end)
    file = run_dir / "preset.toml"
    before, written, results = read_status(run_dir), file.read_bytes(), (run_dir / "results.json").read_bytes()
    file.write_bytes(written.replace(b"epochs = 2", b"epochs = 3"))
    with contextlib.suppress(AssertionError):
        engine.launch.start.start_engine(run_dir)
    after = read_status(run_dir)
    assert (after.state, after.started, after.ended) == ("finished", before.started, before.ended)
    assert (after.exit_code, after.error.kind if after.error else None) == (code, kind)
    assert file.read_bytes() == written, "and its preset is that of its results"
    assert (run_dir / "results.json").read_bytes() == results


# -- not there, not whole, not ours


@pytest.mark.parametrize("ref", ["nope", "", ".", "..", "/", "/tmp", "~x", "a/b", "a\x1b[31m", "x" * 500, "latest"])
def test_runs_that_are_none(crild: Crild, ref: str) -> None:
    for command in ("resume", "show", "stop", "attach", "logs"):
        said = crild(command, ref)
        assert said.code == 2, said.err
        assert said.err.startswith("error: ")
        assert "there is no run" in said.err or "has no status.json" in said.err


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"schema": 1, "id": ',
        "[" * 100_000,
        "[]",
        '{"schema": 1}',
        '{"schema": 1, "id": 5, "state": "\\u001b[31mx"}',
    ],
)
def test_a_status_that_is_torn_or_foreign_is_rebuilt(crild: Crild, run_dir: Path, content: str) -> None:
    before = read_status(run_dir)
    (run_dir / "status.json").write_text(content)
    after = read_status(run_dir)
    assert (after.state, after.last, after.done) == (before.state, before.last, before.done)
    resumed = crild("resume", run_dir.name)
    assert resumed.code == 2
    assert f"{run_dir.name} is finished" in resumed.err
    shown = crild("show", run_dir.name)
    assert "status.json is damaged" in shown.out
    assert run_dir.name in crild("runs").out
    assert (run_dir / "status.json").read_text() == content


def test_a_status_of_a_newer_crild_is_left_alone(crild: Crild, run_dir: Path) -> None:
    (run_dir / "status.json").write_text('{"schema": 99}')
    resumed = crild("resume", run_dir.name)
    assert resumed.code == 2
    assert f"{run_dir.name} cannot be resumed: " in resumed.err
    assert "schema 99" in resumed.err
    assert f"run `crild run {run_dir / 'preset.toml'}` to repeat it" in resumed.err
    assert "unreadable" in crild("show", run_dir.name).out


def test_half_a_run_directory(crild: Crild, runs_dir: Path) -> None:
    (runs_dir / "empty").mkdir(parents=True)
    assert crild("show", "empty").code == 2
    (runs_dir / "half").mkdir()
    (runs_dir / "half" / "preset.toml").write_text("seed = 1\n")
    assert "status.json is missing" in crild("show", "half").out
    assert "half cannot be resumed: status.json is missing" in crild("resume", "half").err
    run_dir = make_run(runs_dir, "bare", state="stopped")
    (run_dir / "preset.toml").unlink()
    assert crild("show", "bare").code == 0
    said = crild("resume", "bare")
    assert said.code == 2
    assert f'there is no preset file "{run_dir / "preset.toml"}"' in said.err


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "null", "[]", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "student": []}',
        '{"schema": 1, "task": 5, "metric": null, "student": {"metrics": {"a\\u001b[31m": "x", "b": null}}, "teacher": 7}',
    ],
)  # fmt: skip
def test_results_that_are_torn_or_foreign(crild: Crild, run_dir: Path, runs_dir: Path, content: str) -> None:
    make_run(runs_dir, "whole")
    (run_dir / "results.json").write_text(content)
    shown = crild("show", run_dir.name)
    assert shown.code == 0
    assert "state:   finished" in shown.out
    assert crild("compare", run_dir.name, "whole").code == 0
    document = json.loads(crild("show", run_dir.name, "--json").out)
    assert document["state"] == "finished"


def test_events_and_faults_from_outside_are_shown_not_obeyed(crild: Crild, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir, "odd", state="failed")
    lines = [
        b"\x00\x1b[31mgarbage",
        b'{"v": 1, "t": 1, "kind": "message", "level": "error", "text": "\\u001b[2Jgone"}',
        b'{"v": 1, "t": 1, "kind": "step", "stage": 5, "step": "x", "loss": []}',
        b'{"v": 1, "t": 1, "kind": "stage_started", "stage": "\\u001b]0;x\\u0007", "steps": null}',
        b'{"v": 1, "t": 1, "kind": "run_started", "stages": 7, "stage": null, "step": {}}',
        b"[1, 2",
    ]
    (run_dir / "events.1.jsonl").write_bytes(b"\n".join(lines))
    (run_dir / "log.1.txt").write_bytes(b"\x1b[31mred\x07\r\n\xff\n")
    status = json.loads((run_dir / "status.json").read_text())
    status["error"] = {"kind": "data", "sentence": "x\x1b[31m", "file": "a\x1b[0m", "line": 3, "key": None}
    (run_dir / "status.json").write_text(json.dumps(status))
    shown = crild("show", "odd")
    assert "\\x1b[2Jgone" in shown.out
    assert "a\\x1b[0m:3: x\\x1b[31m" in shown.out
    attached = crild("attach", "odd")
    assert attached.code == 3
    assert "\\x1b[2Jgone" in attached.err
    assert "\\x1b[31mred\\x07" in crild("logs", "odd").out


# -- notes and tags


@pytest.mark.parametrize("text", ["\x1b[31mred", "\u202e", "a\0b", "\x07"])
def test_notes_that_would_act_on_a_terminal(crild: Crild, runs_dir: Path, text: str) -> None:
    run_dir = make_run(runs_dir)
    said = crild("note", "rte", text)
    assert said.code == 2
    assert "control characters" in said.err
    assert not (run_dir / "annotations.json").exists()


def test_notes_and_tags_that_came_otherwise_are_shown_not_obeyed(crild: Crild, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    document = {"schema": 1, "note": "\x1b[31mred\nsecond", "tags": ["\x1b[2J"]}
    (run_dir / "annotations.json").write_text(json.dumps(document))
    shown = crild("show", "rte")
    assert "note:    \\x1b[31mred" in shown.out
    assert "[2J" in shown.out  # a tag is printable words
    assert "\x1b" not in shown.out


@pytest.mark.parametrize("tag", ["a b", "a,b", "", "\x1b[1m", "x" * 51])
def test_words_that_are_no_tags(crild: Crild, runs_dir: Path, tag: str) -> None:
    make_run(runs_dir)
    said = crild("tag", "rte", "--", tag)
    assert said.code == 2
    assert "50 characters" in said.err
