"""Compressed files of rows, told by their endings: `.gz`, and `.zst` through pyarrow. Streams, in flat memory."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from engine.errors import DataError
from engine.preset.source_names import is_compressed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LEVEL = 6
"""How hard gzip tries: that of the program, which is several times as fast as 9 and nearly as small."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> int | None:
        """Write all of them."""


def decompressed(file: BinaryIO, path: Path) -> BinaryIO:
    """The content of an open file, decompressed where the ending of its name says so.

    Reading raises DataError for a file that is truncated, damaged, or not compressed.
    """
    if not is_compressed(path.name):
        return file
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(_Decompressed(gzip.GzipFile(fileobj=file, mode="rb"), path))
    import pyarrow as pa

    return io.BufferedReader(_Decompressed(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"), path))


class _Decompressed(io.RawIOBase):
    """Reads from a decompressor and says what is wrong with its file."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            data = self._file.read(len(view))
        except (EOFError, OSError, zlib.error) as fault:
            if isinstance(fault, OSError) and fault.errno is not None:
                raise  # the disk, not the content
            raise self._fault(fault) from None
        view[: len(data)] = data
        return len(data)

    def _fault(self, fault: Exception) -> DataError:
        file = str(self._path)
        if isinstance(fault, EOFError) or "Truncated" in str(fault):
            sentence = "the compressed file ends too early: it was not written or copied to its end"
            return DataError(sentence, kind="truncated-compressed-file", file=file)
        sentence = f"the file cannot be decompressed: it is damaged, or not what {self._path.suffix} at the end of its name says"
        return DataError(sentence, kind="damaged-compressed-file", file=file)


@contextmanager
def compressing(sink: Sink, path: Path) -> Iterator[Sink]:
    """Where to write the content of a file: `sink` itself, or what compresses into it where the ending of the name says so."""
    if not is_compressed(path.name):
        yield sink
        return
    compressor: Any
    if path.suffix.lower() == ".gz":
        compressor = gzip.GzipFile(filename="", fileobj=sink, mode="wb", compresslevel=LEVEL, mtime=0)  # type: ignore[call-overload]
    else:
        import pyarrow as pa

        compressor = pa.CompressedOutputStream(pa.PythonFile(sink, mode="w"), "zstd")
    yield compressor
    compressor.close()
