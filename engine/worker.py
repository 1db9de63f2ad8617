"""What every engine process does: `train RUN`, or a tool that answers with JSON. `crild/process.py` starts it.

`--consent MODELS` in the command line names the models whose own code the user lets run (`engine/user/consent.py`). Nothing
heavy is imported until the run's lock is held and its status names the owner.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from engine.errors import CrildError, RunError, UsageError
from engine.record.files import cause
from engine.record.home import provide_home
from engine.record.phases import Phases, Report
from engine.record.prediction import PredictionRequest
from engine.record.secrets import without_secrets
from engine.record.session import FLUSH, RunSession
from engine.record.standard_streams import open_standard_streams
from engine.record.status import Fault, Job
from engine.record.stop_request import Stopped, StopRequest
from engine.user.consent import NONE, Consent, split_words
from engine.user.notification import announce_end

NOT_OURS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE)
)
"""System errors with a cause outside crild."""


def train(run_dir: Path, consent: Consent = NONE, job: Job | None = None) -> int:
    """Train a run until it finishes, fails or is asked to stop; returns the exit code.

    Then runs the user's notification command, however the run ended. `job` is the scheduler's job that this process runs in.
    """
    session = RunSession(run_dir, job=job)
    try:
        return _train(run_dir, session, consent)
    finally:
        announce_end(session.run_dir)  # it may have been renamed


def _train(run_dir: Path, session: RunSession, consent: Consent) -> int:
    with session:
        print(f"attempt {session.attempt}: loading", flush=True)
        try:
            try:
                with session.reading("importing the libraries"):
                    from engine.preset.load import load_run_preset
                    from engine.train.experiment import run
                loaded = load_run_preset(run_dir)
                results = run(run_dir, loaded.preset, session, consent, loaded.ignored)
            except Stopped:
                state, code = session.request.state or "stopped", session.request.exit_code
                session.events.write("run_finished", state=session.outcome(state))
                session.finish(state, code)
                return code
            session.events.write("run_finished", state="finished", metrics=results["student"]["metrics"])
            deletes = results.get("checkpoints_deleted") is not None
            session.finish("finished", 0, then=_delete_checkpoints if deletes else None)
            return 0
        except (CrildError, MemoryError, OSError, RuntimeError) as caught:
            error = caught if isinstance(caught, CrildError) else memory_fault(caught) or system_fault(caught)
            if error is None:
                traceback.print_exc()  # the session puts the error into the status; the traceback goes to the log
                raise
            print(f"error: {without_secrets(str(error))}", flush=True)
            if session.ended:  # the last status could not be written
                return error.exit_code
            with contextlib.suppress(RunError):  # what keeps events from being written has often ended the run, too
                session.events.write("message", level="error", text=str(error))
                session.events.write("run_finished", state=session.outcome("failed"))
            session.finish("failed", error.exit_code, error)
            return error.exit_code
        except Exception:
            traceback.print_exc()
            raise


def _delete_checkpoints(run_dir: Path) -> None:
    """Delete the checkpoints of a run that has just finished, and say so in its log."""
    from engine.record.inventory import remove_checkpoints

    try:
        print(f"deleted the checkpoints: {remove_checkpoints(run_dir):,} bytes freed", flush=True)
    except (RunError, OSError) as error:
        print(f"warning: the checkpoints could not be deleted: {error}; crild prune does it later", flush=True)


def memory_fault(error: BaseException) -> RunError | None:
    """The error for a device that ran out of memory outside of training steps, with advice; None for any other error."""
    from engine.train.out_of_memory import is_out_of_memory

    if not is_out_of_memory(error):
        return None
    return RunError(
        "the device ran out of memory outside of training steps (while loading, evaluating or measuring); the last "
        "checkpoint is good. Stop other programs that use the memory, or choose another device with --device, then run "
        "crild resume. If that isn't enough: a new run with a smaller model or task.max_length",
        kind="out-of-memory-outside-steps",
    )


def system_fault(error: BaseException) -> RunError | None:
    """The error for a full disk, a read-only folder or a lost device; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in NOT_OURS:
        return None
    sentence = f"the system reported: {cause(error)}; the last checkpoint is good. Fix that, then run crild resume"
    return RunError(sentence, kind="system-error", file=None if error.filename is None else str(error.filename))


TOOLS = ("data", "evaluate", "plan", "batch", "predict", "submission", "probe", "bench", "export", "push", "doctor")


def tool(name: str, arguments: Sequence[str], request: StopRequest, consent: Consent = NONE) -> int:
    """Run a tool: its result or error is one JSON document on the last line of stdout.

    The lines before it are {"progress": ...}, with the fields of a `phase` event. A request to stop ends it without a
    result.
    """
    stdout, sys.stdout = sys.stdout, sys.stderr  # what libraries print goes to stderr
    answer: Any
    try:
        with _reporting(stdout, request) as phases, request.interrupting():
            answer, code = _answer(name, arguments, phases, consent), 0
    except Stopped:
        return request.exit_code
    except CrildError as error:
        answer, code = {"error": asdict(Fault.from_error(error))}, error.exit_code
    _print_line(stdout, answer)
    return code


@contextmanager
def _reporting(stdout: TextIO, request: StopRequest) -> Iterator[Phases]:
    """Phases whose progress is printed, from another thread, until the block ends."""
    phases = Phases(lambda phase: _print_line(stdout, {"progress": phase.to_dict()}), request.check, repeats=True)
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(FLUSH):
            with suppress(OSError, ValueError):  # nobody listens: the result will say so
                phases.beat()

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield phases
    finally:
        ended.set()
        thread.join()


def _print_line(stdout: TextIO, document: Any) -> None:
    stdout.write(json.dumps(document) + "\n")
    stdout.flush()


def _answer(name: str, arguments: Sequence[str], report: Report, consent: Consent) -> Any:
    if name == "data":  # without torch, so that it answers at once
        from engine.data.overview import overview
        from engine.preset.load import load_preset

        return overview(load_preset([arguments[0]]).preset, texts_alone="texts" in arguments[1:], report=report)
    if name == "push":  # likewise
        from engine.models.hub_upload import upload

        return upload(json.loads(arguments[0]), report=report)
    report("importing the libraries")
    if name == "predict":
        from engine.train.prediction import predict_rows

        return predict_rows(PredictionRequest.from_json(arguments[0]), consent, report=report).to_dict()
    if name == "submission":
        from engine.train.submission import submission

        return submission(json.loads(arguments[0]), consent, report=report)
    from engine.train import auto_batch, bench, engine_tools
    from engine.train.probe import probe_runs

    match name:
        case "evaluate":
            return engine_tools.evaluate(json.loads(arguments[0]), consent, report=report)
        case "plan":
            return engine_tools.plan(Path(arguments[0]), consent, report=report)
        case "batch":
            return auto_batch.fit_batch(Path(arguments[0]), consent, report=report)
        case "probe":
            return probe_runs(json.loads(arguments[0]), consent, report=report)
        case "export":
            from engine.train import exporting

            return exporting.export(json.loads(arguments[0]), consent, report=report)
        case "bench":
            return bench.bench(json.loads(arguments[0]), consent, report=report)
        case _:
            return engine_tools.doctor()


def launch(descriptor: int) -> int:
    """Fork engines on request from the other end of a socket (`engine/launch/fork_server.py`)."""
    from engine.launch.fork_server import serve
    from engine.launch.process_title import set_command_line

    set_command_line([*sys.orig_argv[:-2], str(descriptor)])
    with socket.socket(fileno=descriptor) as channel:
        return serve(channel, _import_libraries, main)


def _import_libraries() -> None:
    """Import what a run imports before its end. Nothing may be computed: see `serve`."""
    import engine.preset.load
    import engine.train.experiment  # noqa: F401


def main(arguments: Sequence[str]) -> int:
    """Run the command in `arguments`; returns the exit code."""
    open_standard_streams()
    if (sentence := provide_home()) is not None:
        print(sentence, file=sys.stderr, flush=True)
    try:
        words, consent = split_words(arguments)
        match words:
            case ["train", run_dir]:
                return train(Path(run_dir), consent)
            case ["train", "--job", job, run_dir]:
                return train(Path(run_dir), consent, Job(**json.loads(job)))
            case ["launcher", descriptor, *_]:
                return launch(int(descriptor))
            case ["follow"]:
                from engine.train.stage_job import follow

                return follow()
            case [name, *rest] if name in TOOLS:
                return tool(name, rest, StopRequest().install(outlive_terminal=False), consent)
            case _:
                sentence = f"an engine process takes train or one of {', '.join(TOOLS)}"
                raise UsageError(sentence, kind="unknown-tool")
    except CrildError as error:  # the run could not be locked
        print(f"error: {error}", flush=True)
        return error.exit_code
