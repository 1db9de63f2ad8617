"""The command `crild`, also as `python -m crild`."""

from __future__ import annotations

import sys

from crild.process import use_own_packages


def main() -> int:
    """Run the command line; returns the exit code."""
    use_own_packages()
    from crild_tui.cli import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
