"""Completion in bash, zsh and fish: reads the words of a command line, answers what may stand at the cursor.

Typer declares what each parameter offers and installs the scripts. It isn't asked to parse the line: that would convert
values, call the callbacks of options, and take several times as long.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from typing import Any

from engine.preset.text import cut, one_line

VARIABLE = "_CRILD_COMPLETE"
"""Set by the scripts: `complete_bash`, `complete_zsh` or `complete_fish`."""
OPEN = ("=", ".", "/", ",", ":")
"""Endings of candidates after which a word continues, so that no space belongs there."""
LONGEST_MEANING = 80
"""Characters that are shown beside a candidate."""

_SAFE = re.compile(r"[A-Za-z0-9_./+%@~-][A-Za-z0-9_./:=,+%@~-]*")
_BREAKS = re.compile(r"[=:]+")
"""What bash takes for words of their own, in its default setting."""

_BASH = """
%(complete_func)s() {
    local IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \\
                   COMP_CWORD=$COMP_CWORD \\
                   %(autocomplete_var)s=complete_bash $1 2>/dev/null ) )
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./,:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}

complete -o default -F %(complete_func)s %(prog_name)s
"""
_ZSH = """
#compdef %(prog_name)s

%(complete_func)s() {
  eval "$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" %(autocomplete_var)s=complete_zsh ${~words[1]} 2>/dev/null)"
}

compdef %(complete_func)s %(prog_name)s
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  %(complete_func)s "$@"
fi
"""
_FISH = """
function %(complete_func)s
    set -l line (commandline -cp | string collect)
    set -l found (env %(autocomplete_var)s=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS=$line (commandline -opc)[1] 2>/dev/null)
    if test (count $found) -gt 0
        printf '%%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command %(prog_name)s --no-files --arguments "(%(complete_func)s)"
"""


def use_own_scripts() -> None:
    """Make `--show-completion` and `--install-completion` use scripts that ask crild once, and add no space after `=`.

    A Typer that keeps its scripts elsewhere uses its own, which work too.
    """
    with suppress(ImportError, AttributeError):
        from typer import _completion_shared

        _completion_shared._completion_scripts.update(bash=_BASH, zsh=_ZSH, fish=_FISH)


@dataclass
class Line:
    """A command line up to the cursor: the command, its context with what was typed for each parameter, the rest."""

    command: Any
    context: Any
    pending: Any = None
    """The option whose value is typed now."""
    options_end: bool = False
    """Whether `--` came."""
    given: list[str] = field(default_factory=list)
    """The arguments."""


Candidate = tuple[str, str]
"""A word, and what it means."""


def answer(instruction: str, environment: Mapping[str, str] = os.environ) -> int | None:
    """Print what completes the line in the environment; returns the exit code, None for what Typer must answer.

    Never raises, and never prints anything else: an error would appear amid the line that the user types.
    """
    kind, _, shell = instruction.partition("_")
    if kind != "complete" or shell not in ("bash", "zsh", "fish"):
        return None
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # noqa: PTH123
            words, incomplete, broken = _bash_words(environment) if shell == "bash" else _words(environment)
            found = candidates(words, incomplete)
    except (Exception, SystemExit):  # noqa: BLE001 - see above
        found, broken = [], ""
    return _print(shell, found, broken, environment)


def _print(shell: str, found: Sequence[Candidate], broken: str, environment: Mapping[str, str]) -> int:
    if shell == "fish" and environment.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return 0 if found else 1
    if shell == "zsh":
        print(_zsh(found))
        return 0
    for word, meaning in found:
        print(word.removeprefix(broken) if shell == "bash" else f"{word}\t{meaning}" if meaning else word)
    return 0


def _zsh(found: Sequence[Candidate]) -> str:
    """What zsh evaluates to offer the candidates; files where there are none."""
    if not found:
        return "_files"
    lists = {"open": [], "whole": []}  # type: dict[str, list[str]]
    for word, meaning in found:
        text = word.replace(":", "\\:") + (f":{meaning}" if meaning else "")
        lists["open" if word.endswith(OPEN) else "whole"].append("'" + text.replace("'", "'\\''") + "'")
    return (
        f"local -a crild_open=({' '.join(lists['open'])}) crild_whole=({' '.join(lists['whole'])}); "
        "_describe -V value crild_open -S '' -- crild_whole"
    )


def _words(environment: Mapping[str, str]) -> tuple[list[str], str, str]:
    """The words before the cursor's and what there is of that one, as zsh and fish pass them; nothing is broken off."""
    text = environment.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(text)
    if not words or text[-1:].isspace():
        return words[1:], "", ""
    return words[1:-1], words[-1] if len(words) > 1 else "", ""


def _bash_words(environment: Mapping[str, str]) -> tuple[list[str], str, str]:
    """The same from bash, which breaks `--set a=b` and `cuda:0`; also what it broke off the last word's beginning."""
    raw = environment.get("COMP_WORDS", "").split("\n")
    cursor = int(environment.get("COMP_CWORD", "0"))
    raw = [*raw, *[""] * (cursor + 1 - len(raw))][: cursor + 1]
    words: list[str] = []
    broken, joins = "", False
    for piece in raw:
        is_break = bool(_BREAKS.fullmatch(piece)) and len(words) > 1
        if piece and (is_break or joins) and words:
            broken = words[-1] + (piece if is_break else "")
            words[-1] += piece
        else:
            broken = ""
            words.append(piece)
        joins = is_break
    plain = [_unquoted(word) for word in words]
    return plain[1:-1], plain[-1] if len(plain) > 1 else "", _unquoted(broken)


def _unquoted(word: str) -> str:
    return "".join(_split(word))


def _split(text: str) -> list[str]:
    """The words of a line as a shell splits them; a quote that is still open ends with the line."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:  # an open quote, or a backslash at the end
        words.append(lexer.token)
    return words


def candidates(words: Sequence[str], incomplete: str) -> list[Candidate]:
    """What may stand in place of `incomplete` after the words; only what no shell would evaluate."""
    line = _read(words)
    if line is None:
        return []
    begins = ""
    parameter = line.pending
    if parameter is None and not line.options_end and incomplete.startswith("-"):
        name, sign, value = incomplete.partition("=")
        option = _options(line).get(name)
        if not sign or option is None or option.is_flag:
            return _safe(_option_names(line), incomplete)
        begins, incomplete, parameter = f"{name}=", value, option
    if parameter is None and hasattr(line.command, "list_commands"):
        return _safe(_commands(line), incomplete)
    parameter = parameter or _argument(line)
    if parameter is None:
        return _safe(_option_names(line), incomplete)
    items = parameter.shell_complete(line.context, incomplete)
    found = [(str(item.value), item.help or "") for item in items if item.type == "plain"]
    return [(begins + word, meaning) for word, meaning in _safe(found, incomplete)]


def _safe(found: Iterable[Candidate], incomplete: str) -> list[Candidate]:
    """The candidates that complete what is typed, once each, as long as no shell would evaluate a character of them."""
    fitting = {word: meaning for word, meaning in found if word.startswith(incomplete) and _SAFE.fullmatch(word)}
    return [(word, cut(one_line(meaning), LONGEST_MEANING)) for word, meaning in fitting.items()]


def _read(words: Sequence[str]) -> Line | None:
    """The line of these words; None when it names a command that does not exist."""
    import typer.main

    from crild_tui.cli.app import application

    root = typer.main.get_command(application)
    line = Line(root, root.context_class(root, info_name="crild", **root.context_settings))
    for word in words:
        if line.pending is not None:
            _put(line, line.pending, word)
            line.pending = None
        elif not line.options_end and word == "--":
            line.options_end = True
        elif not line.options_end and len(word) > 1 and word.startswith("-"):
            _read_option(line, word)
        elif hasattr(line.command, "list_commands"):
            command = line.command.get_command(line.context, word)
            if command is None:
                return None
            line = Line(command, command.context_class(command, info_name=word, parent=line.context))
        else:
            argument = _argument(line)
            line.given.append(word)
            if argument is not None:
                _put(line, argument, word)
    return line


def _read_option(line: Line, word: str) -> None:
    name, sign, value = word.partition("=")
    option = _options(line).get(name)
    if option is None:
        return
    if option.is_flag:
        _put(line, option, "true")
    elif sign:
        _put(line, option, value)
    else:
        line.pending = option


def _put(line: Line, parameter: Any, word: str) -> None:
    """Record what was typed for a parameter, as Typer would: a list where it may repeat."""
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        line.context.params.setdefault(parameter.name, []).append(word)
    else:
        line.context.params[parameter.name] = word


def _parameters(line: Line, kind: str) -> list[Any]:
    return [each for each in line.command.get_params(line.context) if each.param_type_name == kind]


def _options(line: Line) -> dict[str, Any]:
    return {name: option for option in _parameters(line, "option") for name in (*option.opts, *option.secondary_opts)}


def _argument(line: Line) -> Any:
    """The argument that the next word would be; None after the last."""
    arguments, position = _parameters(line, "argument"), len(line.given)
    several = next((index for index, each in enumerate(arguments) if each.nargs == -1), len(arguments))
    return arguments[min(position, several)] if min(position, several) < len(arguments) else None


def _option_names(line: Line) -> list[Candidate]:
    """The options that can still be given."""
    taken = line.context.params
    return [
        (name, option.help or "")
        for name, option in _options(line).items()
        if not option.hidden and (option.multiple or option.name not in taken)
    ]


def _commands(line: Line) -> list[Candidate]:
    described = getattr(line.command, "described", line.command.get_command)
    commands = [(name, described(line.context, name)) for name in line.command.list_commands(line.context)]
    return [(name, command.get_short_help_str(66)) for name, command in commands if command and not command.hidden]
