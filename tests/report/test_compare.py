from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import RunError
from engine.report.compare import ABSENT, Difference, differences, flat, read_preset, spread


def test_keys_are_named_as_on_the_command_line() -> None:
    document = {
        "seed": 1,
        "task": {"name": "rte"},
        "stage": [{"name": "ild", "objectives": {"hidden": 1.0}, "layer_map": [[12, 6]]}],
    }
    assert dict(flat(document)) == {
        "seed": 1,
        "task.name": "rte",
        "stages": ["ild"],
        "stage.ild.objectives.hidden": 1.0,
        "stage.ild.layer_map": [[12, 6]],
    }


def test_only_what_differs_is_listed_and_absence_is_a_difference() -> None:
    one = {"seed": 1, "task": {"name": "rte"}, "stage": [{"name": "kd", "epochs": 4}]}
    two = {"seed": 2, "task": {"name": "rte"}, "stage": [{"name": "kd"}]}
    assert differences([one, two, one]) == (
        Difference("seed", (1, 2, 1)),
        Difference("stage.kd.epochs", (4, ABSENT, 4)),
    )


def test_stages_that_one_run_has_alone_are_a_difference_once_and_in_detail() -> None:
    one = {"stage": [{"name": "ild", "epochs": 1}, {"name": "kd"}]}
    two = {"stage": [{"name": "kd"}]}
    assert [row.key for row in differences([one, two])] == ["stages", "stage.ild.epochs"]


def test_equal_presets_have_no_differences() -> None:
    assert differences([{"seed": 1}, {"seed": 1}]) == ()


def test_the_spread_over_seeds() -> None:
    found = spread([0.6, 0.7, 0.8])
    assert found is not None
    assert found.mean == pytest.approx(0.7)
    assert found.deviation == pytest.approx(0.1)
    assert found.count == 3
    single = spread([0.5])
    assert single is not None
    assert single.deviation is None
    assert spread([]) is None


@pytest.mark.parametrize(
    ("content", "kind"),
    [(None, "missing-preset"), (b"a = [", "unreadable-preset"), (b"\xff\xfe", "unreadable-preset")],
)
def test_a_preset_that_cannot_be_read_is_an_error_of_its_kind(tmp_path: Path, content: bytes | None, kind: str) -> None:
    if content is not None:
        (tmp_path / "preset.toml").write_bytes(content)
    with pytest.raises(RunError) as caught:
        read_preset(tmp_path)
    assert (caught.value.kind, caught.value.file) == (kind, str(tmp_path / "preset.toml"))
