"""Tools of the engine in the foreground: JSON comes back, faults come back as what they were."""

from __future__ import annotations

import json
import sys

import pytest

from engine.errors import CrildError, DataError, ModelError, PresetError, RunError, UsageError
from engine.launch.foreground import run_tool
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
