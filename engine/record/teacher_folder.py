"""Where the fine-tuned teacher of a run is: `teacher/` in the run directory, a folder or a link into the cache."""

from __future__ import annotations

import os
from pathlib import Path

from engine.errors import ModelError
from engine.preset.text import plain
from engine.record.files import read_object, write_json
from engine.record.owner import temporary_name
from engine.record.paths import TEACHER
from engine.record.removal import OpenFolder

POINTER = "pointer.json"
"""In the run's folder `teacher`: names the teacher's folder, where no link does (before 0.3, and without links)."""


def has_teacher(run_dir: Path) -> bool:
    """Whether the run's fine-tuned teacher has been stored, whatever became of it since."""
    folder = run_dir / TEACHER
    return folder.is_symlink() or any((folder / name).is_file() for name in (POINTER, "config.json"))


def teacher_folder(run_dir: Path) -> Path:
    """The folder of the run's fine-tuned teacher. Raises ModelError when it is gone, and RunError when unreadable."""
    folder = run_dir / TEACHER
    if (folder / "config.json").is_file():
        return folder
    if folder.is_symlink():
        raise _gone(run_dir, str(folder.readlink()))
    try:
        pointer = read_object(folder / POINTER).get("folder")
    except FileNotFoundError:
        sentence = f"the run {plain(run_dir.name)} has no fine-tuned teacher: neither a model nor pointer.json is here"
        raise ModelError(sentence, kind="teacher-missing", file=str(folder)) from None
    if not isinstance(pointer, str):
        sentence = "it does not name the folder of the fine-tuned teacher"
        raise ModelError(sentence, kind="teacher-pointer-damaged", file=str(folder / POINTER))
    for named in (Path(pointer), folder / Path(pointer).name):  # the second, if the run was moved
        if (named / "config.json").is_file():
            return named
    raise _gone(run_dir, pointer)


def _gone(run_dir: Path, folder: str) -> ModelError:
    sentence = (
        f"the fine-tuned teacher of {plain(run_dir.name)} is no longer in the cache: run its preset again to train it, "
        "then try again"
    )
    return ModelError(sentence, kind="teacher-missing", file=folder)


def link_teacher(run_dir: Path, folder: Path) -> None:
    """Make the run's `teacher` the fine-tuned teacher in `folder`: a link to it, unless it is that folder itself.

    In a run of a version before 0.3, and on a file system without links, pointer.json names the folder instead. Raises
    RunError when neither can be written.
    """
    link = run_dir / TEACHER
    if folder == link:
        return
    if link.is_symlink() or not link.exists():
        try:
            _link(run_dir, folder)
        except OSError:
            link.mkdir(exist_ok=True)
        else:
            return
    write_json(link / POINTER, {"schema": 1, "folder": str(folder)}, root=run_dir)


def _link(run_dir: Path, folder: Path) -> None:
    """Make the run's `teacher` a link to a folder; it replaces another link. Raises OSError."""
    with OpenFolder.at(run_dir) as run:
        temporary = temporary_name(TEACHER)
        os.symlink(folder, temporary, target_is_directory=True, dir_fd=run.handle)
        try:
            run.rename(temporary, TEACHER)
        except OSError:
            run.remove(temporary)
            raise
