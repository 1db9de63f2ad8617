"""The notebook of the how-to page: `python -m docs.notebook` writes docs/notebooks/crild.ipynb from docs/how-to/notebook.md.

Its cells are the page's text and its blocks of Python; a test keeps both equal, and runs the notebook.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("how-to") / "notebook.md"
NOTEBOOK = Path(__file__).with_name("notebooks") / "crild.ipynb"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def notebook(page: str) -> str:
    """The notebook of a page, without outputs, as JSON."""
    cells: list[dict[str, Any]] = []
    for index, part in enumerate(_BLOCK.split(page)):  # texts and blocks take turns
        if text := part.strip():
            cells.append(_cell(f"cell-{len(cells)}", text, code=index % 2 == 1))
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _cell(name: str, text: str, *, code: bool) -> dict[str, Any]:
    if not code:
        text = _LINK.sub(lambda link: f"]({_moved(link[1])}", text)
    common = {"id": name, "metadata": {}, "source": text.splitlines(keepends=True)}
    return (
        {"cell_type": "code", "execution_count": None, "outputs": [], **common}
        if code
        else {"cell_type": "markdown", **common}
    )


def _moved(link: str) -> str:
    """A link of the page as it is in the notebook's folder."""
    return link.removeprefix("../notebooks/") if link.startswith("../") else f"../how-to/{link}"


def main() -> None:
    """Write the notebook."""
    NOTEBOOK.parent.mkdir(exist_ok=True)
    NOTEBOOK.write_text(notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
