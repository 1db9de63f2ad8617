"""Open safetensors files, with the true cause where the system refuses: safetensors calls every failure a missing file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from engine.preset.regular_file import open_regular

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
_T = TypeVar("_T")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises OSError when the file cannot be opened or read, SafetensorError when its content is damaged.
    """
    return _opened(path, lambda: load_file(path))


def tensor_names(path: Path) -> list[str]:
    """The names of the tensors of a safetensors file, from its header. Raises as `load_tensors` does."""

    def names() -> list[str]:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())

    return _opened(path, names)


def _opened(path: Path, read: Callable[[], _T]) -> _T:
    with open_regular(path) as file:  # raises what the system says
        file.read(1)
    try:
        return read()
    except SafetensorError as error:
        if (number := _SYSTEM_ERROR.search(str(error))) is not None:
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        raise
    except FileNotFoundError as error:
        with open_regular(path):
            raise OSError("it could not be opened just now") from error
