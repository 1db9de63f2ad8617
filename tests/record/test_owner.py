"""Is the process that owns a run still there? Never mistaken by reused ids, reboots, containers or zombies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from engine.record import owner
from engine.record.owner import Owner
from tests.conftest import PATIENCE
from tests.errors import raises


def test_this_process_is_alive() -> None:
    me = Owner.current()
    assert me.pid == os.getpid()
    assert me.state() == "alive"
    assert Owner.from_dict(asdict(me)) == me


def test_a_process_that_ended_is_gone_even_before_its_parent_notices() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    them = replace(Owner.current(), pid=child.pid, started=owner.start_time(child.pid) or 0.0)
    assert them.state() == "alive"
    child.kill()
    until = time.monotonic() + PATIENCE
    while them.state() == "alive" and time.monotonic() < until:
        time.sleep(0.01)
    assert them.state() == "gone"  # a zombie: nobody has waited for it
    child.communicate()
    assert them.state() == "gone"


def test_a_reused_process_id_is_not_the_owner() -> None:
    me = Owner.current()
    assert replace(me, started=me.started - 100).state() == "gone"


def test_a_name_with_parentheses_does_not_hide_the_start_time() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the name of a process is set through /proc")
    program = "open('/proc/self/comm','w').write(') R 1 (');print(flush=True);input()"
    child = subprocess.Popen([sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    started = owner.start_time(child.pid)
    child.communicate()
    assert started is not None
    assert abs(started - Owner.current().started) < 3600


def test_a_reboot_ends_every_owner_on_the_host() -> None:
    assert replace(Owner.current(), boot_id="another").state() == "gone"


@pytest.mark.parametrize(
    "changes",
    [{"host": "far.example", "boot_id": "another"}, {"pid_namespace": "pid:[1]"}, {"boot_id": "x", "host": ""}],
)
def test_what_cannot_be_seen_from_here_is_elsewhere(changes: dict[str, str]) -> None:
    assert replace(Owner.current(), **changes).state() == "elsewhere"  # type: ignore[arg-type]


def test_a_renamed_host_is_still_the_same_machine() -> None:
    assert replace(Owner.current(), host="before-the-rename").state() == "alive"


def test_without_boot_ids_the_host_name_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "boot_id", lambda: "")
    me = replace(Owner.current(), boot_id="")
    assert me.state() == "alive"
    assert replace(me, host="far.example").state() == "elsewhere"


@pytest.mark.parametrize(
    "changes",
    [{"pid": 0}, {"pid": True}, {"pid": "7"}, {"pid": 2**40}, {"host": None}, {"started": "now"}, {"boot_id": 3}],
)
def test_what_is_no_owner_is_refused(changes: dict[str, object]) -> None:
    with raises("invalid-owner"):
        Owner.from_dict({**asdict(Owner.current()), **changes})
