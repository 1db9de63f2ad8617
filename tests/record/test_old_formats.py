"""Run directories and sweeps of released formats are still read, listed, reported and resumed.

`tests/fixtures/runs-0.1.tar.gz` was written by crild 0.1.0: a finished run of two attempts with a probe, a note and a tag; a
stopped run; a sweep of four runs, two of them finished, one stopped, one never started.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from safetensors.torch import load_file

from crild_tui.cli import main
from engine.preset.load import load_preset
from engine.record.events import read_events
from engine.record.probe import read_probe
from engine.record.run import list_runs, read_run
from engine.sweep.record import list_sweeps, read_sweep_record
from tests.conftest import REPOSITORY
from tests.train.tiny_run import work

SWEEP = ("old-toy-sentiment-tiny-pull-with-s1", "old-toy-sentiment-tiny-pull-without-s1")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The runs folder that crild 0.1.0 left."""
    folder = tmp_path / "runs-0.1"
    with tarfile.open(REPOSITORY / "tests" / "fixtures" / "runs-0.1.tar.gz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Python up to 3.11.3
        archive.extractall(folder)
    return folder


def test_runs_of_0_1_are_listed_with_state_and_figures(runs: Path) -> None:
    entries = {entry.id: entry for entry in list_runs(runs)}
    states = {name: entry.state for name, entry in entries.items()}
    assert states == {
        "finished-s7": "finished", "stopped-s7": "stopped", SWEEP[0]: "finished", SWEEP[1]: "finished",
        "old-toy-sentiment-tiny-pull-with-s2": "stopped",
    }  # fmt: skip
    status = entries["finished-s7"].status
    assert status is not None
    assert (status.metric_name, status.last, status.teacher, status.majority) == ("accuracy", 0.5045, 0.5045, 0.4955)
    assert (entries["finished-s7"].note, entries["finished-s7"].tags) == ("a note", ("first",))


def test_presets_events_and_probes_of_0_1_are_read(runs: Path) -> None:
    run_dir = runs / "finished-s7"
    assert [stage.name for stage in load_preset([str(run_dir / "preset.toml")]).preset.stage] == ["ild", "kd"]
    steps = [(event["stage"], event["step"]) for event in read_events(run_dir, {"step"})]
    assert steps[:6] == [("teacher", step) for step in range(1, 7)]
    assert steps[6:12] == [("ild", step) for step in range(1, 7)]
    assert len(steps) == len(set(steps))  # the second attempt's steps replace the first's
    probe = read_probe(run_dir)
    assert probe is not None
    assert probe.layers[0].distances.keys() >= {"attention", "hidden"}


@pytest.mark.parametrize(
    "arguments",
    [["runs"], ["show", "finished-s7"], ["show", "stopped-s7"], ["compare", "finished-s7", "stopped-s7"],
     ["report"], ["logs", SWEEP[0]], ["presets", "validate", "{runs}/finished-s7/preset.toml"]],
    ids=" ".join,
)  # fmt: skip
def test_commands_read_what_0_1_wrote(runs: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [word.format(runs=runs) for word in arguments]
    where = [] if arguments[0] == "presets" else ["--runs-dir", str(runs)]
    assert main([*words, *where]) == 0, capsys.readouterr().err
    assert "Traceback" not in capsys.readouterr().err


def test_a_sweep_of_0_1_is_read_and_reported(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = list_sweeps(runs)
    assert record == read_sweep_record(runs / ".sweep" / "old.json")
    assert (len(record.cells), record.state) == (4, "stopped")
    assert main(["report", "--sweep", "old", "--format", "json", "--runs-dir", str(runs)]) == 0
    assert set(SWEEP) <= {word.strip('" ,') for word in capsys.readouterr().out.split()}


def test_a_stopped_run_of_0_1_resumes_to_the_student_that_0_1_would_have_made(runs: Path) -> None:
    """The finished run of the fixture was stopped at the same step and resumed by 0.1.0 itself."""
    assert read_run(runs / "stopped-s7").state == "stopped"
    results = work(runs / "stopped-s7")
    assert results is not None
    old = json.loads((runs / "finished-s7" / "results.json").read_text())
    assert results["stages"][1]["steps"] == old["stages"][1]["steps"]
    ours, theirs = (load_file(runs / name / "student" / "model.safetensors") for name in ("stopped-s7", "finished-s7"))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():  # not to the last bit: another CPU sums in another order
        assert (ours[name] - tensor).abs().max() < 1e-3, name
