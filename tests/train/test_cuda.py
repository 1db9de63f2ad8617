"""A CUDA device computes what the CPU computes, as captured graphs too, and a resumed run is the same run there."""

from __future__ import annotations

import copy
import json
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.batches import collate
from engine.models import family_rules
from engine.preset.schema import Stage
from engine.record.events import read_events
from engine.train.graphs import captured, own_stream, padded
from engine.train.step import Counts, Models, StepLosses, bound_terms
from tests.models.tiny_models import EVERY, tiny
from tests.train.test_step_speed import bench  # noqa: F401 - a fixture
from tests.train.tiny_run import make, materials, work

needs_cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
CUDA = 'train.device="cuda"'
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
"""Devices draw dropout differently, so figures are compared without."""


@pytest.mark.parametrize(
    ("longest", "most", "fit"), [(1, 128, 8), (8, 128, 8), (9, 128, 16), (121, 128, 128), (49, 50, 50), (50, 50, 50)]
)
def test_batches_are_padded_to_few_lengths_but_never_beyond_the_longest(longest: int, most: int, fit: int) -> None:
    assert padded(longest, most) == fit


def test_numbers_on_the_device_give_the_loss_of_plain_numbers(bench: Any) -> None:  # noqa: F811
    teacher, sentences = bench.make_teacher("tiny", None, 0), bench.make_sentences(30522, 0)
    student = bench.make_student(teacher)
    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    losses = bench.Engine(teacher, student, sentences, "fp32").losses
    (given,) = islice(bench.make_work(sentences, 0), 1)
    batch = collate(sentences, given.rows, pad_id=0)
    counts = Counts.of(sentences.lengths[given.rows], mixed=True)
    plain = losses(batch, counts, given.lam, 0.3)
    held = Counts(
        *(torch.tensor(float(count)) for count in (counts.tokens, counts.own, counts.examples, counts.answers))
    )
    found = losses(batch, held, torch.tensor(given.lam), torch.tensor(0.3))
    assert float(found.total) == pytest.approx(float(plain.total), rel=1e-5)
    assert {n: float(t) for n, t in found.terms.items()} == pytest.approx(
        {n: float(t) for n, t in plain.terms.items()}, rel=1e-4
    )
    assert float(losses(batch, held, torch.tensor(1.0), torch.tensor(0.0)).total) != pytest.approx(float(plain.total))


class Recorder:
    """Stands in for a graph: what goes wrong inside makes ending it go wrong too, as CUDA does."""

    ended = 0

    def capture_begin(self, **_: Any) -> None:
        self.fine = True

    def capture_end(self) -> None:
        Recorder.ended += 1
        if not self.fine:
            raise RuntimeError("the capture is void")


def test_what_goes_wrong_while_a_step_is_captured_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Recorder)
    with captured():
        pass

    def fail() -> None:
        with captured() as graph:
            graph.fine = False  # type: ignore[attr-defined]
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        fail()
    assert Recorder.ended == 2


@pytest.mark.parametrize(("family", "layer_map", "fit"), [
    ("bert", "last", True), ("modernbert", "uniform", True), ("bert", "emd", False), ("mpnet", "last", False),
    ("deberta-v2", "last", False),
])  # fmt: skip
def test_steps_that_need_the_host_are_not_captured(bench: Any, family: str, layer_map: Any, fit: bool) -> None:  # noqa: F811
    stage = Stage(name="ild", objectives={"hidden": 1.0}, layer_map=layer_map)
    settings = replace(bench.make_settings(), stage=stage, mixup=None, consistency=None)
    models = Models(tiny(family), tiny(family))
    terms = bound_terms(settings, models.student, models.teacher)
    assert StepLosses(settings, models, terms, autocast=nullcontext).capturable is fit


def curve(run_dir: Path) -> list[dict[str, Any]]:
    """The figures of each step that do not depend on time."""
    kept = ("stage", "step", "loss", "terms", "consistency", "gradient_norm")
    return [{name: event[name] for name in kept if name in event} for event in read_events(run_dir, kinds={"step"})]


def assert_close(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], rel: float) -> None:
    assert [(e["stage"], e["step"]) for e in ours] == [(e["stage"], e["step"]) for e in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for name in ("loss", "consistency", "gradient_norm"):
            assert one.get(name) == pytest.approx(other.get(name), rel=rel, abs=1e-4), (one["stage"], one["step"], name)
        assert one["terms"] == pytest.approx(other["terms"], rel=rel, abs=1e-4)


class TestOnCuda:
    pytestmark = needs_cuda

    def test_the_curves_are_those_of_the_cpu_and_graphs_change_nothing(self, tmp_path: Path) -> None:
        text = materials(tmp_path, **STILL)
        runs = {}
        for name, settings in {
            "cpu": [],
            "eager": [CUDA, "train.graphs=false"],
            "graphs": [CUDA],
            "parts": [CUDA, "train.accumulate=3"],
        }.items():
            runs[name] = make(tmp_path, text, *settings, "train.save_teacher_cache=false", name=name)
            assert work(runs[name]) is not None
        curves = {name: curve(run) for name, run in runs.items()}
        assert len(curves["cpu"]) > 30
        assert_close(curves["eager"], curves["cpu"], 0.02)
        assert_close(curves["graphs"], curves["eager"], 1e-3)
        assert_close(curves["parts"], curves["graphs"], 1e-2)

    @pytest.mark.parametrize("place", [("ild", 3), ("kd", 5), ("baseline", 4)])
    def test_stopped_and_resumed_it_ends_in_the_same_bytes(self, tmp_path: Path, place: tuple[str, int]) -> None:
        text = materials(tmp_path)
        alone = (CUDA, 'train.precision="bf16"', "train.save_teacher_cache=false")
        whole, stopped = (make(tmp_path, text, *alone, name=name) for name in ("whole", "cut"))
        assert work(whole) is not None
        assert work(stopped, stop_after=place) is None
        assert work(stopped) is not None
        assert curve(stopped) == curve(whole)
        weights = [(run / "student" / "model.safetensors").read_bytes() for run in (whole, stopped)]
        assert weights[0] == weights[1]

    @pytest.mark.parametrize("family", EVERY)
    def test_every_family_trains_in_bf16(self, tmp_path: Path, family: str) -> None:
        text = materials(tmp_path, family=family)
        objectives = (
            []
            if "attention" in family_rules.FAMILIES[family]
            else ["stage.ild.objectives={ value = 1.0, hidden = 1.0 }"]
        )
        run = make(tmp_path, text, CUDA, 'train.precision="bf16"', 'stage.ild.layer_map="uniform"', *objectives)
        assert work(run) is not None
        assert json.loads((run / "environment.json").read_text())["device"].startswith("cuda")

    def test_transport_between_layers_trains_without_graphs(self, tmp_path: Path) -> None:
        objectives = "stage.ild.objectives={ attention = { mse = true }, hidden = 1.0 }"
        run = make(tmp_path, materials(tmp_path), CUDA, objectives, 'stage.ild.layer_map="emd"')
        assert work(run) is not None

    def test_a_step_waits_for_nothing(self, bench: Any) -> None:  # noqa: F811
        device = torch.device("cuda")
        with own_stream(device):
            teacher, sentences = bench.make_teacher("tiny", None, 0).to(device), bench.make_sentences(30522, 0)
            engine = bench.Engine(teacher, copy.deepcopy(bench.make_student(teacher)), sentences, "bf16", capture=True)
            given = list(islice(bench.make_work(sentences, 0), 40))
            for step in given[:10]:
                engine.step(step)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for step in given[10:]:
                    engine.step(step)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            reading = engine.metrics.read()
        assert reading is not None
        assert reading["loss"] > 0
        assert any(shape.graph is not None for shape in engine.backward.shapes.values())
