"""Commands with a fake engine and a fake package of a tracker."""

from __future__ import annotations

from tests.cli.conftest import crild, fake_engine, preset, runs_dir
from tests.track.fake_mlflow import mlflow

__all__ = ["crild", "fake_engine", "mlflow", "preset", "runs_dir"]
