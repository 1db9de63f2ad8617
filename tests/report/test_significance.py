from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from engine.evaluate.metrics import METRICS as OFFICIAL
from engine.preset.kinds import RANKINGS
from engine.record.rankings import RANKED
from engine.report.predictions import Answers
from engine.report.significance import LEVEL, METRICS, SeedAnswers, compare_methods, holm, pooled_variance, score

EXAMPLES = 200
GOLD = tuple(float(place % 2) for place in range(EXAMPLES))


def answers(wrong: Sequence[int] = (), *, gold: Sequence[float] = GOLD, dev: str = "dev") -> Answers:
    said = tuple(1 - label if place in wrong else label for place, label in enumerate(gold))
    return Answers(dev, ("no", "yes"), tuple(gold), said)


def method(*wrong: Sequence[int]) -> SeedAnswers:
    return {seed + 1: answers(places) for seed, places in enumerate(wrong)}


def test_the_same_predictions_are_never_told_apart() -> None:
    same = [method(range(20), range(5, 30), range(10)) for _ in range(3)]
    tests = compare_methods("accuracy", same)
    assert set(tests.p_values) == {(0, 1), (0, 2), (1, 2)}
    assert set(tests.p_values.values()) == {1.0}


def test_a_clear_difference_is_told_apart() -> None:
    good, bad = method(range(5), range(1, 6), range(2, 8)), method(range(60), range(3, 64), range(1, 62))
    assert compare_methods("accuracy", [good, bad]).p_values[0, 1] < 0.01


def test_few_examples_do_not_make_a_difference() -> None:
    """One answer more of eight, in each of three seeds."""
    gold = GOLD[:8]
    one = {seed: answers([0], gold=gold) for seed in (1, 2, 3)}
    other = {seed: answers([0, 1], gold=gold) for seed in (1, 2, 3)}
    assert compare_methods("accuracy", [one, other]).p_values[0, 1] > LEVEL


def test_the_p_value_of_seeds_that_agree_is_that_of_the_examples_alone() -> None:
    """Two of 8 answers differ, always in favour of one: no difference in a resample that has neither, (6/8)^8."""
    gold = GOLD[:8]
    one = {seed: answers([], gold=gold) for seed in (1, 2, 3)}
    other = {seed: answers([0, 1], gold=gold) for seed in (1, 2, 3)}
    assert compare_methods("accuracy", [one, other], 40_000).p_values[0, 1] == pytest.approx(2 * 0.75**8, abs=0.01)


def test_seeds_that_scatter_are_held_against_students_distribution() -> None:
    """Differences of 1, 2 and 3 points have t = 2 / (1 / √3) with two degrees of freedom: p = 0.074 without examples."""
    gold = tuple(float(place % 2) for place in range(20_000))
    one = {seed: answers(range(200), gold=gold) for seed in (1, 2, 3)}
    other = {seed: answers(range(200 + 200 * seed), gold=gold) for seed in (1, 2, 3)}
    assert compare_methods("accuracy", [one, other], 4_000).p_values[0, 1] == pytest.approx(0.0742, abs=0.015)


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ((0.01, 0.02, 0.04), (0.03, 0.04, 0.04)),
        ((0.04, 0.01, 0.02), (0.04, 0.03, 0.04)),  # the order of the pairs changes nothing
        ((0.01, 0.011, 0.012), (0.03, 0.03, 0.03)),  # none gets smaller than one before it
        ((0.4, 0.5, 0.6), (1.0, 1.0, 1.0)),
        ((0.03, 0.03, 0.9), (0.09, 0.09, 0.9)),
        ((0.0, 0.01, 0.01, 0.01, 0.02, 1.0), (0.0, 0.05, 0.05, 0.05, 0.05, 1.0)),
        ((0.2,), (0.2,)),
        ((), ()),
    ],
)
def test_holm_corrects_p_values_for_their_number(raw: tuple[float, ...], corrected: tuple[float, ...]) -> None:
    found = holm({(0, place): value for place, value in enumerate(raw, 1)})
    assert [found[0, place] for place in range(1, len(raw) + 1)] == pytest.approx(corrected)


def test_p_values_of_all_pairs_are_corrected_together() -> None:
    """Two methods against each other need no correction; three are corrected as their three p-values alone would be."""
    rivals = [method(range(n), range(1, n + 1), range(2, n + 2)) for n in (20, 26, 50)]
    alone = {
        pair: compare_methods("accuracy", [rivals[pair[0]], rivals[pair[1]]]).p_values[0, 1]
        for pair in ((0, 1), (0, 2), (1, 2))
    }
    assert compare_methods("accuracy", rivals).p_values == pytest.approx(holm(alone))
    assert holm(alone) != pytest.approx(alone)


def test_seeds_are_paired() -> None:
    """Both methods lose what their seed loses, and one always the same two answers more: the seeds' own spread doesn't matter."""
    one = method(range(10), range(60), range(30))
    other = method(*([*range(wrong), 198, 199] for wrong in (10, 60, 30)))
    assert compare_methods("accuracy", [one, other]).p_values[0, 1] == pytest.approx(
        2 * (1 - 2 / EXAMPLES) ** EXAMPLES, abs=0.02
    )
    shuffled = {1: other[2], 2: other[3], 3: other[1]}
    assert compare_methods("accuracy", [one, shuffled]).p_values[0, 1] > 0.5


def test_the_variance_over_seeds_is_pooled_by_degrees_of_freedom() -> None:
    variance, freedom = pooled_variance([(2.0, 3), (4.0, 5), (3.0, 4)], methods=3)
    assert (variance, freedom) == pytest.approx((29 / 9, 6))
    assert pooled_variance([(2.0, 3)], methods=2) == (2.0, 2)
    assert pooled_variance([], methods=0) == (0.0, 1)


def test_a_pair_has_the_variance_of_its_column_or_its_own_where_that_is_larger() -> None:
    """Of three methods two agree in every seed, and the third scatters: (3 - 1)(3 - 1) degrees of freedom, t = 2.776."""
    steady, same, wild = method(*[range(10)] * 3), method(*[range(8)] * 3), method(range(10), range(90), range(50))
    gaps = compare_methods("accuracy", [steady, same, wild], against=0).differences
    own = 0.2**2  # variance of differences of 0, 0.4 and 0.2
    assert (gaps[1].high - gaps[1].low) / 2 == pytest.approx(2.776 * (2 / 3 * own / 3) ** 0.5, rel=0.05)
    assert (gaps[2].high - gaps[2].low) / 2 == pytest.approx(2.776 * (own / 3) ** 0.5, rel=0.05)


def test_one_method_named_beforehand_is_corrected_for_its_own_pairs_alone() -> None:
    rivals = [method(range(n), range(1, n + 1), range(2, n + 2)) for n in (20, 26, 50, 23)]
    every, named = compare_methods("accuracy", rivals), compare_methods("accuracy", rivals, against=1)
    assert set(named.p_values) == {(0, 1), (1, 2), (1, 3)}
    assert all(named.p_values[pair] <= every.p_values[pair] for pair in named.p_values)
    assert {place: round(gap.mean, 6) for place, gap in named.differences.items()} == {0: 0.03, 2: -0.12, 3: 0.015}
    assert all(gap.low < gap.mean < gap.high for gap in named.differences.values())
    assert not every.differences


def test_the_interval_of_seeds_that_scatter_is_students() -> None:
    """Differences of 1, 2 and 3 points: 2 ± 4.303 × 1 / √3 with two degrees of freedom, from either side."""
    gold = tuple(float(place % 2) for place in range(20_000))
    one = {seed: answers(range(200), gold=gold) for seed in (1, 2, 3)}
    other = {seed: answers(range(200 + 200 * seed), gold=gold) for seed in (1, 2, 3)}
    gap = compare_methods("accuracy", [one, other], 4_000, against=1).differences[0]
    assert (gap.mean, gap.low, gap.high) == pytest.approx((0.02, -0.0048, 0.0448), abs=0.0006)
    back = compare_methods("accuracy", [one, other], 4_000, against=0).differences[1]
    assert (back.mean, back.low, back.high) == pytest.approx((-gap.mean, -gap.high, -gap.low), abs=1e-9)


def test_the_interval_of_seeds_that_agree_is_that_of_the_examples_alone() -> None:
    """Ten of 1,000 answers differ, always in favour of one: a binomial's 2.5 and 97.5 %."""
    gold = GOLD * 5
    one = {seed: answers(gold=gold) for seed in (1, 2, 3)}
    other = {seed: answers(range(10), gold=gold) for seed in (1, 2, 3)}
    gap = compare_methods("accuracy", [one, other], 20_000, against=1).differences[0]
    assert (gap.low, gap.high) == pytest.approx((0.004, 0.017), abs=0.0011)


def test_the_same_input_gives_the_same_figures_whatever_else_is_there() -> None:
    """Another dev set, or a method that cannot be tested, changes neither the resamples nor the seeds' variance."""
    one, other = method(range(20), range(3, 25)), method(range(30), range(40))
    alone = compare_methods("accuracy", [one, other], 1_000)
    assert compare_methods("accuracy", [one, other], 1_000) == alone
    single, elsewhere = method(range(70)), {1: answers(dev="x"), 2: answers([3], dev="x")}
    assert compare_methods("accuracy", [one, other, single, elsewhere], 1_000).p_values == alone.p_values


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (method(range(3)), method(range(9)), "one seed"),
        ({}, method(range(9), range(3)), "no predictions"),
        ({1: answers(), 2: answers()}, {3: answers(), 4: answers()}, "seeds in common"),
        ({1: answers(), 2: answers()}, {1: answers(dev="x"), 2: answers(dev="x")}, "other dev examples"),
    ],
)
def test_what_cannot_be_tested_is_said(one: SeedAnswers, other: SeedAnswers, why: str) -> None:
    tests = compare_methods("accuracy", [one, other])
    assert not tests.p_values
    assert why in tests.untested[0, 1]


def test_an_unknown_metric_is_not_tested() -> None:
    both = method(range(3), range(4))
    assert "bleu" in compare_methods("bleu", [both, both]).untested[0, 1]


def test_pairs_that_can_be_tested_are_tested_beside_those_that_cannot() -> None:
    tests = compare_methods("accuracy", [method(range(2), range(3)), method(range(60), range(61)), method(range(9))])
    assert set(tests.p_values) == {(0, 1)}
    assert set(tests.untested) == {(0, 2), (1, 2)}


@pytest.mark.parametrize(("seed_noise", "methods"), [(0.0, 2), (0.2, 2), (0.2, 4)])
def test_under_the_null_it_is_seldom_significant(seed_noise: float, methods: int) -> None:
    random, trials, found = np.random.default_rng(11), 120, 0
    for _ in range(trials):
        gold = tuple(random.integers(0, 2, 120).astype(float))
        ease = random.normal(0.8, 1.0, 120)
        rivals = [_drawn(random, gold, ease + random.normal(0, 0.4, 120), seed_noise) for _ in range(methods)]
        found += min(compare_methods("accuracy", rivals, 500).p_values.values()) < LEVEL
    assert found / trials <= 0.1


def _drawn(random: np.random.Generator, gold: tuple[float, ...], ease: Any, seed_noise: float) -> SeedAnswers:
    def one() -> Answers:
        hits = ease + random.normal(0, seed_noise) + random.normal(0, 0.7, len(gold)) > 0
        return Answers("x", ("a", "b"), gold, tuple(g if hit else 1 - g for g, hit in zip(gold, hits, strict=True)))

    return {seed: one() for seed in (1, 2, 3)}


# -- metrics


OF_SETS = ("f1_micro", "subset_accuracy")
"""Of several labels for a text alone; f1_macro is also of these."""


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric not in OF_SETS])
@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_are_the_official_ones_on_each_resample(metric: str, classes: int) -> None:
    random = np.random.default_rng(3)
    if metric in ("pearson", "spearman"):
        gold = np.round(random.uniform(0, 5, 40), 1)  # with ties
        said = np.round(gold + random.normal(0, 1, (2, 40)), 1)
    else:
        gold = random.integers(0, classes, 40).astype(float)
        said = np.where(random.random((2, 40)) < 0.7, gold, random.integers(0, classes, (2, 40)))
    counts = np.stack([np.bincount(random.integers(0, 40, 40), minlength=40) for _ in range(5)]).astype(float)
    found = METRICS[metric](gold, said, counts, classes)
    for draw, weights in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(40), weights)
        for run in range(2):
            assert found[draw, run] == pytest.approx(OFFICIAL[metric](said[run][rows], gold[rows]), abs=1e-9)


@pytest.mark.parametrize("metric", ["f1_macro", *OF_SETS])
def test_metrics_of_several_labels_are_the_official_ones_on_each_resample(metric: str) -> None:
    random = np.random.default_rng(5)
    gold = (random.random((30, 4)) < [0.5, 0.3, 0.05, 0.0]).astype(np.uint8)
    said = np.where(random.random((2, 30, 4)) < 0.8, gold, 1 - gold)
    counts = np.stack([np.bincount(random.integers(0, 30, 30), minlength=30) for _ in range(5)]).astype(float)
    found = METRICS[metric](gold, said, counts, 4)
    for draw, weights in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(30), weights)
        for run in range(2):
            assert found[draw, run] == pytest.approx(OFFICIAL[metric](said[run][rows], gold[rows]), abs=1e-9)


def test_methods_whose_texts_have_several_labels_are_told_apart() -> None:
    gold = tuple((row % 2, row % 3 % 2) for row in range(EXAMPLES))

    def runs(*wrong: int) -> SeedAnswers:
        said = [
            tuple((1 - one, two) if row < most else (one, two) for row, (one, two) in enumerate(gold)) for most in wrong
        ]
        return {seed: Answers("dev", ("a", "b"), gold, answers) for seed, answers in enumerate(said)}

    assert compare_methods("f1_micro", [runs(5, 6, 7), runs(60, 61, 62)]).p_values[0, 1] < 0.01
    assert compare_methods("f1_micro", [runs(5, 6, 7), runs(5, 6, 7)]).p_values[0, 1] == 1.0


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric not in OF_SETS])
def test_what_cannot_be_computed_is_nothing_as_officially(metric: str) -> None:
    same = Answers("x", ("a", "b"), (0.0, 1.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0))
    official = OFFICIAL[metric](np.zeros(4), np.asarray(same.labels))
    assert score(metric, same) == pytest.approx(official)


def test_every_metric_of_a_task_is_known() -> None:
    assert set(METRICS) == set(OFFICIAL)


# -- rankings


def ranked(second: Sequence[int] = (), *, queries: int = 8) -> Answers:
    """Queries of three passages, the last of them right and ranked first, but second in these queries; those that are ranked first
    are given class 1, all others class 0."""
    scores = [score for query in range(queries) for score in ((0.5, 0.1, 0.3) if query in second else (0.3, 0.1, 0.5))]
    return Answers(
        "dev", ("no", "yes"), (0.0, 0.0, 1.0) * queries, tuple(float(score == 0.5) for score in scores),
        groups=tuple(row // 3 for row in range(3 * queries)), scores=tuple(scores),
    )  # fmt: skip


@pytest.mark.parametrize("metric", ["mrr", "ndcg", "accuracy"])
def test_of_a_ranking_queries_are_drawn(metric: str) -> None:
    """Two of 8 queries differ, always in favour of one: no difference in a resample that has neither, (6/8)^8. Of single rows, it
    would be (22/24)^24, of accuracy's four (20/24)^24."""
    one, other = ({seed: ranked(second) for seed in (1, 2, 3)} for second in ((), (0, 1)))
    tests = compare_methods(metric, [one, other], 40_000, against=1)
    assert tests.p_values[0, 1] == pytest.approx(2 * 0.75**8, abs=0.01)
    loss = {"mrr": 1 / 2, "ndcg": 1 - 1 / np.log2(3), "accuracy": 2 / 3}[metric]
    assert tests.differences[0].mean == pytest.approx(loss * 2 / 8)


def test_a_ranking_of_seeds_that_scatter_by_hand() -> None:
    """Of 2,000 queries 100, 200 and 300 more are ranked second, at 1/2 each: differences of 2.5, 5 and 7.5 points have
    t = 5 / (2.5 / √3) with two degrees of freedom, p = 0.074 without queries."""
    one = {seed: ranked(range(20), queries=2000) for seed in (1, 2, 3)}
    other = {seed: ranked(range(20 + 100 * seed), queries=2000) for seed in (1, 2, 3)}
    tests = compare_methods("mrr", [one, other], 1_000, against=1)
    assert tests.differences[0].mean == pytest.approx(0.05)
    assert tests.p_values[0, 1] == pytest.approx(0.0742, abs=0.015)


@pytest.mark.parametrize("metric", RANKINGS)
def test_rankings_are_measured_as_in_training_ties_and_queries_without_an_answer_included(metric: str) -> None:
    random = np.random.default_rng(7)
    groups = random.integers(0, 9, 60)
    labels = random.integers(0, 3, 60) * (groups != 4)  # query 4 has no relevant row
    scores = random.integers(0, 8, 60).astype(float)
    scores[5] = np.nan
    answers = Answers(
        "x", (), tuple(labels.tolist()), tuple(scores), (), tuple(groups.tolist()), tuple(scores.tolist())
    )
    assert score(metric, answers) == pytest.approx(RANKED[metric](scores, labels, groups), abs=1e-12)
    nothing = Answers("x", (), (0.0,) * 60, tuple(scores), (), tuple(groups.tolist()), tuple(scores.tolist()))
    assert score(metric, nothing) == 0.0
    both = {1: nothing, 2: nothing}
    assert compare_methods(metric, [both, both], 500).p_values[0, 1] == 1.0


def test_a_ranking_needs_the_query_of_each_row() -> None:
    both = method(range(3), range(4))
    assert "query" in compare_methods("mrr", [both, {1: ranked(), 2: ranked()}]).untested[0, 1]
