from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import CrildError, DataError, PresetError, RunError
from tests.cli.conftest import Call
from tests.conftest import PATIENCE, REPOSITORY

HEAVY = {"torch", "transformers", "numpy", "datasets", "accelerate", "tokenizers", "safetensors", "sklearn", "scipy"}
LOADED_WHEN_USED = {"significance", "figures", "calibration", "pdf", "rankings"}
"""Modules of reports and records that need numpy and matplotlib."""


def _python(code: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **env},
    )  # fmt: skip


CALL = "import sys; from crild_tui.cli import main; sys.exit(main())"


def test_help_names_every_command_and_the_exit_codes(crild: Call) -> None:
    said = crild("--help")
    assert said.code == 0
    for word in ("run", "resume", "stop", "attach", "logs", "runs", "show", "compare", "presets", "evaluate", "bench", "note",
                 "tag", "prune", "cache", "doctor", "delete", "143"):  # fmt: skip
        assert word in said.out
    assert all(len(line) <= 90 for line in said.out.splitlines())


def test_without_arguments_there_is_the_help(crild: Call) -> None:
    said = crild()
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Usage: crild")


def test_the_version_is_told(crild: Call) -> None:
    said = crild("--version")
    assert said.code == 0
    assert said.out.startswith("crild ")


def test_unknown_commands_and_options_are_usage_errors(crild: Call) -> None:
    assert crild("rnu").code == 2
    assert "'runs'" in crild("list").err
    assert "'runs'" in crild("ls").err
    assert "'prune'" not in crild("tune").err
    assert crild("runs", "--colour").code == 2
    assert crild("show").code == 2


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (RunError("it\x1b[31m broke"), 1, ["error: it\\x1b[31m broke"]),
        (DataError("a column is missing", file="a.csv", line=3), 3, ["error: a.csv:3: a column is missing"]),
        (
            PresetError([CrildError("one", file="p.toml", line=1), CrildError("two", file="p.toml", line=2)]),
            2,
            ["error: p.toml:1: one", "error: p.toml:2: two"],
        ),
        (KeyboardInterrupt(), 130, []),
        (BrokenPipeError(), 0, []),
        (PermissionError(13, "Permission denied", "/secret"), 1, ["error: /secret: Permission denied"]),
    ],
)
def test_errors_become_sentences_and_exit_codes(
    crild: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, lines: list[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("engine.record.run.list_runs", fail)
    monkeypatch.setattr("crild_tui.cli.entry._reader_went_away", lambda: 0)
    said = crild("runs")
    assert (said.code, said.err.splitlines()) == (code, lines)


def test_a_fault_of_the_programs_own_is_written_to_a_file(
    crild: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("impossible")

    monkeypatch.setattr("engine.record.run.list_runs", fail)
    said = crild("runs")
    assert said.code == 1
    assert "Traceback" not in said.err
    (file,) = (tmp_path / "cache" / "crashes").iterdir()
    assert str(file) in said.err
    assert "ValueError: impossible" in file.read_text()
    assert "crild_tui/cli/runs.py" in file.read_text()


def test_a_reader_that_goes_away_is_no_error(runs_dir: Path) -> None:
    command = f"{sys.executable} -c '{CALL}' presets show quickstart | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_narrow_encodings_escape_instead_of_failing(tmp_path: Path) -> None:
    (tmp_path / "é.toml").write_text('extends = "quickstart"\ndescription = "λ"\n')
    done = _python(CALL, "presets", "show", str(tmp_path / "é.toml"), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert "\\u03bb" in done.stdout
    listed = _python(CALL, "presets", "list", PYTHONIOENCODING="ascii")
    assert listed.returncode == 0
    assert listed.stdout.isascii()


def test_the_help_imports_next_to_nothing() -> None:
    code = (
        "import sys; from crild_tui.cli import main; main(['--help']); "
        "print(*(name for name in ('pydantic','tomlkit','tomli','textual','rich','psutil') if name in sys.modules), file=sys.stderr)"
    )
    assert _python(code).stderr == "\n"


@pytest.mark.parametrize(
    "modules",
    [
        "crild_tui.cli.app crild_tui.runs.summary crild_tui.runs.formatting",
        " ".join(
            ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            for folder in ("crild_tui/cli", "engine/preset", "engine/record", "engine/report", "engine/launch")
            for path in sorted((REPOSITORY / folder).rglob("*.py"))
            if not path.name.startswith("__") and path.stem not in LOADED_WHEN_USED
        ),
    ],
)
def test_light_modules_leave_torch_and_its_like_alone(modules: str) -> None:
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = _python(code, *modules.split())
    assert (done.stdout, done.stderr) == ("\n", "")


def test_commands_leave_torch_and_its_like_alone(runs_dir: Path) -> None:
    from tests.cli.samples import make_run

    make_run(runs_dir)
    code = (
        "import sys; from crild_tui.cli import main\n"
        "for words in (['runs'], ['show', 'latest'], ['presets', 'validate', 'crild'], ['attach', 'latest'],"
        " ['compare', 'latest', 'rte-crild'], ['prune', '--json'], ['cache'], ['run', 'nosuch'], ['bench', './nowhere'],"
        " ['predict', './nowhere', 'nosuch.csv'], ['slurm', 'template'], ['watch'], ['track', 'latest'], ['track', 'latest', '--to', 'wand'], ['push', './nowhere', 'me/x', '--dry-run'], ['serve', '--host', '203.0.113.7'], ['search', 'nosuch.toml', '--plan'], ['config'], ['config', 'set', 'dashboard.ascii', 'true']): main(words)\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    assert _python(code).stderr.splitlines()[-1] == ""


def test_a_working_folder_that_was_removed_is_no_fault(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from crild.__main__ import main; sys.argv = ['crild', '--version']; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("crild ")
