from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine.report.collect import collect_runs
from engine.report.page import page
from engine.report.report_document import report_document
from engine.report.result_table import ResultDocument
from engine.report.table import build_report
from tests.record.probe_samples import sample
from tests.report.records import finished, right, write_curves
from tests.report.test_report_formats import HOSTILE
from tests.report.test_student_errors import sure, write

VOID = {"meta", "br", "hr", "img", "input", "link"}
ENORMOUS = b"".join(
    b'{"v": 1, "kind": "step", "stage": "kd", "step": %d, "loss": 1e308, "consistency": -1e308}\n' % step
    for step in range(100)
)
PROBE = json.loads(json.dumps(sample().to_dict()))


class Reader(HTMLParser):
    """Checks that tags are closed in order, and collects what there is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


def reported(folder: Path) -> ResultDocument:
    return report_document(build_report(collect_runs(folder.iterdir())))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "runs"
    for seed in (1, 2):
        for method, wrong in (("kd", 50), ("crild", 4)):
            run_dir = finished(made, method, seed, right(100, range(seed, seed + wrong)), temperature=float(wrong))
            write_curves(run_dir)
            (run_dir / "probe.json").write_text(json.dumps(PROBE))
    return made


def test_a_page_is_well_formed_and_needs_nothing_else(folder: Path) -> None:
    text = page(reported(folder))
    reader = Reader(text)
    names = {tag for tag, _ in reader.tags}
    assert {"table", "svg", "figure", "details"} <= names
    assert not names & {"script", "link", "iframe", "img", "object", "embed", "image"}
    assert not re.search(r"https?:|//\w|@import|url\((?!#p)", text)
    for _, attrs in reader.tags:
        assert not any(name.startswith("on") for name in attrs)
        assert (attrs.get("href") or "#").startswith("#")


def test_ids_are_unique_and_every_reference_is_answered(folder: Path) -> None:
    text = page(reported(folder))
    ids = [attrs["id"] for _, attrs in Reader(text).tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"|aria-labelledby="([^"]*)"', text))
    assert {"".join(names) for names in used} <= set(ids)


def test_it_says_figures_settings_probes_and_where_it_was_made(folder: Path) -> None:
    text = Reader(page(reported(folder))).text
    for words in (
        "2 methods", "96.00 ± 0.00", "90.00 ± 0.00 66.00 ± 0.00", "Marks: paired bootstrap", "stage.kd.temperature 50.0", "host here",
        "rise of loss under noise, train", "attention of the last layer, dev / train", "MRPC: dev accuracy under Gaussian noise", "MRPC: training curves",
        "distance to the teacher by student layer",
    ):  # fmt: skip
        assert words in text, words


def test_pictures_take_the_colours_of_the_page(folder: Path) -> None:
    svg = re.findall(r"<svg.*?</svg>", page(reported(folder)), flags=re.DOTALL)
    assert len(svg) == 4
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", " ".join(svg))


def test_hostile_text_is_text(tmp_path: Path) -> None:
    made = tmp_path / "runs"
    for method in (HOSTILE, "_" + HOSTILE):
        run_dir = finished(made, method, 1, right(10), extra={"task": HOSTILE})
        write_curves(run_dir)
        (run_dir / "environment.json").write_text(
            json.dumps({"host": HOSTILE, "versions": {HOSTILE: HOSTILE}, "git": 3})
        )
        layers = [{"layer": 1, "teacher_layer": 2, "distances": {HOSTILE: {"dev": 1.0}}}]
        strange = {**PROBE, "layers": layers, "metric": HOSTILE, "metrics": {HOSTILE: {"dev": 3}}}
        (run_dir / "probe.json").write_text(json.dumps(strange))
    text = page(reported(made))
    reader = Reader(text)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not {"\x1b", "\u202e"} & set(text)
    assert "<script>alert(1)</script>" in reader.text


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"schema": 2}',
        b'{"schema": 1}',
        json.dumps({**PROBE, "noise": [{**PROBE["noise"][0], "metric": 1e308}], "loss": {"dev": 1e308}}).encode(),
        b'{"schema": 1, "noise": 3, "layers": [7, {"layer": "x"}]}',
    ],
)
def test_a_strange_probe_or_event_file_spoils_nothing(tmp_path: Path, content: bytes) -> None:
    run_dir = finished(tmp_path / "runs", "kd", 1, right(10))
    (run_dir / "probe.json").write_bytes(content)
    (run_dir / "events.1.jsonl").write_bytes(
        content + b'\n{"v": 1, "kind": "step", "stage": [], "step": 1e999}\n' + ENORMOUS
    )
    assert "100.00" in Reader(page(reported(tmp_path / "runs"))).text


def test_the_same_runs_give_the_same_page(folder: Path) -> None:
    assert page(reported(folder), now=0) == page(reported(folder), now=0)


def test_it_has_the_mistakes_of_the_best_seed(tmp_path: Path) -> None:
    names = ("<b>no", "yes")
    for seed, right_answers in ((1, [True, False, True]), (2, [True, True, True])):
        run_dir = finished(tmp_path, "kd", seed, right_answers)
        for model in ("student", "teacher"):
            write(run_dir, model, (0, 1, 0), [sure(answer, 0.9, 2) for answer in (0, 1, 1)], names)
    text = page(report_document(build_report(collect_runs(tmp_path.iterdir()))))
    reader = Reader(text)
    mistakes = text.split("What the students get wrong")[1]
    assert "-s2</code>" in mistakes.split("</summary>")[0]
    assert "<b>no" in reader.said
    assert "66.67" in mistakes
