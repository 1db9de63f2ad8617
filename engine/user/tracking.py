"""Which trackers the user's runs are sent to: `--track`, else `[track]` of settings.toml; never a preset."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from engine.errors import CrildError, UsageError
from engine.preset.text import listed, nearest, shown
from engine.record.tracking import NAMES, TRACKERS

CHOSEN = "CRILD_TRACK"
"""Environment variable: names of trackers for runs that are started, instead of those in settings.toml; "" for none.

`--track` sets it, so that processes of sweeps and jobs get it as they get the rest of the environment.
"""


def parse_trackers(words: str) -> tuple[str, ...]:
    """Names of trackers that are divided by commas. Raises UsageError for an unknown one."""
    names = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    for name in names:
        if name not in TRACKERS:
            near = nearest(name, TRACKERS)
            hint = f"did you mean {shown(near)}?" if near else f"known are {listed(TRACKERS, 'and')}"
            raise UsageError(f"there is no tracker {shown(name)}; {hint}", kind="unknown-tracker", key="--track")
    return names


def chosen_trackers() -> tuple[str, ...]:
    """The trackers that new runs are sent to. Raises UsageError or PresetError for a mistake in what chooses them."""
    words = os.environ.get(CHOSEN)
    if words is not None:
        return parse_trackers(words)
    from engine.user.settings import Track, read_settings

    return tuple(dict.fromkeys(read_settings(Track).to))


def choose_trackers(words: str | None, *, none: bool) -> None:
    """Let `--track WORDS` or `--no-track` decide for the processes that this one starts; they are checked first.

    Raises UsageError for an unknown tracker, and for one that is not installed.
    """
    if none and words is not None:
        raise UsageError("--track and --no-track exclude each other", kind="track-and-no-track", key="--track")
    if words is not None:
        check_installed(parse_trackers(words))
    if none or words is not None:
        os.environ[CHOSEN] = words or ""


def check_installed(names: Iterable[str]) -> None:
    """Raise UsageError for trackers whose packages are missing, with the command that installs them."""
    missing = [name for name in names if not is_installed(name)]
    if missing:
        what = listed((NAMES[name] for name in missing), "and")
        sentence = f"{what} cannot be sent to without an extra: pip install 'crild[{','.join(missing)}]'"
        raise UsageError(sentence, kind="tracker-not-installed", key="--track")


def is_installed(name: str) -> bool:
    """Whether the package of a tracker is there; a folder `wandb` in the working directory is not it."""
    for package in (name, f"{name}-skinny"):  # MLflow has a package without its server
        with contextlib.suppress(PackageNotFoundError):
            return bool(version(package))
    return False


def tracking_problems() -> list[CrildError]:
    """What is wrong with the choice of trackers: nothing that keeps a run from starting."""
    try:
        check_installed(chosen_trackers())
    except CrildError as error:
        return [error]
    return []
