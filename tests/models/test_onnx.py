"""Exported models compute what they were exported from, for every family, at every shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.types import TaskSpec
from engine.errors import ModelError
from engine.evaluate.predict import takes_types
from engine.models import onnx_export, onnx_model
from engine.models.load import load_classifier, load_teacher, load_with_tokenizer
from engine.models.model_files import is_exported
from engine.preset.schema import Teacher
from engine.record import export
from tests.errors import raises
from tests.models.tiny_models import EVERY, batch_of, saved, tiny

installed = pytest.mark.skipif(
    bool(export.missing_packages()), reason="ONNX is not installed: make test-extras runs these tests"
)


def exported(folder: Path, model: Any, *, form: str = "onnx") -> Path:
    """A folder as `crild export` makes it."""
    saved(folder, model)
    onnx_export.write_onnx(model, folder / "model.onnx")
    if form != "onnx":
        (folder / "model.onnx").rename(folder / "whole.onnx")
        whole, small = folder / "whole.onnx", folder / "model.onnx"
        if form == "fp16":
            onnx_export.write_half(whole, small)
        else:
            rows = [batch_of(model, [5, 9, 3, 12], seed=seed) for seed in range(8)]
            onnx_export.write_int8(whole, small, rows if form == "int8-static" else None)
    (folder / "model.safetensors").unlink()
    return folder


@installed
@pytest.mark.parametrize("family", EVERY)
def test_every_family_gives_its_logits_at_other_batch_sizes_and_lengths(tmp_path: Path, family: str) -> None:
    model = tiny(family, labels=3).eval()
    folder = exported(tmp_path / "model", model)
    assert is_exported(folder)
    found = onnx_model.OnnxModel(folder)
    for lengths in ([7, 3, 12], [1], [30, 2, 2, 9, 17]):
        batch = batch_of(model, lengths)
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if batch.token_type_ids is not None and takes_types(model):
            inputs["token_type_ids"] = batch.token_type_ids
        with torch.inference_mode():
            torch.testing.assert_close(found(**inputs).logits, model(**inputs).logits, rtol=0, atol=1e-4)


@installed
@pytest.mark.parametrize(("form", "tolerance"), [("fp16", 0.02), ("int8", 1.0), ("int8-static", 1.0)])
def test_smaller_forms_are_smaller_and_near(tmp_path: Path, form: str, tolerance: float) -> None:
    model = tiny("bert", labels=3, hidden_size=64, intermediate_size=256).eval()
    whole = exported(tmp_path / "whole", model)
    small = exported(tmp_path / form, model, form=form)
    assert (small / "model.onnx").stat().st_size < (whole / "model.onnx").stat().st_size
    batch = batch_of(model, [7, 3, 12])
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    with torch.inference_mode():
        found, expected = onnx_model.OnnxModel(small)(**inputs).logits, model(**inputs).logits
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@installed
def test_an_exported_folder_predicts_and_is_timed_but_teaches_nothing(tmp_path: Path) -> None:
    model = tiny("bert", labels=2, id2label={0: "no", 1: "yes"}).eval()
    folder = exported(tmp_path / "model", model)
    loaded = load_with_tokenizer(Teacher(model=str(folder)))
    assert loaded.model.config.id2label == {0: "no", 1: "yes"}
    assert load_classifier(Teacher(model=str(folder))).config.num_labels == 2
    with raises("exported-model", error=ModelError):
        load_teacher(
            Teacher(model=str(folder)), TaskSpec("t", "classification", ("no", "yes"), ("accuracy",), is_pair=False)
        )


@installed
def test_a_file_that_onnx_runtime_refuses_is_a_sentence(tmp_path: Path) -> None:
    folder = exported(tmp_path / "model", tiny("bert").eval())
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:1000])
    with raises("onnx-refused", error=ModelError):
        onnx_model.OnnxModel(folder)


@installed
def test_an_operator_that_cannot_be_exported_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("No decomposition for aten::odd\nand a page more")

    monkeypatch.setattr("torch.onnx.export", refuse)
    with pytest.raises(ModelError, match=r"family bert to ONNX: No decomposition for aten::odd$"):
        onnx_export.write_onnx(tiny("bert").eval(), tmp_path / "model.onnx")


def test_without_the_packages_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ModelError, match=r"ONNX needs onnxruntime: pip install 'crild\[onnx\]'"):
        onnx_export.write_onnx(tiny("bert").eval(), tmp_path / "model.onnx")


def test_a_folder_with_weights_is_no_export(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tiny("bert"))
    (folder / "model.onnx").touch()
    assert not is_exported(folder)
