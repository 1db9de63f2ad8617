"""probe.json: written whole, read with suspicion."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RunError
from engine.record.probe import PROBE, Probe, Sides, is_stale, read_probe, write_probe
from engine.record.student import student_hash
from tests.record.probe_samples import sample


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read_probe(tmp_path) is None
    write_probe(tmp_path, sample())
    assert read_probe(tmp_path) == sample()
    document = json.loads((tmp_path / PROBE).read_text())
    assert (document["schema"], document["run"]) == (1, "rte-crild-s1")
    assert document["noise"][1] == {
        "scale": 0.1, "metric": 0.62, "deviation": 0.01, "loss": 0.7, "loss_deviation": 0.02, "draws": 3,
    }  # fmt: skip
    assert document["layers"][0]["distances"]["attention"] == {"train": 0.5, "dev": 0.6}


def test_what_is_no_number_becomes_unknown(tmp_path: Path) -> None:
    write_probe(tmp_path, replace(sample(), loss=Sides(float("nan"), float("inf"))))
    found = read_probe(tmp_path)
    assert found is not None
    assert found.loss == Sides(None, None)
    assert (found.loss.gap, found.loss.ratio) == (None, None)


def test_gap_and_ratio_compare_dev_with_train() -> None:
    assert Sides(0.5, 0.75).gap == pytest.approx(0.25)
    assert Sides(0.5, 0.75).ratio == pytest.approx(1.5)
    assert Sides(0.0, 0.75).ratio is None


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(schema=2), "newer crild"),
        (lambda d: d.update(schema="1"), "schema version"),
        (lambda d: d.update(noise={}), "noise"),
        (lambda d: d.update(noise=[1]), "noise"),
        (lambda d: d["noise"][0].update(scale=None), "scale"),
        (lambda d: d["noise"][0].update(draws=-1), "draws"),
        (lambda d: d["noise"][0].update(draws=True), "draws"),
        (lambda d: d["layers"][0].update(distances=[]), "distances"),
        (lambda d: d["layers"][0]["distances"].update(hidden="far"), "hidden"),
        (lambda d: d["loss"].update(dev="1"), "dev"),
        (lambda d: d["loss"].update(dev=10**400), "dev"),
        (lambda d: d.pop("sharpness"), "sharpness"),
        (lambda d: d.update(metrics=None), "metrics"),
        (lambda d: d.update(notes=[1]), "notes"),
        (lambda d: d.update(curves=[{}] * 10_001), "curves"),
    ],
)
def test_a_strange_file_is_refused_with_its_place(tmp_path: Path, change: Change, said: str) -> None:
    document = sample().to_dict()
    document = json.loads(json.dumps(document))
    change(document)
    (tmp_path / PROBE).write_text(json.dumps(document))
    with pytest.raises(RunError, match=said) as caught:
        read_probe(tmp_path)
    assert caught.value.file == str(tmp_path / PROBE)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00" * 40, '{"schema": 1}', "[" * 100_000])
def test_garbage_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / PROBE).write_text(content)
    with pytest.raises(RunError):
        read_probe(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(sample().to_dict())), JSON)
def test_any_value_in_any_place_is_read_or_refused(key: str, value: Any) -> None:
    document = {**json.loads(json.dumps(sample().to_dict())), key: value}
    with contextlib.suppress(RunError):
        assert isinstance(Probe.from_dict(document), Probe)


def test_keys_of_later_versions_are_let_be() -> None:
    assert Probe.from_dict({**json.loads(json.dumps(sample().to_dict())), "more": 1}) == sample()


def test_a_probe_of_another_student_is_stale(tmp_path: Path) -> None:
    assert student_hash(tmp_path) is None
    assert is_stale(sample(), tmp_path)
    (tmp_path / "student").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "student" / name).write_text("{}")
    found = student_hash(tmp_path)
    assert found is not None
    assert not is_stale(replace(sample(), student=found), tmp_path)
    (tmp_path / "student" / "model.safetensors").write_text("{} ")
    assert is_stale(replace(sample(), student=found), tmp_path)
