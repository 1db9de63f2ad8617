"""A wheel and an editable install, each in an environment of its own beside a user's packages of the same names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.record.environment import git_revision
from tests.conftest import REPOSITORY
from tests.train.tiny_run import materials

TRAP = 'raise SystemExit("a module of the user\'s was imported")\n'
BUILD = "import sys, hatchling.build as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
"""The call of the build backend with which pip makes a wheel, or an editable one."""


@dataclass(frozen=True)
class Installed:
    """An environment with crild, these tests' dependencies, and packages of the user's that are named like crild's."""

    python: Path
    packages: Path
    """Its site-packages."""

    def run(self, *words: str, folder: Path, pythonpath: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if pythonpath is not None:
            environment["PYTHONPATH"] = str(pythonpath)
        return subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def crild(self) -> str:
        return str(self.python.with_name("crild"))


@pytest.fixture(scope="module", params=["build_wheel", "build_editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    room = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-c", BUILD, request.param, str(room)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = room.glob("*.whl")
    venv.create(room / "env", with_pip=False)
    python = room / "env" / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    packages = Path(where.stdout.strip())
    # As a line of a .pth file the other environment's packages are found, but its own .pth files (this checkout) are not.
    (packages / "0-dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return Installed(python, packages)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with modules named like crild's and torch."""
    folder = tmp_path / "elsewhere"
    for name in ("engine", "crild_tui", "torch"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(TRAP)
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with the user's own packages `engine` and `crild_tui`."""
    for name in ("engine", "crild_tui"):
        (tmp_path / "library" / name).mkdir(parents=True)
        (tmp_path / "library" / name / "__init__.py").write_text("MINE = True\n")
    return tmp_path / "library"


def test_the_environment_gets_no_name_but_crild(installed: Installed, tmp_path: Path) -> None:
    code = (
        "import importlib.util as util\n"
        "names = ('crild', 'engine', 'crild_tui', 'presets', 'tests', 'benchmarks', 'docs')\n"
        "print([name for name in names if (spec := util.find_spec(name)) and spec.origin])"
    )
    found = installed.run(str(installed.python), "-c", code, folder=tmp_path)
    assert (found.stdout, found.stderr) == ("['crild']\n", "")


def test_a_program_of_the_users_imports_its_own_packages(installed: Installed, library: Path, tmp_path: Path) -> None:
    code = "import crild, crild.process, engine, crild_tui; print(engine.MINE and crild_tui.MINE)"
    done = installed.run(str(installed.python), "-c", code, folder=tmp_path, pythonpath=library)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_packages_of_the_users_do_not_disturb_crild(installed: Installed, library: Path, elsewhere: Path) -> None:
    beside = installed.packages / "engine"
    beside.mkdir()
    (beside / "__init__.py").write_text(TRAP)
    try:
        for command in ([installed.crild], [str(installed.python), "-P", "-m", "crild"]):
            listed = installed.run(*command, "presets", "list", "--json", folder=elsewhere, pythonpath=library)
            assert {preset["name"] for preset in json.loads(listed.stdout)} >= {"crild", "quickstart"}
            assert listed.stderr == ""
        started = installed.run(*_worker(installed), folder=elsewhere, pythonpath=library)
        assert "nowhere" in started.stdout
        assert (started.returncode, started.stderr) == (1, "")
    finally:
        (beside / "__init__.py").unlink()
        beside.rmdir()


def _worker(installed: Installed) -> list[str]:
    """The command line of an engine, as crild itself makes it, for a run that does not exist."""
    code = (
        "import json; from crild.process import use_own_packages; use_own_packages()\n"
        "from engine.launch.start import engine_command; print(json.dumps(engine_command('train', '/nowhere')))"
    )
    done = installed.run(str(installed.python), "-c", code, folder=installed.packages)
    words: list[str] = json.loads(done.stdout)
    return words


def test_the_shipped_presets_and_the_types_are_installed(installed: Installed, elsewhere: Path) -> None:
    listed = json.loads(installed.run(installed.crild, "presets", "list", "--json", folder=elsewhere).stdout)
    names = {path.stem for path in (REPOSITORY / "presets").glob("*.toml")}
    assert {preset["name"] for preset in listed} == names
    code = "import crild, pathlib; print(pathlib.Path(crild.__file__).with_name('py.typed').is_file(), crild.__file__)"
    typed, file = installed.run(str(installed.python), "-c", code, folder=elsewhere).stdout.split()
    assert typed == "True"
    in_repository = [str(REPOSITORY) in path for path in (file, *(preset["path"] for preset in listed))]
    assert all(in_repository) or not any(in_repository)


def test_the_installed_engine_distils_from_any_folder(
    installed: Installed, library: Path, elsewhere: Path, tmp_path: Path
) -> None:
    if str(REPOSITORY) in _worker(installed)[2]:
        pytest.skip("the engine of an editable install is this source tree's, which other tests run")
    (elsewhere / "mine.toml").write_text(materials(tmp_path / "data"))
    words = (installed.crild, "run", "mine.toml", "--name", "wheel", "--quiet")
    ended = installed.run(*words, folder=elsewhere, pythonpath=library)
    assert ended.returncode == 0, ended.stderr
    assert "student" in ended.stdout
    assert (Path(os.environ["CRILD_RUNS_DIR"]) / "wheel-s7" / "student" / "model.safetensors").exists()


API = """
import crild
try:
    print(crild.load_preset("quickstart")["task.name"], crild.CrildError.__module__)
except crild.CrildError as error:
    print(error.kind)
"""


def test_python_of_the_users_uses_crild_where_no_package_of_theirs_is_in_the_way(
    installed: Installed, library: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for pythonpath, expected in ((None, "toy-switch engine.errors\n"), (library, "packages-in-the-way\n")):
        done = installed.run(str(installed.python), "-c", API, folder=tmp_path / "empty", pythonpath=pythonpath)
        assert (done.stdout, done.stderr) == (expected, "")


TYPED = """
from pathlib import Path

import crild


def best(name: str) -> float:
    preset = crild.load_preset("crild", Path("mine.toml"), settings={"train.epochs": 2, "tags": ["a"]})
    run: crild.Run = preset.override({"seed": 3}).run(name=name, detached=True)
    for event in run.follow(["step", "evaluation"]):
        if event["kind"] == "step":
            reveal_type(event["step"])
        elif event["kind"] == "evaluation":
            reveal_type(event["metrics"])
    try:
        reveal_type(run.wait().student)
    except crild.CrildError as error:
        reveal_type(error.line)
    reveal_type(crild.runs()[0].state)
    reveal_type(crild.compare(run, "other").differences)
    return float(crild.predict(run, ["a"])["probability_a"][0])


crild.frob
crild.open_run(3)
crild.load_preset("crild").run(detatched=True)
"""


def test_a_type_checker_of_the_users_knows_every_name(installed: Installed, tmp_path: Path) -> None:
    if not (installed.packages / "crild").is_dir():
        pytest.skip("type checkers do not follow the import hook of an editable install that exposes one package")
    (tmp_path / "mine.py").write_text(TYPED)
    words = (sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed.python), "--config-file", os.devnull,
             "--cache-dir", str(tmp_path / "cache"), "mine.py")  # fmt: skip
    done = installed.run(*words, folder=tmp_path)
    said = [line.split(": ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("mine.py:")]
    revealed = [words[1].split('"')[1] for words in said if words[0] == "note" and "Revealed type" in words[1]]
    assert revealed[:5] == ["int", "dict[str, float | None]", "pathlib.Path", "int | None", "str"], done.stdout
    assert revealed[5].startswith("def () ->")
    errors = [words[1] for words in said if words[0] == "error"]
    assert [error.rsplit("[", 1)[1] for error in errors] == ["attr-defined]", "arg-type]", "call-arg]"], done.stdout


def test_the_version_names_the_commit(installed: Installed, elsewhere: Path) -> None:
    said = installed.run(installed.crild, "--version", folder=elsewhere).stdout
    revision = git_revision(REPOSITORY)
    if revision is None:
        pytest.skip("this source tree has no commit")
    assert f"({revision['commit']}{'-changed' if revision['changed'] else ''})" in said
    build = [sys.executable, "-c", BUILD, "build_sdist", str(elsewhere)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (archive,) = [path for path in elsewhere.iterdir() if path.is_file()]
    with tarfile.open(archive) as file:
        (name,) = [name for name in file.getnames() if name.endswith("/COMMIT")]
        content = file.extractfile(name)
        assert content is not None
        assert content.read().decode().startswith(revision["commit"])
