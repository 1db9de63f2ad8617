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
from engine.data.hub import load_hub
from engine.errors import DataError
from engine.preset.schema import Task

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
        found[name]["error"] = [error.sentence, error.key, error.exit_code]
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
        timeout=120,
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
    note = f"The hub could not be asked; nyu-mll/glue was taken from an earlier load, at commit {COMMIT}."
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
    sentence, key, code = offline["other"]["error"]
    assert f"nyu-mll/glue (rte) at revision {'f' * 40} is not among the data loaded on this machine before" in sentence
    assert "HF_HUB_OFFLINE keeps the hub from being asked" in sentence
    assert "a folder in the official GLUE layout instead" in sentence
    assert (key, code) == ("task.source", 3)
    assert "nyu-mll/glue (cola) is not among the data" in offline["config"]["error"][0]


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
    assert errors["revision"] == ['the hub\'s data set nyu-mll/glue has no revision "v9"', "task.revision", 3]
    assert errors["config"][0].startswith('the hub\'s data set nyu-mll/glue has no configuration "cola"')
    assert errors["dataset"][0].startswith('the hub has no data set "someone/nothing"')
    assert errors["column"][0] == 'someone/lines has no column "text"; its columns are "body", "count"'
    assert errors["no text"][0].startswith('"1" in row 0 of column "count" of someone/lines is no text')


def test_a_hub_that_cannot_be_reached_says_what_can_be_used_instead(tmp_path: Path) -> None:
    sources: dict[str, dict[str, Any]] = {"task": {"name": "sst2"}, "corpus": {"corpus": "someone/lines"}}
    found = ask(tmp_path / "home-of-hub", sources, HF_ENDPOINT="http://127.0.0.1:9")
    sentence, key, code = found["task"]["error"]
    assert found["task"]["commit"] is None
    assert (key, code) == ("task.source", 3)
    for words in (
        "the hub at http://127.0.0.1:9 cannot be used",
        "nyu-mll/glue (sst2) is not among the data loaded on this machine before",
        "task.source can be a folder in the official GLUE layout instead",
        "HF_ENDPOINT can name a mirror",
        "HTTPS_PROXY a proxy",
        "HF_HUB_OFFLINE=1",
    ):
        assert words in sentence
    assert "a local text file or folder instead" in found["corpus"]["error"][0]


def test_a_hub_behind_a_proxy_is_reached_through_it(served: tuple[str, list[str]], tmp_path: Path) -> None:
    proxy, _ = served
    sources: dict[str, dict[str, Any]] = {"rte": {"name": "rte"}}
    found = ask(tmp_path / "home-of-hub", sources, HF_ENDPOINT="http://hub.invalid", HTTP_PROXY=proxy)
    assert len(found["rte"]["train"]) == 3


def test_a_hub_in_trouble_is_told_with_its_answer(served: tuple[str, list[str]], tmp_path: Path) -> None:
    url, _ = served
    found = ask(tmp_path / "home-of-hub", {"corpus": {"corpus": "someone/broken"}}, HF_ENDPOINT=url)
    sentence = found["corpus"]["error"][0]
    assert f"the hub at {url} cannot be used" in sentence
    assert "503" in sentence


def stub(monkeypatch: pytest.MonkeyPatch, names: list[str] | None, labels: list[Any], texts: list[Any]) -> None:
    """Puts a builder with these rows in every split in place of the hub's."""
    feature = SimpleNamespace(names=names) if names else SimpleNamespace()
    columns = {"sentence1": texts, "sentence2": texts, "sentence": texts, "label": labels}
    columns |= {"premise": texts, "hypothesis": texts}
    rows = SimpleNamespace(
        column_names=list(columns),
        select_columns=lambda wanted: SimpleNamespace(to_dict=lambda: {name: columns[name] for name in wanted}),
    )
    splits = ["train", "validation", "validation_matched", "validation_mismatched"]
    info = SimpleNamespace(features={"label": feature}, splits=splits)
    builder = SimpleNamespace(info=info, as_dataset=lambda **_: rows)
    monkeypatch.setattr(hub, "_builder", lambda _: (builder, ()))


def test_classes_are_matched_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    stub(monkeypatch, ["contradiction", "entailment", "neutral"], [0, 1, 2], ["a", "b", "c"])
    data = load_hub(Task(name="mnli"))
    assert [data.spec.labels[int(example.label or 0)] for example in data.train] == [
        "contradiction",
        "entailment",
        "neutral",
    ]
    assert list(data.dev) == ["dev_matched", "dev_mismatched"]


@pytest.mark.parametrize(
    ("name", "names", "labels", "texts", "sentence"),
    [
        (
            "rte",
            ["entailment", "not_entailment"],
            [0, -1],
            ["a", "b"],
            "row 1 of nyu-mll/glue (rte, train) has no label",
        ),
        ("rte", ["yes", "no"], [0, 1], ["a", "b"], 'are "yes", "no", where those of GLUE are "entailment"'),
        ("rte", None, [0, 1], ["a", "b"], "have no names"),
        (
            "stsb",
            None,
            [1.0, 5.5],
            ["a", "b"],
            "the score 5.5 in row 1 of nyu-mll/glue (stsb, train) is not from 0 to 5",
        ),
        ("stsb", None, [1.0, float("nan")], ["a", "b"], "the score nan in row 1"),
        (
            "cola",
            ["unacceptable", "acceptable"],
            [0, 1],
            ["a", None],
            "row 1 of nyu-mll/glue (cola, train) has no text",
        ),
        ("cola", ["unacceptable", "acceptable"], [], [], "nyu-mll/glue (cola, train) has no rows"),
    ],
)
def test_what_is_not_glue_is_refused(
    name: Any,
    names: list[str] | None,
    labels: list[Any],
    texts: list[Any],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub(monkeypatch, names, labels, texts)
    with pytest.raises(DataError) as error:
        load_hub(Task(name=name))
    assert sentence in error.value.sentence
    assert error.value.exit_code == 3
