"""Presets are read without any library that computes."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "transformers", "datasets", "accelerate", "tokenizers", "huggingface_hub", "textual", "rich")
USE = {
    "preset.load": "load.load_preset(['crild', 'mrpc'])",
    "preflight.check": "check.check(__import__('engine.preset.load').preset.load.load_preset(['crild', 'rte']))",
    "preset.write": "write.dump(__import__('engine.preset.load').preset.load.load_preset(['quickstart']).preset)",
    "preset.json_schema": "json_schema.json_schema()",
    "preset.shipped": "shipped.shipped()",
    "preflight.model_facts": "model_facts.model_facts('org/model')",
}


@pytest.mark.parametrize("module", USE)
def test_no_heavy_module_is_imported(module: str) -> None:
    room, name = module.split(".")
    code = f"import sys; from engine.{room} import {name}; {USE[module]}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(HEAVY)


def test_lists_of_presets_and_facts_do_not_even_need_pydantic() -> None:
    code = "import sys; from engine.preflight import model_facts; from engine.preset import shipped, text; shipped.shipped(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pydantic" not in done.stdout.split()
    assert "tomlkit" not in done.stdout.split()
