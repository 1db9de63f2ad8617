"""A short form of the campaign of faults; `make faults` is the long one."""

from __future__ import annotations

from pathlib import Path

from tests.faults.campaign import Bench, damage, errors, kills, signals, starters


def test_a_few_of_each_fault_lose_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, seed=11)
    tries = ((kills, 4), (signals, 3), (errors, 5), (damage, 6), (starters, 1))
    tallies = [tally for fault, count in tries for tally in fault(bench, count)]
    assert all(tally.tries for tally in tallies if "reported" not in tally.fault)
    assert [loss for tally in tallies for loss in tally.losses] == []
