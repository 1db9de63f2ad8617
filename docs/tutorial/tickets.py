"""Write tickets.csv, the generated support tickets of the tutorial: always the same rows, on every machine.

    python docs/tutorial/tickets.py

Nobody wrote these tickets: a small grammar did. So that they are neither trivial nor hopeless, some tickets mention
another class's subject first, some say hardly anything, and some are filed under the wrong team.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

ROWS = 800
SEED = 12
WRONG_LABELS = 0.04
"""Share of the tickets that somebody filed under another team."""
MIXED = 0.22
"""Share of the tickets that mention another class's subject before their own."""
VAGUE = 0.06
"""Share of the tickets that give only a hint."""

SHARES = {"billing": 0.26, "delivery": 0.24, "login": 0.20, "returns": 0.17, "fault": 0.13}

OPENINGS = (
    "",
    "",
    "",
    "hi, ",
    "hello, ",
    "good morning, ",
    "urgent: ",
    "second time I ask: ",
    "please help, ",
    "hey team, ",
)
CLOSINGS = (
    "",
    "",
    "",
    "",
    " please advise",
    " thanks",
    " any idea",
    " can you check",
    " this is the third time",
    " asap",
)

THINGS = (
    "kettle",
    "headset",
    "desk lamp",
    "backpack",
    "router",
    "blender",
    "office chair",
    "keyboard",
    "jacket",
    "camera",
)
DAYS = ("on Monday", "last week", "yesterday", "two weeks ago", "this morning", "in March")

NEEDS = {
    "billing": (
        "I was charged twice for the {thing}",
        "the invoice for my {thing} has the wrong address",
        "why is there a fee of {number} on my card",
        "you took {number} from my account {day} and I ordered nothing",
        "I need a receipt for the {thing}",
        "the discount code did not reduce the price of the {thing}",
        "my payment {day} shows as pending",
        "please change the card for my subscription",
        "the total is {number} more than the price on the page",
        "I want to pay by bank transfer",
    ),
    "delivery": (
        "my {thing} should have arrived {day}",
        "the tracking page has not changed for {number} days",
        "the parcel went to my old address",
        "the courier left the {thing} with nobody I know",
        "where is order {number}",
        "can I pick up the {thing} at a shop",
        "only one of two boxes came {day}",
        "please hold the shipment until I am back",
        "it says delivered but the {thing} is not here",
        "how long does shipping to Norway take",
    ),
    "login": (
        "I cannot sign in since {day}",
        "the code for my phone never comes",
        "my account is locked after {number} tries",
        "the link to set a new password has expired",
        "I changed my email and now it does not know me",
        "the page says wrong password although it is right",
        "how do I turn off the second factor",
        "somebody else signed in as me {day}",
        "I forgot which address I registered with",
        "the app logs me out every {number} minutes",
    ),
    "returns": (
        "I want to send the {thing} back",
        "the {thing} is too small, can I swap it",
        "where do I print the return label",
        "I sent the {thing} back {day} and heard nothing",
        "can I still return it after {number} days",
        "the {thing} is not what I ordered, I want my money back",
        "nobody came to collect the {thing}",
        "please exchange the {thing} for a blue one",
        "you refunded {number} less than I paid for the {thing}",
        "is the {thing} returnable once it is opened",
    ),
    "fault": (
        "the {thing} stopped working {day}",
        "the {thing} makes a strange noise",
        "my {thing} will not switch on",
        "the screen of the {thing} stays black",
        "the {thing} came broken",
        "the app crashes when I add the {thing}",
        "a part of the {thing} is missing",
        "the {thing} gets very hot after {number} minutes",
        "the manual of the {thing} does not match what I have",
        "the buttons of the {thing} do nothing",
    ),
}  # fmt: skip

ASIDES = {
    "billing": ("I paid {day}, now", "the invoice came, but", "payment went through, yet"),
    "delivery": ("it arrived {day}, but", "the parcel came early, now", "delivery was fine, however"),
    "login": ("after I signed in again,", "my account works, but", "the password is fine, still"),
    "returns": ("I do not want to return it, but", "the exchange came, now", "before I send it back,"),
    "fault": ("the {thing} itself works, but", "nothing is broken, only", "it was repaired {day}, now"),
}

HINTS = {
    "billing": ("still about the money", "the amount again", "question about what I pay"),
    "delivery": ("still waiting", "nothing has come yet", "question about when it comes"),
    "login": ("still locked out", "it will not let me in", "question about my account"),
    "returns": ("still want to give it back", "I changed my mind", "question about sending it"),
    "fault": ("still does not work", "it does nothing", "question about how it works"),
}

Choice = TypeVar("Choice")


def pick(random: Random, choices: Sequence[Choice]) -> Choice:
    """One of the choices. Only `random()` is drawn from, whose numbers no version of Python changes."""
    return choices[int(random.random() * len(choices))]


def filled(random: Random, pattern: str) -> str:
    """A pattern with a thing, a day and a number."""
    return pattern.format(
        thing=pick(random, THINGS), day=pick(random, DAYS), number=2 + int(random.random() * 88)
    )  # fmt: skip


def ticket(random: Random, label: str) -> str:
    """The text of one ticket of a class."""
    kind = random.random()
    if kind < VAGUE:
        text = pick(random, HINTS[label])
    else:
        text = filled(random, pick(random, NEEDS[label]))
        if kind < VAGUE + MIXED:
            other = pick(random, [name for name in SHARES if name != label])
            text = f"{filled(random, pick(random, ASIDES[other]))} {text}"
    return f"{pick(random, OPENINGS)}{text}{pick(random, CLOSINGS)}"


def tickets() -> list[tuple[str, str]]:
    """All rows: text and label. No text comes twice, and the classes are mixed."""
    random = Random(SEED)
    labels = [label for label, share in SHARES.items() for _ in range(round(share * ROWS))]
    rows: dict[str, tuple[float, str]] = {}
    for label in labels:
        text = ticket(random, label)
        while text in rows:
            text = ticket(random, label)
        wrong = random.random() < WRONG_LABELS
        rows[text] = random.random(), pick(random, [name for name in SHARES if name != label]) if wrong else label
    return [(text, label) for text, (_, label) in sorted(rows.items(), key=lambda row: row[1])]


if __name__ == "__main__":
    path = Path(__file__).with_name("tickets.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("text", "label"))
        writer.writerows(tickets())
