"""The dashboard's own configuration: a TOML file that the user writes, checked as strictly as a preset.

# ~/.config/crild/dashboard.toml
theme = "crild-light"
ascii = false
smoothing = 0.6
[keys]
"live.stop" = "f8"
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.errors import UsageError
from engine.record.paths import user_path


class Settings(BaseModel):
    """The settings. Keys are bound by the ids that `?` shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    theme: Literal["crild-dark", "crild-light", "crild-contrast"] = "crild-dark"
    ascii: bool = False
    smoothing: float = Field(0.6, ge=0, lt=1)
    keys: dict[str, str] = Field(default_factory=dict)


def settings_file() -> Path:
    """The configuration file: `$CRILD_CONFIG`, else one in the user's configuration folder."""
    chosen = os.environ.get("CRILD_CONFIG")
    if chosen:
        return user_path(chosen, "CRILD_CONFIG")
    from platformdirs import user_config_path

    return user_config_path("crild") / "dashboard.toml"


def load_settings(path: Path | None = None) -> Settings:
    """The configuration, or the defaults where there is no file.

    Raises UsageError with every problem, each with its key, when the file cannot be used.
    """
    import tomli

    file = settings_file() if path is None else path
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        sentence = f"the dashboard's configuration cannot be read: {error}"
        raise UsageError(sentence, kind="unreadable-configuration", file=str(file)) from error
    try:
        return Settings.model_validate(tomli.loads(text))
    except tomli.TOMLDecodeError as error:
        raise UsageError(f"this is not valid TOML: {error}", kind="invalid-toml", file=str(file)) from error
    except ValidationError as error:
        problems = "; ".join(_sentence(problem) for problem in error.errors())
        raise UsageError(problems, kind="invalid-configuration", file=str(file)) from error


def _sentence(problem: object) -> str:
    from engine.preset.text import nearest

    assert isinstance(problem, dict)
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        near = nearest(key, Settings.model_fields)
        return f"there is no key {key!r}" + (f": did you mean {near!r}?" if near else "")
    return f"{key}: {problem['msg']}"
