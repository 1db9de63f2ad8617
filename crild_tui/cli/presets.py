"""`crild presets`: list, show, validate, schema, new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crild_tui.cli import terminal
from crild_tui.cli.completers import data_files, one_of, preset_files
from crild_tui.cli.options import AsJson, Presets, Settings
from crild_tui.cli.setting_completers import settings as settings_of_presets
from engine.preset.text import json_escaped, listed, shown

application = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="List, show, check and create presets, which say what to distil and how.",
)


@application.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the presets that come with crild.

    A preset of kind "run" can be run by itself. Otherwise combine a "method" and a "task", as in `crild run crild rte`;
    add a "variant" to change the data, as in `crild run crild rte few-sample`.
    """
    from engine.preset.shipped import shipped

    found = shipped()
    if as_json:
        terminal.show_json(
            [{"name": p.name, "kind": p.kind, "description": p.description, "path": str(p.path)} for p in found]
        )
        return
    columns = [("name", "left"), ("kind", "left"), ("what it is", "left")]
    terminal.show(terminal.table(columns, ([p.name, p.kind, p.description] for p in found)))


@application.command("show")
def show(
    presets: Presets,
    settings: Settings = None,
    source: Annotated[bool, typer.Option("--source", help="The files themselves, with comments.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the complete merged preset as TOML.

    \b
    crild presets show crild rte --set stage.ild.epochs=5
    crild presets show crild --source
    """
    from engine.errors import DataError
    from engine.preflight.own_data import completed
    from engine.preset.load import load_preset
    from engine.preset.preset_file import locate
    from engine.preset.text import plain
    from engine.preset.toml_file import content_of
    from engine.preset.write import dump

    if source:
        for ref in presets:
            text = content_of(locate(ref, Path.cwd()), plain(ref)).decode(errors="backslashreplace")
            print(terminal.safe_lines(text), end="")
        return
    loaded = load_preset(presets, settings or [])
    try:
        loaded = completed(loaded)
    except DataError as error:  # the preset can be shown without its files
        terminal.say(*terminal.error_lines(error))
    terminal.say(*loaded.notes)
    if as_json:
        terminal.show_json(loaded.preset.document())
    else:
        print(terminal.safe_lines(dump(loaded.preset)), end="")


@application.command("validate")
def validate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Preset files or names of shipped presets, each checked separately.",
            autocompletion=preset_files,
            show_default=False,
        ),
    ],
    merged: Annotated[bool, typer.Option("--merged", help="Check the merged preset, as `crild run` would.")] = False,
) -> None:
    """Check presets, and the files and model configs that they name, without loading data or models.

    Prints every problem with its file and line. The exit code is 0 if all are valid, 3 if only a file or
    model that they name cannot be used, else 2.
    """
    from crild_tui.launch_form.editor_schema import outdated
    from crild_tui.runs.create import with_method
    from engine.errors import CrildError, DataError
    from engine.preflight.check import check
    from engine.preflight.own_code import models_with_code
    from engine.preset.load import load_preset

    exit_code = 0
    for refs in [files] if merged else [[file] for file in files]:
        try:
            loaded = load_preset(with_method(refs))
            check(loaded)
        except CrildError as error:
            exit_code = error.exit_code if exit_code in (0, error.exit_code) else 2
            terminal.say(*(f"error: {line}" for line in terminal.error_lines(error)))
            if error.exit_code == DataError.exit_code:
                terminal.say(f"{' '.join(refs)}: all that can be checked without these files or models is good")
        else:
            terminal.sentence(f"{' '.join(refs)}: good")
            for path in (path for ref in refs if (path := outdated(Path(ref))) is not None):
                terminal.say(
                    f"{path} is of another version of crild, so editors may report keys wrongly: `crild presets schema "
                    f"--write` in {path.parent.parent.absolute()} renews it"
                )
            for key, (name, code) in models_with_code(loaded.preset).items():
                terminal.say(
                    f"{key} {name} comes with its own code ({code.files}), which was not run and is not checked; a run "
                    "needs --trust-remote-code, or your consent in settings.toml"
                )
    raise typer.Exit(exit_code)


@application.command("schema")
def schema(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="[KIND]",
            help="preset, sweep, search or settings: of which files.",
            autocompletion=one_of("preset", "sweep", "search", "settings"),
            show_default=False,
        ),
    ] = "preset",
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Write those of presets, sweep and search files into the folder .crild of this folder."
        ),
    ] = False,
) -> None:
    """Print a JSON Schema, for completion and checks in editors; with --write, put it where new presets look for it.

    \b
    crild presets schema --write            also renews what an older crild wrote
    crild presets schema settings > settings.schema.json
    """
    from crild_tui.launch_form.editor_schema import FILES, first_line, schema_text, write_schema
    from engine.errors import UsageError

    if kind not in FILES:
        raise UsageError(
            f"there is no schema of {shown(kind)}; there are {listed(FILES, 'and')}", kind="unknown-schema"
        )
    if not write:
        print(json_escaped(schema_text(kind)), end="")
        return
    here = Path.cwd()
    for each in ("preset", "sweep", "search"):
        path = write_schema(here, each)
        terminal.sentence(str(path.relative_to(here)))
        terminal.say(f"first line of a {each} in this folder: {first_line(here / 'x', path)}")


@application.command("new")
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The new file, with or without .toml.", show_default=False)
    ],
    origin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PRESET",
            help="The preset to copy: a shipped name or a file. With --from-data the method. [default there: crild; answers if that file is set]",
            autocompletion=preset_files,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--from-data",
            metavar="FILE",
            help="Write a preset for this data file. Repeatable, as for train and dev.",
            autocompletion=data_files,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="With --from-data: a setting of the new preset, as in task.columns.label=team. Repeatable.",
            autocompletion=settings_of_presets,
        ),
    ] = None,
) -> None:
    """Create your own preset: a copy of another one, with its comments, or one for your own data.

    \b
    crild presets new mine --from crild
    crild presets new mine --from-data tickets.csv
    """
    from crild_tui.launch_form.copy_preset import new_preset
    from crild_tui.launch_form.data_preset import new_data_preset
    from engine.errors import UsageError

    if data:
        path, notes = new_data_preset(name, data, origin, settings or ())
        terminal.say(*notes)
    elif settings:
        sentence = "--set goes with --from-data; a copy is edited, or changed by `crild run PRESET --set KEY=VALUE`"
        raise UsageError(sentence, kind="misplaced-option")
    elif origin is None:
        sentence = (
            f"name a preset to copy (crild presets new {name} --from crild), or your data (--from-data tickets.csv)"
        )
        raise UsageError(sentence, kind="no-origin")
    else:
        path = new_preset(name, origin)
    terminal.say(f"written; edit it, check it with `crild presets validate {path}`, run it with `crild run {path}`")
    terminal.sentence(str(path))
