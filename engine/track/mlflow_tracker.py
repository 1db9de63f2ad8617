"""Runs in MLflow: a server, or a store in a file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from engine.record.secrets import without_secrets
from engine.record.tracking import Tracking
from engine.track.curves import Point
from engine.track.facts import Outcome, RunFacts
from engine.track.tracker import beside_runs
from engine.user.settings import Track

_ID = "crild.id"
_MOST = 500
"""Values of one request; MLflow takes 1,000."""
_LONGEST = 500
"""Characters of a setting's value that every version of MLflow takes."""
_FOREIGN = re.compile(r"[^\w./: -]", re.ASCII)
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "preempted": "KILLED"}


def make(facts: RunFacts, settings: Track) -> MLflow:
    """The tracker of a run."""
    return MLflow(facts, settings.mlflow_uri)


class MLflow:
    """A run of an MLflow experiment, which is named after the project.

    By MLflow's client rather than Accelerate's tracker: that sends a request for each step, at the time of sending, lets
    $MLFLOW_RUN_ID replace the run, and can end a run only as finished.
    """

    def __init__(self, facts: RunFacts, uri: str | None) -> None:
        self._facts, self._uri = facts, uri
        self.remote = self.where = ""
        self._client: Any = None
        self._is_running = False

    def open(self, before: Tracking) -> Mapping[str, int]:
        """Find the run by its id there, by crild's id, or create it; the store says what it holds."""
        import os

        from mlflow import MlflowClient

        default = f"sqlite:///{beside_runs(self._facts) / 'mlflow.db'}"
        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI") or default
        self._client = MlflowClient(uri)
        experiment = self._experiment()
        run = self._known(experiment, before.remote) or self._create(experiment)
        self.remote, self.where = run.info.run_id, without_secrets(uri)
        return {name: self._last_step(name) for name in run.data.metrics}

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        known = self._client.get_experiment_by_name(self._facts.project)
        if known is None:
            try:
                return str(self._client.create_experiment(self._facts.project))
            except MlflowException:  # another reader was faster
                known = self._client.get_experiment_by_name(self._facts.project)
                if known is None:
                    raise
        return str(known.experiment_id)

    def _known(self, experiment: str, remote: str) -> Any:
        """The run that an earlier reader created; None where there is none, or it was deleted there."""
        for found in self._client.search_runs([experiment], f"tags.`{_ID}` = '{self._facts.id}'"):
            if not remote or found.info.run_id == remote:
                return found
        return None

    def _create(self, experiment: str) -> Any:
        from mlflow.entities import Param

        tags = {_ID: self._facts.id, **dict.fromkeys((_plain(tag) for tag in self._facts.tags), "true")}
        if self._facts.note:
            tags["mlflow.note.content"] = self._facts.note
        run = self._client.create_run(
            experiment, start_time=round(self._facts.created * 1000), tags=tags, run_name=self._facts.name
        )
        params = [Param(_plain(key), str(value)[:_LONGEST]) for key, value in self._facts.config.items()]
        for part in _parts(params, 100):
            self._client.log_batch(run.info.run_id, params=part)
        return run

    def _last_step(self, name: str) -> int:
        return max((metric.step for metric in self._client.get_metric_history(self.remote, name)), default=0)

    def send(self, points: Sequence[Point]) -> None:
        """Values with their steps and times, many at once."""
        from mlflow.entities import Metric

        if not self._is_running:  # also of a run that is resumed
            self._client.update_run(self.remote, status="RUNNING")
            self._is_running = True
        metrics = [
            Metric(_plain(name), value, round(point.time * 1000), point.step)
            for point in points
            for name, value in point.values.items()
        ]
        for part in _parts(metrics, _MOST):
            self._client.log_batch(self.remote, metrics=part)

    def finish(self, outcome: Outcome) -> None:
        """Results as metrics, the table as the run's description, the student as an artifact, the state."""
        from mlflow.entities import Metric

        moment = round((outcome.ended or self._facts.created) * 1000)
        if outcome.figures:
            metrics = [Metric(_plain(name), value, moment, 0) for name, value in outcome.figures.items()]
            self._client.log_batch(self.remote, metrics=metrics)
        if outcome.table:
            note = f"{self._facts.note}\n\n{outcome.table}".strip()
            self._client.set_tag(self.remote, "mlflow.note.content", note)
        if outcome.student is not None:
            self._client.log_artifacts(self.remote, str(outcome.student), "student")
        self._client.set_terminated(self.remote, _STATUS.get(outcome.state, "FAILED"), end_time=moment)

    def close(self) -> None:
        """Nothing to do: every request was answered."""


def _plain(name: str) -> str:
    """A name as MLflow takes it; curves of crild need no change, unless an objective or a set has an unusual name."""
    return _FOREIGN.sub("_", name)[:250]


def _parts(items: Sequence[Any], size: int) -> Sequence[list[Any]]:
    iterator = iter(items)
    return list(iter(lambda: list(islice(iterator, size)), []))
