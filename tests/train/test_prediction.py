"""The tool `predict`: what transformers would predict, in the input's order, in every format; or a sentence, and no file."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from engine.data import row_stream
from engine.data.compressed import compressing, decompressed
from engine.evaluate import classifier
from engine.evaluate.predict import inputs_of
from engine.record.prediction import PredictionRequest, PredictionSummary
from engine.record.stop_request import Stopped
from engine.train import prediction
from engine.train.prediction import predict_rows
from tests.errors import raises
from tests.models.tiny_models import saved, tiny, words

TEXTS = [" ".join(f"w{(3 * row + at) % 90}" for at in range(row % 17)) for row in range(40)]
PAIRS = [" ".join(f"w{(7 * row + at) % 90}" for at in range(1 + row % 5)) for row in range(40)]
NAMES = {0: "bad", 1: "good", 2: "so, so"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier of three classes."""
    return saved(
        tmp_path_factory.mktemp("model") / "classifier",
        tiny("bert", labels=3, layers=1, id2label=NAMES, initializer_range=1.0),
    )


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows and several batches, also of few rows."""
    monkeypatch.setattr(row_stream.RowReader.chunks, "__defaults__", (16,))
    monkeypatch.setattr(classifier, "TOKENS", {"cpu": 64})


def request_for(model: Path, path: Path, target: Path, **changes: Any) -> PredictionRequest:
    forms = (row_stream.format_of(path), row_stream.format_of(target))
    assert forms[0] is not None
    assert forms[1] is not None
    request = PredictionRequest(str(model), forms[0], forms[1], inputs=(str(path),), output=str(target), device="cpu")
    return replace(request, **changes)


def forward(model: Path, texts: list[str], pairs: list[str] | None = None, max_length: int = 140) -> Any:
    """The logits that transformers gives text by text, without padding."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = []
    with torch.inference_mode():
        for index, text in enumerate(texts):
            pair = None if pairs is None else pairs[index]
            encoded = tokenizer(text, pair, return_tensors="pt", truncation=True, max_length=max_length)
            rows.append(network(**encoded).logits[0].double().numpy())
    return np.array(rows)


def write_csv(path: Path, **columns: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("pairs", [None, PAIRS])
def test_labels_and_probabilities_are_those_of_transformers(
    tmp_path: Path, model: Path, pairs: list[str] | None
) -> None:
    columns = {"text": TEXTS, "label": ["x"] * 40} | ({} if pairs is None else {"pair": pairs})
    path = write_csv(tmp_path / "in.csv", **columns)
    summary = predict_rows(request_for(model, path, tmp_path / "out.csv"))
    rows = read_csv(tmp_path / "out.csv")
    assert summary.rows == len(rows) == 40
    assert [row["text"] for row in rows] == TEXTS
    logits = forward(model, TEXTS, pairs)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    measured = [[float(row[f"probability_{name}"]) for name in NAMES.values()] for row in rows]
    assert np.abs(np.array(measured) - expected).max() < 2e-6
    assert [row["predicted_label"] for row in rows] == [NAMES[index] for index in expected.argmax(axis=1).tolist()]
    assert len({row["predicted_label"] for row in rows}) > 1
    assert [row["label"] for row in rows] == ["x"] * 40
    assert any("predicted_label" in note for note in summary.notes)


@pytest.mark.usefixtures("small_windows")
def test_every_format_holds_the_same_predictions(tmp_path: Path, model: Path) -> None:
    write_csv(tmp_path / "in.csv", text=TEXTS, number=[str(row) for row in range(40)])
    (tmp_path / "in.tsv").write_text("text\tnumber\n" + "".join(f"{text}\t{row}\n" for row, text in enumerate(TEXTS)))
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"text": text, "number": row, "more": [1]}) + "\n" for row, text in enumerate(TEXTS))
    )
    pq.write_table(pa.table({"text": TEXTS, "number": list(range(40))}), tmp_path / "in.parquet")
    labels: set[tuple[str, ...]] = set()
    for source in ("csv", "tsv", "jsonl", "parquet", "txt"):
        for target in ("csv", "jsonl", "parquet", "txt"):
            output = tmp_path / f"{source}.{target}"
            predict_rows(request_for(model, tmp_path / f"in.{source}", output))
            labels.add(tuple(label for label, _ in READ[target](output)))
            if target != "txt":
                assert [text for _, text in READ[target](output)] == TEXTS
    (found,) = labels
    assert len(found) == 40


READ: dict[str, Callable[[Path], Iterator[tuple[str, str]]]] = {
    "csv": lambda path: ((row["label"], row["text"]) for row in read_csv(path)),
    "jsonl": lambda path: ((row["label"], row["text"]) for row in map(json.loads, path.read_text().splitlines())),
    "parquet": lambda path: ((row["label"], row["text"]) for row in pq.read_table(path).to_pylist()),
    "txt": lambda path: ((line, "") for line in path.read_text().splitlines()),
}


def test_json_lines_stay_as_they_are_and_gain_an_object(tmp_path: Path, model: Path) -> None:
    line = '{"text":  "w1 w2", "amount": 2.50, "label": "?"}'
    (tmp_path / "in.jsonl").write_text(f"{line}\n")
    predict_rows(request_for(model, tmp_path / "in.jsonl", tmp_path / "out.jsonl"))
    written = (tmp_path / "out.jsonl").read_text()
    assert written.startswith(line[:-1])
    row = json.loads(written)
    assert set(row) == {"text", "amount", "label", "predicted_label", "probabilities"}
    assert set(row["probabilities"]) == set(NAMES.values())
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_tsv_with_plain_quotes_stays_plain(tmp_path: Path, model: Path) -> None:
    (tmp_path / "in.tsv").write_text('id\ttext\n1\tw1 "w2\n2\t"w3"\n')
    predict_rows(request_for(model, tmp_path / "in.tsv", tmp_path / "out.tsv"))
    lines = (tmp_path / "out.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["id", "text"], ["1", 'w1 "w2'], ["2", '"w3"']]


def test_a_model_of_scores_gives_scores(tmp_path: Path) -> None:
    model = saved(tmp_path / "model", tiny("bert", labels=1, layers=1))
    path = write_csv(tmp_path / "in.csv", text=TEXTS[:5], score=["?"] * 5)
    predict_rows(request_for(model, path, tmp_path / "out.csv"))
    rows = read_csv(tmp_path / "out.csv")
    assert list(rows[0]) == ["text", "score", "predicted_score"]
    measured = [float(row["predicted_score"]) for row in rows]
    assert measured == pytest.approx(forward(model, TEXTS[:5])[:, 0].tolist(), abs=2e-6)


def test_classes_answered_each_alone_are_probabilities_of_their_own(tmp_path: Path) -> None:
    own = tiny("bert", labels=3, layers=1, problem_type="multi_label_classification")
    model = saved(tmp_path / "model", own)
    summary = predict_rows(request_for(model, write_csv(tmp_path / "in.csv", text=TEXTS[:5]), tmp_path / "out.csv"))
    rows = read_csv(tmp_path / "out.csv")
    expected = 1 / (1 + np.exp(-forward(model, TEXTS[:5])))
    measured = np.array([[float(row[f"probability_LABEL_{index}"]) for index in range(3)] for row in rows])
    assert np.abs(measured - expected).max() < 2e-6
    names = [[f"LABEL_{index}" for index in np.flatnonzero(row >= 0.5)] for row in expected]
    assert [row["label"] for row in rows] == ["|".join(found) for found in names]
    assert len(set(map(len, names))) > 1, "some rows have more labels than others"
    assert len(summary.notes) == 2  # and an empty text


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_several_labels_are_a_list_and_decided_by_the_models_own_thresholds(tmp_path: Path, form: str) -> None:
    own = tiny("bert", labels=3, layers=1, problem_type="multi_label_classification")
    expected = 1 / (1 + np.exp(-forward(saved(tmp_path / "plain", own), TEXTS[1:5])))
    cuts = [float(np.sort(column)[1:3].mean()) for column in expected.T]
    own.config.label_thresholds = cuts
    model = saved(tmp_path / "model", own)
    path = write_csv(tmp_path / "in.csv", text=TEXTS[1:5])
    summary = predict_rows(request_for(model, path, tmp_path / f"out.{form}"))
    if form == "jsonl":
        found = [json.loads(line)["label"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    else:
        found = pq.read_table(tmp_path / "out.parquet").column("label").to_pylist()
    assert found == [[f"LABEL_{index}" for index in np.flatnonzero(row >= cuts)] for row in expected]
    assert "own threshold" in summary.notes[0]


def test_bf16_is_close(tmp_path: Path, model: Path) -> None:
    path = write_csv(tmp_path / "in.csv", text=TEXTS[1:9])
    predict_rows(request_for(model, path, tmp_path / "fp32.csv"))
    predict_rows(request_for(model, path, tmp_path / "bf16.csv", precision="bf16"))
    exact, close = (
        [[float(row[f"probability_{name}"]) for name in NAMES.values()] for row in read_csv(tmp_path / f"{name}.csv")]
        for name in ("fp32", "bf16")
    )
    difference = np.abs(np.array(exact) - np.array(close)).max()
    assert 0 < difference < 0.1


def test_cut_and_empty_texts_are_counted(tmp_path: Path, model: Path) -> None:
    lines = [{"text": "w1 " * 30}, {"text": "w2 " * 5}, {"text": None}, {"text": " "}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    request = request_for(model, tmp_path / "in.jsonl", tmp_path / "out.txt", max_length=8)
    cut, empty = predict_rows(request).notes
    assert "1 of 4" in cut
    assert "2 of 4" in empty
    assert len((tmp_path / "out.txt").read_text().splitlines()) == 4


def test_rows_without_tokens_or_with_outputs_that_are_not_finite_have_no_prediction(tmp_path: Path) -> None:
    tokenizer = words()
    tokenizer.backend_tokenizer.post_processor = None
    network = tiny("bert", labels=2, layers=1)
    network.bert.embeddings.word_embeddings.weight.data[7] = 3e38  # the token w3
    model = saved(tmp_path / "model", network, tokenizer)
    path = write_csv(tmp_path / "in.csv", text=["w1", "", "w3"], n=["1", "2", "3"])
    for form in ("csv", "jsonl", "parquet", "txt"):
        summary = predict_rows(request_for(model, path, tmp_path / f"out.{form}"))
        assert [note.split()[0] for note in summary.notes[1:]] == ["1", "1", "warning:"]
        assert all("1 row has no prediction" in note for note in summary.notes[2:])
    assert [bool(row["label"]) for row in read_csv(tmp_path / "out.csv")] == [True, False, False]
    assert [bool(line) for line in (tmp_path / "out.txt").read_text().splitlines()] == [True, False, False]
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["label"] is None and row["probability_LABEL_0"] is None for row in rows] == [False, True, True]


@pytest.mark.parametrize(
    ("content", "kind", "fact"),
    [
        ('{"text": "w1"}\n{"text": 5}\n', "not-text", "in.jsonl:2"),
        ('{"text": "w1"}\n{"text": "\\ud800"}\n', "half-surrogate-pair", "in.jsonl:2"),
        ('{"title": "w1", "owner": 0}\n', "no-text-column", "title"),
    ],
)
def test_rows_that_cannot_be_read_leave_no_file(
    tmp_path: Path, model: Path, content: str, kind: str, fact: str
) -> None:  # fmt: skip
    (tmp_path / "in.jsonl").write_text(content)
    (tmp_path / "out.csv").write_text("from before")
    with raises(kind, fact):
        predict_rows(request_for(model, tmp_path / "in.jsonl", tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "from before"
    assert files_in(tmp_path) == ["in.jsonl", "out.csv"]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(
    ("late", "target", "kind"),
    [
        ({"text": "w1", "label": "x"}, "out.jsonl", "late-key"),
        ({"text": "w1", "new": "x"}, "out.csv", "columns-differ"),
        ({"text": "w1", "n": "x"}, "out.parquet", "types-differ"),
    ],
)
def test_late_rows_of_another_kind_are_refused(
    tmp_path: Path, model: Path, late: dict[str, str], target: str, kind: str
) -> None:
    rows = [{"text": "w1", "n": 1}] * 20 + [late]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with raises(kind, "in.jsonl"):
        predict_rows(request_for(model, tmp_path / "in.jsonl", tmp_path / target))
    assert not (tmp_path / target).exists()


def test_several_inputs_are_one_output(tmp_path: Path, model: Path) -> None:
    first, second = (write_csv(tmp_path / f"{name}.csv", text=[name, "w1"]) for name in ("w2", "w3"))
    request = request_for(model, first, tmp_path / "out.csv", inputs=(str(first), str(second)))
    assert predict_rows(request).rows == 4
    assert [row["text"] for row in read_csv(tmp_path / "out.csv")] == ["w2", "w1", "w3", "w1"]


def test_an_input_that_changes_gives_no_output(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "in.csv", text=TEXTS)
    texts = prediction._texts

    def changing(*arguments: Any, by_word: bool) -> list[str]:
        os.utime(path, ns=(1, 1))
        return texts(*arguments, by_word=by_word)

    monkeypatch.setattr(prediction, "_texts", changing)
    with raises("input-changed", "in.csv"):
        predict_rows(request_for(model, path, tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.usefixtures("small_windows")
def test_a_request_to_stop_leaves_no_file(tmp_path: Path, model: Path) -> None:
    path = write_csv(tmp_path / "in.csv", text=TEXTS)

    def stop(phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        if phase == "predicting" and done > 20:
            raise Stopped

    with pytest.raises(Stopped):
        predict_rows(request_for(model, path, tmp_path / "out.csv"), report=stop)
    assert files_in(tmp_path) == ["in.csv"]


def to_descriptor(model: Path, path: Path, handle: int, form: str) -> PredictionSummary:
    return predict_rows(
        request_for(model, path, path, output=None, output_format=form, descriptor=handle)
    )  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "parquet", "text"])
def test_a_closed_pipe_ends_it_quietly(
    tmp_path: Path, model: Path, form: str, capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    reading, writing = os.pipe()
    os.close(reading)
    summary = to_descriptor(model, write_csv(tmp_path / "in.csv", text=TEXTS), writing, form)
    os.close(writing)
    assert (summary.reader_gone, summary.rows) == (True, 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_full_disk_is_named(tmp_path: Path, model: Path, form: str) -> None:
    handle = os.open("/dev/full", os.O_WRONLY)
    try:
        with raises("cannot-write-predictions", "no space is left"):
            to_descriptor(model, write_csv(tmp_path / "in.csv", text=TEXTS), handle, form)
    finally:
        os.close(handle)


def test_a_terminal_gets_no_control_characters(tmp_path: Path, model: Path) -> None:
    own, terminal = os.openpty()
    (tmp_path / "in.csv").write_text("text,n\nw1,\x1b[31m\n")
    to_descriptor(model, tmp_path / "in.csv", terminal, "csv")
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal that nobody writes to
        while part := os.read(own, 10_000):
            shown += part
    os.close(own)
    assert b"\x1b" not in shown
    assert b"w1,\\x1b[31m," in shown


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    bare = saved(tmp_path / "bare", tiny("bert", layers=1).bert)
    with raises("model-without-head", "bare"):
        predict_rows(request_for(bare, write_csv(tmp_path / "in.csv", text=["w1"]), tmp_path / "out.csv"))


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "in.csv", text=TEXTS)
    predict_rows(request_for(model, path, tmp_path / "whole.csv"))
    original = inputs_of

    def limited(batch: Any, *, types: bool) -> dict[str, torch.Tensor]:
        if len(batch) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(batch, types=types)

    monkeypatch.setattr(classifier, "inputs_of", limited)
    predict_rows(request_for(model, path, tmp_path / "out.csv"))
    assert [row["label"] for row in read_csv(tmp_path / "out.csv")] == [
        row["label"] for row in read_csv(tmp_path / "whole.csv")
    ]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_rows_give_the_same_predictions_compressed(tmp_path: Path, model: Path, ending: str) -> None:
    plain = write_csv(tmp_path / "in.csv", text=TEXTS)
    packed, target = tmp_path / f"in.csv{ending}", tmp_path / f"out.csv{ending}"
    with packed.open("wb") as file, compressing(file, packed) as sink:
        sink.write(plain.read_bytes())
    predict_rows(request_for(model, plain, tmp_path / "out.csv"))
    predict_rows(request_for(model, packed, target))
    with target.open("rb") as written:
        assert decompressed(written, target).read() == (tmp_path / "out.csv").read_bytes()
    before = target.read_bytes()
    packed.write_bytes(packed.read_bytes()[:-5])
    with raises("truncated-compressed-file", str(packed)):
        predict_rows(request_for(model, packed, target))
    assert target.read_bytes() == before
    assert files_in(tmp_path) == sorted(["in.csv", "out.csv", packed.name, target.name])
