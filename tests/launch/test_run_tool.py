"""Tools of the engine in the foreground: JSON comes back, faults come back as what they were."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from engine.errors import CrildError, DataError, ModelError, PresetError, RunError, UsageError
from engine.launch import foreground
from engine.launch.foreground import run_tool
from engine.record.phases import Phase
from tests.conftest import PATIENCE
from tests.errors import raises


def tool(body: str) -> list[str]:
    return [sys.executable, "-P", "-c", f"import sys, json, os\n{body}"]


def test_the_result_is_what_the_tool_wrote_to_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    command = tool("print('narration', file=sys.stderr); print(json.dumps({'args': sys.argv[1:]}))")
    assert run_tool("evaluate", ["runs/a", "--split", "dev"], command=command) == {
        "args": ["evaluate", "runs/a", "--split", "dev"]
    }
    out, err = capfd.readouterr()
    assert (out, err) == ("", "narration\n")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("data", DataError), ("model", ModelError), ("usage", UsageError), ("run", RunError), ("preset", UsageError)],
)
def test_a_fault_comes_back_as_the_error_it_was(kind: str, expected: type[CrildError]) -> None:
    fault = {"kind": kind, "sentence": "has no column 'x'", "file": "a.csv", "line": 3, "key": "task"}
    with pytest.raises(expected) as caught:
        run_tool("evaluate", command=tool(f"print(json.dumps({{'error': {fault!r}}})); sys.exit(3)"))
    assert type(caught.value) is expected
    assert str(caught.value) == "a.csv:3: has no column 'x'"
    assert caught.value.key == "task"
    assert not isinstance(caught.value, PresetError)


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        ("sys.exit(7)", "code 7"),
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("print('not json')", "code 0"),
        ("print('{\"error\": 5}'); sys.exit(1)", "code 1"),
        ("pass", "code 0"),
    ],
)
def test_a_tool_that_ends_badly_is_a_sentence(body: str, fact: str) -> None:
    with raises("tool-without-result", "probe", fact):
        run_tool("probe", command=tool(body))


def test_a_result_may_speak_of_errors() -> None:
    value = {"error": {"sentence": "counted, not raised"}}
    assert run_tool("probe", command=tool(f"print({json.dumps(json.dumps(value))})")) == value


def test_a_tool_that_cannot_be_started_is_a_sentence() -> None:
    with raises("cannot-start-engine"):
        run_tool("probe", command=["/nowhere/python"])


def test_a_tool_reads_nothing_from_the_terminal() -> None:
    assert run_tool("probe", command=tool("print(json.dumps(sys.stdin.read()))")) == ""


def test_a_tool_may_read_stdin_and_write_to_an_open_descriptor() -> None:
    (source, rows), (reading, writing) = os.pipe(), os.pipe()
    stdin = os.dup(0)
    os.dup2(source, 0)
    try:
        os.write(rows, b"one row")
        os.close(rows)
        body = f"os.write({writing}, sys.stdin.buffer.read().upper()); print(1)"
        assert run_tool("predict", command=tool(body), stdin=True, descriptors=[writing]) == 1
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)
    assert os.read(reading, 100) == b"ONE ROW"
    for handle in (source, reading, writing):
        os.close(handle)


PROGRESS = (
    "print(json.dumps({'progress': {'phase': 'reading', 'done': 3, 'total': 10, 'unit': 'rows', 'seconds': 4.0}}))"
)


def test_progress_is_handed_on_and_is_no_result() -> None:
    seen: list[Phase] = []
    body = (
        f"{PROGRESS}\nprint('{{\"progress\": 7}}')\nprint('{{\"progress\": broken')\nprint(json.dumps({{'answer': 1}}))"
    )
    assert run_tool("probe", command=tool(body), progress=seen.append) == {"answer": 1}
    assert [(phase.name, phase.done, phase.total, phase.unit) for phase in seen] == [("reading", 3, 10, "rows")]
    assert run_tool("probe", command=tool(body)) == {"answer": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_tool_even_if_it_does_not_listen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    monkeypatch.setattr(foreground, "STOP_WITHIN", 0.2)
    body = (
        "import signal, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "print(json.dumps({'progress': {'phase': str(os.getpid()), 'done': 0, 'total': None, 'unit': '', 'seconds': 1}}), "
        "flush=True)\n"
        "time.sleep(600)"
    )
    pids: list[int] = []

    def progress(phase: Phase) -> None:
        pids.append(int(phase.name))
        os.kill(os.getpid(), number)

    began = time.monotonic()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises((KeyboardInterrupt, SystemExit)) as caught:
        run_tool("probe", command=tool(body), progress=progress)
    assert time.monotonic() - began < PATIENCE
    assert type(caught.value) is (KeyboardInterrupt if number == signal.SIGINT else SystemExit)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert signal.getsignal(signal.SIGTERM) is before
    assert capfd.readouterr() == ("", "")


def test_a_signal_at_the_start_of_a_tool_waits_until_the_tool_can_handle_it() -> None:
    body = "import signal; print(json.dumps(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))))"
    assert run_tool("probe", command=tool(body)) == [signal.SIGINT, signal.SIGTERM]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGINT, signal.SIGTERM}
