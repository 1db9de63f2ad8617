"""Errors that a user can cause: each is one sentence that says what is wrong, where, and what to do instead."""

from __future__ import annotations

from typing import ClassVar


class CrildError(Exception):
    """An error shown to the user as a sentence, never as a traceback.

    `kind` names the mistake in a few fixed words ("unknown-stage"): tests and programs rely on it, and the sentence may
    change. `file`, `line` (from 1) and `key` say where the mistake is, if that is known. `category` and `exit_code`
    belong to the class: 1 the run failed, 2 wrong usage or preset, 3 unusable data or model.
    """

    category: ClassVar[str] = "run"
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        sentence: str,
        *,
        kind: str = "",
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
    ):
        super().__init__(sentence)
        self.sentence = sentence
        self.kind = kind
        self.file = file
        self.line = line
        self.key = key

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{place}: {self.sentence}" if place else self.sentence


class RunError(CrildError):
    """The run itself failed: a loss that is no number, a full disk, a run directory that another process owns."""


class UsageError(CrildError):
    """A command was called in a way that cannot work."""

    category = "usage"
    exit_code = 2


class PresetError(CrildError):
    """A preset has problems; all of them are reported at once, each with its own place."""

    category = "preset"
    exit_code = 2

    def __init__(self, problems: list[CrildError]):
        first = problems[0]
        super().__init__(first.sentence, kind=first.kind, file=first.file, line=first.line, key=first.key)
        self.problems = tuple(problems)

    @classmethod
    def single(cls, sentence: str, *, kind: str, key: str) -> PresetError:
        """The error of a preset with one problem."""
        return cls([CrildError(sentence, kind=kind, key=key)])

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class DataError(CrildError):
    """Data cannot be used: a missing file or column, a label that makes no sense, a hub that cannot be reached."""

    category = "data"
    exit_code = 3


class ModelError(CrildError):
    """A model cannot be used: a truncated checkpoint, shapes that do not fit, labels that cannot be aligned."""

    category = "model"
    exit_code = 3
