"""Data from the hub: read from a small HTTP server of its form, in processes of their own (it is read at import)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.data import hub
from engine.data.examples import named_label
from engine.data.hub import load_hub
from engine.errors import DataError
from engine.preset.schema import Task
from tests.conftest import PATIENCE

from .fake_hub import COMMIT, OLDER, fake_hub

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, sys
from engine.data.load import load_corpus, load_task, resolve_revision
from engine.errors import CrildError
from engine.preset.schema import Corpus, Task

found = {}
for name, words in json.loads(sys.argv[1]).items():
    source = Corpus(**words) if "corpus" in words else Task(**words)
    found[name] = {}
    try:
        found[name]["commit"] = resolve_revision(source)
        if "corpus" in words:
            found[name]["corpus"] = [[e.id, e.text, e.label] for e in load_corpus(source, 0)]
        else:
            data = load_task(source)
            found[name]["train"] = [[e.id, e.text, e.pair, e.label] for e in data.train]
            found[name]["dev"] = {k: [[e.id, e.text, e.pair, e.label] for e in rows] for k, rows in data.dev.items()}
            found[name]["notes"] = data.notes
    except CrildError as error:
        found[name]["error"] = [error.sentence, error.key, error.exit_code, error.kind]
print(json.dumps(found))
"""


def ask(home: Path, sources: dict[str, dict[str, Any]], **environment: str) -> dict[str, Any]:
    """What a fresh process gets for the sources under the given environment, with HF_HOME at home."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env.pop("HF_HUB_OFFLINE")
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(sources)],
        env={**env, "HF_HOME": str(home), "PYTHONPATH": str(REPOSITORY), **environment},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def parquet(path: Path, **columns: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def card(configs: dict[str, list[str]], labels: dict[str, list[str]]) -> str:
    """A README in the form of GLUE's: which files make which split, and the names of classes."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        lines += [line for split in splits for line in (f"  - split: {split}", f"    path: {config}/{split}-*")]
    lines.append("dataset_info:")
    for config, names in labels.items():
        lines += [f"- config_name: {config}", "  features:"]
        lines += [
            line for column in ("sentence1", "sentence2") for line in (f"  - name: {column}", "    dtype: string")
        ]
        lines += ["  - name: label", "    dtype:", "      class_label:", "        names:"]
        lines += [f"          '{index}': {name}" for index, name in enumerate(names)]
    return "\n".join([*lines, "---", ""])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    folder = tmp_path_factory.mktemp("hub")
    glue = folder / "nyu-mll" / "glue"
    for split, label in (("train", [0, 1, 1]), ("validation", [1, 0]), ("test", [-1])):
        rows = {"sentence1": [f"{split} {n}" for n in range(len(label))], "sentence2": ["so"] * len(label)}
        parquet(glue / "rte" / f"{split}-0.parquet", **rows, label=label)
    scores = {"train": [0.0, 5.0, 2.5], "validation": [3.75, 1.0]}
    for split, values in scores.items():
        rows = {"sentence1": ["one"] * len(values), "sentence2": ["two"] * len(values)}
        parquet(glue / "stsb" / f"{split}-0.parquet", **rows, label=values)
    names = {"rte": ["entailment", "not_entailment"]}
    (glue / "README.md").write_text(
        card({"rte": ["train", "validation", "test"], "stsb": ["train", "validation"]}, names)
    )
    older = folder / "nyu-mll" / f"glue@{OLDER}"
    for split in ("train", "validation"):
        parquet(older / "rte" / f"{split}-0.parquet", sentence1=["older"], sentence2=["so"], label=[0])
    (older / "README.md").write_text(card({"rte": ["train", "validation"]}, names))
    texts: list[Any] = ["A first line .", "", " = Heading = ", "A second line . And a sentence ."]
    parquet(folder / "someone" / "lines" / "data" / "train-0.parquet", body=texts, count=[1, 2, 3, 4])
    with fake_hub(folder) as server:
        yield server


def test_tasks_and_corpora_come_from_the_hub_and_later_from_what_it_left(
    served: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, requests = served
    home = tmp_path / "home-of-hub"
    sources: dict[str, dict[str, Any]] = {
        "rte": {"name": "rte"},
        "stsb": {"name": "stsb"},
        "corpus": {"corpus": "someone/lines", "column": "body", "unit": "sentence"},
    }
    found = ask(home, sources, HF_ENDPOINT=url)
    rte = found["rte"]
    assert rte["commit"] == COMMIT
    assert rte["train"][1] == ["train-1", "train 1", "so", 1]
    assert rte["dev"] == {"dev": [["dev-0", "validation 0", "so", 1], ["dev-1", "validation 1", "so", 0]]}
    assert rte["notes"] == []
    assert [row[3] for row in found["stsb"]["train"]] == [0.0, 5.0, 2.5]
    lines = ["A first line .", "A second line .", "And a sentence ."]
    assert found["corpus"]["corpus"] == [[f"corpus-{row}", line, None] for row, line in enumerate(lines)]
    assert any(f"/resolve/{COMMIT}/rte/train-0.parquet" in request for request in requests), "read at its commit"

    later = ask(home, sources, HF_ENDPOINT="http://127.0.0.1:9")
    note = f"The hub is unreachable; using nyu-mll/glue from an earlier download, at commit {COMMIT}."
    assert later["rte"] == {**rte, "notes": [note]}
    assert later["corpus"] == found["corpus"]

    pinned = {
        "same": {"name": "rte", "revision": COMMIT},
        "other": {"name": "rte", "revision": "f" * 40},
        "config": {"name": "cola"},
    }
    before = len(requests)
    offline = ask(home, pinned, HF_HUB_OFFLINE="1", HF_ENDPOINT=url)
    assert len(requests) == before, "offline means offline"
    assert offline["same"] == rte
    sentence, *rest = offline["other"]["error"]
    assert f"nyu-mll/glue (rte) at revision {'f' * 40}" in sentence
    assert "HF_HUB_OFFLINE" in sentence
    assert "a folder in the official GLUE layout" in sentence
    assert rest == ["task.source", 3, "hub-offline"]
    assert "nyu-mll/glue (cola)" in offline["config"]["error"][0]


def test_a_revision_is_read_at_its_commit_even_beside_a_newer_copy(
    served: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, _ = served
    home = tmp_path / "home-of-hub"
    sources: dict[str, dict[str, Any]] = {
        "tag": {"name": "rte", "revision": "v1"},
        "commit": {"name": "rte", "revision": OLDER},
        "newest": {"name": "rte"},
    }
    found = ask(home, sources, HF_ENDPOINT=url)
    assert [found[name]["commit"] for name in sources] == [OLDER, OLDER, COMMIT]
    assert [len(found[name]["train"]) for name in sources] == [1, 1, 3]
    assert found["tag"]["train"] == [["train-0", "older", "so", 0]]
    offline = ask(
        home, {"commit": sources["commit"], "newest": {"name": "rte", "revision": COMMIT}}, HF_HUB_OFFLINE="1"
    )
    assert offline["commit"] == found["commit"]
    assert offline["newest"]["train"] == found["newest"]["train"]


def test_what_the_hub_does_not_have_is_said(served: tuple[str, list[str]], tmp_path: Path) -> None:
    url, _ = served
    sources: dict[str, dict[str, Any]] = {
        "revision": {"name": "rte", "revision": "v9"},
        "config": {"name": "cola"},
        "dataset": {"corpus": "someone/nothing"},
        "column": {"corpus": "someone/lines"},
        "no text": {"corpus": "someone/lines", "column": "count"},
    }
    found = ask(tmp_path / "home-of-hub", sources, HF_ENDPOINT=url)
    errors = {name: answer["error"] for name, answer in found.items()}
    assert {name: error[3] for name, error in errors.items()} == {
        "revision": "no-such-revision", "config": "dataset-not-loaded", "dataset": "no-such-dataset",
        "column": "no-such-column", "no text": "not-text",
    }  # fmt: skip
    assert errors["revision"][1:3] == ["task.revision", 3]
    facts = {
        "revision": ("nyu-mll/glue", '"v9"'), "config": ("nyu-mll/glue", '"cola"'), "dataset": ('"someone/nothing"',),
        "column": ("someone/lines", '"text"', '"body", "count"'), "no text": ('"1"', "row 0", '"count"', "someone/lines"),
    }  # fmt: skip
    assert [(name, fact) for name in facts for fact in facts[name] if fact not in errors[name][0]] == []


def test_a_hub_that_cannot_be_reached_says_what_can_be_used_instead(tmp_path: Path) -> None:
    sources: dict[str, dict[str, Any]] = {"task": {"name": "sst2"}, "corpus": {"corpus": "someone/lines"}}
    found = ask(tmp_path / "home-of-hub", sources, HF_ENDPOINT="http://127.0.0.1:9")
    sentence, *rest = found["task"]["error"]
    assert found["task"]["commit"] is None
    assert rest == ["task.source", 3, "hub-unreachable"]
    for words in (
        "http://127.0.0.1:9",
        "nyu-mll/glue (sst2)",
        "task.source can be a folder",
        "HF_ENDPOINT",
        "HTTPS_PROXY",
        "HF_HUB_OFFLINE=1",
    ):
        assert words in sentence
    assert "a local text file or folder" in found["corpus"]["error"][0]


def test_a_hub_behind_a_proxy_is_reached_through_it(served: tuple[str, list[str]], tmp_path: Path) -> None:
    proxy, _ = served
    sources: dict[str, dict[str, Any]] = {"rte": {"name": "rte"}}
    found = ask(tmp_path / "home-of-hub", sources, HF_ENDPOINT="http://hub.invalid", HTTP_PROXY=proxy)
    assert len(found["rte"]["train"]) == 3


def test_a_hub_in_trouble_is_told_with_its_answer(served: tuple[str, list[str]], tmp_path: Path) -> None:
    url, _ = served
    found = ask(tmp_path / "home-of-hub", {"corpus": {"corpus": "someone/broken"}}, HF_ENDPOINT=url)
    sentence, *_, kind = found["corpus"]["error"]
    assert kind == "hub-unreachable"
    assert url in sentence
    assert "503" in sentence


def stub(monkeypatch: pytest.MonkeyPatch, names: list[str] | None, labels: list[Any], texts: list[Any]) -> None:
    """Puts a builder with these rows in every split in place of the hub's."""
    feature = SimpleNamespace(names=names) if names else SimpleNamespace()
    columns = {"sentence1": texts, "sentence2": texts, "sentence": texts, "label": labels}
    columns |= {"premise": texts, "hypothesis": texts}
    rows = SimpleNamespace(
        column_names=list(columns),
        select_columns=lambda wanted: SimpleNamespace(iter=lambda _: iter([{name: columns[name] for name in wanted}])),
    )
    splits = ["train", "validation", "validation_matched", "validation_mismatched"]
    info = SimpleNamespace(features={"label": feature}, splits=splits)
    builder = SimpleNamespace(info=info, as_dataset=lambda **_: rows)
    monkeypatch.setattr(hub, "_builder", lambda *_: (builder, ()))


def test_classes_are_matched_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, ["contradiction", "entailment", "neutral"], [0, 1, 2], ["a", "b", "c"])
    data = load_hub(Task(name="mnli"))
    assert [named_label(example.label, data.spec.labels) for example in data.train] == [
        "contradiction",
        "entailment",
        "neutral",
    ]
    assert list(data.dev) == ["dev_matched", "dev_mismatched"]


@pytest.mark.parametrize(
    ("name", "names", "labels", "texts", "expected"),
    [
        (
            "rte",
            ["entailment", "not_entailment"],
            [0, -1],
            ["a", "b"],
            ("missing-label", "1"),
        ),
        ("rte", ["yes", "no"], [0, 1], ["a", "b"], ("labels-not-glue", '"yes"', '"no"', '"entailment"')),
        ("rte", None, [0, 1], ["a", "b"], ("labels-not-glue",)),
        (
            "stsb",
            None,
            [1.0, 5.5],
            ["a", "b"],
            ("invalid-score", "5.5", "1", "0"),
        ),
        ("stsb", None, [1.0, float("nan")], ["a", "b"], ("invalid-score", "1")),
        (
            "cola",
            ["unacceptable", "acceptable"],
            [0, 1],
            ["a", None],
            ("missing-text", "1"),
        ),
        ("cola", ["unacceptable", "acceptable"], [], [], ("no-rows",)),
    ],
)
def test_what_is_not_glue_is_refused(
    name: Any,
    names: list[str] | None,
    labels: list[Any],
    texts: list[Any],
    expected: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub(monkeypatch, names, labels, texts)
    with pytest.raises(DataError) as error:
        load_hub(Task(name=name))
    kind, *facts = expected
    assert error.value.kind == kind
    assert all(fact in error.value.sentence for fact in facts)
    assert error.value.exit_code == 3
