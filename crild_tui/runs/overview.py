"""The line above the list of runs that sums it up, and the page that replaces the list while it is empty."""

from __future__ import annotations

from rich.text import Text

from crild_tui.runs import formatting
from crild_tui.runs.filter import RunFilter
from crild_tui.runs.listing import Arranged
from crild_tui.runs.marks import Marks
from crild_tui.runs.snapshot import RunsSnapshot
from crild_tui.runs.states import KeyNames
from engine.preset.text import one_line

ROOMY = 100
"""Cells from which the folder is named too."""


def page_instead(runs: RunsSnapshot, arranged: Arranged, keys: KeyNames) -> Text | None:
    """The page for a list without rows: why it is empty and what to do; None if there are rows."""
    if arranged.rows:
        return None
    folder = one_line(str(runs.runs_dir))
    if runs.problem is not None:
        return Text.assemble(("These runs cannot be read\n\n", "bold"), one_line(runs.problem))
    if not runs.revision:
        return Text(f"reading {folder} ...", "dim")
    if runs.entries:
        left_out = (
            [f"{arranged.filtered:,} by the filter ({keys['runs.clear']} clears it)"] if arranged.filtered else []
        )
        left_out += [f"{arranged.hidden:,} hidden ({keys['runs.show_hidden']} shows them)"] if arranged.hidden else []
        return Text(f"No run to show: {', '.join(left_out)}")
    state = "holds no runs yet" if runs.exists else "does not exist yet; the first run creates it"
    return Text.assemble(
        ("No runs yet\n\n", "bold"),
        f"{folder} {state}.\n\n",
        (keys["mode.launch"], "bold"), "  choose a preset and start a run\n\n",
        "or in a shell:\n",
        (f"   {one_line(formatting.in_shell('crild run quickstart', runs.runs_dir))}\n\n", "bold"),
        ("It trains a small teacher and distils a student in about a minute on a CPU, and shows up here by itself.\n"
         "For runs in another folder: crild --runs-dir FOLDER.", "dim"),
    )  # fmt: skip


def summary(
    runs: RunsSnapshot, arranged: Arranged, marks: Marks, where: RunFilter, width: int, *, following: bool
) -> Text:
    """How many runs are shown, left out and marked, by which filter, in which folder: on one line."""
    words = [formatting.plural(len(arranged.rows), "run")] if runs.entries else []
    words += [f"{arranged.filtered:,} filtered out"] if arranged.filtered else []
    words += [f"{arranged.hidden:,} hidden"] if arranged.hidden else []
    marked = sum(entry.id in marks.marked for entry in runs.entries) if marks.marked else 0
    words += [f"{marked} marked"] if marked else []
    words += [f"filter {one_line(where.text)}"] if where.tests else []
    words += ["following the newest"] if following else []
    text = Text("  ".join(words), no_wrap=True, overflow="ellipsis")
    if width >= ROOMY and runs.entries:
        text.append(f"   in {one_line(str(runs.runs_dir))}")
    return text
