"""The layout of the code: no circles, no module outside a room, nothing public without a docstring."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import layout
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("title", layout.CHECKS)
def test_the_layout_holds(title: str) -> None:
    assert layout.CHECKS[title](REPOSITORY) == []


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small product with every fault that is looked for."""
    files = {
        "crild_tui/__init__.py": '"""The dashboard."""',
        "crild_tui/app.py": '"""The app."""\nfrom crild_tui.screens.live import Live',
        "crild_tui/making.py": '"""Loose."""',
        "crild_tui/screens/__init__.py": '"""Screens."""',
        "crild_tui/screens/live.py": (
            '"""A screen."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from crild_tui.app import App\n'
            "class Live:\n    def draw(self): ...\n    def _hidden(self): ..."
        ),
        "engine/__init__.py": '"""The engine."""',
        "engine/errors.py": '"""Errors."""',
        "engine/data/__init__.py": '"""Data."""',
        "engine/data/hub.py": '"""The hub."""\ndef load():\n    """Load."""\n    from engine.data.corpus import _read',
        "engine/data/corpus.py": '"""Text."""\ndef text():\n    """Read."""\n    from engine.data import hub',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_lazy_and_type_only_circles_are_found(house: Path) -> None:
    assert layout.circles(house) == [
        "crild_tui.app <-> crild_tui.screens.live",
        "engine.data.corpus <-> engine.data.hub",
    ]


def test_loose_modules_missing_docstrings_and_private_imports_are_found(house: Path) -> None:
    assert layout.homeless(house) == ["crild_tui.making"]
    assert layout.undocumented(house) == ["crild_tui.screens.live.Live", "crild_tui.screens.live.Live.draw"]
    assert layout.strangers(house) == ["engine.data.hub imports engine.data.corpus._read"]
