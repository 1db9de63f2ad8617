"""Make crild's packages importable in a user's process, where no other packages of their names are in the way."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from crild.process import PACKAGES, is_in, packages_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec


class _Finder:
    """Finds crild's packages after all other finders had their turn: `sys.path` stays as it is."""

    @classmethod
    def find_spec(
        cls, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, [packages_folder()]) if name in PACKAGES else None


def use_packages() -> None:
    """Make `PACKAGES` importable in this process; every function of the API begins with it.

    Raises CrildError where the process has imported, or would import, other packages of these names. Nothing of a user's is
    replaced.
    """
    folder = packages_folder()
    if all(is_in(sys.modules.get(name), folder) for name in PACKAGES):
        return
    for name in PACKAGES:
        if (other := _in_the_way(name, folder)) is not None:
            sentence = (
                f"crild cannot be used in this process: it needs a package of its own named {name!r}, and this process "
                f"imports another one from {other}. Use crild in a process without it, or the command crild"
            )
            raise errors().UsageError(sentence, kind="packages-in-the-way", key=name)
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
    for name in PACKAGES:
        importlib.import_module(name)


def _in_the_way(name: str, folder: str) -> str | None:
    """Where another package of this name comes from; None if there is none."""
    module = sys.modules.get(name)
    try:
        spec = importlib.util.find_spec(name) if module is None else module.__spec__
    except (ImportError, ValueError):  # a finder of the user's that fails, or a module without a spec
        spec = None
    if module is None and spec is None:
        return None
    places = [
        *((spec.submodule_search_locations or ()) if spec else ()),
        *([spec.origin] if spec and spec.origin else []),
    ]
    places += [file] if (file := getattr(module, "__file__", None)) else []
    if places and all(_below(place, folder) for place in places):
        return None
    return repr(places[0]) if places else "elsewhere"


def _below(place: str, folder: str) -> bool:
    return os.path.realpath(place).startswith(os.path.join(folder, ""))  # noqa: PTH118


def errors() -> ModuleType:
    """The module of crild's exceptions; a copy of it where another package named `engine` is in the way."""
    folder = packages_folder()
    if any(_in_the_way(name, folder) for name in PACKAGES):
        return _copied_errors(os.path.join(folder, "engine", "errors.py"))  # noqa: PTH118
    use_packages()
    return importlib.import_module("engine.errors")


@cache
def _copied_errors(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("engine.errors", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
