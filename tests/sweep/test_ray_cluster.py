"""The nodes of a Ray cluster, the slots on them, and what is refused before anything starts. Needs no Ray."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.sweep import cluster
from engine.sweep.cluster import Cluster, Node, look_at, ray_slots
from engine.sweep.ray_cluster import connection_error, marker
from engine.sweep.ray_engines import passed_environment
from engine.sweep.ray_tasks import probe
from engine.sweep.record import SweepRecord
from engine.sweep.slots import Slot
from tests.errors import raises

CPUS = Cluster("auto", (Node("a", "node-1", 4.0, 0.0), Node("b", "node-2", 3.0, 0.0)))
GPUS = Cluster("auto", (Node("a", "node-1", 16.0, 2.0), Node("b", "node-2", 12.0, 4.0), Node("c", "head", 2.0, 0.0)))


@pytest.mark.parametrize(
    ("where", "words", "expected"),
    [
        (CPUS, {}, (Slot("cpu", 1),) * 7),
        (CPUS, {"slots": 3}, (Slot("cpu", 1),) * 3),
        (CPUS, {"threads": 2}, (Slot("cpu", 2),) * 3),  # 2 on the first node, 1 on the second
        (CPUS, {"before": [Slot("cpu", 3)]}, (Slot("cpu", 3),) * 2),  # a sweep keeps the threads of its runs
        (GPUS, {}, (Slot("cuda", 3, 1.0),) * 6),  # 12 cores for 4 GPUs
        (GPUS, {"gpus": 0.5}, (Slot("cuda", 1, 0.5),) * 12),
        (GPUS, {"gpus": 0.4, "threads": 1}, (Slot("cuda", 1, 0.4),) * 12),  # no run has parts of two GPUs
        (GPUS, {"gpus": 2.0}, (Slot("cuda:0,cuda:1", 6, 2.0),) * 3),
        (GPUS, {"gpus": 0.0}, (Slot("cpu", 1),) * 30),
        (GPUS, {"own": "cpu"}, (Slot("cpu", 1),) * 30),
        (GPUS, {"own": "cuda:1"}, (Slot("cuda", 3, 1.0),) * 6),  # on its node, the GPU that Ray gives it is the first
        (GPUS, {"own": "cuda:0,cuda:1", "threads": 1}, (Slot("cuda:0,cuda:1", 1, 2.0),) * 3),
    ],
)
def test_slots_are_as_many_as_fit(where: Cluster, words: dict[str, Any], expected: tuple[Slot, ...]) -> None:
    more = dict(words)
    own, threads = more.pop("own", None), more.pop("threads", None)
    assert ray_slots(where, 40, [own, own], [threads, threads], **more) == expected


def test_there_are_no_more_slots_than_runs_and_none_on_nodes_with_a_problem() -> None:
    assert len(ray_slots(CPUS, 2, [None], [None])) == 2
    lame = Cluster("auto", (CPUS.nodes[0], replace(CPUS.nodes[1], problem="does not see '/runs'")))
    assert len(ray_slots(lame, 40, [None], [None])) == 4
    assert lame.problems() == ["node-2 does not see '/runs'"]
    own = Cluster("auto", (replace(CPUS.nodes[0], shares_cache=False),))
    assert ["node-1" in sentence and "CRILD_CACHE_DIR" in sentence for sentence in own.problems()] == [True]


@pytest.mark.parametrize(
    ("words", "kind", "facts"),
    [
        ({"gpus": 8.0}, "no-ray-node-with-resources", ["8 GPUs", "node-2 has 4 GPUs and 12 CPUs"]),
        ({"threads": 99}, "no-ray-node-with-resources", ["99 CPUs", "node-1"]),
        ({"gpus": 1.5}, "invalid-gpus-per-run", ["1.5"]),
        ({"gpus": -1.0}, "invalid-gpus-per-run", ["-1"]),
        ({"gpus": float("nan")}, "invalid-gpus-per-run", ["nan"]),
        ({"gpus": float("inf")}, "invalid-gpus-per-run", ["inf"]),
        ({"gpus": 1.0, "own": "cpu"}, "gpus-of-another-device", ['"cpu"']),
        ({"gpus": 0.0, "own": "cuda"}, "gpus-of-another-device", ['"cuda"']),
        ({"slots": 0}, "invalid-slots", ["0"]),
    ],
)
def test_runs_that_can_never_start_are_refused(words: dict[str, Any], kind: str, facts: list[str]) -> None:
    more = dict(words)
    own, threads = more.pop("own", None), more.pop("threads", None)
    with raises(kind, *facts):
        ray_slots(GPUS, 40, [own], [threads], **more)


def installed(monkeypatch: pytest.MonkeyPatch, answer: object = True) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: answer if name == "ray" else real(name, *more))


@pytest.mark.parametrize("address", ["auto", "local", "127.0.0.1:6379"])
def test_without_the_extra_the_command_names_it(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, None)
    monkeypatch.setattr(cluster, "_check_address", lambda _: None)
    with raises("ray-not-installed", 'pip install "crild[ray]"'):
        look_at(address, tmp_path)


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "head", "head:", ":6379", "head:0", "head:99999", "head:x", "", "a\0b:1x"]
)
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    with raises("invalid-ray-address", "HOST:PORT"):
        look_at(address, tmp_path)


def test_where_nobody_listens_there_is_no_cluster(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with raises("no-ray-cluster", address):
        look_at(address, tmp_path)


def answering(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """A process that answers in the place of the one that asks the cluster."""
    installed(monkeypatch)
    monkeypatch.setattr(cluster, "process_command", lambda *words: [sys.executable, "-c", code, *words])


def test_a_cluster_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(cluster, "ANSWER_WITHIN", 0.5)
    with raises("ray-not-answering", "auto"):
        look_at("auto", tmp_path)


def test_the_answer_has_nodes_or_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(document: object) -> None:
        answering(monkeypatch, f"print('noise'); print({json.dumps(document)!r})")

    node = {"id": "a", "host": "node-1", "cpus": 2.0, "gpus": 0.0, "problem": None, "shares_cache": True}
    say({"nodes": [node]})
    assert look_at("auto", tmp_path).usable == (Node("a", "node-1", 2.0, 0.0),)
    say({"error": {"kind": "ray-version-mismatch", "sentence": "Ray 1 and Ray 2"}})
    with raises("ray-version-mismatch", "Ray 1 and Ray 2"):
        look_at("auto", tmp_path)
    say({"nodes": [{**node, "problem": "does not see '/runs'"}]})
    with raises("no-usable-ray-node", "node-1 does not see '/runs'"):
        look_at("auto", tmp_path)
    answering(monkeypatch, "import sys; sys.exit('it fell over')")
    with raises("cannot-ask-ray", "it fell over"):
        look_at("auto", tmp_path)


def test_errors_of_ray_are_sentences() -> None:
    mismatch = RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1\n")
    for address, error, kind, fact in (
        ("10.0.0.1:6379", mismatch, "ray-version-mismatch", "Ray: 2.9.0 Python: 3.10.1"),
        ("auto", ConnectionError("Could not find any running Ray instance."), "no-ray-cluster", "--ray local"),
        ("10.0.0.1:6379", ValueError("bad\nluck"), "cannot-connect-to-ray", "bad luck"),
        ("local", OSError("no room"), "cannot-connect-to-ray", "no room"),
    ):
        found = connection_error(address, error)
        assert (found.kind, fact in found.sentence, "\n" in found.sentence) == (kind, True, False)


def test_a_marker_shows_whether_a_folder_is_shared(tmp_path: Path) -> None:
    with marker(tmp_path / "runs" / "deep") as (path, content), marker(tmp_path) as (other, different):
        assert path.parent == tmp_path  # a plan creates no runs folder
        assert content != different
        assert probe(str(path), str(other)) == {"runs": content, "cache": different}
        assert probe(str(tmp_path / "away"), str(tmp_path)) == {"runs": None, "cache": None}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_nodes_get_settings_and_caches_and_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRILD_CACHE_DIR", str(tmp_path / "cache"))
    passed = passed_environment({
        "HF_HOME": "/hf", "HF_HUB_OFFLINE": "1", "CRILD_CONFIG": "/c.toml", "HF_TOKEN": "hf_abcdefghijklmnopqrstuv",
        "CRILD_TOKEN": "abc", "HTTPS_PROXY": "http://me:pw@proxy", "HF_ENDPOINT": "https://me:pw@mirror", "HOME": "/root",
    })  # fmt: skip
    cache = str(tmp_path / "cache")
    assert passed == {"HF_HOME": "/hf", "HF_HUB_OFFLINE": "1", "CRILD_CONFIG": "/c.toml", "CRILD_CACHE_DIR": cache}


def test_the_record_of_a_sweep_names_its_cluster_and_older_ones_have_none() -> None:
    record = SweepRecord("s", "s.toml", 1.0, {}, (), (Slot("cuda", 4, 0.5),), ray="10.0.0.1:6379")
    document = json.loads(json.dumps(record.to_dict()))
    assert SweepRecord.from_dict(document) == record
    del document["ray"], document["slots"][0]["gpus"]
    assert SweepRecord.from_dict(document) == replace(record, ray=None, slots=(Slot("cuda", 4),))
