"""`crild curves`: the curves of runs in the terminal, as text or as a picture, or in a file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import endings, one_of
from crild_tui.cli.options import Runs, RunsDir

if TYPE_CHECKING:
    from crild_tui.charts.figure import Figure

WIDEST = 160
"""Cells of a panel, on a terminal that has more."""


def curves(
    runs: Runs,
    axis: Annotated[
        Literal["step", "epoch", "time"],
        typer.Option(
            "--axis", metavar="AXIS", help="step, epoch or time.", autocompletion=one_of("step", "epoch", "time")
        ),
    ] = "step",
    log: Annotated[bool, typer.Option("--log", help="Losses on a log scale.")] = False,
    image: Annotated[
        bool, typer.Option("--image", help="As a picture, in terminals that show them. Needs crild[images].")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write a picture: FILE.png or FILE.svg.",
            autocompletion=endings(".png", ".svg"),
        ),
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Draw loss, consistency and dev metric of a run, or of several in the same charts.

    \b
    crild curves latest
    crild curves tickets-s1 tickets-s2 --axis epoch
    crild curves latest -o curves.svg
    """
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    file = None if output is None else _picture_file(output)
    folder = folder_of(runs_dir)
    run_dirs = [find_run(run, folder) for run in dict.fromkeys(runs)]
    if image:
        _check_images()
    from crild_tui.charts.printed import panels

    figures = panels(run_dirs, axis, log=log)
    if file is not None:
        _write(figures, file, Path(str(output)).suffix.lower())
    elif not image:
        _print(figures, run_dirs)
    elif not _show_picture(figures):
        terminal.say("this terminal does not answer that it shows pictures; as text:")
        _print(figures, run_dirs)


def _picture_file(output: str) -> Path:
    """The file to write. Raises UsageError for another kind than PNG and SVG, or one that cannot be written."""
    from crild_tui.runs.table_file import named_file
    from engine.errors import UsageError

    file = named_file(output)
    if Path(output).suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"{output!r} is no picture: name it FILE.png or FILE.svg", kind="unknown-picture-format")
    return file


def _write(figures: Sequence[Figure], file: Path, kind: str) -> None:
    from crild_tui.charts.image import picture
    from engine.errors import UsageError
    from engine.record.files import cause, write_atomic

    try:
        write_atomic(file, picture(figures, kind))
    except OSError as error:
        raise UsageError(f"cannot be written: {cause(error)}", kind="unwritable-file", file=str(file)) from error
    terminal.say(f"written to {file}")


def _print(figures: Sequence[Figure], run_dirs: Sequence[Path]) -> None:
    from crild_tui.charts.printed import legend, printed
    from engine.errors import CrildError
    from engine.user.settings import Dashboard, read_settings

    try:
        dark = read_settings(Dashboard).theme != "crild-light"
    except CrildError:
        dark = True
    width = min(shutil.get_terminal_size((100, 24)).columns, WIDEST)
    console = terminal.console(sys.stdout)
    if len(run_dirs) > 1:
        for row in legend([run_dir.name for run_dir in run_dirs], dark=dark):
            console.print(row, soft_wrap=True)
    for figure in figures:
        for row in printed(figure, width, dark=dark, ascii_only=terminal.ascii_only()):
            console.print(row, soft_wrap=True)


def _check_images() -> None:
    """Raise UsageError where no picture can be shown: no terminal, or the extra is missing."""
    from importlib.util import find_spec

    from engine.errors import UsageError

    if not sys.stdout.isatty() or not sys.stdin.isatty():
        raise UsageError("--image needs a terminal; -o FILE.png writes the picture to a file", kind="no-terminal")
    if find_spec("textual_image") is None:
        sentence = '--image needs a library that is not installed: pip install "crild[images]"'
        raise UsageError(sentence, kind="missing-images")


def _show_picture(figures: Sequence[Figure]) -> bool:
    """Show the picture by the protocol that the terminal answers to, kitty's or sixel; whether it answers to one."""
    import io

    from textual_image.renderable import Image, SixelImage, TGPImage

    from crild_tui.charts.image import picture

    if Image not in (SixelImage, TGPImage):
        return False
    width = min(shutil.get_terminal_size((100, 24)).columns, WIDEST)
    terminal.console(sys.stdout).print(Image(io.BytesIO(picture(figures, ".png")), width=width, height="auto"))
    return True
