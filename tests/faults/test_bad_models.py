"""Models that cannot be used, and hubs that cannot be reached: exit code 3, what is wrong, where, and the way out."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.record.run import read_status
from tests.conftest import PATIENCE
from tests.data.fake_hub import fake_hub
from tests.data.test_hub import card, parquet
from tests.faults.conftest import QUICK, Failed, Refused, Tiny
from tests.models.tiny_models import saved, words
from tests.models.tiny_models import tiny as tiny_model

Spoil = Callable[[Path], object]


def change_config(**changes: Any) -> Spoil:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        document = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))

    return change


def cut(length: int) -> Spoil:
    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:length])

    return change


def write(name: str, content: str) -> Spoil:
    return lambda folder: (folder / name).write_text(content)


def pipe(name: str) -> Spoil:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


# -- seen before a run is made


@pytest.mark.parametrize(
    ("spoil", "file", "facts"),
    [
        (cut(-100), "model.safetensors", ["cut short"]),
        (cut(50), "model.safetensors", ["safetensors", "header"]),
        (cut(0), "model.safetensors", ["safetensors", "header"]),
        (write("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), "model.safetensors", ["git lfs pull"]),
        (lambda folder: (folder / "model.safetensors").unlink(), "", ["model.safetensors or pytorch_model.bin"]),
        (change_config(model_type="gpt2"), "config.json", ["gpt2", "mpnet and deberta-v2"]),
        (change_config(model_type="\x1b[31mx"), "config.json", ["\\x1b[31mx"]),
        (change_config(model_type=None), "config.json", ["model_type"]),
        (change_config(hidden_size=30), "config.json", ["30", "4 heads"]),
        (change_config(num_hidden_layers=0), "config.json", ["num_hidden_layers is 0", "from 1"]),
        (write("config.json", '{"model_type":\n'), "config.json", ["JSON"]),
        (pipe("config.json"), "config.json", ["pipe or device"]),
        (pipe("model.safetensors"), "model.safetensors", ["pipe or device"]),
        (pipe("tokenizer.json"), "tokenizer.json", ["pipe or device"]),
        (lambda folder: (folder / "config.json").unlink(), "", ["no config.json"]),
        (lambda folder: (folder / "tokenizer.json").unlink(), "", ["tokenizer.json or vocab.txt", "teacher.tokenizer"]),
    ],
)  # fmt: skip
def test_a_folder_whose_files_show_it(refused: Refused, tiny: Tiny, spoil: Spoil, file: str, facts: list[str]) -> None:
    spoil(tiny.teacher)
    output = refused(*tiny.run(), code=3)
    assert output.startswith(f"error: {tiny.teacher / file if file else tiny.teacher}:"), output
    assert all(fact in output for fact in facts), output


@pytest.mark.parametrize(
    ("model", "fact"),
    [
        ("/nowhere/model", "/nowhere/model: there is no such model folder"),
        ("not a hub id!", "there is no such model folder"),
        ("../\x1b[31m", "\\x1b[31m: there is no such model folder"),
        ("./" + "x" * 300, "cannot be the path of a model"),
    ],
)
def test_a_model_that_is_nowhere(refused: Refused, tiny: Tiny, model: str, fact: str) -> None:
    output = refused(*tiny.run(f"teacher.model={model}"), code=3)
    assert fact in output
    assert "(teacher.model, set in --set teacher.model=" in output


def test_a_file_is_no_model(refused: Refused, tiny: Tiny) -> None:
    output = refused(*tiny.run(f"student.init={tiny.dev}"), code=3)
    assert f"{tiny.dev}: " in output
    assert "config.json" in output


@pytest.mark.parametrize(("size", "prefix", "facts"), [(50, "w", ["50", "100"]), (100, "other", ["other words"])])
def test_a_student_with_another_vocabulary(
    refused: Refused, tiny: Tiny, tmp_path: Path, size: int, prefix: str, facts: list[str]
) -> None:
    other = saved(tmp_path / "other", tiny_model("bert", layers=4, vocab_size=size), words("bert", size, prefix))
    output = refused(*tiny.run(f"student.init={other}"), code=3)
    assert output.startswith(f"error: {other / 'config.json'}: ")
    assert all(fact in output for fact in ("vocabulary", "student.init", *facts)), output


def test_a_tokenizer_that_is_nowhere(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    output = refused(*tiny.run(f"teacher.tokenizer={tmp_path / 'nowhere'}"), code=3)
    assert output.startswith(f"error: {tmp_path / 'nowhere'}: ")
    assert "(teacher.tokenizer, set in --set" in output


def test_a_run_without_a_student_is_no_initial_model(refused: Refused, tiny: Tiny, tmp_path: Path) -> None:
    from engine.record.run import create_run

    run_dir = create_run(tmp_path / "other-runs", "seed = 1\n", name="unfinished", seed=1)
    output = refused(*tiny.run(f"student.init={run_dir}"), code=3)
    assert output.startswith(f"error: {run_dir / 'student'}: ")
    assert "no student yet" in output


# -- met by the engine, that reads the weights


def not_finite(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights["classifier.bias"] *= float("nan")
    save_file(weights, file, {"format": "pt"})


class Command:
    """What a hostile pickle would have run."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def hostile(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Command(folder / "pwned")}, folder / "pytorch_model.bin", pickle_module=pickle)


@pytest.mark.parametrize(
    ("spoil", "facts"),
    [
        (change_config(hidden_size=64), ["config.json", "bert.embeddings.LayerNorm.bias", "[32]", "[64]"]),
        (change_config(num_hidden_layers=6), ["config.json", "bert.encoder.layer.4."]),
        (change_config(num_hidden_layers=3), ["config.json", "bert.encoder.layer.3."]),
        (change_config(model_type="roberta"), ["config.json", "roberta.embeddings."]),
        (not_finite, ["NaN", "classifier.bias"]),
        (hostile, ["pickle", "safetensors"]),
        (write("tokenizer.json", "{}"), ["the tokenizer in"]),
        (lambda folder: words("bert", 150).save_pretrained(folder), ["150 tokens"]),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_model(failed: Failed, tiny: Tiny, spoil: Spoil, facts: list[str]) -> None:
    spoil(tiny.teacher)
    told, status = failed(*tiny.quick())
    assert str(tiny.teacher) in told
    assert all(fact in told for fact in facts), told
    assert status.error is not None
    assert status.error.kind == "model"
    assert not (tiny.teacher / "pwned").exists()


def test_a_teacher_whose_outputs_have_no_names(failed: Failed, tiny: Tiny) -> None:
    told, _ = failed(*tiny.quick("teacher.finetune=false"))
    assert all(fact in told for fact in ("does not name its classes", "labels = [...]", "bad, good")), told
    told, _ = failed(*tiny.quick("teacher.finetune=false", 'teacher.labels=["godo", "bad"]'))
    assert all(fact in told for fact in ("teacher.labels", "godo, bad", "custom", "2 classes (bad, good)"))


def test_a_teacher_that_does_not_know_the_task(failed: Failed, tiny: Tiny) -> None:
    saved(tiny.teacher, tiny_model("bert", layers=4, labels=3))
    told, _ = failed(*tiny.quick("teacher.finetune=false"))
    facts = ("3 outputs (LABEL_0, LABEL_1, LABEL_2)", "custom", "2 classes (bad, good)", "[teacher.finetune]")
    assert all(fact in told for fact in facts)


def test_what_does_not_fit_is_met_before_a_teacher_is_trained(
    failed: Failed, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model whose words cannot be told beforehand (a hub's, a tokenizer of another form)."""
    other = saved(tmp_path / "other", tiny_model("bert", layers=4), words("bert", prefix="other"))
    monkeypatch.setattr("engine.preflight.models._vocabulary", lambda _: {})
    told, status = failed(*tiny.quick(f"student.init={other}"))
    assert all(fact in told for fact in (str(other), "different vocabularies", "token by token"))
    assert status.step == 0
    assert status.stage is None


# -- the hub


def hub_run(tiny: Tiny, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`crild run` with an engine process that may ask the hub of the environment."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env.pop("HF_HUB_OFFLINE")
    command = [sys.executable, "-P", "-c", "import sys; from crild_tui.cli import main; sys.exit(main())"]
    words = [*tiny.run(*QUICK, *settings), "--name", "mine", "--quiet"]
    return subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=PATIENCE, check=False, env={**env, **environment}
    )


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "teacher.model=some/model",
            ["cannot be reached", "no folder of that name", "local folder", "HF_ENDPOINT", "HTTPS_PROXY"],
        ),
        (
            "stage.ild.data={corpus = 'some/set'}",
            ["some/set", "a local text file or folder instead", "HF_ENDPOINT"],
        ),
    ],
)
def test_a_hub_that_cannot_be_reached(tiny: Tiny, runs_dir: Path, setting: str, said: list[str]) -> None:
    done = hub_run(tiny, setting, HF_ENDPOINT=NOWHERE)
    assert done.returncode == 3, done.stderr
    first = done.stderr.splitlines()[0]
    assert first.startswith("error: ")
    assert NOWHERE in first
    assert all(words in first for words in said), first
    assert "Traceback" not in done.stderr
    assert read_status(runs_dir / "mine-s7").state == "failed"


def test_mirrors_and_proxies_are_asked(tiny: Tiny, tmp_path: Path, runs_dir: Path) -> None:
    """The mirror's name means nothing to this machine: only the proxy can know it."""
    glue = tmp_path / "hub" / "nyu-mll" / "glue"
    for split, rows in (("train", 12), ("validation", 6)):
        texts = {f"sentence{n}": [f"w{n + row} w{20 * (row % 2)}" for row in range(rows)] for n in (1, 2)}
        parquet(glue / "rte" / f"{split}-0.parquet", **texts, label=[row % 2 for row in range(rows)])
    (glue / "README.md").write_text(card({"rte": ["train", "validation"]}, {"rte": ["entailment", "not_entailment"]}))
    text = tiny.preset.read_text()
    start, end = text.index("[task]"), text.index("[teacher]")
    tiny.preset.write_text(text[:start] + '[task]\nname = "rte"\nmax_length = 24\n' + text[end:])
    with fake_hub(tmp_path / "hub") as (address, requests):
        done = hub_run(tiny, HF_ENDPOINT="http://mirror.invalid", HTTP_PROXY=address, http_proxy=address)
        assert done.returncode == 0, done.stderr
        assert any("http://mirror.invalid/api/datasets/nyu-mll/glue" in request for request in requests), requests
    assert read_status(runs_dir / "mine-s7").state == "finished"
    assert 'revision = "0123456789abcdef0123456789abcdef01234567"' in (runs_dir / "mine-s7" / "preset.toml").read_text()
    shutil.rmtree(runs_dir)
