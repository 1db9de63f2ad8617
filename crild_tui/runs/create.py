"""Create run directories from presets and the options of `crild run`, once everything has been checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError

if TYPE_CHECKING:
    from engine.preset.load import Loaded
    from engine.preset.preset_file import Layer
    from engine.preset.schema import Preset
    from engine.user.consent import Consent


@dataclass(frozen=True)
class RunRequest:
    """The runs to create. `seeds` is empty to use the preset's own seed."""

    presets: tuple[str, ...]
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    runs_dir: Path
    name: str | None = None
    device: str | None = None
    processes: int | None = None
    trust: bool = False
    """Whether the user lets code that comes with the models run (`--trust-remote-code`)."""
    elsewhere: bool = False
    """Whether they run on another machine, whose devices are not known here."""

    def overrides(self, seed: int | None) -> list[str]:
        """The `--set` items for one run: the user's, then those that other options stand for."""
        own = [] if self.device is None else [f"train.device={json.dumps(self.device)}"]
        own += [] if self.processes is None else [f"train.processes={self.processes}"]
        return [*self.settings, *own, *([] if seed is None else [f"seed={seed}"])]


def load_presets(request: RunRequest, *, to_run: bool = True) -> list[Loaded]:
    """The presets merged and checked, once for each seed, with what they leave open about the user's own data.

    Raises before anything is created.

    A model with its own code and without consent is refused only if the presets are `to_run`.
    """
    from engine.preset.load import load_preset
    from engine.record.run import validate_name

    if request.name is not None:
        validate_name(request.name)
    if not request.elsewhere:
        check_device(request.device)
    loaded = [load_preset(request.presets, request.overrides(seed)) for seed in request.seeds or (None,)]
    return checked(request, loaded, to_run=to_run)


def checked(request: RunRequest, loaded: Sequence[Loaded], *, to_run: bool = True) -> list[Loaded]:
    """Presets that are loaded, checked and completed as `load_presets` does."""
    from engine.preflight.check import check
    from engine.preflight.own_data import completed

    check(loaded[0], consent_of(request, loaded) if to_run else None)  # a seed changes nothing of what is checked
    if not request.elsewhere:
        check_device_of(loaded[0])
    return [completed(one) for one in loaded]


def consent_of(request: RunRequest, loaded: Sequence[Loaded]) -> Consent:
    """Whose code may run, besides what is in the user's settings."""
    from engine.user.consent import consent_to

    return consent_to([one.preset for one in loaded], trust=request.trust)


def check_user_settings() -> list[str]:
    """What keeps runs from trackers that the user's settings name, as sentences.

    Raises PresetError if the notification command or the trackers cannot be read: better now than when the run ends.
    """
    from engine.user.settings import Notify, Track, read_settings
    from engine.user.tracking import tracking_problems

    read_settings(Notify)
    read_settings(Track)
    return [f"warning: {problem}" for problem in tracking_problems()]


def check_device(device: str | None) -> None:
    """Raise UsageError for a `--device` that this machine lacks, as far as can be checked without torch."""
    from engine.launch.devices import device_fault

    if device is not None and (sentence := device_fault(device)) is not None:
        raise UsageError(f"--device: {sentence}", kind="unusable-device", key="train.device")


def check_device_of(loaded: Loaded) -> None:
    """Raise UsageError if a preset asks for a device that this machine lacks."""
    from engine.launch.devices import device_fault

    if (sentence := device_fault(loaded.preset.train.device)) is not None:
        raise loaded.problem(
            UsageError, "train.device", f"{sentence}; --device chooses another", kind="unusable-device"
        )


def create_runs(request: RunRequest, loaded: Sequence[Loaded]) -> list[Path]:
    """Create a run directory for each preset; if one fails, none is left behind."""
    created: list[Path] = []
    try:
        for one in loaded:
            created.append(create_run_of(request, one.preset))  # noqa: PERF401 - those that were created are discarded
    except BaseException:
        discard_runs(created)
        raise
    return created


def create_run_of(request: RunRequest, preset: Preset, *, method: str | None = None) -> Path:
    """Create the run directory of one preset; its method is named after the request's presets unless `method` is given."""
    from engine.preset.write import dump
    from engine.record.run import create_run

    return create_run(
        request.runs_dir,
        dump(preset),
        name=request.name,
        tags=preset.tags,
        seed=preset.seed,
        task=preset.task.display_name,
        method=method_of(request.presets) if method is None else method,
        preset="+".join(name_of(ref) for ref in request.presets),
    )


def discard_runs(runs: Iterable[Path]) -> None:
    """Remove run directories that were just created and that no engine has used."""
    from engine.record.run import discard_run

    for run_dir in runs:
        discard_run(run_dir)


def name_of(ref: str) -> str:
    """A short name of a preset: a shipped name, the name of a file, or of the run whose preset a file is."""
    from engine.preset.shipped import path_of

    if path_of(ref) is not None:
        return ref
    path = Path(ref)
    if path.name == "preset.toml" and (path.parent / "status.json").is_file():
        return path.absolute().parent.name
    return path.name.removesuffix(".toml")


def method_of(refs: Sequence[str]) -> str:
    """The method of a run: the merged presets, without those that only set the task, or are variants.

    For the preset of an earlier run it is that run's method.
    """
    from engine.errors import CrildError
    from engine.preset.shipped import find
    from engine.preset.source_names import is_table
    from engine.record.run import read_status

    names = []
    for ref in refs:
        if is_table(ref):
            continue
        shipped = find(ref)
        if shipped is None or shipped.kind not in ("task", "variant") or shipped.varies_method:
            names.append(name_of(ref))
    if len(refs) == 1 and Path(refs[0]).name == "preset.toml":
        try:
            return read_status(Path(refs[0]).parent).method or names[0]
        except CrildError:
            pass
    return "+".join(names)


def unlabelled_settings(refs: Sequence[str], settings: Sequence[str], files: Sequence[str]) -> list[str]:
    """The `--set` items by which every stage of a preset that reads the task's rows, and needs no labels, reads unlabelled
    files as well.

    Raises UsageError where there is no such stage, PresetError for presets that cannot be used.
    """
    from engine.preset.load import load_preset
    from engine.preset.toml_text import inline

    if not files:
        return []
    stages = load_preset(refs, settings).preset.stage
    names = [stage.name for stage in stages if stage.data == "task" and "labels" not in stage.objectives]
    if not names:
        sentence = (
            "no stage can read unlabelled files: each learns from labels, or has data of its own; set stage.NAME.data, or "
            "leave out --unlabelled"
        )
        raise UsageError(sentence, kind="no-stage-for-unlabelled", key="--unlabelled")
    data = inline({"files": list(files), "with_task": True})
    return [f"stage.{name}.data={data}" for name in names]


def names_answers(settings: Iterable[str]) -> bool:
    """Whether `--set` items name a file of the teacher's answers, which goes with the preset `answers` alone."""
    return any(setting.partition("=")[0].strip() == "teacher.answers" for setting in settings)


def with_method(refs: Sequence[str]) -> list[str]:
    """`refs`, with a shipped method before them if they only name the data: "kd", the simplest, or "crild"
    where a variant changes a stage that plain distillation lacks."""
    if not data_alone(refs):
        return list(refs)
    return ["kd" if all(layer.is_task for layer in _layers(refs)) else "crild", *refs]


def data_alone(refs: Sequence[str]) -> bool:
    """Whether these presets and data files name a task or change its data, and no method. Raises as reading one does."""
    return all(layer.is_task or layer.is_variant for layer in _layers(refs))


def task_refs(refs: Sequence[str]) -> list[str]:
    """Those of the references that are about the task alone: task presets, data files, variants such as few-sample. Raises as
    reading one does."""
    return [ref for ref in refs if data_alone([ref]) and not any(layer.stage_tables for layer in _layers([ref]))]


def names_task(refs: Sequence[str]) -> bool:
    """Whether one of these presets and data files, or what it extends, names a task; that of a shipped method is only a default.
    Raises as reading one does."""
    here = Path.cwd()
    return any(_names_task(ref, here) for ref in refs)


def _names_task(ref: str, folder: Path, above: tuple[Path, ...] = ()) -> bool:
    from engine.preset.preset_file import locate, read_layer
    from engine.preset.shipped import find
    from engine.preset.source_names import is_table

    if is_table(ref):
        return True
    if (shipped := find(ref)) is not None:
        return shipped.kind == "task" or (shipped.kind == "run" and not shipped.takes_task)
    path = locate(ref, folder)
    if path in above:
        return False  # presets that extend each other in a circle, which reading them refuses
    layer = read_layer(path, ref)
    parents = (str(parent.value) for parent in layer.extends)
    return layer.root.get("task", "name") is not None or any(
        _names_task(parent, layer.folder, (*above, path)) for parent in parents
    )


def _layers(refs: Sequence[str]) -> list[Layer]:
    """Those of the references that are presets, each read by itself."""
    from engine.preset.preset_file import locate, read_layer
    from engine.preset.source_names import is_table

    here = Path.cwd()
    return [read_layer(locate(ref, here), ref) for ref in refs if not is_table(ref)]
