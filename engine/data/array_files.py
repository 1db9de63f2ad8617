"""Files of arrays in the cache, in the safetensors format: written in blocks, verified by a hash, and mapped into memory.

The arrays of a file are read where they are needed, by the page, and the system can drop those pages at any time. A file that
is replaced or removed meanwhile stays as it was for whoever has mapped it. Imports no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from engine.data.spool import SMALL, Content, Spool
from engine.preset.regular_file import open_regular
from engine.record.files import replacement, write_all
from engine.record.phases import Report, unreported

Arrays = Mapping[str, npt.NDArray[Any]]

BLOCK = 1 << 22
"""Bytes that are hashed or written at once."""
_LARGEST_HEADER = 1 << 24
_CODES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1"}
_NAMES = {code: name for name, code in _CODES.items()}


def bytes_of(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array; nothing is copied."""
    return array.data.cast("B") if array.size else memoryview(b"")


def array_of(spool: Spool, dtype: Any) -> npt.NDArray[Any]:
    """The bytes of a spool as numbers (numbers,)."""
    return np.frombuffer(spool.content(), dtype) if spool.size else np.zeros(0, dtype)


class DamagedFileError(ValueError):
    """A file is not in the format, or was cut."""


def read_arrays(path: Path, *, writable: bool = False) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays of a file and its texts. The arrays can only be read, or are `writable`, and the file stays as it is.

    Raises OSError where the file cannot be read (FileNotFoundError where there is none), and DamagedFileError.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LARGEST_HEADER):
            raise DamagedFileError(path)
        try:
            header = json.loads(file.read(length))
            texts = header.pop("__metadata__", {})
            start = 8 + length
            content = mapped(file, size, writable=writable)
            arrays = {name: _array(content, start, described) for name, described in header.items()}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise DamagedFileError(path) from None
    return arrays, texts


def mapped(file: BinaryIO, size: int, *, writable: bool = False) -> Content:
    """The bytes of an open file: mapped, or read into memory where there are only a few or the file system cannot map.

    `writable` allows changes, which stay in this process.
    """
    if size > SMALL:
        with contextlib.suppress(OSError):
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY if writable else mmap.ACCESS_READ)
    file.seek(0)
    return bytearray(file.read(size))


def _array(content: Content, start: int, described: Mapping[str, Any]) -> npt.NDArray[Any]:
    dtype, shape = np.dtype(_CODES[described["dtype"]]), tuple(described["shape"])
    first, last = described["data_offsets"]
    count = int(np.prod(shape, dtype=np.int64))
    if not 0 <= first <= last <= len(content) - start or last - first != count * dtype.itemsize:
        raise ValueError("an array lies outside the file")
    return np.frombuffer(content, dtype, count, start + first).reshape(shape) if count else np.zeros(shape, dtype)


def write_arrays(path: Path, arrays: Arrays, texts: Mapping[str, str], *, root: Path) -> None:
    """Write a file of arrays and texts, which replaces another one when it is whole; see `write_atomic`. Raises OSError."""
    header: dict[str, Any] = {"__metadata__": dict(texts)}
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))  # so that all are aligned
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype.str], "shape": list(array.shape), "data_offsets": [start, end]}
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % 8)
    with replacement(path, durable=False, root=root) as handle:
        write_all(handle, len(content).to_bytes(8, "little") + content)
        for _, array in ordered:
            view = _bytes(array)
            for start in range(0, len(view), BLOCK):
                write_all(handle, view[start : start + BLOCK])


def digest(start: str, arrays: Arrays, report: Report = unreported, phase: str = "") -> str:
    """SHA-256 of a text and of arrays with their names, types and shapes; `report` is called with a `phase` between blocks."""
    state = hashlib.sha256(start.encode())
    total = sum(array.nbytes for array in arrays.values())
    done = 0
    for name, array in arrays.items():
        state.update(f" {name} {array.dtype.str} {array.shape} ".encode())
        view = _bytes(array)
        for first in range(0, len(view), BLOCK):
            if phase:
                report(phase, done >> 20, total >> 20, "MB")
            state.update(view[first : first + BLOCK])
            done += min(BLOCK, len(view) - first)
    return state.hexdigest()


def forget_pages(arrays: Arrays) -> None:
    """Take the pages of mapped arrays out of this process's memory; they are read again where they are needed."""
    for array in arrays.values():
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        content = getattr(base, "obj", base)
        if isinstance(content, mmap.mmap):
            content.madvise(mmap.MADV_DONTNEED)


def _bytes(array: npt.NDArray[Any]) -> memoryview:
    return bytes_of(np.ascontiguousarray(array))
