"""The wheel in an environment of its own, used from a folder that holds an `engine/` of the user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.train.tiny_run import materials

TRAP = 'raise SystemExit("the folder where the user stands was imported")\n'


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel, and these tests' dependencies, but not this checkout."""
    room = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(room)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = room.glob("*.whl")
    venv.create(room / "env", with_pip=False)
    python = room / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # As a line of a .pth file the other environment's packages are found, but its own .pth files (this checkout) are not.
    (Path(where.stdout.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with modules named like crild's."""
    folder = tmp_path / "elsewhere"
    for name in ("engine", "crild_tui"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(TRAP)
    (folder / "torch.py").write_text(TRAP)
    return folder


def crild(bin_folder: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [bin_folder / "crild", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_wheel_carries_the_presets(installed: Path, elsewhere: Path) -> None:
    listed = json.loads(crild(installed, elsewhere, "presets", "list", "--json").stdout)
    names = {path.stem for path in (REPOSITORY / "presets").glob("*.toml")}
    assert {preset["name"] for preset in listed} == names
    assert not any(str(REPOSITORY) in json.dumps(preset) for preset in listed)


def test_the_installed_engine_distils_from_any_folder(installed: Path, elsewhere: Path, tmp_path: Path) -> None:
    (elsewhere / "mine.toml").write_text(materials(tmp_path / "data"))
    ended = crild(installed, elsewhere, "run", "mine.toml", "--name", "wheel", "--quiet")
    assert ended.returncode == 0, ended.stderr
    assert "student" in ended.stdout
    assert (Path(os.environ["CRILD_RUNS_DIR"]) / "wheel-s7" / "student" / "model.safetensors").exists()
