"""`crild config`: your settings, where each comes from, and changes to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crild_tui.cli import terminal
from crild_tui.cli.options import AsJson, RunsDir
from crild_tui.cli.setting_completers import setting_keys, setting_values
from engine.errors import UsageError
from engine.preset.text import nearest, shown

if TYPE_CHECKING:
    from engine.user.settings_list import Setting

application = typer.Typer(rich_markup_mode=None, add_completion=False)

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help="A setting, as dashboard.theme; `crild config` lists them.",
        autocompletion=setting_keys,
        show_default=False,
    ),
]


@application.callback(invoke_without_command=True)
def config(context: typer.Context, as_json: AsJson = False, runs_dir: RunsDir = None) -> None:
    """Show your settings and where each comes from; get, set and unset one.

    \b
    crild config
    crild config get dashboard.theme
    crild config set dashboard.theme crild-light
    crild config unset dashboard.theme
    """
    from engine.user.settings_list import all_settings, folders

    if context.invoked_subcommand is not None:
        _refuse_misplaced(context.invoked_subcommand, as_json=as_json, runs_dir=runs_dir)
        return
    settings, problems = all_settings()
    settings = [*folders(runs_dir), *settings]
    if as_json:
        terminal.show_json({"settings": list(map(_document, settings)), "problems": list(map(str, problems))})
    else:
        columns = [("setting", "left"), ("value", "left"), ("from", "left")]
        terminal.show(terminal.table(columns, ((each.key, _text(each.value), _origin(each)) for each in settings)))
    terminal.say(*(f"error: {line}" for problem in problems for line in terminal.error_lines(problem)))
    raise typer.Exit(2 if problems else 0)


@application.command("get")
def get(key: Key, as_json: AsJson = False) -> None:
    """Print the value of a setting: what its section says, else its default; nothing if it is left open."""
    from engine.user.settings import SECTIONS, read_located
    from engine.user.settings_file import path_of
    from engine.user.settings_list import folders, settings_of

    found = [each for each in folders(None) if each.key == key]
    if not found:
        path = path_of(key)
        settings = settings_of(path[0], read_located(SECTIONS[path[0]]))
        found = [each for each in settings if each.path[: len(path)] == path]
    if as_json:
        documents = [_document(each) for each in found]
        terminal.show_json(documents[0] if len(documents) == 1 else documents)
        return
    for each in found:
        named = len(each.path) > 2 and each.path != path
        text = _text(each.value)
        if text:
            terminal.sentence(f"{each.path[-1]} = {text}" if named else text)


@application.command("set")
def set_(
    key: Key,
    value: Annotated[
        str,
        typer.Argument(
            metavar="VALUE",
            help="As TOML writes it, or a bare word; several words with commas where a list belongs.",
            autocompletion=setting_values,
            show_default=False,
        ),
    ],
) -> None:
    """Write a setting into your settings file, and keep its comments. An invalid value or file changes nothing."""
    from engine.user.settings_file import path_of, set_value

    keys = path_of(key)
    _check_action(keys)
    terminal.say(f"written to {set_value(keys, value)}")


@application.command("unset")
def unset(key: Key) -> None:
    """Remove a setting from your settings file, so that its default applies."""
    from engine.user import settings_file

    file = settings_file.unset(settings_file.path_of(key))
    terminal.say(f"{key} is not set in your settings file" if file is None else f"removed from {file}")


@application.command("path")
def path() -> None:
    """Print the path of your settings file, whether it exists or not."""
    from engine.user.settings_file import settings_file

    terminal.sentence(str(settings_file()))


@application.command("edit")
def edit() -> None:
    """Open your settings file in $VISUAL or $EDITOR, and check it afterwards."""
    from crild_tui.launch_form.editor import editor, run_editor
    from engine.user.settings import settings_problems
    from engine.user.settings_file import provide_folder, settings_file

    command, file = editor(), settings_file()
    provide_folder(file)
    ended = run_editor(command, file)
    problems = settings_problems()
    terminal.say(*([ended] if ended else []))
    terminal.say(*(f"error: {line}" for problem in problems for line in terminal.error_lines(problem)))
    raise typer.Exit(2 if problems else 0)


def _refuse_misplaced(command: str, *, as_json: bool, runs_dir: str | None) -> None:
    from engine.errors import UsageError

    for given, option in ((as_json, "--json"), (runs_dir is not None, "--runs-dir")):
        if given:
            sentence = f"{option} before `{command}` has no effect: leave it out, or write it after the command"
            raise UsageError(sentence, kind="misplaced-option")


def _check_action(path: Sequence[str]) -> None:
    """Raise UsageError where a setting is the key of an action that the dashboard does not have."""
    if tuple(path[:2]) != ("dashboard", "keys") or len(path) != 3:
        return
    import crild_tui.app  # noqa: F401  it imports all screens, which declare the actions
    from crild_tui.keys import action_ids

    known, action = action_ids(), path[2]
    if action not in known:
        near = nearest(action, known)
        hint = f"did you mean {shown(near)}?" if near else "press ? in the dashboard for the names of all"
        raise UsageError(f"the dashboard has no action {shown(action)}; {hint}", kind="unknown-action")


def _document(setting: Setting) -> dict[str, Any]:
    return {
        "key": setting.key,
        "value": setting.value,
        "from": setting.origin,
        "file": None if setting.file is None else str(setting.file),
        "line": setting.line,
        "variable": setting.variable,
    }


def _text(value: object) -> str:
    """A value as it is read: text without quotes, other values as TOML writes them; nothing where it is left open."""
    from engine.preset.toml_text import inline

    if value is None or value in ([], {}):
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if isinstance(value, Mapping | list) or not isinstance(value, str):
        return inline(value, short=True)
    return value


def _origin(setting: Setting) -> str:
    if setting.variable is not None:
        return setting.variable if setting.origin == "option" else f"${setting.variable}"
    if setting.file is None:
        return setting.origin
    return f"{setting.file.name}:{setting.line}" if setting.line else setting.file.name
