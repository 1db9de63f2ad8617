"""The ranks that torchrun and srun give."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.launch.rank import STARTED_BY, Rank, first_host, launched, rank_of
from engine.launch.start import engine_environment

TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "29500",
}  # fmt: skip
SRUN = {
    "SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "0", "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_JOB_ID": "140007", "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}  # fmt: skip


def test_the_rank_of_torchrun() -> None:
    assert rank_of(TORCHRUN) == Rank(3, 4, 1, 2, "node1", 29500, "torchrun")


def test_the_rank_of_srun() -> None:
    assert rank_of(SRUN) == Rank(2, 4, 0, 2, "gpu07", 20007, "srun")
    chosen = {**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000", "SLURM_CPUS_PER_TASK": "8"}
    assert rank_of(chosen) == Rank(2, 4, 0, 1, "10.0.0.1", 4000, "srun")


@pytest.mark.parametrize(
    "alone",
    [
        {}, {"RANK": "0"}, {**TORCHRUN, "WORLD_SIZE": "1"}, {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},
        {"SLURM_PROCID": "0", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"},  # a batch script
    ],
)  # fmt: skip
def test_a_process_that_was_started_alone_has_no_rank(alone: dict[str, str]) -> None:
    assert rank_of(alone) is None


def test_a_rank_that_is_no_number_is_a_sentence() -> None:
    with pytest.raises(UsageError) as caught:
        rank_of({**TORCHRUN, "RANK": "first"})
    assert caught.value.kind == "unreadable-rank"
    assert "RANK" in caught.value.sentence


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"), ("a,b", "a"), ("node[07-10,12],login", "node07"), ("r[1-2]n[3,5],x", "r1n3"),
        ("gpu[3]", "gpu3"),
    ],
)  # fmt: skip
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


def test_an_engine_is_one_of_several_only_if_its_starter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert launched() is None
    assert not set(TORCHRUN) & set(engine_environment())
    rank = rank_of()
    assert rank is not None
    monkeypatch.setenv(STARTED_BY, "torchrun")
    assert launched() == rank
    assert STARTED_BY not in engine_environment()
    assert rank_of(rank.environment()) == rank


def test_engines_start_alone_within_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "4")
    assert "PMI_SIZE" not in engine_environment()
    assert Path(engine_environment()["PATH"].split(":")[0]).is_absolute()
