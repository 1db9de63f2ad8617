"""The latency protocol: turns, clocks, ratios. No test depends on how fast this machine is."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch

from engine.evaluate import timing
from engine.evaluate.timing import Pass, Shape, measure, quartiles, summary, take_turns
from engine.record.latency import PROCESSOR, WALL, Latency, LatencyCase, cautions, conditions, latency_of, speedup
from engine.record.stop_request import Stopped
from tests.models.tiny_models import tiny

ONE = Shape(1, 16)


class Machine:
    """A simulated processor that other programs take away for a while, again and again."""

    def __init__(self, share: float, *, slice_s: float = 0.003, seed: int = 0) -> None:
        """`share` of the time is this program's, in slices of about `slice_s` seconds."""
        self.time = 0.0
        self.share, self.slice_s, self.random = share, slice_s, random.Random(seed)
        self.left = slice_s

    def now(self) -> float:
        return self.time

    def model(self, seconds: float, calls: list[str] | None = None, name: str = "") -> Callable[[], Pass]:
        def run() -> Pass:
            if calls is not None:
                calls.append(name)
            work = seconds * self.random.uniform(0.98, 1.02)
            wall = work
            while self.share < 1 and work >= self.left:
                wall += self.slice_s * (1 / self.share - 1)
                work -= self.left
                self.left = self.slice_s * self.random.uniform(0.5, 1.5)
            self.left -= work
            self.time += wall
            return Pass(seconds * self.random.uniform(0.98, 1.02), wall)

        return run


def ratio_on(machine: Machine, *, wall: bool) -> float:
    rounds = take_turns([machine.model(0.030), machine.model(0.0031)], 1.0, machine.now)
    if wall:
        rounds = [[[Pass(each.wall, each.wall) for each in passes] for passes in one] for one in rounds]
    return summary(["teacher", "student"], ONE, rounds, waits=not wall).models[1].ratio.median


def test_models_take_turns_there_and_back() -> None:
    machine, calls = Machine(1.0), list[str]()
    take_turns([machine.model(0.01, calls, "a"), machine.model(0.01, calls, "b")], 0.1, machine.now)
    assert "".join(calls).startswith("aaabbb" + "abba" * 2)


def test_turns_take_about_the_same_time() -> None:
    machine = Machine(1.0)
    rounds = take_turns([machine.model(0.030), machine.model(0.003)], 0.5, machine.now)
    assert {len(one[0]) for one in rounds} == {2}
    assert {len(one[1]) for one in rounds} <= {18, 20, 22}


@pytest.mark.parametrize("wall", [False, True])
def test_the_ratio_stays_when_other_programs_take_most_of_the_machine(wall: bool) -> None:
    idle, loaded = (ratio_on(Machine(share), wall=wall) for share in (1.0, 0.2))
    assert idle == pytest.approx(0.030 / 0.0031, rel=0.03)
    assert loaded == pytest.approx(idle, rel=0.10)


def test_waiting_for_a_processor_is_recognised_and_left_out() -> None:
    def case(share: float) -> LatencyCase:
        machine = Machine(share)
        return summary(["a"], ONE, take_turns([machine.model(0.02)], 1.0, machine.now), waits=True)

    idle, loaded = case(1.0), case(0.2)
    assert not idle.busy
    assert loaded.busy
    assert loaded.waited == pytest.approx(0.8, abs=0.05)
    assert loaded.models[0].milliseconds.median == pytest.approx(20, rel=0.05)


def test_time_is_bounded() -> None:
    machine = Machine(1.0)
    quick = take_turns([machine.model(1e-5), machine.model(1e-6)], 1.0, machine.now)
    assert len(quick) == timing.ROUNDS
    assert machine.time < 1.0
    machine = Machine(1.0)
    slow = take_turns([machine.model(20.0), machine.model(10.0)], 1.0, machine.now)
    assert (len(slow), [len(passes) for passes in slow[0]]) == (1, [1, 2])
    assert machine.time == pytest.approx(70, rel=0.05), "each once to warm up, each turn once"
    machine = Machine(1.0)
    take_turns([machine.model(0.3), machine.model(0.1)], 1.0, machine.now)
    assert machine.time < 1.0 + timing.PATIENCE + 1.3


def test_ratios_are_the_references_time_over_the_models_own() -> None:
    rounds = [[[Pass(0.04, 0.04)], [Pass(0.02, 0.02)] * 2], [[Pass(0.08, 0.08)], [Pass(0.02, 0.02)] * 2]]
    case = summary(["a", "b"], Shape(8, 16), rounds, waits=False)
    first, second = case.models
    assert (first.ratio.median, second.ratio.median, second.ratio.low, second.ratio.high) == (1.0, 3.0, 2.5, 3.5)
    assert first.milliseconds.median == pytest.approx(60)
    assert (second.passes, case.waited) == (4, None)
    assert case.throughput("b") == pytest.approx(400)
    assert (case.throughput("c"), case.unsteady) == (None, True)


def test_quartiles_of_one_value() -> None:
    found = quartiles([2.0])
    assert (found.low, found.median, found.high, found.spread) == (2, 2, 2, 0)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_models_are_measured_and_left_as_they_were(family: str) -> None:
    models = {"teacher": tiny(family, layers=2).train(), "student": tiny(family, layers=1)}
    attention = [model.config._attn_implementation for model in models.values()]
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    seen: list[dict[str, torch.Tensor]] = []
    models["teacher"].register_forward_pre_hook(lambda _, __, inputs: seen.append(inputs), with_kwargs=True)
    latency = measure(models, [Shape(1, 8), Shape(2, 8)], device=torch.device("cpu"), seconds=0.001)
    assert (latency.device, latency.threads, latency.clock) == ("cpu", 1, PROCESSOR)
    assert [(case.batch, case.length, [model.name for model in case.models]) for case in latency.cases] == [
        (1, 8, ["teacher", "student"]), (2, 8, ["teacher", "student"]),
    ]  # fmt: skip
    assert {tuple(inputs["input_ids"].shape) for inputs in seen} == {(1, 8), (2, 8)}
    padding = models["teacher"].config.pad_token_id
    assert all(not (inputs["input_ids"] == padding).any() for inputs in seen)
    assert [model.training for model in models.values()] == [True, False]
    assert [model.config._attn_implementation for model in models.values()] == attention
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_several_threads_are_timed_on_the_wall() -> None:
    latency = measure(
        {"a": tiny("bert", layers=1)}, [Shape(1, 4)], device=torch.device("cpu"), threads=2, seconds=0.001
    )
    assert (latency.threads, latency.clock, latency.cases[0].waited) == (2, WALL, None)


def test_a_request_to_stop_is_heard_between_passes() -> None:
    def report(phase: str, done: int = 0, total: int | None = None, unit: str = "") -> None:
        raise Stopped

    threads = torch.get_num_threads()
    with pytest.raises(Stopped):
        measure({"a": tiny("bert", layers=1)}, [ONE], device=torch.device("cpu"), report=report)
    assert torch.get_num_threads() == threads


def sample(**changes: float) -> Latency:
    rounds = [[[Pass(0.04, 0.04)], [Pass(0.02, 0.02)]]] * 3
    case = summary(["teacher", "student"], Shape(1, 45), rounds, waits=True)
    return Latency("cpu", "AMD EPYC", 1, PROCESSOR, (LatencyCase(**{**vars(case), **changes}),))


def test_records_survive_json_and_damage_is_none() -> None:
    latency = sample()
    document = latency.to_dict()
    assert latency_of({"latency": document}) == latency
    assert document["cases"][0]["busy"] is False
    for damaged in ({}, {"latency": None}, {"latency": {**document, "cases": [{"batch": "1"}]}}, {"latency": [1]}):
        assert latency_of(damaged) is None


def test_sentences_name_device_threads_length_and_ratio() -> None:
    for fact in ("cpu", "AMD EPYC", "1 thread", "45 tokens", "3 rounds", "fp32"):
        assert fact in conditions(sample())
    assert "2.00 times as fast as its teacher at batch 1" in str(speedup(sample(), "student", "teacher"))
    assert speedup(sample(), "pupil", "teacher") is None
    assert cautions(sample()) == []
    (busy,) = cautions(sample(waited=0.8))
    assert "80 %" in busy


def test_the_processor_has_a_name() -> None:
    assert timing.processor_name(torch.device("cpu"))
