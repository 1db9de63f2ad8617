"""Checkpoints as the engine leaves them, with a few bytes for weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.record.checkpoints import FORMAT, MANIFEST, STATE
from engine.record.manifest import manifest_of

STAGES = ("teacher", "ild", "kd", "baseline")
TOTALS = (6, 4, 8, 12)


def finished_before(stage: str) -> dict[str, Any]:
    """Results of the stages before one."""
    index = STAGES.index(stage)
    roles = ("teacher", "student", "student")
    return {
        name: {"role": role, "steps": total, "total": total}
        for name, role, total in list(zip(STAGES, roles, TOTALS, strict=False))[:index]
    }


def write_checkpoint(run_dir: Path, stage: str, step: int, *, best: int | None = None, **state: Any) -> Path:
    """A whole checkpoint of a stage; with `best` it refers to the weights of that step."""
    progress = {
        "step": step,
        "best": None if best is None else {"step": best, "score": 0.5, "metrics": {}},
        "best_weights": None if best is None else f"best-{stage}-{best:08d}",
        "ended_early": False,
    }
    index = STAGES.index(stage)
    document = {"progress": progress, "finished": finished_before(stage), "total": TOTALS[index], **state}
    return _write(run_dir / "checkpoints" / f"{index:03d}-{stage}-{step:08d}", document)


def write_best(run_dir: Path, stage: str, step: int) -> Path:
    """The best weights of a stage."""
    return _write(run_dir / "checkpoints" / f"best-{stage}-{step:08d}", {})


def _write(path: Path, state: dict[str, Any]) -> Path:
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights of " + path.name.encode())
    (path / STATE).write_text(json.dumps(state))
    (path / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": manifest_of(list(path.iterdir()))}))
    return path


def flip(file: Path, offset: int = 10, bit: int = 3) -> None:
    """Change one bit of a file."""
    content = bytearray(file.read_bytes())
    content[offset] ^= 1 << bit
    file.write_bytes(content)
