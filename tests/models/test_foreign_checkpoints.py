"""Checkpoints as people have them: read where that is harmless, otherwise refused with the cause and the way out."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from engine.errors import ModelError
from engine.models.load import LoadedModel, load_teacher
from engine.preflight.model_facts import model_facts
from engine.preset import schema
from tests.models.tiny_models import ENTAILMENT, EVERY, batch_of, own_forward, saved, tiny
from tests.refused_files import refuse

NAMES = {0: "entailment", 1: "not_entailment"}
Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return knowing(tmp_path / "teacher")


def knowing(folder: Path, family: str = "bert") -> Path:
    model = tiny(family)
    model.config.id2label, model.config.label2id = NAMES, {name: index for index, name in NAMES.items()}
    return saved(folder, model)


def read(folder: Path, **own: Any) -> LoadedModel:
    return load_teacher(schema.Teacher(model=str(folder), **own), ENTAILMENT)


def outputs(loaded: LoadedModel) -> torch.Tensor:
    logits: torch.Tensor = own_forward(loaded.model, batch_of(loaded.model, [7, 3])).logits
    return logits


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def edit_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    document = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


# -- left-over tensors


@pytest.mark.parametrize(
    "extra",
    [
        ["fit_dense.weight", "fit_dense.bias"],
        ["fit_denses.0.weight", "fit_denses.1.weight"],
        ["loss_fct.weight"],
        ["teacher.bert.encoder.layer.0.attention.self.query.weight"],
    ],
)
def test_harmless_tensors_are_left_out_with_a_note(folder: Path, extra: list[str]) -> None:
    expected = outputs(read(folder))
    rewrite(folder, lambda tensors: tensors | {name: torch.zeros(2) for name in extra})
    loaded = read(folder)
    assert torch.equal(outputs(loaded), expected)
    (note,) = loaded.notes
    assert all(name in note for name in extra)
    assert note.startswith(str(len(extra)))


@pytest.mark.parametrize("name", ["bert.encoder.layer.7.output.dense.weight", "bert.embeddings.other.weight"])
def test_left_over_parts_of_an_encoder_mean_another_model(folder: Path, name: str) -> None:
    rewrite(folder, lambda tensors: tensors | {name: torch.zeros(2)})
    with pytest.raises(ModelError) as caught:
        read(folder)
    assert caught.value.kind == "unexpected-weights"
    assert name in caught.value.sentence


# -- wrappers and training states


@pytest.mark.parametrize(
    ("family", "prefix"),
    [
        *((family, "module.") for family in EVERY),
        ("bert", "model."),
        ("bert", "module._orig_mod."),
        ("modernbert", "model."),
    ],
)
def test_weights_from_inside_a_wrapper_are_read(family: str, prefix: str, tmp_path: Path) -> None:
    folder = knowing(tmp_path / "teacher", family)
    expected = outputs(read(folder))
    rewrite(folder, lambda tensors: {f"{prefix}{name}": tensor for name, tensor in tensors.items()})
    loaded = read(folder)
    assert torch.equal(outputs(loaded), expected)
    (note,) = loaded.notes
    assert f'"{prefix}"' in note
    loaded.model.save_pretrained(tmp_path / "again")
    assert not any(name.startswith(prefix) for name in load_file(tmp_path / "again" / "model.safetensors")) or (
        prefix == "model." and family == "modernbert"  # its encoder is named so
    )


def test_a_wrapped_encoder_is_read(tmp_path: Path) -> None:
    model = AutoModel.from_config(tiny("bert").config)
    folder = saved(tmp_path / "encoder", model)
    rewrite(folder, lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()})
    loaded = read(folder, finetune=schema.Finetune(seed=1))
    assert torch.equal(loaded.model.bert.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight)


def test_two_models_in_one_file_are_refused(folder: Path) -> None:
    both = ("student.", "teacher.")
    rewrite(folder, lambda tensors: {f"{p}{name}": tensor.clone() for p in both for name, tensor in tensors.items()})
    with pytest.raises(ModelError) as caught:
        read(folder)
    assert caught.value.kind == "several-models"
    assert all(prefix in caught.value.sentence for prefix in both)


def pickle_of(folder: Path, make: Callable[[dict[str, torch.Tensor]], Any], *, zipped: bool = True) -> None:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(make(tensors), folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_the_weights_in_a_training_state_are_read(folder: Path, key: str, zipped: bool) -> None:
    expected = outputs(read(folder))
    pickle_of(folder, lambda tensors: {key: {f"model.{n}": t for n, t in tensors.items()}, "epoch": 3}, zipped=zipped)
    loaded = read(folder)
    assert torch.equal(outputs(loaded), expected)
    assert key in loaded.notes[0]
    assert '"model."' in loaded.notes[1]
    os.truncate(folder / "pytorch_model.bin", 0)
    assert torch.equal(outputs(loaded), expected), "it no longer reads the file"


def test_a_training_state_without_weights_is_refused(folder: Path) -> None:
    pickle_of(folder, lambda _: {"optimiser": {"lr": 0.1}, "epoch": 3})
    with pytest.raises(ModelError) as caught:
        read(folder)
    assert caught.value.kind == "training-state"
    assert all(fact in caught.value.sentence for fact in ("optimiser", "epoch"))


# -- what is no model, said by the check before a run and by the engine alike


def adapter(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "bert-base-uncased"}')


def trainer_output(folder: Path) -> None:
    for step in (1000, 500):
        shutil.copytree(folder, folder.parent / f"checkpoint-{step}")
    shutil.rmtree(folder)
    folder.mkdir()
    for step in (1000, 500):
        (folder.parent / f"checkpoint-{step}").rename(folder / f"checkpoint-{step}")


def linked(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("../../blobs/0a1b")

    return change


@pytest.mark.parametrize(
    ("change", "kind", "file", "facts"),
    [
        (adapter, "adapter-not-model", "", ["bert-base-uncased", "merge_and_unload"]),
        (trainer_output, "trainer-output-folder", "", ["checkpoint-500 and checkpoint-1000"]),
        (linked("model.safetensors"), "dangling-link", "model.safetensors", ["../../blobs/0a1b"]),
        (linked("config.json"), "dangling-link", "config.json", ["../../blobs/0a1b"]),
        (linked("tokenizer.json"), "dangling-link", "tokenizer.json", ["../../blobs/0a1b"]),
        (lambda folder: edit_config(folder, model_type=None), "no-model-type", "config.json", ['"bert"']),
        (
            lambda folder: edit_config(folder, model_type=None, architectures=None),
            "no-model-type",
            "config.json",
            ["bert, roberta"],
        ),
        (lambda folder: (folder / "config.json").unlink(), "no-config", "", ["config.json"]),
    ],
)
def test_the_cause_and_the_way_out_are_named(
    folder: Path, change: Change, kind: str, file: str, facts: list[str]
) -> None:
    change(folder)
    for check in (lambda: model_facts(str(folder)), lambda: read(folder)):
        with pytest.raises(ModelError) as caught:
            check()
        assert caught.value.kind == kind
        assert caught.value.file == str(folder / file if file else folder)
        assert all(fact in caught.value.sentence for fact in facts), caught.value.sentence


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_cannot_be_opened_is_not_called_broken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    refuse(monkeypatch, folder / name, number)
    sentences = set()
    for check in (lambda: model_facts(str(folder)), lambda: read(folder)):
        with pytest.raises(ModelError) as caught:
            check()
        assert (caught.value.kind, caught.value.file) == ("unreadable-file", str(folder / name))
        sentences.add(caught.value.sentence)
    assert len(sentences) == 1, "both say the same"


def test_a_pickle_that_cannot_be_opened_is_not_called_broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pickle_of(folder, lambda tensors: tensors)
    refuse(monkeypatch, folder / "pytorch_model.bin", errno.EACCES)
    with pytest.raises(ModelError) as caught:
        read(folder)
    assert caught.value.kind == "unreadable-file"


def test_a_folder_behind_links_in_a_circle_is_not_missing(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for check in (lambda: model_facts(str(tmp_path / "a")), lambda: read(tmp_path / "a")):
        with pytest.raises(ModelError) as caught:
            check()
        assert caught.value.kind == "unreadable-folder"


def test_a_folder_that_is_a_link_to_nowhere_says_so(tmp_path: Path) -> None:
    (tmp_path / "teacher").symlink_to("gone")
    with pytest.raises(ModelError) as caught:
        model_facts(str(tmp_path / "teacher"))
    assert caught.value.kind == "no-model-folder"
    assert "link to gone" in caught.value.sentence
