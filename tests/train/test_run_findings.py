"""Data, tokenizer, model and labels are checked against each other before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import models, processors

from engine.data.findings import Finding
from engine.data.load import load_task
from engine.data.tokens import tokenise
from engine.errors import CrildError, DataError, ModelError
from engine.models.load import load_teacher
from engine.preset.load import load_preset
from engine.record.events import read_events
from engine.record.stop_request import Stopped
from engine.train import engine_tools, results
from engine.train.card import model_card
from engine.train.run_findings import refuse, task_findings
from tests.models.tiny_models import saved, tiny, words
from tests.train.tiny_run import make, materials, unmeasured, work

NAMES: dict[str, Any] = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
UNTUNED = "teacher.finetune=false"


@pytest.fixture
def text(tmp_path: Path) -> str:
    """A preset with a teacher that knows the names of its classes."""
    return materials(tmp_path / "tiny", **NAMES)


def checked(folder: Path, text: str, *overrides: str) -> dict[str, Finding]:
    """The findings about a preset's task and teacher."""
    file = folder / "mine.toml"
    file.write_text(text)
    preset = load_preset([str(file)], overrides).preset
    data, length = load_task(preset.task), preset.task.max_length
    loaded = load_teacher(preset.teacher, data.spec, max_length=length)
    train = tokenise(data.train, loaded.tokenizer, length)
    dev = {split: tokenise(rows, loaded.tokenizer, length) for split, rows in data.dev.items()}
    return {finding.kind: finding for finding in task_findings(preset, data, loaded, train, dev)}


def change(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def change_config(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_a_good_task_gives_nothing(tmp_path: Path, text: str) -> None:
    assert checked(tmp_path, text) == {}


def test_unknown_tokens_are_found_in_dev_when_training_inputs_have_none(tmp_path: Path, text: str) -> None:
    change(tmp_path / "tiny" / "dev.csv", "w", "V")
    finding = checked(tmp_path, text)["unknown-tokens"]
    assert (finding.facts["inputs"], finding.facts["share"]) == ("inputs of dev", 1.0)
    change(tmp_path / "tiny" / "train.csv", "w", "V")
    assert checked(tmp_path, text)["unknown-tokens"].facts["inputs"] == "training inputs"


def test_dev_is_mentioned_where_it_is_worse_than_train(tmp_path: Path, text: str) -> None:
    train = tmp_path / "tiny" / "train.csv"
    lines = train.read_text().splitlines()
    train.write_text("\n".join([lines[0], *(f"V V V {line}" for line in lines[1:])]))
    (finding,) = checked(tmp_path, text).values()
    assert (finding.severity, finding.facts["inputs"]) == ("note", "training inputs")
    change(tmp_path / "tiny" / "dev.csv", "w", "V")
    finding = checked(tmp_path, text)["unknown-tokens"]  # the last one
    assert (finding.severity, finding.facts["inputs"]) == ("warning", "inputs of dev")


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [((UNTUNED,), True), ((), False), ((UNTUNED, "stage.kd.objectives={labels = 1.0}"), False)],
)
def test_a_multi_label_teacher_is_not_distilled_by_softmax(
    tmp_path: Path, text: str, overrides: tuple[str, ...], refused: bool
) -> None:
    change_config(tmp_path / "tiny" / "teacher", problem_type="multi_label_classification")
    found = checked(tmp_path, text, *overrides)
    assert [finding.severity for finding in found.values()] == (["refusal"] if refused else [])
    assert set(found) == ({"multi-label-teacher"} if refused else set())


def test_a_tokenizer_with_other_words_than_the_models_own_is_a_warning(tmp_path: Path, text: str) -> None:
    words(prefix="w").save_pretrained(tmp_path / "same")
    words(prefix="v").save_pretrained(tmp_path / "other")
    assert checked(tmp_path, text, f"teacher.tokenizer={tmp_path / 'same'}") == {}
    for settings in ((), (UNTUNED,)):
        found = checked(tmp_path, text, f"teacher.tokenizer={tmp_path / 'other'}", *settings)
        assert found["foreign-tokenizer"].severity == "warning"
    for path in (tmp_path / "tiny" / "teacher").glob("tokenizer*"):
        path.unlink()
    assert set(checked(tmp_path, text, f"teacher.tokenizer={tmp_path / 'other'}")) == {"unknown-tokens"}


def test_another_padding_token_matters_where_positions_follow_it(tmp_path: Path) -> None:
    text = materials(tmp_path / "tiny", family="roberta")
    assert checked(tmp_path, text) == {}
    change_config(tmp_path / "tiny" / "teacher", pad_token_id=5)
    assert checked(tmp_path, text)["other-padding-token"].facts == {"tokenizer": 1, "model": 5}


def test_a_tokenizer_with_gaps_in_its_ids_is_refused(tmp_path: Path, text: str) -> None:
    own = words()
    vocabulary = {**own.get_vocab(), "w39": 170}
    own.backend_tokenizer.model = models.WordLevel(vocabulary, unk_token="[UNK]")
    own.save_pretrained(tmp_path / "tiny" / "teacher")
    with pytest.raises(ModelError) as caught:
        checked(tmp_path, text)
    assert caught.value.kind == "tokenizer-too-large"
    assert all(fact in caught.value.sentence for fact in ("170", "100 tokens"))


def test_special_tokens_with_ids_of_their_own_are_refused(tmp_path: Path, text: str) -> None:
    own = words()
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 500), ("[SEP]", 3)]
    )
    own.save_pretrained(tmp_path / "tiny" / "teacher")
    finding = checked(tmp_path, text)["token-ids-beyond-embeddings"]
    assert (finding.facts["largest"], finding.facts["embeddings"]) == (500, 100)
    with pytest.raises(ModelError) as caught:
        refuse([finding])
    assert (caught.value.kind, caught.value.exit_code) == ("token-ids-beyond-embeddings", 3)


def test_the_first_refusal_is_raised() -> None:
    note = Finding("n", kind="a-note", severity="note")
    refuse([note, Finding("w", kind="a-warning", severity="warning")])
    one, two = (Finding(name, kind=f"refused-{name}", severity="refusal") for name in "ab")
    with pytest.raises(DataError) as caught:
        refuse([note, one, two])
    assert caught.value.kind == "refused-a"


# -- on the way to the user


def stop_at_evaluation(*_: Any, **__: Any) -> Any:
    raise Stopped


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs stop as soon as their student would be made."""
    monkeypatch.setattr("engine.train.experiment.new_student", stop_at_evaluation)


def messages(run_dir: Path) -> list[dict[str, Any]]:
    return [event for event in read_events(run_dir, {"message"}) if event["level"] != "info" or "finding" in event]


def test_a_run_writes_findings_and_does_not_advise_to_fine_tune(tmp_path: Path, text: str, no_training: None) -> None:
    for split in ("train", "dev"):
        change(tmp_path / "tiny" / f"{split}.csv", "w", "W")
    run_dir = make(tmp_path, text, UNTUNED)
    assert work(run_dir) is None
    unknown, beaten = messages(run_dir)
    assert unknown["level"] == "warning"
    assert unknown["finding"]["kind"] == "unknown-tokens"
    assert unknown["finding"]["facts"]["share"] == 1.0
    assert "majority" in beaten["text"]
    assert "finetune" not in beaten["text"]


def test_a_teacher_that_knows_the_words_may_need_fine_tuning(tmp_path: Path, text: str, no_training: None) -> None:
    torch.manual_seed(0)
    saved(tmp_path / "tiny" / "teacher", tiny("bert", initializer_range=1e-4, **NAMES))
    run_dir = make(tmp_path, text, UNTUNED)
    assert work(run_dir) is None
    (beaten,) = messages(run_dir)
    assert "finetune" in beaten["text"]


def test_an_order_chosen_by_dev_is_a_finding(
    tmp_path: Path, text: str, no_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_config(tmp_path / "tiny" / "teacher", id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id=None)
    scores = iter([0.9, 0.1])
    monkeypatch.setattr("engine.train.teacher.compute", lambda *_: {"accuracy": next(scores)})
    run_dir = make(tmp_path, text, UNTUNED)
    assert work(run_dir) is None
    found = [event["finding"]["kind"] for event in read_events(run_dir, {"message"}) if "finding" in event]
    assert found == ["class-order-from-dev"]


def test_a_run_refuses_before_it_trains(tmp_path: Path, text: str) -> None:
    change(tmp_path / "tiny" / "train.csv", "good", "bad\u200b")
    change(tmp_path / "tiny" / "dev.csv", "good", "bad\u200b")
    run_dir = make(tmp_path, text)
    with pytest.raises(DataError) as caught:
        work(run_dir)
    assert caught.value.kind == "look-alike-classes"
    assert not any(read_events(run_dir, {"stage_started"}))


def test_findings_are_in_results_and_model_card(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change(tmp_path / "tiny" / "dev.csv", "w", "V")
    monkeypatch.setattr(results, "measure", unmeasured)
    quick = ("teacher.finetune.epochs=0.1", "stage.ild.steps=1", "stage.kd.steps=1", "baseline.enabled=false")
    run_dir = make(tmp_path, text, *quick)
    document = work(run_dir)
    assert document is not None
    (finding,) = document["findings"]
    assert (finding["kind"], finding["severity"], finding["facts"]["share"]) == ("unknown-tokens", "warning", 1.0)
    card = (run_dir / "student" / "README.md").read_text()
    assert finding["sentence"] in card
    (message,) = messages(run_dir)[:1]
    assert message["text"] == finding["sentence"]
    preset = load_preset([str(run_dir / "preset.toml")]).preset
    spec = load_task(preset.task).spec
    assert "before training" not in model_card(preset, {**document, "findings": []}, spec)


def planned(folder: Path, text: str, *overrides: str) -> dict[str, Any]:
    file = folder / "planned.toml"
    file.write_text(text)
    loaded = load_preset([str(file)], overrides)
    from engine.preset.write import dump

    file.write_text(dump(loaded.preset))
    return engine_tools.plan(file)


def test_the_plan_has_findings(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_tools, "time_steps", lambda *_: 0.0)
    assert planned(tmp_path, text)["findings"] == []
    change(tmp_path / "tiny" / "dev.csv", "w", "V")
    plan = planned(tmp_path, text)
    assert [finding["kind"] for finding in plan["findings"]] == ["unknown-tokens"]
    assert plan["missing"] == []
    assert plan["stages"]


def test_the_plan_says_what_a_run_would_refuse(tmp_path: Path, text: str) -> None:
    change(tmp_path / "tiny" / "train.csv", "good", "bad\u200b")
    change(tmp_path / "tiny" / "dev.csv", "good", "bad\u200b")
    plan = planned(tmp_path, text)
    assert len(plan["missing"]) == 1
    assert "\\u200b" in plan["missing"][0]
    assert plan["stages"] == []


def test_a_teacher_in_the_cache_takes_no_time_of_the_plan(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_tools, "time_steps", lambda *_: 1.0)
    before = planned(tmp_path, text)
    assert before["stages"][0]["name"] == "teacher"
    assert before["stages"][0]["seconds"] == before["stages"][0]["steps"] > 0
    monkeypatch.setattr("engine.train.teacher.StoredTeacher.exists", lambda _: True)
    after = planned(tmp_path, text)
    assert after["teacher"]["cached"]
    assert (after["stages"][0]["steps"], after["stages"][0]["seconds"]) == (0, 0.0)
    assert after["stages"][1:] == before["stages"][1:]


# -- evaluate


@pytest.fixture
def evaluated(tmp_path: Path, text: str) -> Callable[..., dict[str, Any]]:
    def evaluate(*overrides: str) -> dict[str, Any]:
        from engine.preset.write import dump

        file = tmp_path / "evaluated.toml"
        file.write_text(text)
        file.write_text(dump(load_preset([str(file)], overrides).preset))
        return engine_tools.evaluate({
            "preset": str(file), "model": str(tmp_path / "tiny" / "teacher"), "device": "cpu"
        })  # fmt: skip

    return evaluate


def test_evaluate_measures_a_model_that_names_its_classes(evaluated: Callable[..., dict[str, Any]]) -> None:
    assert evaluated()["splits"]["dev"]["examples"] == 24


def test_evaluate_does_not_choose_an_order_by_the_dev_set_it_measures(
    tmp_path: Path, evaluated: Callable[..., dict[str, Any]]
) -> None:
    named = evaluated()["splits"]["dev"]["metrics"]["accuracy"]
    change_config(tmp_path / "tiny" / "teacher", id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id=None)
    with pytest.raises(CrildError) as caught:
        evaluated()
    assert (caught.value.kind, caught.value.key) == ("unnamed-classes", "teacher.labels")
    assert all(name in caught.value.sentence for name in ("bad", "good", "labels"))
    assert evaluated('teacher.labels=["bad", "good"]')["splits"]["dev"]["metrics"]["accuracy"] == named
    turned = evaluated('teacher.labels=["good", "bad"]')["splits"]["dev"]["metrics"]["accuracy"]
    assert turned == pytest.approx(1 - named)


def test_evaluate_mentions_a_multi_label_model(tmp_path: Path, evaluated: Callable[..., dict[str, Any]]) -> None:
    assert evaluated()["notes"] == []
    change_config(tmp_path / "tiny" / "teacher", problem_type="multi_label_classification")
    assert len(evaluated()["notes"]) == 1


def test_evaluate_mentions_unknown_tokens(tmp_path: Path, evaluated: Callable[..., dict[str, Any]]) -> None:
    change(tmp_path / "tiny" / "dev.csv", "w", "V")
    assert any("100 %" in note for note in evaluated()["notes"])
