"""A family's entry says where things are; here it is held against the family's own modules."""

from __future__ import annotations

import pytest
from torch import nn
from transformers import AutoConfig

from engine.errors import ModelError
from engine.models.families import FAMILIES, family_of, layers_of, output_of
from engine.preset import facts
from tests.models.tiny_models import EVERY, tiny


@pytest.mark.parametrize("family", EVERY)
def test_every_path_leads_to_what_it_names(family: str) -> None:
    model, here = tiny(family, labels=3), FAMILIES[family]
    assert family_of(model.config) is here
    assert len(layers_of(model)) == 3
    for part in (here.query, here.key, here.value):
        assert all(isinstance(layer.get_submodule(part), nn.Linear) for layer in layers_of(model))
    assert len({here.query, here.key, here.value}) == 3
    assert model.get_submodule(here.embeddings) is model.base_model.embeddings
    assert output_of(model).out_features == 3
    assert hasattr(model.config, here.intermediate)
    inside = (f"{here.layers}.", f"{here.embeddings}.")
    outside = {name for name, _ in model.named_parameters() if not name.startswith(inside)}
    of_head = {name for name in outside if name.startswith(tuple(f"{path}." for path in here.head))}
    assert outside - of_head == ({f"{here.project}.weight", f"{here.project}.bias"} if here.project else set())


def test_presets_know_the_same_families() -> None:
    assert set(facts.FAMILIES) == set(FAMILIES)


@pytest.mark.parametrize("kind", ["gpt2", "t5", "modernbert"])
def test_other_families_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ModelError, match=f"family {kind} cannot be used; supported are bert, roberta"):
        family_of(AutoConfig.for_model(kind))
