"""The Typer application: which commands there are, in which order the help names them."""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Annotated, Any

import typer
import typer.core
import typer.main

EPILOG = """\b
Exit codes: 0 done; 1 the run failed; 2 wrong usage or preset; 3 data or model
cannot be used; 130 stopped by Ctrl-C; 143 stopped by SIGTERM; both with a
checkpoint.

\b
Results go to stdout, progress and messages to stderr; with --json, stdout is one
JSON document. Runs are looked for in $CRILD_RUNS_DIR, else in ./runs.
"""

HEADINGS = {
    "Start and stop": ("run", "resume", "sweep", "search", "stop"),
    "Watch": ("attach", "watch", "serve", "logs", "curves", "events"),
    "Results": ("runs", "show", "errors", "compare", "report", "predict", "evaluate", "probe", "bench"),
    "Pass on": ("export", "push", "track"),
    "Presets and data": ("presets", "data"),
    "Organise": ("note", "tag", "delete", "prune", "cache"),
    "This machine": ("config", "doctor", "slurm"),
}
"""The headings of the help, with their commands: each is a function in the module of its name, or the module's group."""
NAMES = [name for names in HEADINGS.values() for name in names]


def in_terminal() -> bool:
    """Whether a user sits at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class ReaderGoneError(Exception):
    """stdout was closed (e.g. `| head`). Not an OSError, which Typer would report as a failure."""


class Commands(typer.core.TyperGroup):
    """The commands, each imported when it is called, and listed under headings in the help.

    The help is plain text: quick to draw, and fine without colour.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        suggested = (name for name in NAMES if name not in ("delete", "prune", "cache"))  # never a command that deletes
        self.commands: Any = dict.fromkeys(suggested)  # only their names are read: for suggestions

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command to run; names that other programs use for a list lead to `crild runs`."""
        if args[0] in ("list", "ls"):
            ctx.fail(f"No such command {args[0]!r}. Did you mean 'runs'?")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Names of commands in the order of the help."""
        return NAMES

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """Import a command; None if there is none of this name."""
        if cmd_name not in NAMES:
            return None
        module = _module_of(cmd_name)
        application = getattr(module, "application", None)
        if application is None:
            application = typer.Typer(rich_markup_mode=None, add_completion=False)
            application.command(cmd_name)(getattr(module, cmd_name))
        command = typer.main.get_command(application)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Raises ReaderGoneError if stdout was closed."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderGoneError from error

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one list of commands for each heading."""
        for heading, names in HEADINGS.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:10}", self.described(ctx, name).get_short_help_str(66)) for name in names])

    def described(self, ctx: Any, name: str) -> Any:
        """A command as far as the list needs it: its options are not made, which takes most of the time."""
        function = getattr(_module_of(name), name, None)
        return typer.core.TyperCommand(name, help=inspect.getdoc(function)) if function else self.get_command(ctx, name)


def _module_of(command: str) -> ModuleType:
    """The module of a command."""
    module = importlib.import_module(f"crild_tui.cli.{command}")
    if sys.flags.optimize > 1:
        restore_docstrings(module)
    return module


def restore_docstrings(module: ModuleType) -> None:
    """Give the functions of a module back the docstrings that `python -OO` removes: they are the help of commands."""
    import ast

    nodes = ast.parse(inspect.getsource(module)).body
    for node in (node for node in nodes if isinstance(node, ast.FunctionDef)):
        function = getattr(module, node.name, None)
        if function is not None and function.__doc__ is None:
            function.__doc__ = ast.get_docstring(node)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from engine.record.environment import crild_commit

        commit = crild_commit()
        print(f"crild {version('crild')}{f' ({commit})' if commit else ''}")
        raise typer.Exit


application = typer.Typer(
    cls=Commands,
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
            "--runs-dir",
            metavar="FOLDER",
            help="Folder of the runs that the dashboard shows. [default: $CRILD_RUNS_DIR, else ./runs]",
        ),
    ] = None,
    readonly: Annotated[bool, typer.Option("--readonly", help="A dashboard that changes nothing.")] = False,
) -> None:
    """Distil BERT-style classifiers from a terminal.

    A preset says what to distil and how. A run is one experiment, kept in one directory. A separate process, the engine,
    does the training and keeps running when this terminal is closed.

    \b
    crild                            open the dashboard: choose, start, watch, compare
    crild run quickstart             run the built-in example: no network needed
    crild run crild rte              run a method on a task
    crild presets list               list what can be run
    crild runs                       list the runs
    """
    from crild_tui.cli.terminal import say
    from engine.record.home import provide_home

    if (sentence := provide_home()) is not None:
        say(sentence)
    if context.invoked_subcommand is not None:
        _only_dashboard(context.invoked_subcommand, runs_dir, readonly=readonly)
    elif not in_terminal():
        print(context.get_help())
    else:
        from crild_tui.cli.dashboard import open_dashboard

        open_dashboard(runs_dir, readonly=readonly)


def _only_dashboard(command: str, runs_dir: str | None, *, readonly: bool) -> None:
    """Raise UsageError for an option of the dashboard before a command, which would ignore it."""
    from engine.errors import UsageError

    if runs_dir is not None:
        sentence = f"--runs-dir goes after the command: write `crild {command} ... --runs-dir FOLDER`"
        raise UsageError(sentence, kind="misplaced-option")
    if readonly:
        raise UsageError(f"--readonly is for the dashboard, not for `crild {command}`", kind="misplaced-option")


if sys.flags.optimize > 1:
    restore_docstrings(sys.modules[__name__])
