"""Entry point of crild's background processes: `python -P crild/process.py worker train RUN`, `... sweep RECORD`,
`... track KIND RUN`, `... job FOLDER` in a job of SLURM, or `... dashboard FOLDER` behind `crild serve`.

It is run by its path, so no folder and no variable of the user's decides which code an engine runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

PACKAGES = ("engine", "crild_tui")
"""The packages that only crild's own processes can import."""


def packages_folder() -> str:
    """The folder that holds `PACKAGES`: `crild/_packages` in an installation, the repository in a source tree."""
    own = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - pathlib would delay every command
    installed = os.path.join(own, "_packages")  # noqa: PTH118
    return installed if os.path.isdir(installed) else os.path.dirname(own)  # noqa: PTH112, PTH120


def use_own_packages() -> None:
    """Make this process import `PACKAGES` from crild, even if other packages on its path have these names.

    Modules of the same names that the interpreter imported at its start (from `sitecustomize`, a `.pth` file) are
    forgotten.
    """
    folder = packages_folder()
    sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]
    foreign = {name for name in PACKAGES if not is_in(sys.modules.get(name), folder)}
    for name in [name for name in sys.modules if name.partition(".")[0] in foreign]:
        del sys.modules[name]


def is_in(module: object, folder: str) -> bool:
    """Whether a module comes from below a folder."""
    file: str = getattr(module, "__file__", None) or ""
    return file != "" and os.path.realpath(file).startswith(os.path.join(folder, ""))  # noqa: PTH118


def main(words: Sequence[str]) -> int:
    """Run the engine or sweep process that `words` name; returns its exit code."""
    use_own_packages()
    match list(words):
        case ["worker", *rest]:
            from engine.worker import main as work

            return work(rest)
        case ["sweep", *rest]:
            from engine.sweep.process import main as sweep

            return sweep(rest)
        case ["search", *rest]:
            from engine.search.process import main as search

            return search(rest)
        case ["job", *rest]:
            from engine.launch.slurm_job import main as job

            return job(rest)
        case ["node", *rest]:
            from engine.sweep.node_process import main as node

            return node(rest)
        case ["ray-nodes", *rest]:
            from engine.sweep.ray_nodes import main as nodes

            return nodes(rest)
        case ["track", *rest]:
            from engine.track.process import main as track

            return track(rest)
        case ["dashboard", *rest]:
            from crild_tui.serve.served import main as dashboard

            return dashboard(rest)
        case _:
            print("usage: process.py worker|sweep|search|job|node|ray-nodes|track|dashboard ARGUMENTS", file=sys.stderr)
            return 2


def end(code: int) -> NoReturn:
    """End this process at once: the interpreter takes seconds to take libraries and data apart, on a busy machine many."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # full, or closed
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    end(main(sys.argv[1:]))
