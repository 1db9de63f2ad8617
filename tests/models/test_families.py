"""A family's entry says where things are; here it is held against the family's own modules."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import AutoConfig

from engine.errors import ModelError
from engine.models import family_rules
from engine.models.families import FAMILIES, family_of, layers_of, output_of
from tests.models.tiny_models import EVERY, tiny

SHARED_BY_LAYERS = {
    "mpnet": ("mpnet.encoder.relative_attention_bias",),
    "deberta-v2": ("deberta.encoder.rel_embeddings", "deberta.encoder.LayerNorm"),
}


@pytest.mark.parametrize("family", EVERY)
def test_every_path_leads_to_what_it_names(family: str) -> None:
    model, here = tiny(family, labels=3), FAMILIES[family]
    assert here.fused == bool(model._supports_sdpa)
    assert family_of(model.config) is here
    assert len(layers_of(model)) == 3
    for part in (here.query, here.key, here.value):
        assert all(isinstance(layer.get_submodule(part), nn.Linear) for layer in layers_of(model))
    assert len({here.query, here.key, here.value}) == (3 if here.split is None else 1)
    assert model.get_submodule(here.embeddings) is model.base_model.embeddings
    assert output_of(model).out_features == 3
    assert hasattr(model.config, here.intermediate)
    inside = (f"{here.layers}.", f"{here.embeddings}.", *(f"{path}." for path in SHARED_BY_LAYERS.get(family, ())))
    outside = {name for name, _ in model.named_parameters() if not name.startswith(inside)}
    of_head = {name for name in outside if name.startswith(tuple(f"{path}." for path in here.head))}
    steps = {path for path in (here.project, here.final) if path}
    assert {name.rpartition(".")[0] for name in outside - of_head} == steps


def test_presets_know_the_same_families() -> None:
    assert set(family_rules.FAMILIES) == set(FAMILIES)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "deberta"])
def test_other_families_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ModelError, match=f"{kind} .* bert, roberta") as caught:
        family_of(AutoConfig.for_model(kind))
    assert caught.value.kind == "unsupported-family"
