"""What a run's method is called: methods and what varies them, not the task, nor how its data are spoilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from crild_tui.runs.create import method_of, with_method


@pytest.mark.parametrize(
    ("refs", "method"),
    [
        (["crild", "mrpc"], "crild"),
        (["crild", "mrpc", "few-sample"], "crild"),
        (["few-sample", "noise-30", "minilmv2", "rte"], "minilmv2"),
        (["crild", "mrpc", "supplementary"], "crild+supplementary"),
        (["crild", "mrpc", "noise-10", "supplementary-task"], "crild+supplementary-task"),
        (["crild", "mrpc", "my/odd.toml"], "crild+odd"),
        (["quickstart"], "quickstart"),
        (["mrpc", "few-sample"], ""),
    ],
)
def test_the_method(refs: list[str], method: str) -> None:
    assert method_of(refs) == method


@pytest.mark.parametrize(
    ("refs", "merged"),
    [
        (["mrpc"], ["kd", "mrpc"]),
        (["mrpc", "noise-20"], ["kd", "mrpc", "noise-20"]),
        (["few-sample"], ["kd", "few-sample"]),
        (["supplementary"], ["crild", "supplementary"]),
        (["rte", "supplementary-task"], ["crild", "rte", "supplementary-task"]),
        (["pkd", "mrpc"], ["pkd", "mrpc"]),
    ],
)
def test_what_only_says_the_data_gets_a_method_that_it_fits(refs: list[str], merged: list[str]) -> None:
    assert with_method(refs) == merged


def test_a_setting_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text("[task]\nexamples = 100\n")
    assert with_method(["mrpc", "small.toml"]) == ["kd", "mrpc", "small.toml"]
