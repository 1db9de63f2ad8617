"""The documentation site: Sphinx over the Markdown files of this folder (`make docs`)."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from docs.from_code import filled  # noqa: E402 - after the path that it is imported from

project = "crild"
author = "The crild authors"
version = release = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser"]
myst_heading_anchors = 4  # links to headings, named as on GitHub
html_theme = "furo"
html_title = f"crild {version}"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
smartquotes = False  # "text in quotes" and --options stay as they are
exclude_patterns = ["pictures"]

_LOADED = re.compile(r"<(?:script|img|iframe|link(?=[^>]*stylesheet))\b[^>]*(?:src|href)=\"((?:https?:)?//[^\"]*)")
"""What a page loads from elsewhere while it is read."""


def setup(app: Any) -> None:
    """Put the parts that are made from code into the pages, and refuse pages that load anything from elsewhere."""
    app.connect("source-read", fill)
    app.connect("build-finished", check_offline)
    for name in ("csv", "jsonl", "mermaid"):  # languages without a lexer
        app.add_lexer(name, TextLexer)


def fill(_app: Any, _name: str, source: list[str]) -> None:
    """Write the parts that are made from code into a page as it is read."""
    source[0] = filled(source[0])


def check_offline(app: Any, error: Exception | None) -> None:
    """Raise ValueError for a page that would need the network when it is read."""
    if error is not None:
        return
    for page in sorted(Path(app.outdir).rglob("*.html")):
        if (loaded := _LOADED.search(page.read_text(encoding="utf-8"))) is not None:
            raise ValueError(f"{page.relative_to(app.outdir)} loads {loaded[1]} when it is read")
