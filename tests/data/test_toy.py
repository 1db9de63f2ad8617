"""The embedded toy tasks: stable, balanced, without duplicates, and labelled as their words say."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable

import pytest

from engine.data import toy
from engine.data.toy import Draw, toy_task
from engine.data.types import Example
from engine.errors import DataError

TASKS = ("toy-sentiment", "toy-entailment", "toy-similarity", "toy-switch")


def everything(name: str, train: int = 1500, dev: int = 500) -> list[Example]:
    data = toy_task(name, train=train, dev=dev)
    return [*data.train, *data.dev["dev"]]


def test_draw_is_splitmix64() -> None:
    draw = Draw(1234567)  # the reference values that many implementations are tested against
    assert [draw.bits() for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_weights_are_followed() -> None:
    draw = Draw(5)
    counts = Counter(draw.weigh(((1, "rare"), (3, "often"), (0, "never"))) for _ in range(4000))
    assert counts["never"] == 0
    assert 2.7 < counts["often"] / counts["rare"] < 3.3


@pytest.mark.parametrize("name", TASKS)
def test_text_never_changes(name: str) -> None:
    # A change here changes every figure in docs/toy-tasks.md and every teacher in people's caches: measure again.
    rows = everything(name, 300, 100)
    digest = hashlib.sha256("\n".join(repr((e.id, e.text, e.pair, e.label)) for e in rows).encode()).hexdigest()
    assert digest[:16] == DIGESTS[name]


@pytest.mark.parametrize("name", TASKS)
def test_no_text_stands_twice(name: str) -> None:
    rows = everything(name, 6000, 1000)
    assert len({(e.text, e.pair) for e in rows}) == len(rows)
    assert len({e.id for e in rows}) == len(rows)


@pytest.mark.parametrize("name", TASKS)
def test_smaller_sets_are_the_beginning_of_larger_ones(name: str) -> None:
    small, large = toy_task(name, train=50, dev=20), toy_task(name, train=90, dev=70)
    assert small.train == large.train[:50]
    assert small.dev["dev"] == large.dev["dev"][:20]


def test_default_sizes() -> None:
    data = toy_task("toy-sentiment")
    assert (len(data.train), len(data.dev["dev"])) == (toy.DEFAULT_TRAIN, toy.DEFAULT_DEV)
    assert data.primary_dev == "dev"


@pytest.mark.parametrize("name", TASKS)
def test_sentences_are_readable_and_short(name: str) -> None:
    words = set()
    for example in everything(name):
        for sentence in (example.text, example.pair):
            if sentence is None:
                assert name in ("toy-sentiment", "toy-switch")
                continue
            assert re.fullmatch(r"[A-Z][a-z]+(,? [a-z]+)*" + ("" if name == "toy-switch" else r"\."), sentence)
            tokens = re.findall(r"\w+|,", sentence)
            assert 2 <= len(tokens) <= (12 if name == "toy-switch" else 40)
            words.update(tokens)
    assert 25 < len(words) < 300


@pytest.mark.parametrize(("name", "classes"), [("toy-sentiment", 2), ("toy-entailment", 3)])
def test_classes_are_balanced(name: str, classes: int) -> None:
    data = toy_task(name, train=3000, dev=1000)
    assert len(data.spec.labels) == classes
    for rows in (data.train, data.dev["dev"]):
        counts = Counter(e.label for e in rows)
        assert set(counts) == set(range(classes))
        assert all(abs(count * classes / len(rows) - 1) < 0.12 for count in counts.values())


def test_no_class_of_switch_is_much_more_frequent_than_the_others() -> None:
    data = toy_task("toy-switch")
    assert len(data.dev["dev"]) == toy.DEFAULT_DEV_OF_SWITCH
    for rows, most in ((data.train, 0.35), (data.dev["dev"], 0.37)):
        counts = Counter(e.label for e in rows)
        assert set(counts) == {0, 1, 2}
        assert max(counts.values()) / len(rows) < most


def test_scores_are_spread() -> None:
    data = toy_task("toy-similarity", train=2000)
    assert (data.spec.kind, data.spec.metrics[0], data.spec.label_range) == ("regression", "pearson", (0.0, 5.0))
    counts = Counter(e.label for e in data.train)
    assert set(counts) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(200 / 2000 * 0.8 < count / 2000 < 0.35 for count in counts.values())


def clauses(text: str) -> list[list[str]]:
    return [clause.split() for clause in text.lower().rstrip(".").split(", ")]


def test_entailment_labels_follow_from_the_story() -> None:
    for example in everything("toy-entailment"):
        state = "unknown"
        turned = {"upright": "inverted", "inverted": "upright", "unknown": "unknown"}
        for number, words in enumerate(clauses(example.text)):
            if number and words[0] == "almost":
                continue
            verb = words[1]
            if verb == "righted":
                state = "upright"
            elif verb == "upended":
                state = "inverted"
            elif verb == "tossed":
                state = "unknown"
            elif verb == "flipped":
                state = turned[state]
            else:
                assert verb in ("polished", "admired", "painted")
        assert example.pair is not None
        claimed = example.pair.rstrip(".").split()[-1]
        assert claimed in ("upright", "inverted")
        assert clauses(example.pair)[0][1] == clauses(example.text)[0][3]  # the same vessel
        expected = "neutral" if state == "unknown" else "entailment" if state == claimed else "contradiction"
        assert toy_task("toy-entailment").spec.labels.index(expected) == example.label


def test_switch_labels_follow_from_what_was_done() -> None:
    after: dict[str, Callable[[str], str]] = {
        "started": lambda _: "on",
        "stopped": lambda _: "off",
        "dropped": lambda _: "unknown",
    }
    after["switched"] = lambda state: {"on": "off", "off": "on"}.get(state, state)
    after |= dict.fromkeys(("dusted", "admired"), lambda state: state)
    labels = toy_task("toy-switch").spec.labels
    for example in everything("toy-switch"):
        _, *deeds = example.text.split()
        state = "unknown"
        for how, verb in zip(["then", *deeds[1::2]], deeds[::2], strict=True):
            assert how in ("then", "almost")
            state = after[verb](state) if how == "then" else state
        assert labels.index(state) == example.label


def test_sentiment_labels_follow_from_the_review() -> None:
    praise, blame = (
        {"shines", "delights", "convinces", "sparkles", "works"},
        {"drags", "annoys", "disappoints", "bores", "fails"},
    )
    for example in everything("toy-sentiment"):
        good = 0
        for number, words in enumerate(clauses(example.text)):
            if words in (["just", "kidding"], ["or", "not"]):
                good = -good
                continue
            assert words[-1] in praise | blame
            side = 1 if words[-1] in praise else -1
            if "never" in words:
                side = -side
            if number == 0 or words[0] in ("but", "yet"):
                good = side
            else:
                assert words[0] in ("though", "although")
        assert example.label == (1 if good > 0 else 0)


def test_similarity_is_five_less_the_distance_of_the_opinions() -> None:
    past = ["hated", "rejected", "doubted", "accepted", "liked", "loved"]
    present = ["hates", "rejects", "doubts", "accepts", "likes", "loves"]
    for example in everything("toy-similarity"):
        first, *rest = clauses(example.text)
        opinion = past.index(first[1])
        for how, *words in rest:
            if how == "almost" or words in (["thought", "it", "over"], ["slept", "on", "it"]):
                continue
            if words in (["changed", "sides"], ["switched", "camps"]):
                opinion = 5 - opinion
            elif words == ["warmed", "to", "it"]:
                opinion = min(5, opinion + 1)
            elif words == ["cooled", "on", "it"]:
                opinion = max(0, opinion - 1)
            else:
                opinion = past.index(words[0])
        assert example.pair is not None
        other = clauses(example.pair)[0]
        assert other[3] == first[3]
        assert example.label == 5 - abs(opinion - present.index(other[1]))


def test_unknown_name_names_the_tasks() -> None:
    with pytest.raises(DataError, match=r"'toy-story'.* toy-entailment, toy-sentiment"):
        toy_task("toy-story")


@pytest.mark.parametrize("size", [0, -3, toy.MOST + 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(DataError, match="1 to 200000"):
        toy_task("toy-entailment", train=size)
    with pytest.raises(DataError, match="dev split"):
        toy_task("toy-entailment", dev=size)


DIGESTS = {
    "toy-sentiment": "69eae493b7453469",
    "toy-entailment": "406e3bd1c7f8d425",
    "toy-similarity": "d48f2f736d018ddb",
    "toy-switch": "ef87db69fb129c13",
}
