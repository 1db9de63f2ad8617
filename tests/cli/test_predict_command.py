"""`crild predict`: what the engine is asked, what the user hears, and which mistakes are found before an engine starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import engine.launch.foreground
from engine.record.prediction import PredictionRequest
from tests.cli.conftest import Call
from tests.cli.samples import PRESET, make_run
from tests.conftest import REPOSITORY

Asked = list[tuple[PredictionRequest, dict[str, Any]]]
ANSWER = {"rows": 12_000, "seconds": 4.0, "notes": ["7 of 12,000 texts were cut at 128 tokens"], "reader_gone": False}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """Every engine answers as is given here; the list fills with the requests."""

    def answer(**changes: Any) -> Asked:
        requests: Asked = []

        def run_tool(tool: str, args: Sequence[str] = (), **options: Any) -> Any:
            assert tool == "predict"
            requests.append((PredictionRequest.from_json(args[-1]), {**options, "args": args}))
            return {**ANSWER, **changes}

        monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)
        return requests

    return answer


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """A table with one column that can hold texts."""
    path = tmp_path / "tickets.csv"
    path.write_text("id,text\n1,the printer burns\n")
    return path


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder that could be a model's."""
    (tmp_path / "model").mkdir()
    return str(tmp_path / "model")


def test_a_file_goes_to_a_file(
    crild: Call, asked: Callable[..., Asked], model: str, tickets: Path, tmp_path: Path
) -> None:
    requests = asked()
    said = crild("predict", model, str(tickets), "-o", str(tmp_path / "out.parquet"), "--device", "cpu")
    assert (said.code, said.out) == (0, "")
    for fact in ("7 of 12,000", "12,000 rows", "4.0 s", "3,000 rows/s", "out.parquet"):
        assert fact in said.err
    ((request, options),) = requests
    assert (request.model, request.run, request.inputs) == (model, None, (str(tickets),))
    assert (request.input_format, request.output_format) == ("csv", "parquet")
    assert (request.output, request.descriptor, request.device) == (str(tmp_path / "out.parquet"), None, "cpu")
    assert (options["stdin"], options["descriptors"]) == (False, [])


def test_stdin_is_plain_text_and_goes_to_stdout(crild: Call, asked: Callable[..., Asked], model: str) -> None:
    requests = asked()
    assert crild("predict", model, "-").code == 0
    assert crild("predict", model, "--input-format", "csv", "--format", "jsonl").code == 0
    (first, options), (second, _) = requests
    assert (first.inputs, first.input_format, first.output_format) == ((), "text", "text")
    assert (second.input_format, second.output_format) == ("csv", "jsonl")
    assert options["stdin"]
    assert options["descriptors"] == [first.descriptor]


def test_quiet_leaves_the_notes(crild: Call, asked: Callable[..., Asked], model: str, tickets: Path) -> None:
    asked()
    said = crild("predict", model, str(tickets), "--quiet")
    assert said.err.splitlines() == ANSWER["notes"]


def test_a_reader_that_goes_away_ends_it_quietly(
    crild: Call, asked: Callable[..., Asked], model: str, tickets: Path
) -> None:
    asked(reader_gone=True)
    said = crild("predict", model, str(tickets), "--quiet")
    assert (said.code, said.err) == (0, "")


def test_a_run_is_its_student(
    crild: Call, asked: Callable[..., Asked], runs_dir: Path, tmp_path: Path, tickets: Path
) -> None:
    requests = asked()
    run_dir = make_run(runs_dir, preset=PRESET.replace("toy-entailment", "rte"))
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("sentence1,sentence2\na,b\n")
    assert crild("predict", "rte-crild", str(pairs), "--trust-remote-code").code == 0
    ((request, options),) = requests
    assert (request.model, request.run) == (str(run_dir / "student"), str(run_dir))
    assert json.loads(options["args"][1]) == [str(run_dir / "student")]
    said = crild("predict", "rte-crild", str(tickets))
    assert said.code == 3
    assert "--pair" in said.err
    assert "sentence1" in said.err
    assert crild("predict", "rte-crild").code == 3  # plain text has no pairs


@pytest.mark.parametrize(
    ("words", "code", "facts"),
    [
        (["./nowhere", "tickets.csv"], 2, ["./nowhere"]),
        (["model", "missing.csv"], 3, ["missing.csv"]),
        (["model", "tickets.csv", "--text", "body"], 3, ["body", "id", "text"]),
        (["model", "tickets.csv", "--pair", "text"], 2, ["--text"]),
        (["model", "tickets.csv", "-o", "out.xlsx"], 2, ["out.xlsx", "--format"]),
        (["model", "tickets.csv", "-o", "nowhere/out.csv"], 2, ["nowhere"]),
        (["model", "tickets.csv", "-o", "tickets.csv"], 2, ["tickets.csv"]),
        (["model", "tickets.csv", "--format", "xml"], 2, ["xml", "jsonl"]),
        (["model", "tickets.csv", "texts.txt"], 2, ["tickets.csv", "texts.txt"]),
        (["model", "tickets.csv", "-"], 2, ["-"]),
        (["model", "tickets.csv", "--precision", "fp16"], 2, ["fp16", "bf16"]),
    ],
)
def test_mistakes_are_found_before_an_engine_starts(
    crild: Call,
    asked: Callable[..., Asked],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model: str,
    tickets: Path,
    words: list[str],
    code: int,
    facts: list[str],
) -> None:
    requests = asked()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("a text\n")
    said = crild("predict", *words)
    assert (said.code, said.out, requests) == (code, "", [])
    for fact in facts:
        assert fact in said.err
    assert tickets.read_text() == "id,text\n1,the printer burns\n"


@pytest.mark.slow
def test_texts_come_in_by_a_pipe_and_labels_go_out_by_one(tmp_path: Path) -> None:
    from tests.models.tiny_models import saved, tiny

    model = saved(tmp_path / "model", tiny("bert", layers=1))
    command = [sys.executable, "-m", "crild", "predict", str(model), "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    texts = "".join(f"w{row % 90}\n" for row in range(30_000))
    whole = subprocess.run(
        command, input=texts, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True
    )
    assert len(whole.stdout.splitlines()) == 30_000
    assert "30,000 rows" in whole.stderr
    pipe = f"{' '.join(command)} --format csv | head -n 2"
    cut = subprocess.run(
        ["bash", "-o", "pipefail", "-c", pipe],
        input=texts,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    assert cut.stdout.splitlines()[0] == "text,label,probability_LABEL_0,probability_LABEL_1"
    assert "error" not in cut.stderr
