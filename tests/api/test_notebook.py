"""The notebook of the documentation: equal to its page, and every cell works in a kernel."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from docs import notebook
from engine.record.run import read_run
from tests import documents
from tests.conftest import PATIENCE


def test_the_notebook_is_its_page() -> None:
    page = notebook.PAGE.read_text(encoding="utf-8")
    assert notebook.NOTEBOOK.read_text(encoding="utf-8") == notebook.notebook(page), "run: python -m docs.notebook"
    cells = json.loads(notebook.notebook(page))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert code == [block.text.rstrip("\n") for block in documents.blocks(notebook.PAGE) if block.language == "python"]


def executed(source: str, folder: Path) -> Any:
    """A notebook with its outputs, executed as Jupyter does. Raises CellExecutionError for a cell that fails."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    document = pytest.importorskip("nbformat").reads(source, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    return nbclient.NotebookClient(document, timeout=4 * PATIENCE, kernel_name="python3", resources=where).execute()


def outputs(document: Any, kind: str) -> list[str]:
    """All outputs of a MIME type."""
    return [
        output["data"][kind]
        for cell in document["cells"]
        for output in cell.get("outputs", ())
        if kind in output.get("data", {})
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a kernel."""
    monkeypatch.delenv("CRILD_RUNS_DIR")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_every_cell_works(folder: Path) -> None:
    document = executed(notebook.NOTEBOOK.read_text(encoding="utf-8"), folder)
    assert (folder / "report.html").stat().st_size > 10_000
    assert {path.name for path in (folder / "runs").iterdir() if path.name[0] != "."} == {
        "both-stages-s1",
        "kd-only-s1",
    }
    assert outputs(document, "image/png")
    pages = "".join(outputs(document, "text/html"))
    for word in ("quickstart:", "student, 2 layers", "stage.ild.objectives", "both-stages-s1", "probability_fault"):
        assert word in pages
    texts = "".join(outputs(document, "text/plain"))
    assert "finished: " in texts
    streams = [
        output for cell in document["cells"] for output in cell.get("outputs", ()) if output["output_type"] == "stream"
    ]
    assert [output["text"] for output in streams if output["name"] == "stderr"] == []


INTERRUPTED = """
import sys
import crild
preset = crild.load_preset({preset!r})
import engine.launch.start
engine.launch.start.engine_command = lambda *_: [sys.executable, "-m", "tests.cli.fake_engine"]
preset.run(name="a")
"""


def test_the_stop_button_stops_the_run_with_a_checkpoint(
    folder: Path, preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("FAKE_ENGINE", json.dumps({"hold": 2}))
    kernel, client = manager.start_new_kernel(kernel_name="python3", cwd=str(folder), startup_timeout=PATIENCE)
    try:
        asked = client.execute(INTERRUPTED.format(preset=str(preset)))
        run = folder / "runs" / "a-s1"
        deadline = time.monotonic() + PATIENCE
        while (status := read_run(run).status) is None or status.done < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        kernel.interrupt_kernel()
        while (message := client.get_shell_msg(timeout=PATIENCE))["parent_header"]["msg_id"] != asked:
            pass
        reply = message["content"]
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    assert (reply["status"], reply["ename"]) == ("error", "KeyboardInterrupt")
    ended = read_run(run)
    assert ended.status is not None
    assert (ended.state, ended.status.exit_code) == ("stopped", 130)
    assert [*(run / "checkpoints").iterdir()]
