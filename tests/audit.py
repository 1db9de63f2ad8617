"""Audit what crild ships and what it stands on: `make audit`.

Licences of all packages that crild needs to run, a list of them as an SBOM (CycloneDX), known advisories, what wheel and
sdist contain, and whether two builds give the same bytes. Exits with 1 on a licence outside `ALLOWED`, an advisory, a file
that is not the project's, or builds that differ. What could not be checked (advisories without network) is reported, and is no
failure.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[1]
ALLOWED = re.compile(
    r"MIT|BSD|0BSD|Apache|PSF|Python Software Foundation|MPL|Mozilla|ISC|Zlib|CC0|BSL-1\.0|CNRI|HPND|Unlicense|DFSG approved"
)
"""Words of licences that can be shipped beside Apache 2.0. Each part of an expression must have one."""
_MADE = re.compile(r"\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt)$|^PKG-INFO$|^(crild/_packages/)?COMMIT$")
"""Files that a build writes."""
EPOCH = "1735689600"
"""Time stamp of files in a build: any fixed moment gives the same bytes."""


def site_packages(venv: Path) -> Path:
    """The folder of installed packages of a virtual environment."""
    return next(venv.glob("lib/python3*/site-packages"))


def runtime_packages(folder: Path) -> list[str]:
    """Names of crild's installed dependencies, with theirs."""
    installed = {_name(found.metadata["Name"]): found for found in distributions(path=[str(folder)])}
    needed: set[str] = set()
    waiting = ["crild"]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in installed:
            continue
        needed.add(name)
        for text in installed[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(_name(requirement.name))
    return sorted(needed - {"crild"})


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def strange_licence(licence: str) -> bool:
    """Whether a licence, or a part of an expression, is not among `ALLOWED`."""
    alternatives = [part for part in re.split(r"\s+OR\s+", licence) if part]
    return not any(
        all(ALLOWED.search(piece) for piece in re.split(r"\s+AND\s+|;", alternative)) for alternative in alternatives
    )


def licences(venv: Path, tools: Path, names: list[str]) -> list[str]:
    """Print how often each licence occurs; returns the faults."""
    text = _run(tools / "pip-licenses", "--python", str(venv / "bin/python"), "--format", "json", "--packages", *names)
    entries: list[dict[str, str]] = json.loads(text)
    print(f"licences: {len(entries)} packages that crild needs")
    return [f"licence of {entry['Name']}: {entry['License']}" for entry in entries if strange_licence(entry["License"])]


def sbom(venv: Path, tools: Path, target: Path) -> list[str]:
    """Write the packages of the environment as a CycloneDX document; returns no faults."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _run(tools / "cyclonedx-py", "environment", "--output-reproducible", "-o", str(target), str(venv / "bin/python"))
    found: dict[str, Any] = json.loads(target.read_text())
    print(f"SBOM: {len(found['components'])} components in {target.relative_to(REPOSITORY)}")
    return []


def advisories(venv: Path, tools: Path) -> list[str]:
    """Ask the registry for known advisories; returns those found, and prints how many packages it could not look up."""
    command = [str(tools / "pip-audit"), "--path", str(site_packages(venv)), "--progress-spinner", "off", "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        entries: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"advisories: NOT CHECKED: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return []
    unchecked = [entry["name"] for entry in entries if "skip_reason" in entry]
    print(
        f"advisories: {len(entries) - len(unchecked)} of {len(entries)} packages checked, {len(unchecked)} NOT CHECKED"
    )
    return [f"advisory {vuln['id']} of {entry['name']}" for entry in entries for vuln in entry.get("vulns", ())]


def build(python: Path, target: Path) -> dict[str, str]:
    """Build wheel and sdist; returns the SHA-256 of each file by its name."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    command = [str(python), "-m", "hatchling", "build", "-d", str(target)]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(target.iterdir())}


def contents(archive: Path) -> dict[str, str]:
    """SHA-256 of each file in a wheel or sdist, by its name (without the top folder of an sdist)."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: hashlib.sha256(wheel.read(name)).hexdigest() for name in wheel.namelist()}
    found = {}
    with tarfile.open(archive) as sdist:
        for member in sdist.getmembers():
            file = sdist.extractfile(member)
            if file is not None:
                found[member.name.partition("/")[2]] = hashlib.sha256(file.read()).hexdigest()
    return found


def foreign(files: dict[str, str], tracked: set[str]) -> list[str]:
    """Names of files whose bytes are not those of a tracked file, and that no build makes."""
    return [name for name, digest in files.items() if digest not in tracked and not _MADE.search(name)]


def builds(python: Path) -> list[str]:
    """Build twice, compare the bytes, and compare the contents with the repository; returns the faults."""
    tracked = {
        hashlib.sha256((REPOSITORY / name).read_bytes()).hexdigest()
        for name in _run(Path("git"), "-C", str(REPOSITORY), "ls-files").splitlines()
        if (REPOSITORY / name).is_file()
    }
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first, second = build(python, Path(one)), build(python, Path(two))
        faults = [f"{name}: two builds differ" for name in first if first[name] != second.get(name)]
        for name in first:
            files = contents(Path(one) / name)
            print(f"{name}: {len(files)} files, {(Path(one) / name).stat().st_size:,} bytes, sha256 {first[name][:16]}")
            faults += [f"{name} holds {entry}, which is not in the repository" for entry in foreign(files, tracked)]
    return faults


def _run(tool: Path, *words: str) -> str:
    return subprocess.run([str(tool), *words], capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Do all of it; prints what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path, help="the environment that crild is installed in")
    parser.add_argument("tools", type=Path, help="the bin folder with pip-licenses, cyclonedx-py and pip-audit")
    options = parser.parse_args()
    venv, tools = options.venv.absolute(), options.tools.absolute()
    faults = [
        *licences(venv, tools, runtime_packages(site_packages(venv))),
        *sbom(venv, tools, REPOSITORY / "dist" / "sbom.cdx.json"),
        *advisories(venv, tools),
        *builds(venv / "bin/python"),
    ]
    for fault in faults:
        print(f"FAULT: {fault}")
    print("nothing to object to" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
