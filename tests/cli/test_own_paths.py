"""No output that a user asks for replaces a file of crild's."""

from __future__ import annotations

from pathlib import Path

import pytest

from crild_tui.runs.table_file import named_file
from engine.errors import UsageError
from engine.record.own_paths import refuse_own_path
from engine.record.paths import cache_dir
from tests.cli.conftest import Call
from tests.cli.samples import make_run
from tests.cli.test_errors_command import a_run


@pytest.mark.parametrize(
    "name", ["results.json", "status.json", "preset.toml", "events.1.jsonl", "log.3.txt", "probe.json"]
)
def test_no_report_replaces_a_file_of_a_run(name: str, crild: Call, runs_dir: Path) -> None:
    run_dir = make_run(runs_dir)
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    done = crild("report", "-o", str(run_dir / name), "--format", "json")
    assert done.code == 2
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before


def test_users_own_files_are_written_beside_them(crild: Call, runs_dir: Path, tmp_path: Path) -> None:
    run_dir = make_run(runs_dir)
    (tmp_path / "preset.toml").write_text("")
    for file in (run_dir / "table.csv", run_dir / "student" / "table.csv", tmp_path / "results.json"):
        assert crild("report", "-o", str(file)).code == 0, file
        assert file.is_file()


def kind_for(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        refuse_own_path(path)
    return caught.value.kind


def test_links_records_and_the_cache(runs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_run(runs_dir)
    (tmp_path / "link.json").symlink_to(run_dir / "results.json")
    (tmp_path / "linked").symlink_to(run_dir)
    monkeypatch.chdir(run_dir)
    of_run = (
        Path("results.json"), tmp_path / "link.json", tmp_path / "linked" / "status.json", run_dir / "student" / ".." / "lock",
        run_dir / "student" / "model.safetensors", run_dir / "predictions" / "student.jsonl",
        run_dir / "checkpoints" / "001-kd-00000010" / "manifest.json",
    )  # fmt: skip
    assert {kind_for(path) for path in of_run} == {"output-is-file-of-run"}
    assert kind_for(runs_dir / ".sweep" / "study.json") == "output-among-records"
    for kind in ("tokens", "logits", "teachers", "crashes"):
        assert kind_for(cache_dir() / kind / "table.csv") == "output-in-cache"
    refuse_own_path(cache_dir() / "table.csv")


def test_every_output_asks(crild: Call, runs_dir: Path) -> None:
    run_dir = a_run(runs_dir)
    figures = runs_dir.parent / "figures"
    figures.mkdir()
    (figures / "final.svg").symlink_to(run_dir / "results.json")
    before = (run_dir / "results.json").read_bytes()
    assert crild("presets", "new", str(run_dir / "preset"), "--from", "crild").code == 2
    assert crild("errors", "tickets", "-o", str(cache_dir() / "tokens" / "rows.csv")).code == 2
    assert crild("report", "--figures", str(figures)).code == 2
    with pytest.raises(UsageError) as caught:  # the dashboard's tables and screenshots
        named_file(str(run_dir / "results.json"))
    assert caught.value.kind == "output-is-file-of-run"
    assert (run_dir / "results.json").read_bytes() == before
