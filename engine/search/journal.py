"""The journal of a search: a line of JSON for each of Optuna's operations, with a seal over all lines up to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import RunError
from engine.record.files import write_atomic

WAY_OUT = "restore the file from a copy, or start another search with --name NAME"
"""What to do about a journal that cannot be used."""
_SEALED = re.compile(rb'(\{.+),"seal":"([0-9a-f]{16})"\}', re.DOTALL)


class Journal:
    """A journal on disk, as optuna's `JournalStorage` takes one. Only the process that holds the search's lock opens it.

    Optuna's own file takes a lock that a kill would leave behind, and reads a line that was changed like any other. It can
    read this one: the seal is one key more in each line.
    """

    def __init__(self, path: Path) -> None:
        """Read a journal, or begin one. What a kill left of a last line is taken out.

        Raises RunError with the line of one that was changed, and OSError.
        """
        self._path = path
        self._digest = hashlib.sha256()
        self._logs: list[dict[str, Any]] = []
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            write_atomic(path, whole)
        self._size = len(whole)
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            self._logs.append(self._read(line, number))

    def read_logs(self, log_number_from: int) -> Sequence[dict[str, Any]]:
        """The operations from this number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: Sequence[Mapping[str, Any]]) -> None:
        """Write operations to the disk. Raises RunError when the file is not what this process wrote, and OSError."""
        digest, lines = self._digest.copy(), b""
        for log in logs:
            body = json.dumps(log, separators=(",", ":")).encode().removesuffix(b"}")
            digest.update(body)
            lines += body + f',"seal":"{_seal(digest)}"}}\n'.encode()
        with self._path.open("ab") as file:
            if file.tell() != self._size:
                sentence = f"another process has written to the journal of this search meanwhile: {WAY_OUT}"
                raise RunError(sentence, kind="journal-of-two-processes", file=str(self._path))
            try:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(self._size)
                raise
        self._digest, self._size = digest, self._size + len(lines)
        self._logs += json.loads(f"[{','.join(map(json.dumps, logs))}]")

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        """The operation on a line. Raises RunError for a line that was not written so."""
        sealed = _SEALED.fullmatch(line)
        if sealed is not None:
            self._digest.update(sealed[1])
        if sealed is None or sealed[2].decode() != _seal(self._digest):
            sentence = f"this line of the search's journal, or one before it, was changed or taken out: {WAY_OUT}"
            raise RunError(sentence, kind="damaged-journal", file=str(self._path), line=number)
        log: dict[str, Any] = json.loads(sealed[1] + b"}")
        return log


def _seal(digest: Any) -> str:
    """The seal of the line that a digest has just taken."""
    return str(digest.hexdigest()[:16])
