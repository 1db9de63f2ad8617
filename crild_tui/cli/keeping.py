"""Commands that keep order: note, tag, delete, prune, cache."""

from __future__ import annotations

from typing import Annotated

import typer

from crild_tui.cli.options import AsJson, Run, Runs, RunsDir, Yes

cache = typer.Typer(rich_markup_mode=None)
Kinds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KIND]...", help="Folders of the cache, as teachers or tokens. [default: all]", show_default=False
    ),
]


def note(
    run: Run,
    text: Annotated[list[str], typer.Argument(metavar="TEXT...", help='The note; "" removes it.', show_default=False)],
    runs_dir: RunsDir = None,
) -> None:
    """Write a note on a run; it replaces the one before."""
    from crild_tui.cli.terminal import say
    from engine.record.annotations import set_note
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    changed = set_note(run_dir, " ".join(text))
    say(f"{run_dir.name}: note {'written' if changed.note else 'removed'}")


def tag(
    run: Run,
    tags: Annotated[list[str], typer.Argument(metavar="TAG...", help="Words without spaces.", show_default=False)],
    remove: Annotated[bool, typer.Option("--remove", help="Take these tags away instead.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Give a run tags, or take them away."""
    from crild_tui.cli.terminal import say
    from engine.record.annotations import set_tags
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    run_dir = find_run(run, folder_of(runs_dir))
    changed = set_tags(run_dir, remove=tags) if remove else set_tags(run_dir, add=tags)
    say(f"{run_dir.name}: {'tags ' + ', '.join(changed.tags) if changed.tags else 'no tags'}")


def delete(runs: Runs, yes: Yes = False, runs_dir: RunsDir = None) -> None:
    """Delete whole runs, their students and results included. Asks first; a run that works is left alone."""
    from crild_tui.cli.disk_space import delete_runs
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import find_run

    folder = folder_of(runs_dir)
    delete_runs([find_run(ref, folder) for ref in runs], yes=yes)


def prune(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Only these runs. [default: all of the runs folder]", show_default=False
        ),
    ] = None,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Checkpoints of runs that did not finish, too; those can't be resumed then."),
    ] = False,
    teachers: Annotated[
        bool, typer.Option("--teachers", help="The teachers' weights inside run folders, too.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    runs_dir: RunsDir = None,
) -> None:
    """Free space: checkpoints of finished runs, what was left behind.

    Shows what would go and asks first. Students, results, curves and logs stay. A finished run without its
    checkpoints can no longer be extended. A run that works is never touched.
    """
    from crild_tui.cli.disk_space import prune_runs
    from engine.record.paths import runs_dir as folder_of

    prune_runs(folder_of(runs_dir), runs or [], unfinished=unfinished, teachers=teachers, yes=yes, as_json=as_json)


@cache.callback(invoke_without_command=True)
def cache_(context: typer.Context) -> None:
    """Show and clear what is kept between runs: teachers, tokens."""
    if context.invoked_subcommand is None:
        cache_show()


@cache.command("show")
def cache_show(as_json: AsJson = False) -> None:
    """What the cache holds: how much, how old, where."""
    from crild_tui.cli.disk_space import show_cache

    show_cache(as_json=as_json)


@cache.command("clear")
def cache_clear(
    kinds: Kinds = None,
    older: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what was not used for so long.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete what the cache holds; it is made again when it is needed. Asks first."""
    from crild_tui.cli.disk_space import clear_cache

    clear_cache(kinds or [], older_days=older, yes=yes)


COMMANDS = (note, tag, delete, prune)
