"""A process in the place of the dashboard's, which loads nothing: it speaks as Textual's driver for browsers does.

It writes its process id into a file of that name in FOLDER, and what it receives back to the browser, as text. A MODE may
follow: "fail" (it ends with an error before it is ready), "deaf" (it does not end when it is asked to), "quit" (it ends at
the first key), "deliver" (it offers files at the first key).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(folder: Path, mode: str = "") -> int:
    (folder / str(os.getpid())).write_text(json.dumps(dict(os.environ)))
    if mode == "fail":
        print("a sentence of the dashboard", file=sys.stderr)
        return 3
    sys.stdout.buffer.write(b"__GANGLION__\n")
    write("D", f"{os.environ['COLUMNS']}x{os.environ['ROWS']}")
    while header := sys.stdin.buffer.read(5):
        payload = sys.stdin.buffer.read(int.from_bytes(header[1:], "big"))
        write("D", f"{header[:1].decode()}{payload.decode()}")
        if header[:1] == b"D" and mode == "quit":
            write("M", json.dumps({"type": "exit"}))
            return 0
        if header[:1] == b"D" and mode == "deliver":
            deliver()
    while mode == "deaf":
        time.sleep(1)
    return 0


def deliver() -> None:
    """Offer a page and a file with a strange name, and an address to open."""
    common = {"type": "deliver_file_start", "encoding": "utf-8", "mime_type": "text/html", "open_method": "browser"}
    write("M", json.dumps({**common, "key": "bad", "path": "/x/a\r\nSet-Cookie: a=b"}))
    write("M", json.dumps({"type": "open_url", "url": "javascript:alert(1)", "new_tab": True}))
    write("M", json.dumps({**common, "key": "good", "path": "/x/table.md"}))


def write(kind: str, text: str) -> None:
    data = text.encode()
    sys.stdout.buffer.write(kind.encode() + len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
