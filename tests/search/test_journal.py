"""The journal of a search on disk: kills, changed lines, journals of others, and two processes that write to one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.search.declaration import read_search
from engine.search.journal import Journal
from engine.search.study import SearchStudy
from tests.errors import raises
from tests.search.searches import InstantEngines, go, journal_of, killed, search_file

LOGS = [{"op_code": number, "value": value} for number, value in enumerate((0.1, "ä\n", None, 1e-300))]


def write(path: Path) -> bytes:
    """A journal of these operations, in two parts."""
    journal = Journal(path)
    journal.append_logs(LOGS[:3])
    journal.append_logs(LOGS[3:])
    return path.read_bytes()


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "j")
    assert Journal(tmp_path / "j").read_logs(1) == LOGS[1:]


def test_a_last_line_that_a_kill_tore_is_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "j"
    content = write(path)
    third = content.rindex(b"\n", 0, -1) + 1
    for cut in range(third, len(content)):
        path.write_bytes(content[:cut])
        journal = Journal(path)
        assert journal.read_logs(0) == LOGS[:3]
    journal.append_logs(LOGS[3:])
    assert path.read_bytes() == content


def other_value(lines: list[bytes]) -> None:
    lines[1] = lines[1].replace(b'"op_code":1', b'"op_code":7')


def taken_out(lines: list[bytes]) -> None:
    del lines[1]


def exchanged(lines: list[bytes]) -> None:
    lines[1], lines[2] = lines[2], lines[1]


def without_seal(lines: list[bytes]) -> None:
    lines[1] = json.dumps(LOGS[1]).encode()


def no_json(lines: list[bytes]) -> None:
    lines[1] = b"{"


def blank(lines: list[bytes]) -> None:
    lines.insert(1, b"")


@pytest.mark.parametrize("change", [other_value, taken_out, exchanged, without_seal, no_json, blank])
def test_any_other_change_is_refused_with_file_line_and_way_out(
    tmp_path: Path, change: Callable[[list[bytes]], None]
) -> None:
    path = tmp_path / "j"
    lines = write(path).split(b"\n")
    change(lines)
    path.write_bytes(b"\n".join(lines))
    before = path.read_bytes()
    with raises("damaged-journal", f"{path}:2: ", "--name"):
        Journal(path)
    assert path.read_bytes() == before, "it is left as it is"


def test_two_that_write_to_one_journal_notice_it(tmp_path: Path) -> None:
    one, other = Journal(tmp_path / "j"), Journal(tmp_path / "j")
    one.append_logs(LOGS[:1])
    with raises("journal-of-two-processes", "--name"):
        other.append_logs(LOGS[1:2])
    one.append_logs(LOGS[1:])
    assert Journal(tmp_path / "j").read_logs(0) == LOGS


def test_optunas_own_file_can_read_it(folder: Path, tmp_path: Path) -> None:
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = tmp_path / "x.journal"
    study = SearchStudy(path, read_search(search_file(folder)), ("base",))
    study.tell(study.ask({"train.learning_rate": 0.001}), "complete", {}, [0.5])
    found = load_study(study_name="search", storage=JournalStorage(JournalFileBackend(str(path))))
    assert (found.best_value, found.best_params) == (0.5, {"train.learning_rate": 0.001})


# -- of a search


def test_a_changed_journal_ends_the_search_with_the_line(folder: Path, runs: Path) -> None:
    path = search_file(folder)
    killed(path, runs, 4)
    journal = journal_of(runs)
    lines = journal.read_bytes().split(b"\n")
    lines[4] = lines[4].replace(b'"worker_id"', b'"worker-id"')
    journal.write_bytes(b"\n".join(lines))
    with pytest.raises(AssertionError, match=r"tune\.journal:5: .*--name"):
        go(path, runs, InstantEngines())


@pytest.mark.parametrize("what", ["missing", "older"])
def test_a_journal_without_trials_that_have_runs_is_refused(folder: Path, runs: Path, what: str) -> None:
    path = search_file(folder)
    killed(path, runs, 2)
    journal = journal_of(runs)
    older = journal.read_bytes()
    killed(path, runs, 4)
    journal.unlink()
    if what == "older":
        journal.write_bytes(older)
    with pytest.raises(AssertionError, match=r"tune\.journal: .*trial-\d.*--name"):
        go(path, runs, InstantEngines())


def test_the_journal_of_another_search_is_refused(folder: Path, runs: Path) -> None:
    go(search_file(folder, "trials = 2\n", name="other.toml"), runs, InstantEngines())
    journal_of(runs).write_bytes(journal_of(runs, "other").read_bytes())
    with pytest.raises(AssertionError, match=r"tune\.journal: .*other, created .*--name"):
        go(search_file(folder), runs, InstantEngines())
