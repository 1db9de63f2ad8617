"""Words that a masked language model would put in the place of others: changed copies of texts (TinyBERT, Jiao et al. 2020)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from engine.data.batches import budget_batches
from engine.errors import ModelError
from engine.models.checkpoint import check_family, library_errors, read_tokenizer
from engine.models.families import positions
from engine.models.hub import fetch
from engine.models.transformers_logging import quiet
from engine.preset.text import plain
from engine.record.phases import Report, unreported

BUDGET = 4096
"""Tokens in a forward pass, with padding."""
_LONGEST = 512
"""Tokens of a text in which words are replaced; those after them stay."""
_WORD = re.compile(r"(?<![\w'’.-])[^\W\d_]\w*(?![\w'’-])")
_WHOLE_WORD = re.compile(r"[^\W\d_]\w*")
_HEADS = ("cls.", "lm_head.", "predictions.", "vocab_", "generator_", "lm_predictions.", "head.", "decoder.")

Place = tuple[int, int, int]
"""The row of a chunk, its side (0, or 1 for the second of a pair), and the position of a token."""
Input = tuple[str, str | None]
_Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Words:
    """A text with the words that a single token stands for: its tokens, their positions and where they are in the text."""

    text: str
    ids: list[int]
    places: list[tuple[int, int, int]]
    """(position of the token, start, end)."""


class MaskedWords:
    """Makes copies of texts in which words are replaced by ones that a masked language model finds likely.

    Each copy changes one side of a pair. Of its words that are one token of the model, each is chosen with probability
    `share`, and replaced by one of the `top` most likely whole words in its place, drawn with equal probability; never by
    itself. The model sees the original text with this word alone masked, so one forward pass for each word serves all
    copies of a row. Other words stay: TinyBERT replaces them by their neighbours in GloVe.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        share: float,
        top: int,
        copies: int,
        seed: Sequence[int],
    ) -> None:
        """`seed` is the beginning of the key of every draw; the number of the row follows."""
        self._model, self._backend = model, tokenizer.backend_tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._mask, self._pad = int(tokenizer.mask_token_id or 0), int(tokenizer.pad_token_id or 0)
        self._share, self._copies, self._seed = share, copies, list(seed)
        self._words = _whole_words(tokenizer)
        self._allowed = torch.full((int(model.config.vocab_size),), -torch.inf, device=model.device)
        known = sorted(self._words)
        self._allowed[known] = 0.0
        self._top = min(top, len(known) - 1)
        if self._top < 1:
            sentence = "the vocabulary of the masked language model has no whole words"
            raise ModelError(sentence, kind="no-whole-words", key="augment.model")
        self._length = min(_LONGEST, positions(model.config))

    def copies(self, rows: list[Input], first: int) -> Iterator[tuple[int, Input]]:
        """The copies of some rows, of which the first has the number `first`, each with the number of its row."""
        sides = self._read([text for row in rows for text in row if text is not None])
        per_row = 1 if rows[0][1] is None else 2
        wanted: list[tuple[int, int, list[tuple[int, int]]]] = []  # row, side, [(word, rank of its replacement)]
        for row in range(len(rows)):
            draw = np.random.default_rng([*self._seed, first + row])
            for _ in range(self._copies):
                side = int(draw.integers(per_row)) if per_row > 1 else 0
                count = len(sides[row * per_row + side].places)
                chosen, ranks = draw.random(count) < self._share, draw.integers(self._top, size=count)
                words = [(int(word), int(ranks[word])) for word in np.flatnonzero(chosen)]
                if words:
                    wanted.append((row, side, words))
        needed = dict.fromkeys((row, side, word) for row, side, words in wanted for word, _ in words)
        found = self._candidates([(sides[row * per_row + side], word) for row, side, word in needed])
        likely = dict(zip(needed, found, strict=True))
        for row, side, words in wanted:
            one = sides[row * per_row + side]
            text = self._replaced(one, [(word, int(likely[row, side, word][rank])) for word, rank in words])
            yield first + row, (text, rows[row][1]) if side == 0 else (rows[row][0], text)

    def _read(self, texts: list[str]) -> list[_Words]:
        self._backend.no_padding()
        self._backend.enable_truncation(self._length)
        encoded = self._backend.encode_batch(texts)
        return [_words_of(text, tokens, self._special) for text, tokens in zip(texts, encoded, strict=True)]

    def _candidates(self, places: list[tuple[_Words, int]]) -> _Ids:
        """The ids of the most likely other words for each masked word (places, top)."""
        found = np.zeros((len(places), self._top), np.int64)
        lengths = np.array([len(words.ids) for words, _ in places], np.int64)
        gathered: list[Tensor] = []

        def gather(_: Any, __: Any, output: Any) -> Any:
            output.last_hidden_state = output[0][torch.arange(len(gathered[0])), gathered[0]][:, None]
            return output

        hook = self._model.base_model.register_forward_hook(gather)  # so that the head computes one position alone
        try:
            with torch.inference_mode():
                for batch in budget_batches(lengths, BUDGET):
                    ids = torch.full((len(batch), int(lengths[batch[0]])), self._pad)
                    at = torch.zeros(len(batch), dtype=torch.int64)
                    own = torch.zeros(len(batch), dtype=torch.int64)
                    for line, place in enumerate(batch.tolist()):
                        words, word = places[place]
                        ids[line, : len(words.ids)] = torch.tensor(words.ids)
                        at[line] = words.places[word][0]
                        own[line] = ids[line, at[line]]
                    ids[torch.arange(len(batch)), at] = self._mask
                    mask = torch.arange(ids.shape[1]) < torch.from_numpy(lengths[batch])[:, None]
                    device = self._model.device
                    gathered[:] = [at.to(device)]
                    logits = self._model(input_ids=ids.to(device), attention_mask=mask.long().to(device)).logits[:, 0]
                    logits = logits.float() + self._allowed
                    logits[torch.arange(len(batch)), own.to(device)] = -torch.inf
                    found[batch] = logits.topk(self._top).indices.cpu().numpy()
        finally:
            hook.remove()
        return found

    def _replaced(self, words: _Words, changes: list[tuple[int, int]]) -> str:
        parts, end = [], 0
        for word, new in changes:
            _, start, stop = words.places[word]
            parts += [words.text[end:start], _in_case_of(self._words[new], words.text[start:stop])]
            end = stop
        return "".join((*parts, words.text[end:]))


def load_masked_model(
    name: str, revision: str | None, *, report: Report = unreported
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A masked language model of a supported family and its tokenizer, on the CPU, in fp32, in evaluation mode.

    No code of its own runs. Raises ModelError for a model of another family, for one that cannot predict masked words
    (a bare encoder, a classifier), and for a tokenizer without a masking token or without positions in the text.
    """
    folder, where = fetch(name, revision, report=report), plain(name)
    check_family(folder)
    report(f"loading {where}")
    tokenizer = read_tokenizer(folder)
    with library_errors(f"the model in {plain(str(folder))}", file=folder), quiet():
        model, info = AutoModelForMaskedLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, weights_only=True, output_loading_info=True
        )
    if missing := sorted(key for key in info["missing_keys"] if key.startswith(_HEADS)):
        sentence = (
            f"the model {where} has no head that predicts masked words (it lacks {plain(missing[0])}): name a masked language "
            "model, such as the one that it was made from"
        )
        raise ModelError(sentence, kind="no-masked-words-head", file=plain(str(folder)), key="augment.model")
    if missing := sorted(key for key in info["missing_keys"] if ".pooler." not in key):
        sentence = f"the weights of {where} lack tensors that config.json calls for: {plain(missing[0])}"
        raise ModelError(sentence, kind="missing-weights", file=plain(str(folder)), key="augment.model")
    if tokenizer.mask_token_id is None or getattr(tokenizer, "backend_tokenizer", None) is None:
        sentence = f"the tokenizer of {where} has no masking token, or knows no places in the text"
        raise ModelError(sentence, kind="no-masking-token", file=plain(str(folder)), key="augment.model")
    return model.eval(), tokenizer


def _words_of(text: str, encoded: Any, special: frozenset[int]) -> _Words:
    """The words of a text that are one token, and known: none of the `special` ones."""
    spans = {match.span() for match in _WORD.finditer(text)}
    places = []
    for position, (start, end) in enumerate(encoded.offsets):
        begin = start + text[start:end].startswith(" ")  # some tokenizers count the space with the word
        if (begin, end) in spans and encoded.ids[position] not in special:
            places.append((position, begin, end))
    return _Words(text, encoded.ids, places)


def _whole_words(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The tokens that are a whole word, by id: those that the word is read as, behind another one."""
    special = set(tokenizer.all_special_ids)
    texts = {
        token: tokenizer.decode([token]).strip() for token in tokenizer.get_vocab().values() if token not in special
    }
    words = [(token, text) for token, text in texts.items() if _WHOLE_WORD.fullmatch(text)]
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    before = len(backend.encode("a", add_special_tokens=False).ids)
    read = backend.encode_batch([f"a {text}" for _, text in words], add_special_tokens=False)
    return {
        token: text
        for (token, text), encoded in zip(words, read, strict=True)
        if len(encoded.ids) == before + 1 and encoded.ids[-1] == token
    }


def _in_case_of(word: str, model: str) -> str:
    """A word with a capital where another one has it, in capitals where that is."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word
