"""crild in Python: load a preset, run it, follow it, compare runs, predict.

    import crild

    run = crild.load_preset("quickstart", settings={"train.device": "cpu"}).run()
    run.results_table()

Importing it loads nothing; the first call loads what it needs, never torch: training and prediction happen in processes of
their own. `crild` is also the only name that an installation puts beside other packages. The code is in the packages `engine`
and `crild_tui`. Other programs may have packages of these names, so neither stands in the environment itself: the wheel
carries both in `crild/_packages`, and an editable install exposes this package alone. `crild.process` makes them importable
in crild's own processes, `crild.api.packages` in yours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crild.api.errors import CrildError
    from crild.api.events import Event
    from crild.api.listing import Runs, runs
    from crild.api.prediction import predict
    from crild.api.preset import Preset, load_preset
    from crild.api.run import Run, open_run
    from crild.api.tables import Comparison, Report, compare, report

_HOMES = {
    "load_preset": "preset", "Preset": "preset",
    "runs": "listing", "Runs": "listing",
    "open_run": "run", "Run": "run",
    "Event": "events",
    "compare": "tables", "Comparison": "tables", "report": "tables", "Report": "tables",
    "predict": "prediction",
    "CrildError": "errors",
}  # fmt: skip
"""The module of `crild.api` that has each name."""

__all__ = [
    "Comparison",
    "CrildError",
    "Event",
    "Preset",
    "Report",
    "Run",
    "Runs",
    "compare",
    "load_preset",
    "open_run",
    "predict",
    "report",
    "runs",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a name when it is first asked for: `crild --help` asks for none."""
        from importlib import import_module

        if name == "__version__":
            from importlib.metadata import version

            return version("crild")
        if name not in _HOMES:
            raise AttributeError(f"module 'crild' has no attribute {name!r}", name=name)
        return getattr(import_module(f"crild.api.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) - {"TYPE_CHECKING", "annotations"} | set(__all__) | {"__version__"})
