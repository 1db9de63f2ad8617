"""What a run writes down of its hub data when it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.preset.load import load_preset
from engine.preset.schema import Corpus, OtherTask, Task
from engine.train import hub_revisions


def test_the_commits_of_a_stages_own_data_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def commit(source: Task | Corpus) -> str | None:
        name = source.corpus if isinstance(source, Corpus) else source.name
        return {"Salesforce/wikitext": "a" * 40, "mnli": "b" * 40}.get(name)

    monkeypatch.setattr(hub_revisions, "data_commit", commit)
    monkeypatch.setattr(hub_revisions, "model_commit", lambda *_: None)
    for setting, expected in (("supplementary", "a" * 40), ("supplementary-task", "b" * 40)):
        preset = load_preset(["crild", "mrpc", setting]).preset
        pinned = hub_revisions.pinned(preset)
        hub_revisions.record(tmp_path, pinned)
        assert load_preset([str(tmp_path / "preset.toml")]).preset == pinned
        data = pinned.stage[0].data
        assert isinstance(data, Corpus | OtherTask)
        assert (data.task if isinstance(data, OtherTask) else data).revision == expected
        assert pinned.stage[1] == preset.stage[1]
        assert pinned.task.revision is None
        assert hub_revisions.pinned(pinned) is pinned, "what is pinned stays"


def test_local_texts_have_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_revisions, "model_commit", lambda *_: None)
    (tmp_path / "texts.txt").write_text("One.\n")
    words = [f"stage.ild.data.corpus={tmp_path / 'texts.txt'}", "task.name=toy-entailment"]
    preset = load_preset(["crild", "supplementary"], words).preset
    assert hub_revisions.pinned(preset) is preset
