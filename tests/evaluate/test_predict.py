from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from engine.data.tokens import TokenSet
from engine.data.types import Example, TaskSpec
from engine.errors import RunError
from engine.evaluate import predict as module
from engine.evaluate.predict import LengthBatches, predict, softmax, takes_types, write_predictions, write_texts
from engine.preset.kinds import Kind
from engine.record.stop_request import Stopped

LENGTHS = [3, 9, 2, 6, 4, 9, 1]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def tokens(labels: list[int] | list[float] | None = None) -> TokenSet:
    generator = np.random.default_rng(0)
    total = sum(LENGTHS)
    return TokenSet(
        ids=tuple(f"dev-{row}" for row in range(len(LENGTHS))),
        offsets=np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64),
        input_ids=generator.integers(1, 50, size=total).astype(np.int32),
        type_ids=generator.integers(0, 2, size=total).astype(np.int8),
        labels=None if labels is None else np.array(labels),
        cut=0,
        content="",
    )


def bert(labels: int = 3) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16, num_labels=labels, hidden_dropout_prob=0.5, pad_token_id=0,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def batches(size: int = 4, **more: Any) -> LengthBatches:
    return LengthBatches(tokens(), CPU, 0, budget=size * max(LENGTHS), most=size, **more)


def one_by_one(model: Any, rows: TokenSet) -> Any:
    model.eval()
    assert rows.type_ids is not None
    found = []
    for row in range(len(rows)):
        part = slice(rows.offsets[row], rows.offsets[row + 1])
        ids = torch.from_numpy(rows.input_ids[part].astype(np.int64))[None]
        types = torch.from_numpy(rows.type_ids[part].astype(np.int64))[None]
        with torch.no_grad():
            found.append(model(input_ids=ids, token_type_ids=types).logits[0])
    return torch.stack(found).numpy()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_logits_stand_in_the_order_of_the_rows_whatever_the_batches(size: int) -> None:
    model = bert()
    expected = one_by_one(model, tokens())
    found = predict(model, batches(size))
    assert found.dtype == np.float32
    assert found.shape == (7, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("budget", [1, 9, 20, 10_000])
def test_batches_hold_every_row_once_within_their_budget_and_stay_collated(
    budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = LengthBatches(tokens(), CPU, 0, budget=budget)
    first, again = list(made), list(made)
    assert sorted(row for batch in first for row in batch.index.tolist()) == list(range(len(LENGTHS)))
    assert all(batch.input_ids.numel() <= budget or len(batch) == 1 for batch in first)
    assert all(one is other for one, other in zip(first, again, strict=True)), "collated once"
    monkeypatch.setattr(module, "MOST_COLLATED", 10)
    large = LengthBatches(tokens(), CPU, 0, budget=budget)
    assert len(list(large)) == len(first)
    assert "_collated" not in vars(large)
    model = bert()
    assert np.array_equal(predict(model, large), predict(model, made))


def test_rows_without_tokens_are_in_a_batch_too() -> None:
    rows = TokenSet(("a", "b"), np.array([0, 3, 3]), np.array([4, 5, 6], np.int32), None, None, 0, "")
    assert [batch.index.tolist() for batch in LengthBatches(rows, CPU, 0)] == [[0, 1]]


def test_padding_to_one_length_counts_in_the_budget() -> None:
    made = LengthBatches(tokens(), CPU, 0, pad_to=12, budget=24)
    assert {batch.input_ids.shape[1] for batch in made} == {12}
    assert [len(batch) for batch in made] == [2, 2, 2, 1]


def test_half_precision_on_request() -> None:
    model = bert()
    seen: list[torch.dtype] = []
    model.classifier.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    exact = predict(model, batches())
    half = predict(model, batches(), dtype=torch.bfloat16)
    assert {*seen[:2]} == {torch.float32}
    assert {*seen[2:]} == {torch.bfloat16}
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, atol=0.05)


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sizes = bert(), []
    expected = predict(model, batches(1))
    forward = model.forward

    def small(input_ids: torch.Tensor, **inputs: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > 2:
            raise torch.OutOfMemoryError
        return forward(input_ids=input_ids, **inputs)

    monkeypatch.setattr(model, "forward", small)
    monkeypatch.setattr(module, "takes_types", lambda _model: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    np.testing.assert_allclose(predict(model, batches(7)), expected, atol=1e-6)
    assert sizes == [7, 3, 1, 2, 4, 2, 2]


def test_modules_go_on_in_the_mode_that_they_had() -> None:
    model = bert().train()
    model.bert.embeddings.eval()  # a frozen part, say
    before = {name: module.training for name, module in model.named_modules()}
    seen: list[bool] = []
    model.dropout.register_forward_hook(lambda module, *_: seen.append(module.training))
    predict(model, batches())
    assert {name: module.training for name, module in model.named_modules()} == before
    assert seen == [False, False], "without dropout"
    model.classifier.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(model, batches())
    assert {name: module.training for name, module in model.named_modules()} == before, "after a failure too"


def test_mixed_precision_around_the_call_does_not_reach_it() -> None:
    model = bert()
    expected = predict(model, batches())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = predict(model, batches())
    assert np.array_equal(found, expected)


def test_no_gradient_is_kept_and_random_numbers_are_not_drawn() -> None:
    model = bert().train()
    state = torch.get_rng_state()
    predict(model, batches())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_progress_is_reported_in_rows_before_each_batch_and_a_request_to_stop_is_heard() -> None:
    seen: list[tuple[str, int, int | None, str]] = []

    def report(phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        seen.append((phase, done, total, unit))
        if len(seen) == 5:
            raise Stopped

    model = bert().train()
    predict(model, batches(3), report=report, phase="evaluating")
    assert seen == [("evaluating", done, 7, "rows") for done in (0, 3, 6)]
    with pytest.raises(Stopped):
        predict(model, batches(3), report=report)
    assert len(seen) == 5
    assert model.training


def test_types_go_only_to_models_that_have_them() -> None:
    small = {"vocab_size": 50, "max_position_embeddings": 16}
    distilbert = DistilBertForSequenceClassification(
        DistilBertConfig(dim=8, n_layers=1, n_heads=2, hidden_dim=8, **small)
    )
    roberta = RobertaForSequenceClassification(
        RobertaConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, type_vocab_size=1, **small
        )
    )
    assert [takes_types(model) for model in (bert(), distilbert, roberta)] == [True, False, False]
    for model in (distilbert, roberta):
        assert predict(model, batches()).shape == (7, 2)


def test_no_rows_give_no_logits() -> None:
    empty = TokenSet((), np.zeros(1, np.int64), np.zeros(0, np.int32), None, None, 0, "")
    assert len(predict(bert(), LengthBatches(empty, CPU, 0))) == 0


def spec(kind: Kind, *labels: str) -> TaskSpec:
    return TaskSpec("t", kind, labels, ("accuracy",), is_pair=False)


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_predictions_of_classes_are_kept_by_id_and_name(tmp_path: Path) -> None:
    logits = np.zeros((7, 3), np.float32)
    logits[1, 2] = np.log(2)
    path = tmp_path / "predictions" / "student.jsonl"
    write_predictions(path, tokens([0, 2, 1, 0, 0, 0, 0]), logits, spec("classification", "né", "b", "c"))
    rows = written(path)
    assert [row["id"] for row in rows] == [f"dev-{row}" for row in range(7)]
    third = round(1 / 3, 6)
    assert rows[0] == {
        "id": "dev-0",
        "label": "né",
        "prediction": "né",
        "probabilities": dict.fromkeys(("né", "b", "c"), third),
    }
    assert rows[1] == {
        "id": "dev-1",
        "label": "c",
        "prediction": "c",
        "probabilities": {"né": 0.25, "b": 0.25, "c": 0.5},
    }


def test_predictions_of_a_ranking_have_the_query_and_the_exact_score(tmp_path: Path) -> None:
    """Probabilities of six digits would make ties of the last two rows."""
    logits = np.array([[0, 1], [0, 2], [1, 0], [0, 0], [0, 20], [0, 21], [0, 22]], np.float32)
    rows = replace(tokens([0, 1, 0, 0, 0, 1, 0]), groups=np.array([7, 7, 3, 3, 9, 9, 9]))
    write_predictions(tmp_path / "a", rows, logits, spec("classification", "no", "yes"))
    assert [row["group"] for row in written(tmp_path / "a")] == [0, 0, 1, 1, 2, 2, 2]
    assert [row["score"] for row in written(tmp_path / "a")] == [1, 2, -1, 0, 20, 21, 22]
    write_predictions(tmp_path / "b", rows, np.full((7, 1), 1 / 3, np.float32), spec("regression"))
    assert np.float32(written(tmp_path / "b")[0]["score"]) == np.float32(1 / 3)
    assert written(tmp_path / "b")[0]["prediction"] == 0.333333


def test_predictions_of_scores_and_without_labels(tmp_path: Path) -> None:
    logits = (np.arange(7) / 2).astype(np.float32).reshape(7, 1)
    write_predictions(tmp_path / "a", tokens([0.5] * 7), logits, spec("regression"))
    write_predictions(tmp_path / "b", tokens(), logits, spec("regression"))
    assert written(tmp_path / "a")[3] == {"id": "dev-3", "label": 0.5, "prediction": 1.5}
    assert written(tmp_path / "b")[3] == {"id": "dev-3", "prediction": 1.5}


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    logits = np.full((7, 1), np.nan, np.float32)
    write_predictions(tmp_path / "a", tokens(), logits, spec("regression"))
    assert written(tmp_path / "a")[0] == {"id": "dev-0", "prediction": None}


def test_a_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        write_predictions(tmp_path / "file" / "a", tokens(), np.zeros((7, 1), np.float32), spec("regression"))
    assert caught.value.kind == "cannot-write-predictions"
    assert caught.value.file == str(tmp_path / "file" / "a")


def test_softmax_of_large_logits() -> None:
    found = softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0]], np.float32))
    assert found.tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_a_model_without_config_is_asked_by_its_signature() -> None:
    assert not takes_types(SimpleNamespace(forward=lambda input_ids: input_ids))  # type: ignore[arg-type]


def test_texts_are_written_beside_the_ids_that_predictions_have(tmp_path: Path) -> None:
    from engine.report.predictions import RowText, read_texts

    rows = [Example("dev-0", "one\u2028line", None, 0), Example("dev-1", "a", "b", None)]
    write_texts(tmp_path / "texts.dev_mismatched.jsonl", rows)
    assert read_texts(tmp_path, "dev_mismatched") == {"dev-0": RowText("one\u2028line"), "dev-1": RowText("a", "b")}
    assert read_texts(tmp_path) == {}
    with pytest.raises(RunError) as caught:
        write_texts(tmp_path / "none" / "texts.jsonl", rows)
    assert caught.value.kind == "cannot-write-texts"


@pytest.mark.parametrize("world", [2, 3, 5])
def test_the_parts_of_several_processes_are_the_whole_bit_for_bit(world: int) -> None:
    model = bert()
    parts = [predict(model, batches(size=3, part=(rank, world)), total=lambda logits: logits) for rank in range(world)]
    whole = predict(model, batches(size=3))
    assert np.array_equal(sum(parts), whole)
    own = [np.any(part != 0, axis=1) for part in parts]
    assert np.array_equal(np.sum(own, axis=0), np.ones(len(LENGTHS))), "each row is computed once"
