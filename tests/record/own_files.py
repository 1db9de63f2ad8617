"""Small files and folders as crild writes them, and names of processes that are gone."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

from engine.record.owner import Owner

KEY = "0123456789abcdef" * 2


def checkpoint(run_dir: Path, name: str, size: int = 1000) -> Path:
    """A whole checkpoint of `size` bytes in all."""
    folder = run_dir / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    rest = 300
    for _ in range(2):  # the second time, the length of the manifest is known
        (folder / "model.safetensors").write_bytes(b"x" * (size - rest))
        files = {
            file: {
                "bytes": (folder / file).stat().st_size,
                "sha256": hashlib.sha256((folder / file).read_bytes()).hexdigest(),
            }
            for file in ("model.safetensors", "state.json")
        }
        text = json.dumps({"format": 1, "files": files})
        rest = 2 + len(text)
    (folder / "manifest.json").write_text(text)
    return folder


def model(folder: Path, text: str = "model") -> Path:
    """The files of a saved model."""
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text(text)
    return folder


def teacher(folder: Path) -> Path:
    """A fine-tuned teacher with crild's record."""
    model(folder)
    (folder / "crild.json").write_text('{"steps": 3}')
    return folder


def tokens(path: Path) -> Path:
    """A file of cached tokens, as far as its header goes."""
    return _safetensors(path, {"__metadata__": {"cut": "0", "digest": "abc"}})


def logits(path: Path) -> Path:
    """A file of cached logits, as far as its header goes; as 0.2 wrote it if it ends in .npy."""
    if path.suffix != ".npy":
        return _safetensors(path, {"logits": {}, "digest": {}})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x93NUMPY\x01\x00")
    return path


def _safetensors(path: Path, header: dict[str, object]) -> Path:
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


@cache
def gone_pid() -> int:
    """The id of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid


def gone_name(base: str, role: str = "tmp") -> str:
    """The temporary name that a process which has ended gave to something."""
    return f".{base}.{role}-{replace(Owner.current(), pid=gone_pid()).tag()}-0"


def everything(folder: Path) -> list[str]:
    """The paths of all files and links below a folder, relative to it."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
