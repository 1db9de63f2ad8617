"""Targets of `fuzz`: what a user writes (presets, `--set`, sweep files, the settings)."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

from engine.preflight.check import check
from engine.preset.load import load_preset
from engine.preset.schema_keys import known_keys
from engine.preset.shipped import folder as shipped
from engine.preset.write import dump
from engine.sweep.plan import plan
from engine.sweep.spec import read_sweep
from engine.user.settings import SECTIONS, SettingsFiles, read_settings, settings_problems
from tests.cli.samples import PRESET
from tests.faults.fuzz import Target, command, each
from tests.faults.fuzz_mutations import mutated_bytes, mutated_toml

MOST_RUNS = 30
"""Runs of a damaged sweep file that are planned: planning takes milliseconds for each."""


class Presets(Target):
    """A preset file, alone and with others."""

    def prepare(self, folder: Path) -> None:
        self.texts = [PRESET.encode(), *(path.read_bytes() for path in sorted(shipped().glob("*.toml")))]

    def damage(self, rng: Random, folder: Path) -> None:
        (folder / "mine.toml").write_bytes(mutated_toml(rng, rng.choice(self.texts)))
        self.refs = rng.choice((["{}"], ["{}", "rte"], ["kd", "{}"], ["crild", "mrpc", "{}"], ["quickstart", "{}"]))

    def read(self, folder: Path) -> None:
        refs = [ref.format(folder / "mine.toml") for ref in self.refs]
        command("presets", "validate", "--merged", *refs)
        loaded = load_preset(refs)
        again = folder / "again.toml"
        again.write_text(dump(loaded.preset), encoding="utf-8")
        assert load_preset([str(again)]).preset == loaded.preset, "it is another preset when written and read again"
        each([lambda: check(loaded)])
        command("presets", "show", "--json", *refs)


class Overrides(Target):
    """Arguments of `--set`."""

    def damage(self, rng: Random, folder: Path) -> None:
        keys = [f"{table}.{key}" for table in ("task", "teacher", "student", "train") for key in known_keys((table,))]
        keys += [f"stage.{stage}.{key}" for stage in ("ild", "kd", "x") for key in known_keys(("stage", "ild"))]
        good = [
            f"{rng.choice(keys)}={value}"
            for value in ("1", "0.5", "true", "false", '"x"', "[1, 2]", "{ a = 1 }", "last")
        ]
        arguments = []
        for text in rng.sample(good, rng.choice((1, 2, 4))):
            damaged = mutated_toml(rng, text.encode()) if rng.random() < 0.5 else mutated_bytes(rng, text.encode())
            arguments.append(damaged.replace(b"\0", b"").decode(errors="surrogateescape"))
        self.arguments = arguments

    def read(self, folder: Path) -> None:
        words = [word for text in self.arguments for word in ("--set", text)]
        command("presets", "show", "crild", "mrpc", *words)
        dump(load_preset(["crild", "mrpc"], self.arguments).preset)


class SweepFiles(Target):
    """A sweep file, read and planned."""

    def prepare(self, folder: Path) -> None:
        self.texts = [
            path.read_bytes()
            for path in sorted((shipped() / "study").glob("*.toml"))
            if b"[sweep]" in path.read_bytes()
        ]

    def damage(self, rng: Random, folder: Path) -> None:
        (folder / "study.toml").write_bytes(mutated_toml(rng, rng.choice(self.texts)))

    def read(self, folder: Path) -> None:
        file = read_sweep(folder / "study.toml")
        table = file.sweep
        seeds = len(table.seeds) if isinstance(table.seeds, list) else len(table.seeds or "")
        if len(table.methods) * len(table.tasks or ".") * max(1, seeds) <= MOST_RUNS and not table.axes:
            plan(file)


SETTINGS = """\
[consent]
remote_code = [{ model = "owner/name", commit = "0123456789abcdef0123456789abcdef01234567" }]
[notify]
command = "notify-send crild"
[dashboard]
theme = "crild-light"
smoothing = 0.6
[dashboard.keys]
"live.stop" = "f8"
"""
OLD_SETTINGS = 'theme = "crild-light"\nascii = false\nsmoothing = 0.6\n[keys]\n"live.stop" = "f8"\n'


class SettingsFile(Target):
    """The user's settings, in their form with sections and the one before."""

    def damage(self, rng: Random, folder: Path) -> None:
        self.files = SettingsFiles(folder / "settings.toml", folder / "dashboard.toml", old_first=rng.random() < 0.3)
        (folder / "settings.toml").write_bytes(mutated_toml(rng, SETTINGS.encode()))
        (folder / "dashboard.toml").write_bytes(mutated_toml(rng, OLD_SETTINGS.encode()))

    def read(self, folder: Path) -> None:
        each([partial(read_settings, section, self.files) for section in SECTIONS.values()])
        with mock.patch.dict(os.environ, CRILD_CONFIG=str(folder / "settings.toml")):
            settings_problems()


def targets() -> dict[str, Target]:
    """The targets of this module by name."""
    return {"presets": Presets(), "overrides": Overrides(), "sweep-files": SweepFiles(), "settings": SettingsFile()}
