from __future__ import annotations

import pytest

from engine.data.class_weights import ClassWeights, class_weights
from engine.data.types import Example, TaskData, TaskSpec
from engine.errors import PresetError

NAMES = ("fault", "praise", "question")


def task(*labels: int, kind: str = "classification") -> TaskData:
    rows = tuple(Example(str(number), "text", None, label) for number, label in enumerate(labels))
    spec = TaskSpec("custom", kind, NAMES if kind == "classification" else (), ("accuracy",), is_pair=False)  # type: ignore[arg-type]
    return TaskData(spec, rows, {"dev": rows})


def test_balanced_weights_by_hand() -> None:
    """8 rows, 3 classes: 8 / (3 · 1), 8 / (3 · 2), 8 / (3 · 5); the rows' weights have a mean of 1."""
    data = task(0, 1, 1, 2, 2, 2, 2, 2)
    weights = class_weights("balanced", data)
    assert weights == pytest.approx((8 / 3, 4 / 3, 8 / 15))
    assert sum(weights[row.label] for row in data.train if isinstance(row.label, int)) / 8 == pytest.approx(1)


def test_a_class_without_training_rows_counts_for_nothing() -> None:
    assert class_weights("balanced", task(0, 1, 1, 1)) == pytest.approx((2.0, 2 / 3, 1.0))


def test_a_table_is_taken_as_it_is_in_the_order_of_the_classes() -> None:
    assert class_weights({"question": 1.0, "fault": 4.0, "praise": 2.0}, task(0)) == (4.0, 2.0, 1.0)
    assert class_weights(None, task(0)) == ()


@pytest.mark.parametrize(
    ("setting", "kind", "key"),
    [
        ({"falt": 1.0, "praise": 1.0, "question": 1.0}, "unknown-class-weight", "train.class_weights.falt"),
        ({"fault": 1.0, "question": 1.0}, "missing-class-weight", "train.class_weights"),
    ],
)
def test_a_table_that_does_not_fit_the_classes_is_refused(setting: ClassWeights, kind: str, key: str) -> None:
    with pytest.raises(PresetError) as caught:
        class_weights(setting, task(0))
    assert (caught.value.kind, caught.value.key) == (kind, key)
    assert "fault" in str(caught.value) or "praise" in str(caught.value)


def test_scores_have_no_classes() -> None:
    for setting in ("balanced", {"fault": 1.0}):
        with pytest.raises(PresetError) as caught:
            class_weights(setting, task(0, kind="regression"))
        assert caught.value.kind == "class-weights-of-scores"
