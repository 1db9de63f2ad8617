from __future__ import annotations

import math
from pathlib import Path

import pytest

from crild_tui.runs import formatting


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1:00"), (3599.6, "1:00:00"), (11045, "3:04:05"),
     (184000, "2 d 3:06"), (None, "-"), (math.nan, "-"), (-1, "-")],
)  # fmt: skip
def test_durations(seconds: float | None, shown: str) -> None:
    assert formatting.duration(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "now"), (12, "12s"), (3599, "59m"), (3600, "1h"), (86400 * 9, "9d"), (86400 * 30, "4w"), (86400 * 800, "2y"),
     (None, "-")],
)  # fmt: skip
def test_ages_are_four_characters_at_most(seconds: float | None, shown: str) -> None:
    assert formatting.age(seconds) == shown
    assert len(formatting.age(seconds)) <= 4


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_960, "100 kB"), (437_958_648, "438 MB"), (1.2e9, "1.2 GB"),
     (5e15, "5000 TB"), (None, "-")],
)  # fmt: skip
def test_sizes(count: float | None, shown: str) -> None:
    assert formatting.size(count) == shown


def test_amounts_have_no_unit_when_small() -> None:
    assert [formatting.amount(n) for n in (950, 1_900_000, 109_483_778)] == ["950", "1.9 M", "109 M"]


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "0 %"), (0.999, "99 %"), (1.0, "100 %"), (None, "-"), (math.inf, "-")]
)
def test_nothing_is_all_done_before_it_is(share: float | None, shown: str) -> None:
    assert formatting.percent(share) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.43217, "0.4322"), (0.0, "0.0000"), (0.00012, "1.200e-04"), (12345.0, "1.234e+04"),
                         (math.nan, "nan"), (None, "-")]
)  # fmt: skip
def test_losses_keep_four_digits_whatever_their_size(value: float | None, shown: str) -> None:
    assert formatting.loss(value) == shown


def test_latencies_and_rates() -> None:
    assert [formatting.milliseconds(v) for v in (0.5, 12.02, 123.4, None)] == ["0.50 ms", "12.0 ms", "123 ms", "-"]
    assert [formatting.rate(v) for v in (2.52, 94.4, 12345.6, None)] == ["2.5", "94", "12,346", "-"]


def test_plurals() -> None:
    assert [formatting.plural(1, "run"), formatting.plural(2, "run"), formatting.plural(2, "query", "queries")] == [
        "1 run", "2 runs", "2 queries",
    ]  # fmt: skip


def test_a_command_names_the_folder_that_it_would_not_take_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRILD_RUNS_DIR", str(tmp_path / "runs"))
    assert formatting.in_shell("crild run kd", tmp_path / "runs") == "crild run kd"
    assert formatting.in_shell("crild run kd", tmp_path / "my runs") == f"crild run kd --runs-dir '{tmp_path}/my runs'"
