"""Predictions in Python: what the engine is asked, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import crild
import engine.launch.foreground
from engine.record.prediction import PredictionRequest
from tests.cli.conftest import Call
from tests.cli.samples import PRESET, make_run
from tests.models.tiny_models import saved, tiny, words

Asked = list[tuple[PredictionRequest, list[Any], list[str]]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The engine gives each row the label "a" with probability 0.25 ...; the list fills with requests, rows and words."""
    requests: Asked = []

    def run_tool(tool: str, args: Any = (), **options: Any) -> Any:
        request = PredictionRequest.from_json(args[-1])
        (file,) = map(Path, request.inputs)
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.suffix == ".jsonl" else []
        requests.append((request, rows, list(args)))
        table = pd.DataFrame(rows) if rows else pd.read_csv(file)
        table["label"], table["probability_a"] = "a", np.arange(len(table)) / 4
        assert request.output is not None
        table.to_parquet(request.output)
        return {"rows": len(table), "seconds": 1.0, "notes": ["1 text was cut"], "reader_gone": False}

    monkeypatch.setattr(engine.launch.foreground, "run_tool", run_tool)
    return requests


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that could be a model's."""
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def test_texts_become_a_table(asked: Asked, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = crild.predict(
        model, ["one", "zwei\n\u2028"], max_length=9, batch_size=3, device="cpu", trust_remote_code=True
    )
    assert table.to_dict("list") == {"text": ["one", "zwei\n\u2028"], "label": ["a", "a"], "probability_a": [0.0, 0.25]}
    ((request, rows, words),) = asked
    assert (rows, request.text, request.pair) == ([{"text": "one"}, {"text": "zwei\n\u2028"}], "text", None)
    assert (request.model, request.max_length, request.batch_size, request.device) == (str(model), 9, 3, "cpu")
    assert words[:2] == ["--consent", json.dumps([str(model)])]
    assert "1 text was cut" in capsys.readouterr().err
    assert not Path(request.inputs[0]).exists()


def test_one_text_a_generator_and_pairs(asked: Asked, model: Path) -> None:
    assert list(crild.predict(str(model), "one", quiet=True)["text"]) == ["one"]
    assert len(crild.predict(model, (text for text in ("a", "b", "c")))) == 3
    assert list(crild.predict(model, [("a", "b"), ("c", "d")], text="text", pair="pair").columns) == [
        "text",
        "pair",
        "label",
        "probability_a",
    ]
    assert asked[-1][1] == [{"text": "a", "pair": "b"}, {"text": "c", "pair": "d"}]


def test_a_table_keeps_its_columns_and_index(asked: Asked, model: Path) -> None:
    frame = pd.DataFrame(
        {"text": ["x", np.nan, None], "label": [1, 2, 3], "when": pd.Timestamp("2026-01-01"), 5: [{}, [], object()]},
        index=["p", "q", "q"],
    )
    table = crild.predict(model, frame)
    assert list(table.columns) == ["text", "label", "when", 5, "predicted_label", "probability_a"]
    assert list(table.index) == ["p", "q", "q"]
    assert list(table["probability_a"]) == [0.0, 0.25, 0.5]
    assert asked[0][1] == [{"text": "x"}, {"text": None}, {"text": None}]
    assert list(frame.columns) == ["text", "label", "when", 5]


def test_a_file_is_read_by_the_engine(asked: Asked, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("id,text\n7,hello\n")
    assert list(crild.predict(model, file).columns) == ["id", "text", "label", "probability_a"]
    assert (asked[0][0].inputs, asked[0][0].input_format, asked[0][0].text) == ((str(file),), "csv", None)


def test_a_run_names_its_columns(asked: Asked, runs_dir: Path) -> None:
    run = crild.Run(make_run(runs_dir, preset=PRESET.replace("toy-entailment", "rte")))
    frame = pd.DataFrame({"sentence2": ["b"], "sentence1": ["a"], "note": ["c"]})
    for named in (run, run.name, run.path):
        crild.predict(named, frame)
        assert asked[-1][1] == [{"sentence1": "a", "sentence2": "b"}]
        assert (asked[-1][0].run, asked[-1][0].model) == (str(run.path), str(run.student))
    with pytest.raises(crild.CrildError) as caught:
        crild.predict(run, ["a single text"])
    assert caught.value.category == "data"


@pytest.mark.parametrize(
    ("inputs", "options", "kind"),
    [
        ([], {}, "nothing-to-predict"),
        ([("a", "b"), "c"], {}, "uneven-inputs"),
        ([("a", "b", "c")], {}, "uneven-inputs"),
        (["a"], {"device": "cuda:7"}, "unusable-device"),
        (["a"], {"pair": "x"}, "pair-without-text"),
        (["a"], {"text": "x"}, "no-such-column"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), {}, "no-text-column"),
        (Path("nowhere.csv"), {}, None),
        (Path("model"), {}, "unknown-row-format"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted_is_refused(
    asked: Asked, model: Path, inputs: Any, options: dict[str, Any], kind: str | None
) -> None:
    with pytest.raises(crild.CrildError) as caught:
        crild.predict(model, inputs, **options)
    assert kind in (None, caught.value.kind)
    assert asked == []


def test_a_model_that_is_not_there_and_a_run_without_student(asked: Asked, runs_dir: Path, tmp_path: Path) -> None:
    make_run(runs_dir, "young", state="stopped")
    for ref, kind in ((tmp_path / "none", "no-such-model"), ("young", "no-student")):
        with pytest.raises(crild.CrildError) as caught:
            crild.predict(ref, "x")
        assert caught.value.kind == kind


def test_the_engine_predicts_as_the_command_line_does(tmp_path: Path, command: Call) -> None:
    model = saved(tmp_path / "tiny", tiny("bert", layers=2), words("bert"))
    texts = ["w1 w2 w3", "w25 w30", ""]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert (
        command(
            "predict", str(model), str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.parquet"), "--device", "cpu"
        ).code
        == 0
    )
    pd.testing.assert_frame_equal(
        crild.predict(model, texts, device="cpu"), pd.read_parquet(tmp_path / "out.parquet"), check_dtype=False
    )
    with pytest.raises(crild.CrildError) as caught:
        crild.predict(model, pd.DataFrame({"text": ["w1", 5]}), device="cpu", quiet=True)
    assert (caught.value.file, caught.value.line) == ("inputs", 2)
