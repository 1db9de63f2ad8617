"""The batch size that is fastest: which sizes are timed, where the search ends, and which is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import PresetError, RunError
from engine.train import auto_batch
from engine.train.auto_batch import Tried, choose, fit_batch, no_gain, sizes
from engine.train.settings import StageSettings
from tests.train.tiny_run import file_of, materials

SHARED = ("stage.ild.batch_size", "stage.kd.batch_size")
Times = Callable[[int], float]


def tried(*rates: float) -> list[Tried]:
    return [Tried(8 << index, rate, 0) for index, rate in enumerate(rates)]


def test_the_smallest_of_the_fastest_is_chosen() -> None:
    assert choose(tried(100, 190, 240, 250, 246)) == 32
    assert choose(tried(100, 190, 380)) == 32, "still growing where the search ended"
    assert choose(tried(100)) == 8


def test_two_sizes_that_bring_nothing_end_the_search_and_one_does_not() -> None:
    assert not no_gain(tried(100, 101))
    assert not no_gain(tried(100, 90, 150)), "one may have been slowed by another program"
    assert no_gain(tried(100, 104, 103))


def test_sizes_are_powers_of_two_up_to_the_rows() -> None:
    assert list(sizes(100)) == [8, 16, 32, 64]
    assert list(sizes(5)) == [5]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The answer for a tiny run whose steps take the given seconds; an error is raised instead."""
    text = (
        materials(tmp_path).replace("batch_size = 16\nobj", "obj").replace("epochs = 2\nbatch_size = 16", "epochs = 2")
    )

    def find(times: Callable[[int], float | BaseException], preset: str = text) -> dict[str, Any]:
        def time_steps(settings: StageSettings, *_: object) -> float:
            answer = times(settings.batch_size)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr(auto_batch, "time_steps", time_steps)
        return fit_batch(file_of(tmp_path, preset))

    return find


def test_only_stages_that_follow_the_setting_are_timed(found: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    answer = found(lambda size: 0.01 * max(size, 16))
    assert (answer["batch_size"], answer["stages"], answer["ended"]) == (16, ["ild", "kd"], "rows")
    assert [one["batch_size"] for one in answer["tried"]] == [8, 16, 32]
    assert [one["examples_per_second"] for one in answer["tried"]] == [50.0, 100.0, 100.0]
    with pytest.raises(PresetError, match=r"all stages have a batch_size of their own"):
        found(lambda _: 1.0, materials(tmp_path / "own"))


def test_no_memory_ends_the_search_with_what_was_found(found: Callable[..., dict[str, Any]]) -> None:
    full = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    answer = found(lambda size: full if size > 16 else 1.0)
    assert (answer["batch_size"], answer["ended"]) == (16, "memory")
    with pytest.raises(RunError, match=r"cpu has no memory for a batch of 8"):
        found(lambda _: full)
    with pytest.raises(RuntimeError, match="another"):
        found(lambda _: RuntimeError("another"))


def test_on_a_cpu_a_batch_that_would_take_too_much_is_not_tried(
    found: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter([100, *(1000 * step for step in range(1, 50) for _ in range(2))])
    monkeypatch.setattr(auto_batch, "peak_memory", lambda _: next(peaks))
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=3000))
    answer = found(lambda _: 1.0)
    assert ([one["batch_size"] for one in answer["tried"]], answer["ended"]) == ([8, 16], "memory")


def test_real_steps_are_timed(tmp_path: Path) -> None:
    text = materials(tmp_path).replace("batch_size = 16\nobj", "obj")
    answer = fit_batch(file_of(tmp_path, text))
    assert answer["batch_size"] in {8, 16, 32}
    assert all(one["examples_per_second"] > 0 for one in answer["tried"])
