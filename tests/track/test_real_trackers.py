"""The trackers themselves: what they store is what the events say, each value once, also after a kill.

Each needs its extra: crild[tensorboard], crild[wandb], crild[mlflow], crild[trackio].
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.launch.start import start_reader
from engine.record.events import read_events
from engine.record.files import write_json
from engine.record.inventory import foreign_files
from engine.record.paths import RESULTS
from engine.record.removal import OpenFolder
from engine.record.tracking import Tracking, read_tracking
from engine.track.curves import KINDS, Curves
from engine.user.tracking import is_installed
from tests.cli.samples import RESULTS as SAMPLE
from tests.conftest import PATIENCE
from tests.launch.fake_engines import wait_for
from tests.track.samples import attempt, run_of, set_state

LENGTH = 700
"""Steps of a stage: enough that a kill finds the reader sending."""

Stored = tuple[str, int, float]
"""A curve, a step, and its value."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with trackers that stay on this machine."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in ("WANDB_DIR", "WANDB_API_KEY", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def need(kind: str) -> None:
    if not is_installed(kind):
        pytest.skip(f"{kind} is not installed: pip install 'crild[{kind}]'")


def send(run_dir: Path, kind: str, *options: str) -> Tracking:
    """Send a run with a reader of its own process, to the end; returns the record."""
    assert start_reader(run_dir, kind, *options).wait(PATIENCE) == 0, record(run_dir, kind).error
    return record(run_dir, kind)


def record(run_dir: Path, kind: str) -> Tracking:
    return read_tracking(run_dir, kind) or Tracking()


def printed(code: str, *words: str) -> Any:
    """The JSON that code prints in a process of its own."""
    return json.loads(
        subprocess.run([sys.executable, "-P", "-c", code, *words], check=True, capture_output=True).stdout
    )


def of_tensorboard(run_dir: Path) -> list[Stored]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    stored = EventAccumulator(record(run_dir, "tensorboard").remote, size_guidance={"scalars": 0})
    stored.Reload()
    return [(tag, event.step, event.value) for tag in stored.Tags()["scalars"] for event in stored.Scalars(tag)]


def rows_of_wandb(folder: Path) -> list[dict[str, Any]]:
    """Rows of history in all of W&B's files, as its own reader prints them."""
    rows: list[dict[str, Any]] = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        words = [sys.executable, "-P", "-m", "wandb", "beta", "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(words, check=False, capture_output=True).stdout.splitlines()
        items = (json.loads(line).get("history", {}).get("item") for line in lines)
        rows += [item for item in items if item is not None]
    return rows


def of_wandb(run_dir: Path) -> list[Stored]:
    return [
        (name, row[f"{name.partition('/')[0]}/step"], value)
        for row in rows_of_wandb(run_dir.parent.parent)
        for name, value in row.items()
        if "/" in name and not name.endswith("/step")
    ]


def of_mlflow(run_dir: Path) -> list[Stored]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run_dir.parent.parent / 'mlflow.db'}")
    run = record(run_dir, "mlflow").remote
    names = client.get_run(run).data.metrics
    return [(name, one.step, one.value) for name in names for one in client.get_metric_history(run, name)]


def of_trackio(run_dir: Path) -> list[Stored]:
    code = (
        "import json, sys\nfrom trackio.sqlite_storage import SQLiteStorage\n"
        "print(json.dumps(SQLiteStorage.get_logs('crild', sys.argv[1]), default=str))"
    )
    rows = printed(code, record(run_dir, "trackio").remote)
    named = [(name, row["step"], value) for row in rows for name, value in row.items() if "/" in name]
    return [one for one in named if isinstance(one[2], int | float)]


READ: dict[str, Callable[[Path], list[Stored]]] = {
    "tensorboard": of_tensorboard, "wandb": of_wandb, "mlflow": of_mlflow, "trackio": of_trackio,
}  # fmt: skip
KINDS_OF_TRACKERS = [pytest.param(kind, id=kind) for kind in READ]


def curves_of(run_dir: Path) -> list[Stored]:
    """What the events say."""
    points = Curves().add(read_events(run_dir, KINDS))
    return sorted((name, point.step, value) for point in points for name, value in point.values.items())


def as_stored(kind: str, values: Sequence[Stored]) -> list[Stored]:
    """Values as a tracker stores them: TensorBoard with 32 bits."""
    if kind != "tensorboard":
        return sorted(values)
    return sorted((name, step, struct.unpack("f", struct.pack("f", value))[0]) for name, step, value in values)


def curves_in(kind: str, run_dir: Path) -> list[Stored]:
    return sorted(one for one in READ[kind](run_dir) if not one[0].startswith("results/"))


@pytest.mark.parametrize("kind", KINDS_OF_TRACKERS)
def test_a_tracker_stores_what_the_events_say_and_its_reader_may_be_killed(kind: str, place: Path) -> None:
    need(kind)
    run_dir = run_of(place / "runs", state="stopped", steps=LENGTH)
    set_state(run_dir, "running")
    reader = start_reader(run_dir, kind, "--background")
    assert wait_for(lambda: record(run_dir, kind).points > 0)
    os.kill(reader.pid, signal.SIGKILL)
    reader.wait()
    time.sleep(0.5)  # W&B's own process notices it
    attempt(run_dir, 2, {"kd": range(LENGTH - 50, LENGTH + 51)}, start=("kd", LENGTH - 51)).close()
    write_json(run_dir / RESULTS, SAMPLE)
    set_state(run_dir, "finished", attempt=2)
    assert send(run_dir, kind).error is None
    stored = curves_in(kind, run_dir)
    assert stored == as_stored(kind, curves_of(run_dir))
    assert max(Counter((name, step) for name, step, _ in stored).values()) == 1
    send(run_dir, kind)
    assert curves_in(kind, run_dir) == stored
    results = {name: value for name, _, value in READ[kind](run_dir) if name.startswith("results/")}
    if kind != "wandb":  # they stand in its summary
        assert results["results/student/accuracy"] == pytest.approx(0.6751)
    with OpenFolder.at(run_dir) as folder:
        assert foreign_files(folder) == []


def test_tensorboard_has_the_times_of_the_events_the_settings_and_the_table(place: Path) -> None:
    need("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = run_of(place / "runs")
    send(run_dir, "tensorboard")
    stored = EventAccumulator(str(run_dir / "tensorboard"))
    stored.Reload()
    first = next(read_events(run_dir, {"step"}))
    assert stored.Scalars("ild/loss")[0].wall_time == pytest.approx(first["t"], abs=0.01)
    texts = [stored.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in stored.Tags()["tensors"]]
    assert any("stage.ild.epochs" in text for text in texts)
    assert any("67.51" in text for text in texts)
    assert any("hparams" in name for name in stored.summary_metadata)


def test_tensorboards_folder_may_hold_all_runs_and_two_of_one_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("tensorboard")
    settings = place / "settings.toml"
    settings.write_text(f'[track]\ntensorboard_folder = "{place / "logs"}"\n')
    monkeypatch.setenv("CRILD_CONFIG", str(settings))
    folders = []
    for runs in ("a", "b"):
        run_dir = run_of(place / runs / "runs")
        folders.append(Path(send(run_dir, "tensorboard").remote))
        assert curves_in("tensorboard", run_dir) == as_stored("tensorboard", curves_of(run_dir))
    assert folders[0] == place / "logs" / "crild" / "r-s1" != folders[1]
    assert folders[1].parent == folders[0].parent


def test_wandb_offline_has_axes_of_stages_times_config_and_results(place: Path) -> None:
    need("wandb")
    run_dir = run_of(place / "runs", tags=("first",))
    send(run_dir, "wandb")
    first = next(read_events(run_dir, {"step"}))
    row = rows_of_wandb(place)[0]
    assert (row["_step"], row["ild/step"], row["_timestamp"]) == (0, 1, pytest.approx(first["t"]))
    (file,) = place.glob("wandb/offline-run-*/*.wandb")
    words = [sys.executable, "-P", "-m", "wandb", "beta", "leet", "inspect", "--json", str(file)]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert '"results/student/accuracy":0.6751' in text
    assert "stage.ild.epochs" in text
    assert '"step_metric":"ild/step"' in text
    assert "cpu_count" not in text
    assert '"program"' not in text


def test_mlflow_has_times_settings_tags_the_table_the_state_and_the_student(place: Path) -> None:
    need("mlflow")
    from mlflow import MlflowClient

    run_dir = run_of(place / "runs", tags=("first",))
    (run_dir / "student" / "config.json").write_text("{}")
    send(run_dir, "mlflow", "--student")
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    run = client.get_run(record(run_dir, "mlflow").remote)
    first = next(read_events(run_dir, {"step"}))
    assert client.get_metric_history(run.info.run_id, "ild/loss")[0].timestamp == round(first["t"] * 1000)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "r-s1")
    assert run.data.params["stage.ild.epochs"] == "4.0"
    assert run.data.tags["first"] == "true"
    assert "67.51" in run.data.tags["mlflow.note.content"]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "student")] == ["student/config.json"]
    stopped = run_of(place / "runs", "stopped", state="stopped")
    failed = run_of(place / "runs", "failed", state="failed")
    for other, state in ((stopped, "KILLED"), (failed, "FAILED")):
        send(other, "mlflow")
        assert client.get_run(record(other, "mlflow").remote).info.status == state
        send(other, "mlflow")
        assert client.get_run(record(other, "mlflow").remote).info.status == state


def test_mlflow_finds_its_run_without_the_record(place: Path) -> None:
    need("mlflow")
    run_dir = run_of(place / "runs")
    before = send(run_dir, "mlflow")
    (run_dir / "tracking.mlflow.json").unlink()
    assert send(run_dir, "mlflow").remote == before.remote
    assert curves_in("mlflow", run_dir) == curves_of(run_dir)


def test_trackio_has_settings_and_keeps_two_runs_of_one_name_apart(place: Path) -> None:
    need("trackio")
    names = []
    for runs in ("a", "b"):
        run_dir = run_of(place / runs / "runs")
        names.append(send(run_dir, "trackio").remote)
        assert curves_in("trackio", run_dir) == curves_of(run_dir)
    assert names[0] == "r-s1" != names[1]
    code = (
        "import json, sys\nfrom trackio.sqlite_storage import SQLiteStorage\n"
        "print(json.dumps(SQLiteStorage.get_run_config('crild', sys.argv[1])))"
    )
    assert printed(code, "r-s1")["stage.ild.epochs"] == 4.0


def test_a_server_that_is_down_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:word@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run_dir = run_of(place / "runs")
    assert start_reader(run_dir, "mlflow").wait(PATIENCE) == 1
    error = record(run_dir, "mlflow").error
    assert error is not None
    assert "127.0.0.1" in error
    assert "word" not in (run_dir / "tracking.mlflow.json").read_text()


def test_wandb_without_a_key_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    run_dir = run_of(place / "runs")
    assert start_reader(run_dir, "wandb").wait(PATIENCE) == 1
    assert "W&B" in (record(run_dir, "wandb").error or "")
