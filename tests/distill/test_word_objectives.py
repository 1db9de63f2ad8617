"""Labels and logits where each word has a label: by hand, mixed, and the same whatever the padding and the micro-batches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.data.batches import Batch
from engine.distill.activations import Activations
from engine.distill.objectives import labels, logits
from engine.distill.terms import Term, distillation_loss
from engine.preset.kinds import Kind
from engine.train.step import Counts

KIND: Kind = "token-classification"
NONE = -100
TERMS = (Term("labels", kind=KIND), Term("logits", temperature=2.0, kind=KIND))
LENGTHS = (6, 4, 5, 3)


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def test_labels_by_hand() -> None:
    """Two words in one sentence, the second token of which is no first piece; shares 0.9 and 0.2 of the gold labels."""
    student = torch.tensor([[[0.0, logit(0.9)], [9.0, -9.0], [logit(0.2), 0.0]]])
    gold = torch.tensor([[1, NONE, 0]])
    total, count = labels(student, gold, gold >= 0, kind=KIND)
    assert total.item() == pytest.approx(-math.log(0.9) - math.log(0.2), abs=1e-6)
    assert count == 2
    weighted, again = labels(student, gold, gold >= 0, kind=KIND, class_weights=torch.tensor([3.0, 1.0]))
    assert weighted.item() == pytest.approx(-math.log(0.9) - 3 * math.log(0.2), abs=1e-5)
    assert again == 2


def test_labels_of_mixed_sentences_by_hand() -> None:
    """Each place has the labels of both sentences, where these have a word: λ of its own, 1 - λ of the other."""
    student = torch.tensor([[[0.0, logit(0.9)], [0.0, logit(0.6)]], [[0.0, logit(0.7)], [0.0, 0.0]]])
    gold = torch.tensor([[1, NONE], [0, 1]])
    total, count = labels(student, gold, gold >= 0, kind=KIND, lam=0.75)
    own = -math.log(0.9) - math.log(1 - 0.7) - math.log(0.5)
    other = -math.log(1 - 0.9) - math.log(0.6) - math.log(0.7)
    assert total.item() == pytest.approx(0.75 * own + 0.25 * other, abs=1e-5)
    assert count == 3


def test_logits_by_hand() -> None:
    """The second token is no first piece; of the first KL(0.5 ‖ 0.8) at temperature 2."""
    teacher = torch.tensor([[[0.0, 0.0], [5.0, -5.0]]])
    student = torch.tensor([[[0.0, 2 * logit(0.8)], [0.0, 0.0]]])
    total, count = logits(student, teacher, torch.tensor([[1, 0]]), temperature=2.0, kind=KIND)
    kl = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert total.item() == pytest.approx(4 * kl, abs=1e-5)
    assert count == 1


def test_logits_of_mixed_sentences_weigh_places_as_labels_do() -> None:
    """A place counts λ for the one sentence and 1 - λ for the other: with one value everywhere, the total is that of all words."""
    student = torch.zeros(2, 3, 2)
    student[..., 1] = logit(0.8)
    words = torch.tensor([[1, 1, 0], [1, 0, 1]])
    one = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    total, count = logits(student, torch.zeros(2, 3, 2), words, kind=KIND, lam=0.7)
    assert total.item() == pytest.approx(4 * one, abs=1e-5)
    assert count == 4
    only = torch.tensor([[0, 0, 0], [0, 1, 0]])
    student[0] = 0.0  # agrees with the teacher
    total, _ = logits(student, torch.zeros(2, 3, 2), only, kind=KIND, lam=0.7)
    assert total.item() == pytest.approx(0.7 * one, abs=1e-5)
    total, _ = logits(student.flip(0), torch.zeros(2, 3, 2), only, kind=KIND, lam=0.7)
    assert total.item() == pytest.approx(0.3 * one, abs=1e-5)


def sides(pad_to: int | None = None) -> tuple[Batch, Activations, Activations]:
    """A batch of four sentences with two words each, and logits of student and teacher."""
    width = pad_to or max(LENGTHS)
    mask = torch.zeros(4, width, dtype=torch.long)
    gold = torch.full((4, width), NONE)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
        gold[row, 1], gold[row, length - 1] = row % 3, 2
    generator = torch.Generator().manual_seed(1)
    own, theirs = (torch.randn(4, max(LENGTHS), 3, generator=generator, dtype=torch.float64) for _ in range(2))

    def wide(values: Tensor) -> Tensor:
        rest = torch.full((4, width - values.shape[1], 3), 7.0, dtype=values.dtype)
        return torch.cat([values, rest], 1)

    batch = Batch(mask, mask, None, gold, torch.arange(4), gold >= 0)
    return batch, Activations(mask, logits=wide(own).requires_grad_()), Activations(mask, logits=wide(theirs))


def loss(term: Term, batch: Batch, own: Activations, theirs: Activations, lam: float | None) -> tuple[Tensor, Tensor]:
    return distillation_loss(term, own, theirs, answers=batch.answers, gold=batch.labels, lam=lam)


@pytest.mark.parametrize("lam", [None, 0.7])
@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_padding_changes_neither_loss_nor_gradient(term: Term, lam: float | None) -> None:
    batch, own, theirs = sides()
    total, count = loss(term, batch, own, theirs, lam)
    wide, padded, others = sides(16)
    again, same = loss(term, wide, padded, others, lam)
    torch.testing.assert_close(again, total, rtol=0, atol=1e-12)
    assert count == same
    assert count == 8
    assert own.logits is not None
    assert padded.logits is not None
    (gradient,) = torch.autograd.grad(total, own.logits)
    (other,) = torch.autograd.grad(again, padded.logits)
    torch.testing.assert_close(other[:, : max(LENGTHS)], gradient, rtol=0, atol=1e-12)
    assert not other[:, max(LENGTHS) :].any()


@pytest.mark.parametrize("lam", [None, 0.7])
@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_mirrored_micro_batches_add_up(term: Term, lam: float | None) -> None:
    batch, own, theirs = sides()
    total, count = loss(term, batch, own, theirs, lam)
    found = []
    for part in batch.mirrored_parts(2):
        rows, length = part.index, part.input_ids.shape[1]
        ours, others = (
            Activations(part.attention_mask, logits=side.tensor("logits")[rows, :length]) for side in (own, theirs)
        )
        found.append(loss(term, part, ours, others, lam))
    torch.testing.assert_close(torch.stack([value for value, _ in found]).sum(), total, rtol=0, atol=1e-12)
    assert sum(int(number) for _, number in found) == count


def test_a_step_divides_by_the_words_of_the_whole_step() -> None:
    counts = Counts.of(torch.tensor(LENGTHS).numpy(), mixed=True, answers=8)
    assert [counts.of_term(name) for name in ("labels", "logits", "cls")] == [8, 8, 4]
    assert counts.of_term("hidden") == 6 + 5 + 5 + 6
