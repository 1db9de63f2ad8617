"""`import crild` in a user's process: what it loads, and what it leaves alone."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import crild
from engine.errors import CrildError
from engine.record.event_kinds import COMMON, KINDS
from tests.conftest import PATIENCE, REPOSITORY

HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "numpy",
    "pandas",
    "pyarrow",
    "textual",
    "matplotlib",
    "scipy",
    "sklearn",
    "IPython",
}
REFUSED = """
import sys
import crild
try:
    {call}
except crild.CrildError as error:
    print(error.kind, error.category, error.key)
import engine
print(engine.MINE, [name for name in sys.modules if name.startswith(("engine.", "crild_tui"))])
"""


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder from which `crild` can be imported, and nothing else of this repository."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "crild").symlink_to(REPOSITORY / "crild")
    return tmp_path / "site"


def python(code: str, *path: Path, folder: Path) -> str:
    """What a fresh process prints that imports from these folders."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_nothing_else(alone: Path, tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import crild; print(*sorted(set(sys.modules) - before))"
    assert python(code, alone, folder=tmp_path) == "__future__ crild\n"


def test_a_call_loads_no_library_that_computes_or_draws(alone: Path, tmp_path: Path) -> None:
    code = (
        "import sys, crild\n"
        "preset = crild.load_preset('quickstart', settings={'train.epochs': 2})\n"
        "preset._repr_html_(), crild.runs()._repr_html_()\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert python(code, alone, folder=tmp_path) == "[]\n"


def test_the_path_and_other_names_stay_as_they_are(alone: Path, tmp_path: Path) -> None:
    code = (
        "import sys, crild\n"
        "before = list(sys.path)\n"
        "crild.runs()\n"
        "import engine.errors\n"
        "print(sys.path == before, crild.CrildError is engine.errors.CrildError)\n"
        "import importlib.util as util\n"
        "print([name for name in ('tests', 'docs', 'benchmarks') if (spec := util.find_spec(name)) and spec.origin])"
    )
    assert python(code, alone, folder=tmp_path) == "True True\n[]\n"


@pytest.mark.parametrize("call", ["crild.runs()", "crild.load_preset('quickstart')", "crild.open_run('a')", "crild.report()",
                                  "crild.compare('a', 'b')", "crild.predict('a', 'b')"])  # fmt: skip
@pytest.mark.parametrize("before", ["", "import engine\n"])
def test_packages_of_the_users_are_not_replaced(alone: Path, tmp_path: Path, call: str, before: str) -> None:
    (tmp_path / "own" / "engine").mkdir(parents=True)
    (tmp_path / "own" / "engine" / "__init__.py").write_text("MINE = 'mine'\n")
    printed = python(before + REFUSED.format(call=call), tmp_path / "own", alone, folder=tmp_path)
    assert printed == "packages-in-the-way usage engine\nmine []\n"


def test_a_folder_of_modules_without_init_counts_too(alone: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "engine").mkdir(parents=True)
    (tmp_path / "own" / "engine" / "motor.py").write_text("MINE = 'mine'\n")
    code = REFUSED.format(call="crild.runs()").replace("import engine\n", "import engine.motor as engine\n")
    printed = python(code, tmp_path / "own", alone, folder=tmp_path)
    assert printed == "packages-in-the-way usage engine\nmine ['engine.motor']\n"


def test_a_module_that_is_replaced_later_is_noticed(alone: Path, tmp_path: Path) -> None:
    code = (
        "import sys, types, crild\n"
        "crild.runs()\n"
        "sys.modules['crild_tui'] = types.ModuleType('crild_tui')\n"
        "try:\n    crild.runs()\nexcept crild.CrildError as error:\n    print(error.kind, error.key)"
    )
    assert python(code, alone, folder=tmp_path) == "packages-in-the-way crild_tui\n"


def test_every_name_is_there() -> None:
    assert set(crild.__all__) <= set(dir(crild))
    assert all(getattr(crild, name) is not None for name in crild.__all__)
    assert getattr(crild, "CrildError") is CrildError  # noqa: B009 - type checkers see two classes
    assert crild.__version__[0].isdigit()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        crild.frob  # type: ignore[attr-defined]  # noqa: B018


def test_what_type_checkers_see_of_the_exception_is_what_it_has() -> None:
    tree = ast.parse((REPOSITORY / "crild" / "api" / "errors.py").read_text())
    (declared,) = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    names = {
        node.target.id
        for node in declared.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    assert names == {*vars(CrildError("x")), "category", "exit_code"}


def test_the_types_of_events_have_the_documented_fields() -> None:
    from typing import get_args, get_type_hints

    from crild.api.events import Event

    declared = {}
    for kind in get_args(Event):
        hints = get_type_hints(kind)
        (name,) = get_args(hints["kind"])
        declared[name] = set(hints)
    assert declared == {name: {*COMMON, *kind.fields} for name, kind in KINDS.items()}
