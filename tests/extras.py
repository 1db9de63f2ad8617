"""Install each extra of pyproject.toml by itself, and run the tests that need it: `make test-extras`.

    python -m tests.extras [EXTRA...]

Each gets an environment in .venv-extras, which finds crild's other libraries through a .pth file, so that nothing but the
extra is installed. A test that is skipped there fails the command: it would say nothing of the extra.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

import tomli

from tests.conftest import REPOSITORY

HOME = REPOSITORY / ".venv-extras"
TRACKERS = "tests/track/test_real_trackers.py"
TESTS: Mapping[str, tuple[str, ...]] = {
    "images": ("tests/cli/test_curves_image.py",),
    "mlflow": (TRACKERS, "-k", "mlflow"),
    "onnx": ("tests/models/test_onnx.py", "tests/train/test_exporting.py"),
    "ray": ("tests/sweep/test_ray_real.py",),
    "search": ("tests/search",),
    "slurm": ("tests/launch/test_slurm.py", "tests/cli/test_slurm_command.py", "tests/sweep/test_slurm_sweep.py"),
    "tensorboard": (TRACKERS, "-k", "tensorboard"),
    "trackio": (TRACKERS, "-k", "trackio"),
    "wandb": (TRACKERS, "-k", "wandb"),
    "web": ("tests/serve",),
    "xlsx": ("tests/report/test_report_files.py",),
}
"""The tests of each extra, as pytest takes them. Extras that only combine others have none."""
GROUPS = {"web": "web-tests"}
"""Groups of pyproject.toml that these tests need too."""


def extras() -> dict[str, list[str]]:
    """The requirements of each extra that names libraries."""
    project = tomli.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared: dict[str, list[str]] = project["optional-dependencies"]
    return {name: wanted for name, wanted in declared.items() if not any("crild[" in each for each in wanted)}


def environment(extra: str, requirements: list[str]) -> Path:
    """Make the environment of an extra; returns its Python."""
    folder = HOME / extra
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "crild_libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [str(python), "-m", "pip", "install", "--quiet", "-c", str(REPOSITORY / "constraints.txt")]
    subprocess.run([*pip, "pip>=25.1"], check=True)
    groups = ["--group", GROUPS[extra]] if extra in GROUPS else []
    subprocess.run([*pip, *requirements, *groups], check=True, cwd=REPOSITORY)
    return python


def test(extra: str, python: Path) -> bool:
    """Run the tests of an extra; whether all of them passed and none was skipped."""
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-rs", "-m", "not gpu", *TESTS[extra]], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1:]
    print(f"{extra}: {''.join(last)}", flush=True)
    good = done.returncode == 0 and not re.search(r"\d+ skipped", "".join(last))
    if not good:
        print(done.stdout, done.stderr, sep="\n")
    return good


def main(chosen: list[str]) -> int:
    """Test the extras that are named, or all; returns the exit code."""
    known = extras()
    results = [test(name, environment(name, known[name])) for name in chosen or sorted(known)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
