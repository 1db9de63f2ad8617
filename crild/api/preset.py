"""A preset: what a run will do, with every setting; changed, saved, run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crild.api.packages import use_packages
from crild.api.run import Run, follow_queue, start

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crild_tui.runs.create import RunRequest
    from engine.preset.load import Loaded


def load_preset(
    *presets: str | os.PathLike[str],
    settings: Mapping[str, object] | None = None,
    unlabelled: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
) -> Preset:
    """Load presets, merged from left to right: names of those that come with crild, TOML files, or data files.

    `settings` changes single keys, as `--set` does: `{"stage.ild.epochs": 2}`; None takes back an optional key.
    `unlabelled` names a file of inputs without labels, or several, as `--unlabelled` does: every stage that reads the task's
    rows and needs no labels reads them too. Raises CrildError with all mistakes, each with file, line and key, and where no
    stage can read unlabelled files.
    """
    use_packages()
    from crild_tui.runs.create import unlabelled_settings
    from crild_tui.runs.setting_items import setting_items

    sources, items = tuple(os.fspath(preset) for preset in presets), setting_items(settings or {})
    files = [unlabelled] if isinstance(unlabelled, str | os.PathLike) else unlabelled
    items += unlabelled_settings(sources, items, [os.fspath(file) for file in files])
    return Preset(sources, tuple(items), Path.cwd())


class Preset:
    """A valid preset; it doesn't change. Made by `load_preset`."""

    def __init__(self, sources: tuple[str, ...], items: tuple[str, ...], folder: Path):
        """`items` are those of `--set`; `folder` is the one that relative paths start from."""
        from engine.preset.load import load_preset

        self._sources, self._items, self._folder = sources, items, folder
        self._loaded = load_preset(sources, items, base=folder)

    def override(self, settings: Mapping[str, object]) -> Preset:
        """A preset with changed settings, by dotted key: `{"stage.ild.epochs": 2}`; None takes back an optional key.

        Reads the files of this one again. Raises CrildError as `load_preset`.
        """
        from crild_tui.runs.setting_items import setting_items

        return Preset(self._sources, (*self._items, *setting_items(settings)), self._folder)

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted key, defaults included."""
        from engine.report.compare import flat

        return dict(flat(self._loaded.preset.document()))

    def __getitem__(self, key: str) -> Any:
        """A setting by its dotted key: `preset["stage.ild.epochs"]`."""
        return self.settings[key]

    @property
    def toml(self) -> str:
        """The whole preset as TOML, every default written out."""
        from engine.preset.write import dump

        return dump(self._loaded.preset)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write it to a TOML file, every default written out; returns the file.

        Raises CrildError where the file exists, unless `overwrite`, or cannot be written.
        """
        from crild_tui.runs.table_file import named_file, write_file

        file = named_file(os.fspath(path))
        write_file(file, self.toml, overwrite=overwrite)
        return file

    def run(
        self,
        *,
        name: str | None = None,
        detached: bool = False,
        runs_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
        quiet: bool = False,
    ) -> Run:
        """Start a run in a process of its own, as `crild run`; returns it once it has finished.

        Shows how it goes. Interrupting the kernel stops the run with a checkpoint, and again kills it. With `detached` it
        returns at once, and the run keeps going, also without this Python. `name` begins the run's id, `runs_dir` is the
        folder of the runs (by default `$CRILD_RUNS_DIR`, else `./runs`), `trust_remote_code` lets code that comes with
        the models run. Raises CrildError where `crild run` refuses, and with the run's error if it fails or is stopped.
        """
        use_packages()
        from crild_tui.cli.follow.cell_display import tell
        from crild_tui.runs.create import check_user_settings, consent_of, create_runs
        from engine.launch.start import start_engine

        request, loaded = self._checked(name, runs_dir, trust_remote_code)
        tell(loaded[0].notes, quiet=quiet)
        tell(check_user_settings(), quiet=quiet)
        consent = consent_of(request, loaded)
        (run_dir,) = create_runs(request, loaded)
        return start(Run(run_dir), lambda: start_engine(run_dir, consent=consent), detached=detached, quiet=quiet)

    def run_chain(
        self,
        *then: Preset,
        name: str | None = None,
        detached: bool = False,
        runs_dir: str | os.PathLike[str] | None = None,
        trust_remote_code: bool = False,
        quiet: bool = False,
    ) -> list[Run]:
        """Run this preset, then each of `then` with a student that starts as that of the run before, as `crild run --then`;
        returns the runs in order.

        Each preset is complete, with a method and settings of its own; what those after the first say about the student doesn't
        count. `name` begins the first run's id; the others have their number behind it. Interrupting the kernel stops the present run
        with a checkpoint and takes the others off the queue. Everything else is as in `run`. Raises CrildError for the first run that
        doesn't finish; without its student, those after it fail, too.
        """
        use_packages()
        from crild_tui.cli.follow.cell_display import tell
        from crild_tui.runs.chain import create_chains, name_in_chain, start_queue
        from crild_tui.runs.create import check_user_settings, consent_of

        prepared = [
            preset._checked(name_in_chain(name, number), runs_dir, trust_remote_code)
            for number, preset in enumerate((self, *then), 1)
        ]
        tell([note for _, loaded in prepared for note in loaded[0].notes], quiet=quiet)
        tell(check_user_settings(), quiet=quiet)
        chain = [request for request, _ in prepared]
        consent = consent_of(chain[0], [one for _, loaded in prepared for one in loaded])
        runs = create_chains(chain, [loaded for _, loaded in prepared])
        start_queue(runs, consent, chain=len(chain))
        return follow_queue([Run(run_dir) for run_dir in runs], detached=detached, quiet=quiet)

    def _checked(
        self, name: str | None, runs_dir: str | os.PathLike[str] | None, trust: bool
    ) -> tuple[RunRequest, list[Loaded]]:
        """The request for a run of this preset, and the preset as it is checked and completed. Raises CrildError."""
        from crild_tui.runs.create import RunRequest, checked
        from engine.record.paths import runs_dir as folder_of

        request = RunRequest(
            presets=tuple(map(self._absolute, self._sources)),
            settings=self._items,
            seeds=(),
            runs_dir=folder_of(None if runs_dir is None else os.fspath(runs_dir)),
            name=name,
            trust=trust,
        )
        return request, checked(request, [self._loaded])

    def _absolute(self, source: str) -> str:
        """A source as it is meant in any folder, to name the run after it."""
        from engine.preset.shipped import path_of

        return source if path_of(source) is not None else str(self._folder / Path(source).expanduser())

    def __repr__(self) -> str:
        words = [*map(repr, self._sources), *([f"settings={list(self._items)}"] if self._items else [])]
        return f"<crild.Preset {', '.join(words)}>"

    def _repr_html_(self) -> str:
        from crild_tui.runs.html import preset_html

        return preset_html(self._loaded, self._folder)
