"""The entry of every engine process: `python -P -m engine.worker train RUN`, or a tool that answers with JSON.

Nothing heavy is imported until the run's lock is held and its status says who works on it.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine.errors import CrildError, PresetError, RunError, UsageError
from engine.record.paths import PRESET
from engine.record.session import RunSession


def train(run_dir: Path) -> int:
    """Work on a run until it is finished, failed or asked to stop; returns the exit code."""
    with RunSession(run_dir) as session:
        print(f"attempt {session.attempt}: loading", flush=True)  # noqa: T201 - the engine's own log
        try:
            from engine.preset.load import load_preset
            from engine.train.experiment import Stopped, run

            try:
                preset = load_preset([str(run_dir / PRESET)]).preset
                results = run(run_dir, preset, session)
            except Stopped:
                state, code = session.request.state or "stopped", session.request.exit_code
                session.events.write("run_finished", state=state)
                session.finish(state, code)
                return code
            session.events.write("run_finished", state="finished", metrics=results["student"]["metrics"])
            session.finish("finished", 0)
            return 0
        except CrildError as error:
            error = run_fault(error)
            session.events.write("message", level="error", text=str(error))
            session.events.write("run_finished", state="failed")
            print(f"error: {error}", flush=True)  # noqa: T201
            session.finish("failed", error.exit_code, error)
            return error.exit_code
        except Exception:
            traceback.print_exc()  # the session names the fault in the status; the log has where it happened
            raise


def run_fault(error: CrildError) -> CrildError:
    """The error of a run: what a preset got wrong but only the engine could see is still the preset's fault."""
    return error


def memory_fault(error: BaseException) -> RunError | None:
    """A device that ran out of memory, as a sentence with the ways out; None for any other error."""
    if "out of memory" not in str(error).lower():
        return None
    return RunError(
        "the device ran out of memory; the last checkpoint is good. Raise train.accumulate (same result, less memory), "
        "lower batch_size or max_length, or choose another device, then crild resume"
    )


def tool(command: Callable[[Sequence[str]], Any], arguments: Sequence[str]) -> int:
    """Run a tool; its result, or its fault, is one JSON document on stdout."""
    stdout, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is narration
    try:
        answer, code = command(arguments), 0
    except CrildError as error:
        problems = error.problems if isinstance(error, PresetError) else (error,)
        answer, code = {"error": [fault(problem) for problem in problems][0] | {"kind": error.kind}}, error.exit_code
    json.dump(answer, stdout)
    stdout.write("\n")
    stdout.flush()
    return code


def fault(error: CrildError) -> dict[str, Any]:
    """An error as JSON."""
    return {
        "kind": error.kind,
        "sentence": error.sentence,
        "file": error.file,
        "line": error.line,
        "key": error.key,
    }


def _evaluate(arguments: Sequence[str]) -> Any:
    from engine.train.tools import evaluate

    return evaluate(json.loads(arguments[0]))


def _plan(arguments: Sequence[str]) -> Any:
    from engine.train.tools import plan

    return plan(Path(arguments[0]))


def _doctor(_arguments: Sequence[str]) -> Any:
    from engine.train.tools import doctor

    return doctor()


TOOLS: dict[str, Callable[[Sequence[str]], Any]] = {"evaluate": _evaluate, "plan": _plan, "doctor": _doctor}


def main(arguments: Sequence[str]) -> int:
    """Dispatch; returns the exit code."""
    match list(arguments):
        case ["train", run_dir]:
            return train(Path(run_dir))
        case [name, *rest] if name in TOOLS:
            return tool(TOOLS[name], rest)
        case _:
            raise UsageError(f"engine.worker knows train and {', '.join(TOOLS)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
