"""The exception of everything that crild refuses, with the sentence that the command line would print."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:

    class CrildError(Exception):
        """What crild refuses, and why a run failed: a sentence that says what is wrong, where, and what to do.

        `str()` gives the sentence with its place. Subclasses tell usage, presets, data, models and runs apart; `category`
        names them.
        """

        category: ClassVar[str]
        """usage, preset, data, model or run."""
        exit_code: ClassVar[int]
        """That of the command line: 1 the run failed, 2 wrong usage or preset, 3 unusable data or model."""
        sentence: str
        """What is wrong, and what to do."""
        kind: str
        """The mistake in two to four fixed words ("unknown-stage"); the sentence may change, this does not."""
        file: str | None
        """The file to blame, where there is one."""
        line: int | None
        """Its line, from 1."""
        key: str | None
        """The setting, as `--set` names it."""

else:

    def __getattr__(name: str) -> object:
        """The class of the engine, so that both are one."""
        if name != "CrildError":
            raise AttributeError(name)
        from crild.api.packages import errors

        return errors().CrildError
