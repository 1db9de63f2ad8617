"""What is said about the list of runs as a whole, and what stands in its place while it is empty."""

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


def page_instead(runs: RunsSnapshot, found: Arranged, keys: KeyNames) -> Text | None:
    """What stands in place of a list without rows: why it is empty and what can be done; None where there are rows."""
    if found.rows:
        return None
    folder = one_line(str(runs.runs_dir))
    if runs.problem is not None:
        return Text.assemble(("These runs cannot be read\n\n", "bold"), one_line(runs.problem))
    if not runs.revision:
        return Text(f"looking into {folder} ...", "dim")
    if runs.entries:
        left_out = [f"{found.filtered:,} by the filter ({keys['runs.clear']} clears it)"] if found.filtered else []
        left_out += [f"{found.hidden:,} hidden ({keys['runs.show_hidden']} shows them)"] if found.hidden else []
        return Text(f"No run to show: {', '.join(left_out)}")
    there = "holds no runs yet" if runs.exists else "does not exist yet; the first run makes it"
    return Text.assemble(
        ("No runs yet\n\n", "bold"),
        f"{folder} {there}.\n\n",
        (keys["mode.launch"], "bold"), "  choose a preset and start a run\n\n",
        "or in a shell:\n",
        (f"   {one_line(formatting.in_shell('crild run quickstart', runs.runs_dir))}\n\n", "bold"),
        ("It trains a small teacher and distils a student in about two minutes on a CPU, and shows up here by itself.\n"
         "Runs that lie elsewhere: crild --runs-dir FOLDER.", "dim"),
    )  # fmt: skip


def summary(
    runs: RunsSnapshot, found: Arranged, marks: Marks, where: RunFilter, width: int, *, following: bool
) -> Text:
    """How many runs are shown, left out and marked, by which filter, in which folder: on one line."""
    words = [formatting.plural(len(found.rows), "run")] if runs.entries else []
    words += [f"{found.filtered:,} filtered out"] if found.filtered else []
    words += [f"{found.hidden:,} hidden"] if found.hidden else []
    marked = sum(entry.id in marks.marked for entry in runs.entries) if marks.marked else 0
    words += [f"{marked} marked"] if marked else []
    words += [f"filter {one_line(where.text)}"] if where.tests else []
    words += ["following the newest"] if following else []
    text = Text("  ".join(words), no_wrap=True, overflow="ellipsis")
    if width >= ROOMY and runs.entries:
        text.append(f"   in {one_line(str(runs.runs_dir))}")
    return text
