"""Reports as Excel workbooks and PDF files: read back."""

from __future__ import annotations

import io
import re
import sys
import zipfile
import zlib
from xml.etree import ElementTree

import pytest

from engine.errors import UsageError
from engine.report.result_table import ResultDocument
from engine.report.writers import FORMATS
from tests.report.test_report_formats import HOSTILE, hostile, small

__all__ = ["hostile", "small"]
SPREADSHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def sheets(content: bytes) -> dict[str, list[list[str | float | None]]]:
    """The cells of each sheet, by name."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    strings = ["".join(item.itertext()) for item in ElementTree.fromstring(archive.read("xl/sharedStrings.xml"))]
    names = [
        sheet.attrib["name"]
        for sheet in ElementTree.fromstring(archive.read("xl/workbook.xml")).iter(f"{SPREADSHEET}sheet")
    ]
    found = {}
    for number, name in enumerate(names, 1):
        root = ElementTree.fromstring(archive.read(f"xl/worksheets/sheet{number}.xml"))
        assert not list(root.iter(f"{SPREADSHEET}f")), "no formulas"
        rows: list[list[str | float | None]] = []
        for row in root.iter(f"{SPREADSHEET}row"):
            cells: dict[int, str | float | None] = {}
            for cell in row:
                letters = re.sub(r"\d", "", cell.attrib["r"])
                place = ord(letters[-1]) - ord("A") + 26 * (len(letters) - 1)
                value = cell.findtext(f"{SPREADSHEET}v")
                if value is not None:
                    cells[place] = strings[int(value)] if cell.attrib.get("t") == "s" else float(value)
            rows.append([cells.get(place) for place in range(max(cells, default=-1) + 1)])
        found[name] = rows
    return found


def test_a_workbook_holds_figures_as_numbers(small: ResultDocument) -> None:
    pytest.importorskip("xlsxwriter")
    content = FORMATS["xlsx"].write(small)
    assert isinstance(content, bytes)
    found = sheets(content)
    assert list(found) == ["Primary metric", "Settings", "Data", "Notes"]
    heading, _, crild, *_ = found["Primary metric"]
    row = dict(zip(heading, crild, strict=False))
    assert (row["method"], row["MRPC accuracy"], row["± MRPC accuracy"], row["MRPC accuracy, mark"]) == (
        "crild",
        96.0,
        1.0,
        "≈",
    )
    assert row["seeds"] == 3
    records = found["Data"]
    assert dict(zip(records[0], records[2], strict=False))["mean"] == pytest.approx(0.96)
    assert any("bootstrap" in str(line[0]) for line in found["Notes"])


def test_hostile_text_is_text_in_a_workbook(hostile: ResultDocument) -> None:
    pytest.importorskip("xlsxwriter")
    content = FORMATS["xlsx"].write(hostile)
    assert isinstance(content, bytes)
    texts = [str(cell) for rows in sheets(content).values() for row in rows for cell in row]
    assert any(text.startswith("=cmd()") for text in texts)
    assert not {"\x1b", "\u202e"} & set("".join(texts))


def test_without_xlsxwriter_the_way_out_is_named(small: ResultDocument, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(UsageError) as caught:
        FORMATS["xlsx"].write(small)
    assert (caught.value.kind, caught.value.key) == ("missing-xlsxwriter", "--format")


def test_a_pdf_has_its_pages_and_their_letters(small: ResultDocument, hostile: ResultDocument) -> None:
    content = FORMATS["pdf"].write(small)
    assert isinstance(content, bytes)
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type /Page\b", content)) == 2, "tables, and the chart of final figures"
    assert b"/FontFile2" in content, "letters are embedded as TrueType"
    assert b"/Type3" not in content
    streams = [_inflated(part) for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)]
    letters = b"".join(part for stream in streams for part in re.findall(rb"\(((?:\\.|[^()\\])*)\)", stream))
    letters = letters.replace(b"\0", b"")  # two bytes for each
    for words in (b"Primary metric", b"96.00", b"Settings"):
        assert words in letters
    other = FORMATS["pdf"].write(hostile)
    assert isinstance(other, bytes)
    assert HOSTILE not in other.decode("latin-1")


def test_the_same_runs_give_the_same_pdf(small: ResultDocument) -> None:
    assert FORMATS["pdf"].write(small) == FORMATS["pdf"].write(small)


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""
