"""Three embedded toy tasks, written by a seeded grammar: data for trying and testing without files or network.

Each task tells of a state that a chain of clauses sets, turns round, or leaves alone, so that the label is what is left
at the end of the chain. Whoever reads only single words is right now and then; whoever also sees what overrides what is
right more often; and to follow every turn takes about as many steps of composition as the chain has, which is what a
deeper encoder has more of. Short chains are frequent, so that a small model has something to learn from at once.

`toy-entailment`: does the first sentence say that the second is true? `toy-sentiment`: is the verdict good or bad?
`toy-similarity`: how near, from 0 to 5, are the opinions of two people? `docs/toy-tasks.md` has examples and figures.

The texts depend on this file alone: the draws come from SplitMix64 in integer arithmetic (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014), not from a library whose streams may change, and not from the
seed of a run. The first n examples are the same however many are asked for. A text belongs to dev when its hash says
so, and else to train, so the two never share one, whatever their sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from engine.data.types import Example, TaskData, TaskSpec
from engine.errors import DataError

T = TypeVar("T")

DEFAULT_TRAIN = 12_000
DEFAULT_DEV = 2_000
MOST = 200_000
"""Examples of a split at most: beyond that the grammar would begin to run out of new short sentences."""

_DEV_SHARE = 4  # one text in so many belongs to dev
_MASK = (1 << 64) - 1


class Draw:
    """A stream of pseudorandom choices (SplitMix64) that is the same on every machine and for every version."""

    def __init__(self, seed: int):
        self._state = seed & _MASK

    def bits(self) -> int:
        """The next 64 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1 (the bias of the product's high half is below 2**-50 here)."""
        return (self.bits() * count) >> 64

    def chance(self, percent: int) -> bool:
        """True in so many cases of a hundred."""
        return self.below(100) < percent

    def choose(self, options: Sequence[T]) -> T:
        """One of the options, each as likely."""
        return options[self.below(len(options))]

    def weigh(self, options: Sequence[tuple[int, T]]) -> T:
        """One of the options, each as likely as its weight (whole numbers) says."""
        left = self.below(sum(weight for weight, _ in options))
        for weight, option in options:
            left -= weight
            if left < 0:
                return option
        raise AssertionError("weights sum to more than was drawn")


class Row(NamedTuple):
    """What the grammar writes: a sentence, a second one or None, and the label."""

    text: str
    pair: str | None
    label: int | float


PEOPLE = ("anna", "ben", "carla", "david", "emma", "frank", "grace", "henry")


# -- toy-entailment: which way up is the cup?

VESSELS = ("cup", "glass", "bottle", "vase", "bowl", "jar", "bucket", "barrel")
UPRIGHT = ("righted",)
INVERTED = ("upended",)
FLIP = ("flipped",)
UNKNOWN = ("tossed",)
IDLE = ("polished", "admired", "painted")

_ENTAILED, _NEUTRAL, _CONTRADICTED = range(3)


def _handle(draw: Draw, upright: bool | None) -> tuple[str, bool | None]:
    """One more thing done to the vessel: the verb, and whether it stands upright afterwards (None: who knows)."""
    deed = draw.weigh(((9, UPRIGHT), (9, INVERTED), (9, UNKNOWN), (58, FLIP), (15, IDLE)))
    if deed is UPRIGHT or deed is INVERTED:
        upright = deed is UPRIGHT
    elif deed is UNKNOWN:
        upright = None
    elif deed is FLIP and upright is not None:
        upright = not upright
    return draw.choose(deed), upright


def _entailment(draw: Draw, wanted: int) -> Row:
    """A story of one vessel, and a claim about it."""
    claims_upright = draw.chance(85)  # an even mix would hide what each verb means behind an exclusive or
    while True:
        vessel = draw.choose(VESSELS)
        verb, upright = _handle(draw, None)
        parts = [f"{draw.choose(PEOPLE)} {verb} the {vessel}"]
        for _ in range(draw.below(7)):
            happens = not draw.chance(25)
            verb, after = _handle(draw, upright)
            parts.append(f"{'then' if happens else 'almost'} {verb} it")
            upright = after if happens else upright
        label = _NEUTRAL if upright is None else _ENTAILED if upright == claims_upright else _CONTRADICTED
        if label == wanted:
            claim = f"the {vessel} is {'upright' if claims_upright else 'inverted'}"
            return Row(_sentence(", ".join(parts)), _sentence(claim), label)


def _sentence(text: str) -> str:
    """The words with a capital and a full stop."""
    return text[0].upper() + text[1:] + "."


# -- toy-sentiment: what is the verdict on the film?

ASPECTS = ("plot", "cast", "music", "script", "ending", "acting", "humour", "camera", "story", "title")
REPORTS = ("says", "thinks", "writes", "feels", "claims")
PRAISE = ("shines", "delights")
BLAME = ("drags", "annoys")
CONTRAST = ("but",)
CONCESSION = ("though",)
TAKEN_BACK = ("or not",)


def _opinion(draw: Draw) -> tuple[str, bool]:
    """A clause on one side of the film, sometimes negated, and whether it is praise."""
    good = draw.chance(50)
    negated = draw.chance(12)
    verb = draw.choose(PRAISE if good else BLAME)
    return f"the {draw.choose(ASPECTS)} {'never ' if negated else ''}{verb}", good != negated


def _sentiment(draw: Draw, wanted: int) -> Row:
    """A review of one sentence: contrast overrides, concession does not, and what is taken back is turned round."""
    while True:
        clause, good = _opinion(draw)
        parts = [f"{draw.choose(PEOPLE)} {draw.choose(REPORTS)} {clause}"]
        for _ in range(draw.below(7)):
            step = draw.weigh(((28, CONTRAST), (50, TAKEN_BACK), (22, CONCESSION)))
            if step is TAKEN_BACK:
                parts.append(draw.choose(step))
                good = not good
                continue
            clause, side = _opinion(draw)
            parts.append(f"{draw.choose(step)} {clause}")
            good = side if step is CONTRAST else good
        if good == bool(wanted):
            return Row(_sentence(", ".join(parts)), None, wanted)


# -- toy-similarity: how near are two opinions?

SUBJECTS = ("plan", "idea", "offer", "budget", "design", "report", "rule", "vote")
STANCES = (("hated", "hates"), ("rejected", "rejects"), ("doubted", "doubts"),
           ("accepted", "accepts"), ("liked", "likes"), ("loved", "loves"))  # fmt: skip
"""The opinions that score 0 to 5, in the past and in the present."""
BEST = len(STANCES) - 1
WARMED = ("warmed to it",)
COOLED = ("cooled on it",)
REVERSED = ("changed sides",)
WAVERED = ("thought it over",)
ADOPTED = ("adopted",)

_STANCE = ((4, 0), (1, 1), (1, 2), (1, 3), (1, 4), (4, 5))  # the ends more often: there a change of sides shows most


def _change_of_mind(draw: Draw, opinion: int) -> tuple[str, int]:
    """How somebody's opinion (0 to 5) goes on, and what it then is."""
    change = draw.weigh(((30, ADOPTED), (9, WARMED), (9, COOLED), (44, REVERSED), (8, WAVERED)))
    if change is ADOPTED:
        opinion = draw.weigh(_STANCE)
        return f"{STANCES[opinion][0]} it", opinion
    if change is WARMED:
        opinion = min(opinion + 1, BEST)
    elif change is COOLED:
        opinion = max(opinion - 1, 0)
    elif change is REVERSED:
        opinion = BEST - opinion
    return draw.choose(change), opinion


def _similarity(draw: Draw, _: int) -> Row:
    """How one person's opinion went, and where another stands: 5 less the distance between the two."""
    subject = draw.choose(SUBJECTS)
    first, second = draw.choose(PEOPLE), draw.choose(PEOPLE)
    opinion = draw.weigh(_STANCE)
    parts = [f"{first} {STANCES[opinion][0]} the {subject}"]
    for _ in range(draw.below(5)):
        happens = not draw.chance(30)
        words, after = _change_of_mind(draw, opinion)
        parts.append(f"{'then' if happens else 'almost'} {words}")
        opinion = after if happens else opinion
    other = BEST if draw.chance(80) else draw.below(BEST)  # mostly one end, for the same reason as `claims_upright`
    claim = f"{second} {STANCES[other][1]} the {subject}"
    return Row(_sentence(", ".join(parts)), _sentence(claim), float(BEST - abs(opinion - other)))


# -- the tasks

_GRAMMARS: dict[str, Callable[[Draw, int], Row]] = {
    "toy-sentiment": _sentiment,
    "toy-entailment": _entailment,
    "toy-similarity": _similarity,
}
_SPECS = {
    spec.name: spec
    for spec in (
        TaskSpec("toy-sentiment", "classification", ("negative", "positive"), ("accuracy",), is_pair=False),
        TaskSpec("toy-entailment", "classification", ("entailment", "neutral", "contradiction"), ("accuracy",), is_pair=True),
        TaskSpec("toy-similarity", "regression", (), ("pearson", "spearman"), is_pair=True, label_range=(0.0, float(BEST))),
    )
}  # fmt: skip


def toy_task(name: str, *, train: int | None = None, dev: int | None = None) -> TaskData:
    """The rows of an embedded task: always the same ones, the first `train` and the first `dev` of their streams.

    No text stands twice, neither within a split nor in both. Classes are balanced; scores are spread over 0 to 5.
    Sizes default to `DEFAULT_TRAIN` and `DEFAULT_DEV`. Raises DataError for an unknown name and for a size that is not
    between 1 and `MOST`.
    """
    if name not in _GRAMMARS:
        raise DataError(f"there is no embedded task {name!r}: choose from {', '.join(sorted(_GRAMMARS))}")
    sizes = {"train": DEFAULT_TRAIN if train is None else train, "dev": DEFAULT_DEV if dev is None else dev}
    for split, size in sizes.items():
        if not 1 <= size <= MOST:
            raise DataError(f"{size} examples for the {split} split of {name}: it can have from 1 to {MOST}")
    return TaskData(_SPECS[name], _rows(name, "train", sizes["train"]), {"dev": _rows(name, "dev", sizes["dev"])})


@lru_cache(maxsize=8)
def _rows(name: str, split: str, size: int) -> tuple[Example, ...]:
    """The first `size` examples of a split, in the order in which the grammar writes them."""
    draw, grammar, labels = Draw(_number(f"{name} {split}")), _GRAMMARS[name], max(len(_SPECS[name].labels), 1)
    seen: set[tuple[str, str | None]] = set()
    rows: list[Example] = []
    while len(rows) < size:
        wanted = draw.below(labels)
        row = grammar(draw, wanted)
        while (row.text, row.pair) in seen or _in_dev(row) != (split == "dev"):
            row = grammar(
                draw, wanted
            )  # of the same label: what is short and often met again has no say in the balance
        seen.add((row.text, row.pair))
        rows.append(Example(f"{split}-{len(rows)}", row.text, row.pair, row.label))
    return tuple(rows)


def _in_dev(row: Row) -> bool:
    return _number(f"{row.text} | {row.pair}") % _DEV_SHARE == 0


def _number(text: str) -> int:
    """64 bits that depend on the text alone (Python's own hash differs from process to process)."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
