from __future__ import annotations

import pytest

from engine.data.hub_connection import HubUnreachableError
from engine.preflight import hub
from engine.preset.load import load_preset


def refuse() -> None:
    raise HubUnreachableError("no answer within 8 seconds")


def test_a_hub_that_cannot_be_reached_is_a_sentence_with_what_is_needed_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    presets = [load_preset(["kd", "rte"]).preset, load_preset(["kd", "sst2"], ["student.init=some/student"]).preset]
    monkeypatch.setattr(hub, "check_hub", refuse)
    sentence = hub.hub_problem(presets) or ""
    for fact in ("8 seconds", "the data of rte", presets[0].teacher.model, "the data of sst2", "some/student"):
        assert fact in sentence
    assert sentence.count(presets[0].teacher.model) == 1
    monkeypatch.setattr(hub, "check_hub", lambda: None)
    assert hub.hub_problem(presets) is None


def test_presets_that_need_no_hub_ask_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "check_hub", refuse)
    local = ["task.source=/data/glue", "teacher.model=/models/bert"]
    assert hub.hub_problem([load_preset(["quickstart"]).preset, load_preset(["kd", "rte"], local).preset]) is None
