"""Small cases worked out by hand, options, and refusals."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch

from engine.distill import annealing, objectives
from engine.distill.row_scores import Total, log_rows, scores
from engine.preset import names

from .inputs import attention_between, masked, relation_between

ONE = torch.ones(1, 2, dtype=torch.long)


def test_attention_is_the_kl_of_each_row() -> None:
    """Student rows are even; the teacher's have odds of 3 to 1. Width 1, so nothing is scaled."""
    even, one = torch.zeros(1, 2, 1), torch.ones(1, 2, 1)
    key = torch.tensor([[[math.log(3.0)], [0.0]]])
    total, count = attention_between((even, one), (one, key), ONE, heads=1)
    row = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert total.item() == pytest.approx(2 * row)
    assert count == 2


def test_attention_by_scores() -> None:
    """Student scores 0, teacher scores ln 3 and 0: the second key is padding, so one pair is left for one row."""
    even, one = torch.zeros(1, 2, 1), torch.ones(1, 2, 1)
    key = torch.tensor([[[math.log(3.0)], [0.0]]])
    both = attention_between((even, one), (one, key), ONE, heads=1, mse=True)
    assert both[0].item() == pytest.approx(2 * math.log(3.0) ** 2 / 2)
    first = attention_between((even, one), (one, key), masked((1,), 2), heads=1, mse=True)
    assert first[0].item() == pytest.approx(math.log(3.0) ** 2)
    assert first[1] == 1


def test_scores_are_scaled_by_the_head_not_the_width() -> None:
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    torch.testing.assert_close(scores(x, x, 1).flatten(), torch.tensor([30.0]) / 2)
    torch.testing.assert_close(scores(x, x, 2).flatten(), torch.tensor([5.0, 25.0]) / math.sqrt(2))


def test_rows_without_a_key_are_finite() -> None:
    """Rows and keys given apart may leave nothing to compare."""
    x, y = torch.ones(1, 2, 2), torch.zeros(1, 2, 2)
    for mse in (False, True):
        assert attention_between((x, x), (y, x), ONE, heads=1, keys=0 * ONE, mse=mse)[0] == 0


def test_heads_are_averaged() -> None:
    """One head agrees, the other has the KL of the test above: the mean is half of it."""
    student, teacher = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    teacher[..., 0] = 1.0
    key = torch.zeros(1, 2, 2)
    key[0, 0, 0] = math.log(3.0)
    total, _ = attention_between((student, key), (teacher, key), ONE, heads=2)
    row = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert total.item() == pytest.approx(2 * row / 2)


def test_relation_compares_any_widths() -> None:
    """The teacher's relation of width 4 over 1 head equals the student's of width 1: no loss."""
    student = torch.tensor([[[1.0], [2.0]]])
    teacher = torch.zeros(1, 2, 4)
    teacher[..., 0] = student[..., 0] * math.sqrt(2)  # scores are divided by √4 there and by √1 here
    assert relation_between(student, teacher, ONE, heads=1)[0].item() == pytest.approx(0, abs=1e-6)
    assert relation_between(student, 2 * teacher, ONE, heads=1)[0].item() > 0.01


def test_masked_keys_have_no_share() -> None:
    shares = log_rows(torch.zeros(1, 1, 2, 3), torch.tensor([[1, 1, 0]])).exp()
    torch.testing.assert_close(shares[0, 0, 0], torch.tensor([0.5, 0.5, 0.0]))


def test_rows_and_keys_may_differ() -> None:
    """The released code's attention: padded queries count as rows, padded keys are left out."""
    generator = torch.Generator().manual_seed(0)
    sq, sk, tq, tk = torch.randn(4, 1, 3, 2, generator=generator)[:, None].unbind(0)
    sq, sk, tq, tk = (x.reshape(1, 3, 2) for x in (sq, sk, tq, tk))
    mask, everything = torch.tensor([[1, 1, 0]]), torch.ones(1, 3, dtype=torch.long)
    apart = attention_between((sq, sk), (tq, tk), everything, heads=1, keys=mask)
    sliced = (sq @ sk[:, :2].mT / math.sqrt(2), tq @ tk[:, :2].mT / math.sqrt(2))
    expected = torch.nn.functional.kl_div(
        sliced[0].log_softmax(-1), sliced[1].log_softmax(-1), log_target=True, reduction="sum"
    )
    torch.testing.assert_close(apart[0], expected)
    assert apart[1] == 3


def test_hidden_is_a_mean_over_the_width() -> None:
    student, teacher = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
    teacher[0, 0, 0], teacher[0, 1, 1] = 2.0, 6.0
    assert objectives.hidden(student, teacher, ONE)[0] == 4 / 4 + 36 / 4
    assert objectives.hidden(student, teacher, masked((1,), 2))[0] == 4 / 4


def test_cls_compares_directions_of_the_first_token() -> None:
    student = torch.tensor([[[3.0, 0.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[0.0, 5.0], [1.0, 1.0]]])
    total, count = objectives.cls(student, teacher, ONE)
    assert total.item() == pytest.approx((1 + 1) / 2)
    assert count == 1
    assert objectives.cls(7 * teacher, teacher, ONE)[0].item() == pytest.approx(0, abs=1e-12)


def test_pooled_compares_directions_of_the_mean_over_real_tokens() -> None:
    """The student's mean of (3, 0) and (0, 3) points halfway; the teacher's, without the padded token, along the first axis."""
    student = torch.tensor([[[3.0, 0.0], [0.0, 3.0], [0.0, 9.0]]])
    teacher = torch.tensor([[[1.0, 0.0], [7.0, 0.0], [0.0, 9.0]]])
    total, count = objectives.pooled(student, teacher, masked((2,), 3))
    half = math.sqrt(0.5)
    assert total.item() == pytest.approx(((1 - half) ** 2 + half**2) / 2)
    assert count == 1
    assert objectives.pooled(7 * teacher, teacher, masked((2,), 3))[0].item() == pytest.approx(0, abs=1e-12)


def test_cka_is_the_cosine_of_centred_products_of_tokens() -> None:
    """Three tokens at -1, 0, 1 on a line, and the teacher's at -1, 2, -1: products (1, 0, -1)ᵀ(1, 0, -1) and so on."""
    student = torch.tensor([[[-1.0], [0.0], [1.0], [40.0]]])
    teacher = torch.tensor([[[-1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 40.0]]])
    total, count = objectives.cka(student, teacher, masked((3,), 4))
    assert total.item() == pytest.approx(1)  # the two directions are orthogonal
    assert count == 1
    bent = torch.tensor([[[-1.0, 1.0], [0.0, -2.0], [1.0, 1.0]]])  # both directions: K = aaᵀ + bbᵀ, |a|² = 2, |b|² = 6
    assert objectives.cka(student[:, :3], bent, masked((3,)))[0].item() == pytest.approx(
        1 - 4 / (2 * math.sqrt(4 + 36))
    )


def test_cka_takes_no_notice_of_rotations_shifts_and_one_factor() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    wider = torch.cat([3 * states @ turn + 7, torch.full((2, 5, 2), 9.0, dtype=torch.float64)], -1)
    assert objectives.cka(states, wider, masked((5, 4)))[0].item() == pytest.approx(0, abs=1e-12)
    assert objectives.cka(states, states * torch.tensor([1.0, 1, 1, 5]), masked((5, 4)))[0].item() > 0.05


def test_cka_of_an_example_of_one_token_is_nothing() -> None:
    student = torch.ones(2, 3, 2, requires_grad=True)
    total, count = objectives.cka(student, torch.zeros(2, 3, 2), masked((1, 0), 3))
    torch.autograd.backward(total)
    assert (float(total.detach()), int(count)) == (0, 1)
    assert student.grad is not None
    assert not student.grad.any()


def test_cls_of_nothing_has_a_finite_gradient() -> None:
    student = torch.zeros(1, 1, 2, requires_grad=True)
    torch.autograd.backward(objectives.cls(student, torch.ones(1, 1, 2), torch.ones(1, 1))[0])
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_logits_at_a_temperature() -> None:
    """At T = 2 the teacher's odds of 9 to 1 are 3 to 1; the loss is scaled by T²."""
    teacher = torch.tensor([[math.log(9.0), 0.0]])
    total, count = objectives.logits(torch.zeros(1, 2), teacher, torch.ones(1, 1), temperature=2.0)
    assert total.item() == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)))
    assert count == 1


def test_logits_gradient_keeps_its_size_over_temperatures() -> None:
    """Which is why the square stands there (Hinton et al. 2015): for warm targets it doesn't depend on T."""
    sizes = []
    for temperature in (50.0, 100.0):
        student = torch.tensor([[1.0, -1.0, 0.5]], requires_grad=True)
        teacher = torch.tensor([[0.0, 2.0, -1.0]])
        torch.autograd.backward(objectives.logits(student, teacher, torch.ones(1, 1), temperature=temperature)[0])
        assert student.grad is not None
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


def test_logits_of_a_regression() -> None:
    total, _ = objectives.logits(
        torch.tensor([[1.0]]), torch.tensor([[4.0]]), torch.ones(1, 1), temperature=2.0, kind="regression"
    )
    assert total == 9 / 4


def test_logits_by_their_squared_error() -> None:
    """Annealed to a half, the teacher's (4, 2) are (2, 1); at T = 2 both sides are halved, and no square stands in front."""
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 2.0]])
    full, count = objectives.logits(student, teacher, torch.ones(1, 1), mse=True)
    assert full == (9 + 4) / 2
    assert count == 1
    assert objectives.logits(student, teacher, torch.ones(1, 1), mse=True, anneal=0.5)[0] == (1 + 1) / 2
    half = objectives.logits(student, teacher, torch.ones(1, 1), mse=True, anneal=torch.tensor(0.5), temperature=2.0)
    assert half[0] == (0.25 + 0.25) / 2


def test_annealing_takes_every_factor_for_as_long() -> None:
    """1 - (T - 1)/5 for T = 5, 4, 3, 2, 1; of three steps, three factors."""
    factors = [annealing.factor(step, 20, 5) for step in range(20)]
    assert factors == pytest.approx([1 - (t - 1) / 5 for t in (5, 4, 3, 2, 1) for _ in range(4)])
    assert [annealing.factor(step, 3, 10) for step in range(4)] == [0.1, 0.4, 0.7, 0.7]
    assert {annealing.factor(step, 7, 1) for step in range(7)} == {1.0}


def test_labels() -> None:
    student = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    total, count = objectives.labels(student, torch.tensor([0, 1]), torch.ones(2, 1))
    assert total.item() == pytest.approx(-math.log(0.75) - math.log(0.5))
    assert count == 2


def test_labels_of_a_regression() -> None:
    total, _ = objectives.labels(
        torch.tensor([[1.0], [5.0]]), torch.tensor([4.0, 5.0]), torch.ones(2, 1), kind="regression"
    )
    assert total == 9


def test_labels_of_mixed_inputs() -> None:
    """λ of the sentence's own label, the rest of its partner's, which is the batch reversed."""
    student = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    gold = torch.tensor([0, 1])
    total, _ = objectives.labels(student, gold, torch.ones(2, 1), lam=0.8)
    own, other = -math.log(0.75) - math.log(0.5), -math.log(0.25) - math.log(0.5)
    assert total.item() == pytest.approx(0.8 * own + 0.2 * other)


def test_labels_with_class_weights_by_hand() -> None:
    """Each example's loss counts as its gold class weighs, its partner's too where inputs are mixed; the count stays."""
    student = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])
    gold, weights = torch.tensor([0, 1]), torch.tensor([0.5, 4.0])
    total, count = objectives.labels(student, gold, torch.ones(2, 1), class_weights=weights)
    assert total.item() == pytest.approx(0.5 * -math.log(0.75) + 4 * -math.log(0.5))
    assert count == 2
    mixed, _ = objectives.labels(student, gold, torch.ones(2, 1), lam=0.8, class_weights=weights)
    other = 4 * -math.log(0.25) + 0.5 * -math.log(0.5)
    assert mixed.item() == pytest.approx(0.8 * total.item() + 0.2 * other)
    double, _ = objectives.labels(student.double(), gold, torch.ones(2, 1), class_weights=weights)
    assert double.item() == pytest.approx(total.item())


def test_no_gradient_goes_to_the_teacher() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(1, 2, 4, generator=generator).requires_grad_() for _ in range(2))
    for total, _ in (
        attention_between((student, student), (teacher, teacher), ONE, heads=2),
        attention_between((student, student), (teacher, teacher), ONE, heads=2, mse=True),
        relation_between(student, teacher, ONE, heads=2),
        objectives.hidden(student, teacher, ONE),
        objectives.cls(student, teacher, ONE),
        objectives.pooled(student, teacher, ONE),
        objectives.cka(student, teacher, ONE),
        objectives.logits(student[:, 0], teacher[:, 0], ONE),
        objectives.logits(student[:, 0], teacher[:, 0], ONE, kind="regression"),
    ):
        torch.autograd.backward(total)
        assert teacher.grad is None


def test_half_precision_states_are_subtracted_in_single() -> None:
    """In bfloat16 the difference of 1 and 1 + 2⁻⁷ would be exact, its square's mean over 300 not."""
    student = torch.ones(1, 1, 300, dtype=torch.bfloat16)
    teacher = student + torch.arange(300).remainder(3).to(torch.bfloat16) * 2**-7
    total, _ = objectives.hidden(student, teacher, torch.ones(1, 1))
    torch.testing.assert_close(total, (0 + 1 + 4) / 3 * torch.tensor(2.0**-14), rtol=1e-6, atol=0)


def test_two_models_that_agree_lose_nothing() -> None:
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    mask = masked((3, 2))
    values = [
        attention_between((x, x), (x, x), mask, heads=4),
        attention_between((x, x), (x, x), mask, heads=4, mse=True),
        relation_between(x, x, mask, heads=2),
        objectives.hidden(x, x, mask),
        objectives.cls(x, x, mask),
        objectives.logits(x[:, 0], x[:, 0], mask),
    ]
    assert all(abs(total.item()) < 1e-6 for total, _ in values)


def test_the_registry_knows_what_presets_may_name() -> None:
    """A new objective needs an entry on both sides: the schema must not import torch."""
    assert set(objectives.OBJECTIVES) == set(get_args(names.ObjectiveName))
    of_layers = {name for name, objective in objectives.OBJECTIVES.items() if objective.per_layer}
    assert of_layers == names.LAYER_OBJECTIVES
    in_heads = {name for name, objective in objectives.OBJECTIVES.items() if objective.compares_scores}
    assert in_heads == names.RELATIONS | {"attention"}
    of_logits = {name for name, objective in objectives.OBJECTIVES.items() if objective.reads == ("logits",)}
    assert of_logits == names.HEAD_OBJECTIVES


def test_an_objective_is_given_the_options_that_it_names() -> None:
    options = {"keys": ONE, "mse": True, "temperature": 2.0, "kind": "regression", "lam": 0.5}
    taken: dict[str, Any] = {}

    def objective(student: torch.Tensor, teacher: torch.Tensor, rows: torch.Tensor, *, mse: bool, lam: float) -> Total:
        taken.update(student=student, teacher=teacher, rows=rows, mse=mse, lam=lam)
        return student.sum(), rows.sum()

    student, teacher = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    objectives.ObjectiveSpec(objective, ("hidden",), per_token=True)(student, teacher, ONE, options)
    assert taken == {"student": student, "teacher": teacher, "rows": ONE, "mse": True, "lam": 0.5}


def test_labels_of_several_for_a_text() -> None:
    """Binary cross-entropy of each label's sigmoid: σ(log 3) = 3/4, σ(0) = 1/2; a mean over the labels."""
    student = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), -math.log(3.0)]])
    gold = torch.tensor([[1, 0], [0, 0]], dtype=torch.uint8)
    total, count = objectives.labels(student, gold, torch.ones(2, 1), kind="multilabel")
    first, second = (-math.log(3 / 4) - math.log(1 / 2)) / 2, (-math.log(1 / 4) - math.log(3 / 4)) / 2
    assert total.item() == pytest.approx(first + second)
    assert count == 2
    mixed, _ = objectives.labels(student, gold, torch.ones(2, 1), kind="multilabel", lam=0.8)
    other = (-math.log(1 / 4) - math.log(1 / 2)) / 2 + (-math.log(3 / 4) - math.log(3 / 4)) / 2
    assert mixed.item() == pytest.approx(0.8 * (first + second) + 0.2 * other)
    weights = torch.tensor([2.0, 5.0])
    weighted, _ = objectives.labels(student, gold, torch.ones(2, 1), kind="multilabel", class_weights=weights)
    assert weighted.item() == pytest.approx((-2 * math.log(3 / 4) - math.log(1 / 2)) / 2 + second)


def test_logits_of_several_labels_for_a_text() -> None:
    """T² · KL between the two answers to each label, at temperature 2: the teacher says 3/4 and 1/2, the student 1/2."""
    teacher = torch.tensor([[2 * math.log(3.0), 0.0]])
    total, count = objectives.logits(torch.zeros(1, 2), teacher, torch.ones(1, 1), temperature=2.0, kind="multilabel")
    assert total.item() == pytest.approx(4 * (3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)) / 2)
    assert count == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("classification", [4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), 0.0]),
        ("multilabel", [4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 2, 0.0]),
        ("regression", [(2 * math.log(3.0) / 2) ** 2 / 2, 0.0]),
    ],
)
def test_divergences_are_those_of_the_logits_row_by_row(kind: Any, expected: list[float]) -> None:
    """At temperature 2, a teacher with odds of 3 to 1 and a student that is undecided; then two that agree."""
    teacher = torch.tensor([[2 * math.log(3.0), 0.0], [1.0, 5.0]])
    student = torch.tensor([[0.0, 0.0], [1.0, 5.0]])
    found = objectives.divergence(student, teacher, temperature=2.0, kind=kind)
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    total, count = objectives.logits(student, teacher, torch.ones(2, 1), temperature=2.0, kind=kind)
    assert total.item() == pytest.approx(sum(expected), abs=1e-6)
    assert count == 2


def test_logits_of_several_labels_stay_finite_where_a_teacher_is_certain() -> None:
    student = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    total, _ = objectives.logits(student, torch.tensor([[200.0, 200.0]]), torch.ones(1, 1), kind="multilabel")
    torch.autograd.backward(total)
    assert total.item() == pytest.approx(100.0), "a mean over the labels"
    assert student.grad is not None
    assert student.grad.isfinite().all()
