"""Settings of a program as the items of `--set`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from engine.preset.toml_text import inline


def setting_items(settings: Mapping[str, object]) -> list[str]:
    """`--set` items for settings by dotted key: {"train.epochs": 2} gives `train.epochs=2`.

    None takes back an optional key, as `false` does. Scalars of numpy count as numbers, paths as texts.
    """
    return [f"{key}={inline(_plain(value))}" for key, value in settings.items()]


def _plain(value: object) -> object:
    if value is None:
        return False
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    item = getattr(value, "item", None)
    return item() if callable(item) else value
