"""A probe as `crild probe` leaves it."""

from __future__ import annotations

from engine.record.probe import CurvePoint, Layer, Noise, Probe, Sharpness, Sides


def sample(run: str = "rte-crild-s1", method: str = "crild", train: float = 0.9, dev: float = 0.66) -> Probe:
    """A student of two layers that has learnt its training examples by heart."""
    return Probe(
        run=run,
        task="rte",
        method=method,
        metric="accuracy",
        student="5eed",
        made=1_700_000_000.0,
        device="cpu",
        seconds=12.5,
        run_seconds=250.0,
        settings={"scales": [0.1], "draws": 3, "examples": 256, "seed": 1},
        examples={"train": 256, "dev": 256},
        loss=Sides(0.25, 0.65),
        metrics={"accuracy": Sides(train, dev)},
        teacher_loss=Sides(0.2, 0.6),
        teacher_metrics={"accuracy": Sides(0.95, 0.7)},
        output=Sides(0.02, 0.08),
        layers=(
            Layer(1, 2, {"attention": Sides(0.5, 0.6), "cka": Sides(0.1, 0.1)}),
            Layer(2, 4, {"attention": Sides(1.5, 1.8), "cka": Sides(0.2, 0.4)}),
        ),
        unavailable={"hidden": "the teacher is 768 wide, the student 312", "cls": "the teacher is 768 wide, the student 312"},
        noise=(
            Noise(0.0, 0.66, None, 0.65, None, 1),
            Noise(0.1, 0.62, 0.01, 0.7, 0.02, 3),
            Noise(0.3, 0.33, 0.05, 1.1, 0.3, 3),
        ),
        sharpness=Sharpness(0.1, 0.09, 0.05, 3),
        curves=(CurvePoint("kd", 40, "dev", 0.66, 0.65), CurvePoint("kd", 40, "train", 0.9, 0.25)),
    )  # fmt: skip
