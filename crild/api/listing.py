"""The runs of a folder, as a list that a notebook shows as a table."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from crild.api.packages import use_packages
from crild.api.run import Run

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "state", "task", "method", "preset", "seed", "stage", "done", "total", "metric_name", "last", "best", "teacher",
    "majority", "created", "ended", "sweep",
)  # fmt: skip
"""Fields of status.json that the table of runs has."""


def runs(where: str = "", *, runs_dir: str | os.PathLike[str] | None = None) -> Runs:
    """The runs of a folder, the newest first, as `crild runs --filter`: `"task:mrpc metric:>80"`.

    `runs_dir` is by default `$CRILD_RUNS_DIR`, else `./runs`. Raises CrildError for a folder that cannot be read, and for a
    filter that cannot be understood.
    """
    use_packages()
    from crild_tui.runs.filter import parse
    from crild_tui.runs.marks import Marks, read_marks
    from engine.record.paths import runs_dir as folder_of
    from engine.record.run import check_runs_dir, list_runs

    folder = folder_of(None if runs_dir is None else os.fspath(runs_dir))
    check_runs_dir(folder)
    wanted, now = parse(where), time.time()
    marks = read_marks(folder) if "is:" in wanted.text.casefold() else Marks()
    return Runs(Run(entry.path) for entry in list_runs(folder) if wanted.matches(entry, marks, now))


class Runs(list[Run]):
    """A list of runs, which shows itself as a table."""

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each run: what it is, how far, and its last and best metric on dev, as shares of 1."""
        use_packages()
        import pandas as pd

        from engine.record.run import read_run

        rows = []
        for run in self:
            entry = read_run(run.path)
            fields = entry.status.to_dict() if entry.status else {}
            known = {name: fields.get(name) for name in COLUMNS}
            known["state"] = entry.state
            rows.append(
                {"run": entry.id, **known, "tags": " ".join(entry.tags), "note": entry.note, "path": str(run.path)}
            )
        table = pd.DataFrame(rows, columns=["run", *COLUMNS, "tags", "note", "path"])
        for name in ("created", "ended"):
            table[name] = pd.to_datetime(table[name].astype("float64"), unit="s", utc=True)
        return table

    def _repr_html_(self) -> str:
        use_packages()
        from crild_tui.runs.html import runs_html
        from engine.record.run import read_run

        return runs_html([read_run(run.path) for run in self], time.time())
