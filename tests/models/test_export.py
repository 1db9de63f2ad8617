"""A saved student is one that transformers reads, and hashes tell contents apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from engine.errors import RunError
from engine.models import export
from engine.models.attention import choose_attention
from engine.models.export import content_hash, parameters, save_model
from engine.models.families import positions
from engine.record.removal import OpenFolder
from tests.errors import raises
from tests.models.tiny_models import ENTAILMENT, EVERY, SIMILARITY, batch_of, own_forward, tiny, words


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("family", EVERY)
def test_a_saved_model_loads_with_transformers(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    choose_attention(model, "cpu", "bf16")
    folder = tmp_path / "run" / "student"
    folder.parent.mkdir()
    save_model(model, words(family), ENTAILMENT, folder)
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    read = AutoModelForSequenceClassification.from_pretrained(folder)
    batch = batch_of(model, [7, 3])
    torch.testing.assert_close(own_forward(read, batch).logits, own_forward(model, batch).logits, rtol=0, atol=1e-5)
    assert content_hash(read) == content_hash(model)
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {"0": "entailment", "1": "not_entailment"}
    assert config["label2id"] == {"entailment": 0, "not_entailment": 1}
    assert config["problem_type"] == "single_label_classification"
    assert config["finetuning_task"] == "rte"
    assert str(tmp_path) not in (folder / "config.json").read_text()
    assert not any("attn_implementation" in key for key in config)
    classify: Any = pipeline("text-classification", model=str(folder), tokenizer=str(folder))
    best = own_forward(model, batch_of_words(family, "w1 w2", "w3")).logits.softmax(-1)
    answers = classify({"text": "w1 w2", "text_pair": "w3"}, top_k=None)
    assert {entry["label"]: pytest.approx(entry["score"], abs=1e-5) for entry in answers} == {
        "entailment": best[0, 0].item(),
        "not_entailment": best[0, 1].item(),
    }


def batch_of_words(family: str, text: str, pair: str) -> Any:
    from engine.data.batches import Batch

    encoded = words(family)(text, pair, return_tensors="pt")
    return Batch(encoded["input_ids"], encoded["attention_mask"], encoded.get("token_type_ids"), None, torch.arange(1))


def test_a_saved_regression_model_gives_its_score(tmp_path: Path) -> None:
    model = tiny("bert", labels=1)
    save_model(model, words(), SIMILARITY, tmp_path / "student")
    classify: Any = pipeline("text-classification", model=str(tmp_path / "student"))
    score = own_forward(model, batch_of_words("bert", "w1", "w2")).logits.item()
    assert classify({"text": "w1", "text_pair": "w2"}) == {"label": "score", "score": pytest.approx(score, abs=1e-5)}


def test_the_tokenizer_is_saved_beside_it(tmp_path: Path) -> None:
    save_model(tiny("bert"), words(), ENTAILMENT, tmp_path / "student")
    read = AutoTokenizer.from_pretrained(tmp_path / "student")
    assert read("w1 w2", "w3")["input_ids"] == words()("w1 w2", "w3")["input_ids"]


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("own", [None, 20, 10**30])
def test_pipeline_shortens_texts_that_are_longer_than_the_model_reads(
    family: str, own: int | None, tmp_path: Path
) -> None:
    model, tokenizer = tiny(family), words(family)
    if own is not None:
        tokenizer.model_max_length = own
    before = tokenizer.model_max_length
    save_model(model, tokenizer, ENTAILMENT, tmp_path / "student")
    assert tokenizer.model_max_length == before
    written = json.loads((tmp_path / "student" / "tokenizer_config.json").read_text())
    assert written["model_max_length"] == min(before, positions(model.config))
    classify: Any = pipeline("text-classification", model=str(tmp_path / "student"))
    text = " ".join(["w1"] * 600)
    for inputs in (text, {"text": text, "text_pair": text}):
        assert classify(inputs, truncation=True)
        assert classify(inputs, truncation=True, max_length=16)


def test_what_is_added_is_part_of_the_whole(tmp_path: Path) -> None:
    def add(folder: OpenFolder) -> None:
        assert folder.is_file("model.safetensors")
        (folder.path / "added").write_text("x")

    save_model(tiny("bert"), words(), ENTAILMENT, tmp_path / "student", complete=add)
    assert (tmp_path / "student" / "added").read_text() == "x"


def test_saving_replaces_a_model_and_keeps_what_a_person_put_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "student"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").write_text("mine")
    for name in ("model.safetensors", "merges.txt"):
        (folder / name).write_text("of an earlier model")
    save_model(tiny("bert"), words(), ENTAILMENT, folder)
    assert (folder / "onnx" / "model.onnx").read_text() == "mine"
    assert not (folder / "merges.txt").exists()
    assert (folder / "model.safetensors").stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["student"]


def test_a_linked_folder_is_not_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "model.safetensors").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "student").symlink_to(thesis)
    for folder, root in (
        (tmp_path / "run" / "student", None),
        (tmp_path / "run" / "student" / "key", tmp_path / "run"),
    ):
        with raises("cannot-save-model", "symbolic link"):
            save_model(tiny("bert"), words(), ENTAILMENT, folder, root=root)
    assert [path.name for path in thesis.iterdir()] == ["model.safetensors"]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["student"]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "student"
    save_model(tiny("bert"), words(), ENTAILMENT, folder)
    before = contents(folder)

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "flush", full)
    with pytest.raises(RunError, match="no space is left") as caught:
        save_model(tiny("bert", seed=1), words(), ENTAILMENT, folder)
    assert (caught.value.kind, caught.value.file) == ("cannot-save-model", str(folder))
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["student"]


def test_a_failure_at_the_last_moment_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "student"
    save_model(tiny("bert"), words(), ENTAILMENT, folder)
    before = contents(folder)
    real = OpenFolder.rename

    def failing(self: OpenFolder, name: str, target: str, into: OpenFolder | None = None) -> None:
        if target == "student" and ".tmp-" in name:
            raise OSError(5, "broken")
        real(self, name, target, into)

    monkeypatch.setattr(OpenFolder, "rename", failing)
    with raises("cannot-save-model"):
        save_model(tiny("bert", seed=1), words(), ENTAILMENT, folder)
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["student"]


def test_saving_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_model(tiny("bert"), words(), ENTAILMENT, tmp_path / "student")
    assert capfd.readouterr() == ("", "")


def test_content_hash_tells_the_smallest_change() -> None:
    model = tiny("bert")
    before = content_hash(model)
    assert content_hash(tiny("bert")) == before
    assert content_hash(model.train()) == before
    assert content_hash(tiny("bert").bfloat16()) != before
    with torch.no_grad():
        model.classifier.bias[0] += 1e-6
    assert content_hash(model) != before


def test_parameters_are_counted_once() -> None:
    model = tiny("bert", layers=1)
    embeddings = (100 + 140 + 2) * 32 + 2 * 32
    layer = 4 * (32 * 32 + 32) + 2 * 32 + (32 * 48 + 48) + (48 * 32 + 32) + 2 * 32
    head = 32 * 32 + 32 + 2 * 32 + 2
    assert parameters(model) == embeddings + layer + head
