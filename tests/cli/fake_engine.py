"""An engine that computes nothing: it writes what a real one would write, through the same session.

FAKE_ENGINE in the environment is JSON: steps (of each of two stages), pause (seconds a step), end ("finish", "fail",
"data", "die", "mute"), message (a warning's text), hold (after so many steps it waits for a file `go` next to the run).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from engine.errors import DataError, RunError
from engine.record.files import write_json
from engine.record.session import RunSession
from tests.cli.samples import RESULTS

STAGES = ("ild", "kd")


def main(run_dir: Path) -> int:
    wanted = {
        "steps": 3,
        "pause": 0.0,
        "end": "finish",
        "message": "",
        "hold": 1_000_000,
        **json.loads(os.environ.get("FAKE_ENGINE", "{}")),
    }
    steps = int(wanted["steps"])
    with RunSession(run_dir) as session:
        print(f"attempt {session.attempt} of a fake engine", flush=True)
        first = _checkpoint(run_dir)
        stage, step = divmod(first, steps) if first < 2 * steps else (1, steps)
        session.events.write(
            "run_started", attempt=session.attempt, stages=list(STAGES), stage=STAGES[stage], step=step, total=2 * steps
        )
        session.update(metric_name="accuracy", teacher=0.9, majority=0.5, device="cpu")
        if wanted["message"]:
            session.events.write("message", level="warning", text=wanted["message"])
        if wanted["end"] == "mute":
            time.sleep(600)
        for done in range(first, 2 * steps):
            place, step = divmod(done, steps)
            if step == 0 or done == first:
                session.events.write("stage_started", stage=STAGES[place], step=step, steps=steps)
            _step(session, place, step + 1, steps)
            time.sleep(float(wanted["pause"]))
            while done + 1 >= wanted["hold"] and not (run_dir.parent / "go").exists() and session.request.state is None:
                time.sleep(0.02)
            if session.request.state is not None:
                (run_dir / "checkpoints" / f"{place:03d}-{STAGES[place]}-{done + 1:08d}").mkdir(parents=True)
                session.events.write("run_finished", state=session.request.state)
                session.finish(session.request.state, session.request.exit_code)
                return session.request.exit_code
            if done == steps:
                _end_early(session, str(wanted["end"]))
        write_json(run_dir / "results.json", {**RESULTS, "run": run_dir.name})
        (run_dir / "student").mkdir(exist_ok=True)
        session.events.write("run_finished", state="finished")
        session.finish("finished", 0)
    return 0


def _checkpoint(run_dir: Path) -> int:
    names = [path.name for path in (run_dir / "checkpoints").glob("[0-9]*")]
    return max((int(name.rsplit("-", 1)[1]) for name in names), default=0)


def _step(session: RunSession, place: int, step: int, steps: int) -> None:
    stage = STAGES[place]
    session.events.write(
        "step", stage=stage, step=step, epoch=step / steps, loss=1.0 / step, terms={"hidden": 0.5},
        consistency=0.25, consistency_weight=0.1 * step / steps, learning_rate=1e-4, gradient_norm=1.0,
        examples_per_second=100.0, tokens_per_second=1000.0, memory=1,
    )  # fmt: skip
    session.update(
        stage=stage, stage_index=place + 1, stages=2, step=step, steps=steps, done=place * steps + step, total=2 * steps,
        rate=100.0, eta=1.0,
    )  # fmt: skip
    if step == steps:
        event = {"model": "student", "split": "dev", "primary": True, "metrics": {"accuracy": 0.6 + 0.1 * place}}
        session.events.write("evaluation", stage=stage, step=step, best=True, **event)
        session.events.write("stage_finished", stage=stage, step=step, seconds=1.5)
        session.update(last=0.6 + 0.1 * place, best=0.6 + 0.1 * place)


def _end_early(session: RunSession, end: str) -> None:
    if end == "die":
        print("about to \x1b[31mdie\x1b[0m", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    errors = {
        "fail": RunError("the loss stopped being a finite number"),
        "data": DataError("a label is missing", file="train.tsv", line=7),
    }
    if end in errors:
        session.events.write("message", level="error", text=str(errors[end]))
        raise errors[end]


if __name__ == "__main__":
    code = 1
    try:
        code = main(Path(sys.argv[-1]))
    except (RunError, DataError) as error:
        print(error)
        code = error.exit_code
    sys.exit(code)
