"""What is peculiar to one family: shared layers, local layers, other heads; and what is cut and saved of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AlbertForPreTraining, AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from engine.distill.activations import PROJECTIONS, ActivationSpec
from engine.errors import ModelError, PresetError
from engine.models import checkpoint
from engine.models.attention import attention_mask
from engine.models.export import parameters, save_model
from engine.models.families import FAMILIES, embedding_width, family_of, layers_of
from engine.models.load import load_teacher
from engine.models.partial_encoder import PartialEncoder
from engine.models.students import keep_layers, make_student
from engine.preflight import model_facts
from engine.preset import schema
from engine.train.step import bound_terms, shape_of
from tests.models.tiny_models import ENTAILMENT, EVERY, batch_of, own_forward, saved, tiny, words

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("albert", {"layers": 4, "num_hidden_groups": 2}),
    ("albert", {"layers": 5, "num_hidden_groups": 3}),
    ("modernbert", {"classifier_pooling": "mean"}),
    ("modernbert", {"layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2}),
    ("deberta-v2", {"relative_attention": False, "pos_att_type": None, "position_biased_input": True}),
    ("deberta-v2", {"embedding_size": 16, "share_att_key": False, "norm_rel_ebd": "none", "position_buckets": -1}),
]
every_variant = pytest.mark.parametrize(("family", "own"), VARIANTS)


@every_variant
def test_a_variant_is_run_as_its_own_forward_runs_it(family: str, own: dict[str, Any]) -> None:
    model = tiny(family, **own)
    batch = batch_of(model, [7, 3, 12])
    layers = len(layers_of(model))
    output = own_forward(model, batch, output_hidden_states=True)
    every = frozenset(range(1, layers + 1))
    seen = PartialEncoder(model, ActivationSpec(hidden=every, embedding=True, logits=True))(batch)
    torch.testing.assert_close(seen.logits, output.logits, rtol=0, atol=1e-5)
    for layer in every:
        real = output.hidden_states[layer][seen.mask]
        torch.testing.assert_close(seen.hidden[layer][seen.mask], real, rtol=0, atol=1e-5)
    assert seen.embedding is not None
    assert seen.embedding.shape[-1] == embedding_width(model.config) == shape_of(model).width_of("embedding")


@every_variant
def test_a_student_of_a_variant_from_scratch_runs(family: str, own: dict[str, Any]) -> None:
    model = tiny(family, **own)
    asked = schema.Student(init="scratch", layers=7, hidden_size=16, heads=2)
    student = make_student(asked, schema.Teacher(model="unused"), model, words(family), ENTAILMENT, seed=1)
    seen = PartialEncoder(student, ActivationSpec(hidden=frozenset({7}), logits=True))(batch_of(student, [7, 3]))
    assert seen.hidden[7].shape == (2, 7, 16)
    assert seen.logits is not None
    assert seen.logits.isfinite().all()


@pytest.mark.parametrize("family", EVERY)
def test_a_student_of_the_first_layers_computes_what_its_teachers_first_layers_do(family: str) -> None:
    model = tiny(family, layers=4)
    student = keep_layers(model, (0, 1))
    batch = batch_of(model, [7, 3, 12])
    both = frozenset({1, 2})
    need = ActivationSpec(query=both, key=both, value=both, hidden=both, embedding=True)
    ours, theirs = PartialEncoder(student, need)(batch), PartialEncoder(model, need)(batch)
    assert torch.equal(ours.embedding, theirs.embedding)
    for layer in (1, 2):
        for part in PROJECTIONS:
            assert torch.equal(getattr(ours, part)[layer], getattr(theirs, part)[layer])
        expected = theirs.hidden[layer]
        final = family_of(model.config).final
        if final is not None and layer == 2:  # the student's last state is behind the final normalisation
            expected = model.get_submodule(final)(expected)
        assert torch.equal(ours.hidden[layer], expected)


@pytest.mark.parametrize("family", EVERY)
@pytest.mark.parametrize("init", ["teacher", "scratch"])
def test_a_saved_student_is_loaded_by_transformers_and_answers_the_same(family: str, init: str, tmp_path: Path) -> None:
    model = tiny(family, layers=4)
    asked = (
        schema.Student(init="scratch", layers=2, hidden_size=16, heads=2)
        if init == "scratch"
        else schema.Student(layers=2, keep="alternate")
    )
    student = make_student(asked, schema.Teacher(model="unused"), model, words(family), ENTAILMENT, seed=1)
    save_model(student, words(family), ENTAILMENT, tmp_path / "student")
    batch = batch_of(student, [7, 3, 12])
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    seen = PartialEncoder(student, ActivationSpec(logits=True))(batch)
    torch.testing.assert_close(seen.logits, own_forward(loaded, batch).logits, rtol=0, atol=1e-5)
    again = load_teacher(schema.Teacher(model=str(tmp_path / "student")), ENTAILMENT)
    assert torch.equal(own_forward(again.model, batch).logits, own_forward(loaded, batch).logits)
    numbers = sum(tensor.numel() for tensor in load_file(tmp_path / "student" / "model.safetensors").values())
    assert numbers == parameters(student)  # what is shared is there once
    facts_of = model_facts.model_facts(str(tmp_path / "student"))
    assert facts_of is not None
    config = student.config
    assert (facts_of.layers, facts_of.hidden_size, facts_of.heads) == (
        2,
        config.hidden_size,
        config.num_attention_heads,
    )


def test_an_albert_is_one_layer_however_often_it_runs() -> None:
    model = tiny("albert", layers=4)
    assert len(set(layers_of(model))) == 1
    assert len(layers_of(model)) == 4
    for kept in ((0, 1), (2, 3), (0, 3)):
        student = keep_layers(model, kept)
        assert parameters(student) == parameters(model)
        assert student.config.num_hidden_layers == len(layers_of(student)) == 2


def test_taps_of_a_layer_that_runs_again_and_again_tell_its_turns_apart() -> None:
    model = tiny("albert", layers=4)
    batch = batch_of(model, [7, 3])
    every = frozenset({1, 2, 3, 4})
    seen = PartialEncoder(model, ActivationSpec(value=every, hidden=every))(batch)
    states = own_forward(model, batch, output_hidden_states=True).hidden_states
    project = layers_of(model)[0].get_submodule("attention.value")
    for layer in sorted(every):
        torch.testing.assert_close(seen.value[layer], project(states[layer - 1]), rtol=0, atol=1e-6)
    assert not torch.equal(seen.value[1], seen.value[2])
    only = PartialEncoder(model, ActivationSpec(value=frozenset({2, 4})))(batch)
    assert sorted(only.value) == [2, 4]
    assert torch.equal(only.value[2], seen.value[2])
    assert torch.equal(only.value[4], seen.value[4])


@pytest.mark.parametrize(
    ("kept", "groups"), [((0, 1, 3, 4), [0, 1]), ((3, 4, 5), [1]), ((0, 3), [0, 1]), ((5, 0), [1, 0])]
)
def test_an_albert_of_several_groups_keeps_those_that_it_uses(kept: tuple[int, ...], groups: list[int]) -> None:
    model = tiny("albert", layers=6, num_hidden_groups=2)
    student = keep_layers(model, kept)
    assert student.config.num_hidden_groups == len(groups)
    stored = "albert.encoder.albert_layer_groups"
    for layer, own in enumerate(kept):
        ours, theirs = layers_of(student)[layer], layers_of(model)[own]
        assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in theirs.state_dict().items())
    for new, old in enumerate(groups):
        weight = student.get_parameter(f"{stored}.{new}.albert_layers.0.ffn.weight")
        assert torch.equal(weight, model.get_parameter(f"{stored}.{old}.albert_layers.0.ffn.weight"))


def test_an_albert_cannot_repeat_its_groups_unevenly() -> None:
    with pytest.raises(ModelError, match=r"6 layers in 2 groups.* groups 0, 1, 1") as caught:
        keep_layers(tiny("albert", layers=6, num_hidden_groups=2), (0, 3, 4))
    assert (caught.value.kind, caught.value.key) == ("uneven-albert-groups", "student.keep")


def test_a_modernbert_begins_with_its_first_layer() -> None:
    with pytest.raises(ModelError) as caught:
        keep_layers(tiny("modernbert"), (1, 2))
    assert (caught.value.kind, caught.value.key) == ("first-layer-required", "student.keep")
    with pytest.raises(ModelError) as caught:
        make_student(
            schema.Student(init="scratch", hidden_size=12, heads=4),
            schema.Teacher(model="unused"),
            tiny("modernbert"),
            words("modernbert"),
            ENTAILMENT,
            seed=0,
        )
    assert (caught.value.kind, caught.value.key) == ("odd-head-size", "student.heads")


@pytest.mark.parametrize(
    ("family", "odd", "fact"),
    [
        ("albert", {"inner_group_num": 2}, "inner_group_num"),
        ("deberta-v2", {"conv_kernel_size": 3}, "conv_kernel_size"),
    ],
)
def test_members_that_are_built_otherwise_are_refused(family: str, odd: dict[str, int], fact: str) -> None:
    with pytest.raises(ModelError, match=fact) as caught:
        family_of(AutoConfig.for_model(family, **odd))
    assert caught.value.kind == "unsupported-variant"


def test_alberts_heads_of_pre_training_are_no_loss(tmp_path: Path) -> None:
    model = AlbertForPreTraining(tiny("albert").config)
    loaded = load_teacher(
        schema.Teacher(model=str(saved(tmp_path / "t", model)), finetune=schema.Finetune()), ENTAILMENT
    )
    assert loaded.fresh_head
    assert torch.equal(loaded.model.albert.pooler.weight, model.albert.pooler.weight)


def test_modernberts_prediction_head_comes_along_from_pre_training(tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForMaskedLM.from_config(tiny("modernbert").config)
    model.get_submodule("head.norm").weight.data.fill_(3.0)
    preset = schema.Teacher(model=str(saved(tmp_path / "t", model)), finetune=schema.Finetune())
    loaded = load_teacher(preset, ENTAILMENT)
    for name in ("head.dense.weight", "head.norm.weight"):
        assert torch.equal(loaded.model.get_parameter(name), model.get_parameter(name))


def test_a_fresh_head_forgets_its_normalisation_too(tmp_path: Path) -> None:
    model = tiny("modernbert")
    model.head.norm.weight.data.fill_(3.0)
    preset = schema.Teacher(model=str(saved(tmp_path / "t", model)), finetune=schema.Finetune())
    student = make_student(
        schema.Student(init="pretrained", layers=2), preset, model, words("modernbert"), ENTAILMENT, seed=0
    )
    weight: Tensor = student.head.norm.weight
    assert torch.equal(weight, torch.ones(32))


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2"])
def test_what_a_family_does_not_offer_is_refused_where_only_the_engine_sees_it(family: str) -> None:
    """A hub model that was not in the cache when the preset was checked."""
    from types import SimpleNamespace

    stage = schema.Stage.model_validate({"name": "s", "epochs": 1, "objectives": {"attention": 1.0}})
    settings: Any = SimpleNamespace(stage=stage, temperature=1.0, kind="classification")
    model = tiny(family)
    with pytest.raises(PresetError) as caught:
        bound_terms(settings, model, model)
    assert caught.value.kind == "objective-not-offered"
    assert all(fact in str(caught.value) for fact in (family, "student", "attention"))


def test_modernberts_mean_is_over_the_words_of_both_mixed_sentences() -> None:
    model = tiny("modernbert", classifier_pooling="mean")
    batch = batch_of(model, [9, 4])
    seen = PartialEncoder(model, ActivationSpec(hidden=frozenset({3}), logits=True))(batch, lam=0.6)
    assert seen.mask.sum() == 18
    mean = seen.hidden[3].sum(1) / 9
    torch.testing.assert_close(seen.logits, model.classifier(model.head(mean)), rtol=0, atol=1e-5)


def test_families_without_fused_attention_are_named() -> None:
    assert [name for name, family in FAMILIES.items() if not family.fused] == ["mpnet", "deberta-v2"]


@pytest.mark.parametrize("missing", ["sentencepiece", "google", "google.protobuf"])
def test_a_bare_sentencepiece_model_names_the_packages_that_read_it(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "find_spec", lambda package: None if package == missing else object())
    (tmp_path / "spm.model").write_bytes(b"")
    with pytest.raises(ModelError, match="pip install sentencepiece protobuf") as caught:
        checkpoint.read_tokenizer(tmp_path)
    assert caught.value.kind == "sentencepiece-not-installed"
    assert caught.value.file == str(tmp_path / "spm.model")


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_no_row_of_a_local_layers_mask_is_without_a_key(kernel: str) -> None:
    """A row without one is no number in some kernels, and would be a value of real rows' sums."""
    model = tiny("modernbert")
    model.set_attn_implementation(kernel)
    mask = torch.zeros(2, 20, dtype=torch.bool)
    mask[0, :5] = mask[1, :] = True
    made = attention_mask(model.config, torch.zeros(2, 20, 32), mask, 3)
    assert made is not None
    taken = made if kernel == "sdpa" else made == 0
    assert taken.shape == (2, 1, 20, 20)
    assert taken.any(-1).all()
    assert torch.equal(taken[0, 0, 2].nonzero()[:, 0], torch.arange(5))  # within reach and real
    assert torch.equal(taken[1, 0, 10].nonzero()[:, 0], torch.arange(7, 14))


def test_debertas_embeddings_are_zero_at_padding_as_in_its_own_forward() -> None:
    model = tiny("deberta-v2")
    batch = batch_of(model, [7, 3])
    seen = PartialEncoder(model, ActivationSpec(embedding=True))(batch)
    own = own_forward(model, batch, output_hidden_states=True).hidden_states[0]
    assert torch.equal(seen.embedding, own)
    assert not own[1, 3:].any()
