"""The name of the key of each binding: sentences name keys with it, and so follow what settings.toml rebinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.widget import Widget

from crild_tui.runs.states import KeyNames


def key_names(app: App[Any], rebound: Mapping[str, str]) -> KeyNames:
    """The key of each binding of the dashboard as the footer shows it, by the binding's id; of several keys the first.

    `rebound` holds the keys that the user chose, by the same ids.
    """
    names: dict[str, str] = {}
    for binding in _bindings(App, Widget):
        key = rebound.get(binding.id or "")
        shown = binding if key is None else replace(binding, key=key, key_display=None)
        for each in Binding.make_bindings([shown]):
            if each.id:
                names.setdefault(each.id, app.get_key_display(each))
    return names


def action_ids() -> list[str]:
    """The ids of the actions of all screens that are imported."""
    return [binding.id for binding in _bindings(App, Widget) if binding.id]


def key_problems(rebound: Mapping[str, str]) -> list[str]:
    """What is wrong with the keys that the user chose: ids that no action has, keys that two actions of a mode share."""
    bindings = {binding.id: binding.key for binding in _bindings(App, Widget) if binding.id}
    unknown = [name for name in rebound if name not in bindings]
    problems = [f'"{name}" is no action; press ? for the ids' for name in unknown]
    actions: dict[tuple[str, str], list[str]] = {}
    for name, default in bindings.items():
        for key in rebound.get(name, default).split(","):
            actions.setdefault((name.partition(".")[0], key.strip()), []).append(name)
    for (_, key), names in actions.items():
        if len(names) > 1 and not rebound.keys().isdisjoint(names):
            problems.append(f'{" and ".join(names)} share the key "{key}", so only one of them works')
    return problems


def _bindings(*classes: type[DOMNode]) -> Iterator[Binding]:
    """The bindings that these classes and all that derive from them declare, as far as they are crild's own."""
    for each in classes:
        if each.__module__.startswith("crild_tui."):
            yield from (binding for binding in vars(each).get("BINDINGS", ()) if isinstance(binding, Binding))
        yield from _bindings(*each.__subclasses__())
