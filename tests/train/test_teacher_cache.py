"""A teacher in the cache: taken when it is whole, removed when it is damaged, kept when the disk only failed to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from torch import nn

from engine.errors import ModelError
from engine.models.load import LoadedModel
from engine.record.files import write_json
from engine.train import teacher
from engine.train.teacher import Cached


def cached(folder: Path) -> tuple[Cached, LoadedModel]:
    folder.mkdir()
    model: Any = nn.Linear(2, 2)
    save_file(dict(model.state_dict()), folder / "model.safetensors")
    write_json(folder / "crild.json", {"steps": 3})
    loaded: Any = LoadedModel(model, tokenizer=None, order_known=True, notes=(), fresh_head=False)
    return Cached(folder), loaded


def test_a_damaged_teacher_is_removed_and_said(tmp_path: Path) -> None:
    place, loaded = cached(tmp_path / "key")
    assert place.load_into(loaded) == {"steps": 3}
    file = place.folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ModelError) as caught:
        place.load_into(loaded)
    assert caught.value.kind == "cached-teacher-damaged"
    assert not place.folder.exists()


def test_a_disk_that_fails_to_read_costs_no_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, loaded = cached(tmp_path / "key")

    def failing(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(teacher, "load_file", failing)
    with pytest.raises(OSError, match="Input/output"):
        place.load_into(loaded)
    assert (place.folder / "model.safetensors").exists()
