"""Findings about tokens: unknown words, missing special tokens, ids that the model lacks, texts that were cut."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.data.findings import Finding, is_blank, percent, severity_of
from engine.data.text_files import shown
from engine.data.tokenizer_facts import TokenizerFacts, script_of
from engine.data.tokens import TokenSet
from engine.data.types import Example
from engine.preset.text import plain

NOTE_UNKNOWN = 0.05
"""Share of unknown tokens from which it is mentioned."""
WARN_UNKNOWN = 0.30
"""Share of unknown tokens from which the models cannot know what the texts say."""
_SAMPLE = 200  # rows with unknown tokens whose letters are looked at
_BLOCK = 1 << 20  # tokens that are compared at once
_LONGEST = 500  # characters of each


@dataclass(frozen=True)
class EmbeddingSizes:
    """How many different tokens and token types a model has embeddings for; `types` is None if it takes no types."""

    model: str
    tokens: int
    types: int | None


@dataclass(frozen=True)
class TokenisedInputs:
    """Examples and their tokens; `name` is what sentences call them ("training inputs"); `max_length` cut them."""

    name: str
    examples: Sequence[Example]
    tokens: TokenSet
    max_length: int


def token_findings(inputs: TokenisedInputs, tokenizer: TokenizerFacts, sizes: EmbeddingSizes) -> tuple[Finding, ...]:
    """What looks wrong with tokenised inputs. Works on whole arrays: a fraction of the time of tokenising."""
    if not len(inputs.tokens):
        return ()
    beyond = tuple(_beyond_embeddings(inputs.tokens, tokenizer, sizes))
    if beyond:
        return beyond
    return (
        *_unknown_tokens(inputs, tokenizer),
        *_missing_special_tokens(inputs, tokenizer),
        *_without_tokens(inputs, tokenizer),
        *_cut(inputs),
    )


def _beyond_embeddings(tokens: TokenSet, tokenizer: TokenizerFacts, sizes: EmbeddingSizes) -> Iterator[Finding]:
    """Ids for which the model has no embedding: PyTorch would stop with an index error, or read past a table."""
    largest = max(int(tokens.input_ids.max()), tokenizer.pad)
    if largest >= sizes.tokens or int(tokens.input_ids.min()) < 0:
        word = tokenizer.word(largest)
        named = f" (for {shown(word)})" if word else ""
        sentence = (
            f"the tokenizer{_from(tokenizer)} gives token ids up to {largest}{named}, but the model {plain(sizes.model)} has "
            f"embeddings for {sizes.tokens} tokens; use a tokenizer that belongs to the model"
        )
        facts: dict[str, Any] = {"largest": largest, "embeddings": sizes.tokens, "token": word}
        yield Finding(sentence, kind="token-ids-beyond-embeddings", severity="refusal", facts=facts, subject="model")
    if sizes.types is not None and tokens.type_ids is not None and int(tokens.type_ids.max()) >= sizes.types:
        most = int(tokens.type_ids.max())
        sentence = (
            f"the tokenizer{_from(tokenizer)} gives token types up to {most}, but the model {plain(sizes.model)} has "
            f"{sizes.types}; use a tokenizer that belongs to the model"
        )
        facts = {"largest": most, "embeddings": sizes.types}
        yield Finding(sentence, kind="token-types-beyond-embeddings", severity="refusal", facts=facts, subject="model")


def _from(tokenizer: TokenizerFacts) -> str:
    return f" in {plain(tokenizer.source)}" if tokenizer.source else ""


def _special(inputs: TokenisedInputs, tokenizer: TokenizerFacts) -> int:
    """The special tokens in each row."""
    return tokenizer.special[inputs.examples[0].pair is not None]


# -- unknown tokens


def _unknown_tokens(inputs: TokenisedInputs, tokenizer: TokenizerFacts) -> Iterator[Finding]:
    if tokenizer.unknown is None:
        return
    tokens = inputs.tokens
    unknown, rows = _with_token(tokens, tokenizer.unknown)
    total = len(tokens.input_ids) - len(tokens) * _special(inputs, tokenizer)
    share = unknown / total if total > 0 else 0.0
    if share < NOTE_UNKNOWN:
        return
    examples = [inputs.examples[row] for row in rows]
    cause = _cause(examples, tokenizer)
    sentence = f"{percent(share)} of the tokens of the {inputs.name} are unknown to the tokenizer: {cause}"
    facts = {"inputs": inputs.name, "share": round(share, 4), "tokens": total, "unknown": unknown, "cause": cause}
    severity = severity_of(share, WARN_UNKNOWN)
    yield Finding(sentence, kind="unknown-tokens", severity=severity, facts=facts, subject="model")


def _with_token(tokens: TokenSet, token: int) -> tuple[int, list[int]]:
    """How often a token occurs, and the first rows that have it, `_SAMPLE` at most."""
    count, rows = 0, list[int]()
    for start in range(0, len(tokens.input_ids), _BLOCK):
        places = np.flatnonzero(tokens.input_ids[start : start + _BLOCK] == token) + start
        count += len(places)
        if len(rows) < _SAMPLE:
            found = np.unique(np.searchsorted(tokens.offsets, places, side="right") - 1).tolist()
            rows += found[1:] if rows and found[:1] == rows[-1:] else found
    return count, rows[:_SAMPLE]


def _cause(examples: Sequence[Example], tokenizer: TokenizerFacts) -> str:
    """Why a tokenizer doesn't know the words of these examples, as far as can be seen; otherwise what to check."""
    texts = (text[:_LONGEST] for example in examples for text in (example.text, example.pair) if text is not None)
    letters = Counter(letter for text in texts for letter in text if letter.isalpha())
    if (script := _lacking_script(letters, tokenizer)) is not None:
        return f"the texts are in {script} script, which the vocabulary lacks"
    if tokenizer.lowers and tokenizer.has_capitals():
        return (
            "the vocabulary has capitals, and the tokenizer lowers all words; set do_lower_case = false in "
            "tokenizer_config.json, or lowercase = false in the normalizer of tokenizer.json"
        )
    if not tokenizer.lowers and any(letter.isupper() for letter in letters) and not tokenizer.has_capitals():
        return (
            "the vocabulary has no capitals, and the tokenizer keeps those of the texts; set do_lower_case = true in "
            "tokenizer_config.json, or lowercase = true in the normalizer of tokenizer.json"
        )
    return "check that the tokenizer belongs to the model, and the model to the language of the texts"


def _lacking_script(letters: Counter[str], tokenizer: TokenizerFacts) -> str | None:
    """The script of most of the letters, if the vocabulary lacks most of these; else None."""
    known = tokenizer.letters()
    lacking: Counter[str] = Counter()
    for letter, count in letters.items():
        base = unicodedata.normalize("NFD", letter.lower())[0]  # some tokenizers strip accents
        if base not in known and letter.lower() not in known:
            lacking[script_of(letter)] += count
    if not lacking or 2 * lacking.total() < letters.total():
        return None
    return lacking.most_common(1)[0][0]


# -- special tokens, empty rows, cut rows


def _missing_special_tokens(inputs: TokenisedInputs, tokenizer: TokenizerFacts) -> Iterator[Finding]:
    tokens = inputs.tokens
    first, last = tokens.input_ids[tokens.offsets[:-1]], tokens.input_ids[tokens.offsets[1:] - 1]
    missing = []
    if not _special(inputs, tokenizer) or (tokenizer.cls is not None and bool((first != tokenizer.cls).any())):
        missing.append("[CLS] before")
    if not _special(inputs, tokenizer) or (tokenizer.sep is not None and bool((last != tokenizer.sep).any())):
        missing.append("[SEP] after")
    if missing:
        sentence = (
            f"the tokenizer{_from(tokenizer)} adds no {' and no '.join(missing)} the {inputs.name}, although models of this "
            "kind expect them: check the post_processor in its tokenizer.json"
        )
        facts = {"inputs": inputs.name, "special_tokens": _special(inputs, tokenizer)}
        yield Finding(sentence, kind="no-special-tokens", severity="warning", facts=facts, subject="model")


def _without_tokens(inputs: TokenisedInputs, tokenizer: TokenizerFacts) -> Iterator[Finding]:
    """Rows that the tokenizer drops entirely although something is visible in them."""
    short = np.flatnonzero(inputs.tokens.lengths <= _special(inputs, tokenizer))
    dropped = [row for row in short.tolist() if not is_blank(inputs.examples[row].text)]
    if dropped:
        share = len(dropped) / len(inputs.tokens)
        example = inputs.examples[dropped[0]].text
        counts = f"{len(dropped):,} of {len(inputs.tokens):,}"
        sentence = f"the tokenizer leaves nothing of {counts} {inputs.name}, such as {shown(example)}"
        facts = {"inputs": inputs.name, "rows": len(inputs.tokens), "dropped": len(dropped), "example": example}
        yield Finding(sentence, kind="texts-without-tokens", severity=severity_of(share), facts=facts, subject="model")


def _cut(inputs: TokenisedInputs) -> Iterator[Finding]:
    tokens = inputs.tokens
    if tokens.cut:
        sentence = (
            f"{tokens.cut} of {len(tokens)} {inputs.name} are longer than max_length {inputs.max_length} and were cut"
        )
        facts = {"inputs": inputs.name, "rows": len(tokens), "cut": tokens.cut, "max_length": inputs.max_length}
        yield Finding(sentence, kind="texts-cut", severity="note", facts=facts)
    if any(tokens.lost):
        cut, vanished = tokens.lost
        total = tokens.answer_count() + cut + vanished
        why = [f"{cut:,} are cut off by max_length {inputs.max_length}"] if cut else []
        why += [f"the tokenizer leaves nothing of {vanished:,}"] if vanished else []
        sentence = (
            f"{cut + vanished:,} of {total:,} words of the {inputs.name} have no answer, and count in no loss and no metric: "
            f"{' and '.join(why)}"
        )
        facts = {"inputs": inputs.name, "words": total, "cut": cut, "without_tokens": vanished}
        yield Finding(
            sentence, kind="words-without-answer", severity=severity_of((cut + vanished) / total), facts=facts
        )
