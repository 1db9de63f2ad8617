"""The Typer application: which commands there are, in which order the help names them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
import typer.core

from crild_tui.cli import (
    attach,
    cache,
    compare,
    delete,
    doctor,
    evaluate,
    logs,
    note,
    presets,
    probe,
    prune,
    report,
    resume,
    run,
    runs,
    show,
    stop,
    sweep,
    tag,
)

EPILOG = """\b
Exit codes: 0 done; 1 the run failed; 2 wrong usage or preset; 3 data or model
cannot be used; 130 interrupted; 143 terminated (a checkpoint was written).

\b
Results go to stdout, narration to stderr; --json makes stdout one JSON document.
Runs are looked for in $CRILD_RUNS_DIR, else in ./runs.
"""

COMMANDS = {
    "Start and stop": (run.run, resume.resume, sweep.sweep, stop.stop),
    "Watch": (attach.attach, logs.logs),
    "Results": (runs.runs, show.show, compare.compare, report.report, evaluate.evaluate, probe.probe),
    "Presets": (),
    "Organise": (note.note, tag.tag, delete.delete, prune.prune),
    "This machine": (doctor.doctor,),
}
"""The commands under each heading of the help; groups of commands come after them."""


def in_terminal() -> bool:
    """Whether somebody sits before a screen."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class ReaderGoneError(Exception):
    """Whoever read stdout has turned away; not an OSError, which typer would make a failure of."""


class Sections(typer.core.TyperGroup):
    """A group whose help lists its commands under headings, in plain text (quick to draw, fine without colour)."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Commands in the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Raises ReaderGoneError where its output is no longer read."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one list of commands for each heading."""
        for heading in COMMANDS:
            rows = [
                (f"{name:10}", command.get_short_help_str(66))
                for name in self.list_commands(ctx)
                if getattr(command := self.commands[name], "rich_help_panel", None) == heading
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"crild {version('crild')}")
        raise typer.Exit


application = typer.Typer(
    cls=Sections,
    rich_markup_mode=None,  # rich's help costs as much time again as all the rest, and says no more
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@application.callback(invoke_without_command=True)
def crild(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback acts on it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    runs_dir: Annotated[
        str | None,
        typer.Option(
            "--runs-dir", metavar="FOLDER", help="The dashboard's runs. [default: $CRILD_RUNS_DIR, else ./runs]"
        ),
    ] = None,
    readonly: Annotated[bool, typer.Option("--readonly", help="A dashboard that changes nothing.")] = False,
) -> None:
    """Distil BERT-style classifiers from a terminal.

    A preset says what is distilled and how; a run is a directory; the engine that trains is a process of its own and
    goes on when this terminal is closed.

    \b
    crild                            the dashboard: choose, start, watch, compare
    crild run quickstart             the embedded example: two minutes, no network
    crild run crild rte              a method and a task make a run
    crild presets list               what can be run
    crild runs                       what was run
    """
    if context.invoked_subcommand is not None:
        _only_dashboard(context.invoked_subcommand, runs_dir, readonly=readonly)
    elif not in_terminal():
        print(context.get_help())
    else:
        from crild_tui.cli.dashboard import open_dashboard

        open_dashboard(runs_dir, readonly=readonly)


def _only_dashboard(command: str, runs_dir: str | None, *, readonly: bool) -> None:
    """Raise UsageError for an option of the dashboard before a command, which would not heed it."""
    from engine.errors import UsageError

    if runs_dir is not None:
        raise UsageError(f"--runs-dir stands before the command: write `crild {command} ... --runs-dir FOLDER`")
    if readonly:
        raise UsageError(f"--readonly is for the dashboard, and `crild {command}` is none")


for heading, commands in COMMANDS.items():
    for command in commands:
        application.command(command.__name__, rich_help_panel=heading)(command)
application.add_typer(presets.application, name="presets", rich_help_panel="Presets")
application.add_typer(cache.application, name="cache", rich_help_panel="Organise")
