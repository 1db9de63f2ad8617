"""The command line: `main` is the entry point `crild`.

Nothing but this module is imported before an argument is read, so that `crild --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on `arguments` (sys.argv without the program by default); returns the exit code.

    Every fault a user can cause becomes a sentence on stderr; anything else is written to a file that the sentence
    names.
    """
    from crild_tui.cli.entry import call

    return call(arguments)
