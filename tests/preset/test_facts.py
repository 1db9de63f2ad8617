"""What a config.json tells about a model, and what it says when it is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import ModelError
from engine.models.family_rules import FAMILIES
from engine.preflight.model_facts import ModelFacts, model_facts
from engine.preset.source_names import hub_cache
from tests.preset.support import model_folder


def facts(folder: Path) -> ModelFacts:
    found = model_facts(str(folder))
    assert found is not None
    return found


def test_bert(tmp_path: Path) -> None:
    found = facts(model_folder(tmp_path / "m", id2label={"1": "yes", "0": "no"}))
    assert found == ModelFacts("bert", 12, 768, 12, 3072, 30522, ("no", "yes"), 512, tmp_path / "m")


def test_distilbert_has_other_names_for_the_same_sizes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"model_type": "distilbert", "dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 100, "vocab_size": 9}
        )
    )
    found = facts(tmp_path)
    assert (found.layers, found.hidden_size, found.heads, found.intermediate_size) == (3, 64, 4, 100)
    assert (found.vocab_size, found.max_positions) == (9, 512)


def test_roberta_counts_positions_after_the_padding_token(tmp_path: Path) -> None:
    for family in ("roberta", "xlm-roberta"):
        folder = model_folder(tmp_path / family, model_type=family, max_position_embeddings=514, pad_token_id=1)
        assert facts(folder).max_positions == 512


def test_electra_and_what_a_config_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "electra", "num_hidden_layers": 5, "embedding_size": 128}')
    found = facts(tmp_path)
    assert (found.layers, found.hidden_size, found.heads, found.intermediate_size) == (5, 256, 4, 1024)


def test_mpnet_counts_positions_as_roberta_and_modernbert_reads_long_texts(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mpnet", model_type="mpnet", max_position_embeddings=514, pad_token_id=1)
    assert facts(folder).max_positions == 512
    (tmp_path / "config.json").write_text(
        '{"model_type": "modernbert", "global_attn_every_n_layers": 3, "local_attention": 128}'
    )
    found = facts(tmp_path)
    assert (found.layers, found.intermediate_size, found.max_positions) == (22, 1152, 8192)


def test_members_of_a_family_that_are_built_otherwise(tmp_path: Path) -> None:
    for family, key, value in (("albert", "inner_group_num", 2), ("deberta-v2", "conv_kernel_size", 3)):
        changes: dict[str, object] = {"model_type": family, key: value}
        folder = model_folder(tmp_path / family, vocabulary=(), **changes)
        with pytest.raises(ModelError) as caught:
            facts(folder)
        assert caught.value.kind == "unusable-variant"
        assert key in caught.value.sentence
        assert caught.value.file == str(folder / "config.json")
    for number, odd in enumerate(("x", None, 0, [1])):
        folder = model_folder(tmp_path / str(number), model_type="deberta-v2", conv_kernel_size=odd)
        assert facts(folder).layers == 12


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_defaults_are_those_of_transformers(tmp_path: Path, family: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(family)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    found = facts(tmp_path)
    assert (found.layers, found.hidden_size, found.heads) == (
        config.num_hidden_layers,
        config.hidden_size,
        config.num_attention_heads,
    )
    assert found.vocab_size == config.vocab_size
    (tmp_path / "full").mkdir()
    config.save_pretrained(tmp_path / "full")
    written = facts(tmp_path / "full")
    assert (written.layers, written.intermediate_size) == (found.layers, found.intermediate_size)
    assert written.labels is None


@pytest.mark.parametrize(
    ("id2label", "labels"),
    [
        (None, None),
        ({}, None),
        ({"0": "LABEL_0", "1": "LABEL_1"}, None),
        ({"0": "LABEL_0", "1": "yes"}, ("LABEL_0", "yes")),
        ({str(index): f"name {index}" for index in range(11)}, tuple(f"name {index}" for index in range(11))),
    ],
)
def test_labels(tmp_path: Path, id2label: object, labels: tuple[str, ...] | None) -> None:
    assert facts(model_folder(tmp_path, id2label=id2label)).labels == labels


@pytest.mark.parametrize(
    ("content", "kind", "fact", "line"),
    [
        (b'{\n "model_type": "bert",\n oops }', "invalid-json", "", 3),
        (b"", "invalid-json", "Expecting value", 1),
        (b"[1]", "not-json-object", "", None),
        (b'{"model_type": "b\xff"}', "not-utf8", "", None),
        (b"{}", "no-model-type", "", None),
        (b'{"model_type": 3}', "no-model-type", "", None),
        (b'{"model_type": "bert", "num_hidden_layers": 0}', "invalid-size", "num_hidden_layers is 0", None),
        (b'{"model_type": "bert", "num_hidden_layers": "12"}', "invalid-size", 'num_hidden_layers is "12"', None),
        (b'{"model_type": "bert", "hidden_size": 7.5}', "invalid-size", "hidden_size is 7.5", None),
        (b'{"model_type": "bert", "vocab_size": 1e99}', "invalid-size", "vocab_size is 1e+99", None),
        (b'{"model_type": "distilbert", "n_heads": true}', "invalid-size", "n_heads is true", None),
        (b'{"model_type": "bert", "hidden_size": 10}', "heads-do-not-divide-width", "12 heads", None),
        (b'{"model_type": "roberta", "max_position_embeddings": 2}', "no-positions", "", None),
        (b'{"model_type": "bert", "id2label": {"a": "b"}}', "invalid-labels", "id2label", None),
        (b'{"model_type": "bert", "id2label": {"0": "b", "2": "c"}}', "invalid-labels", "id2label", None),
        (b'{"model_type": "bert", "id2label": 3}', "invalid-labels", "id2label", None),
        (b'{"architectures": 3}', "no-model-type", "", None),
        (b'{"model_type": "bert", "num_hidden_layers": 20000}', "too-many-layers", "20000", None),
        (
            b'{"model_type": "bert", "num_hidden_layers": ' + 400 * b"[" + 400 * b"]" + b"}",
            "invalid-size",
            "num_hidden_layers",
            None,
        ),
        (b"[" * 100_000, "invalid-json", "", None),
        (b'{"vocab_size": ' + b"9" * 5000 + b"}", "invalid-json", "", None),
    ],
)
def test_broken_configs(tmp_path: Path, content: bytes, kind: str, fact: str, line: int | None) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        model_facts(str(tmp_path))
    assert caught.value.kind == kind
    assert fact in caught.value.sentence
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "config.json"), line)
    assert caught.value.exit_code == 3


def test_an_enormous_config_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(ModelError) as caught:
        model_facts(str(tmp_path))
    assert caught.value.kind == "file-too-large"


def test_an_unsupported_family_is_told_and_its_sizes_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "vocab_size": "?"}')
    assert facts(tmp_path).family == "gpt2"


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    (tmp_path / "model.bin").write_bytes(b"x")
    for model, kind in (
        (tmp_path / "teachre", "no-model-folder"),
        (tmp_path / "teacher", "no-config"),
        (tmp_path / "model.bin", "model-is-file"),
        ("/" + "x" * 5000, "invalid-path"),
    ):
        with pytest.raises(ModelError) as caught:
            model_facts(str(model))
        assert caught.value.kind == kind
        assert ("/teacher?" in caught.value.sentence) is (kind == "no-model-folder")


def test_a_run_directory_means_its_student(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        model_facts(str(tmp_path))
    assert caught.value.kind == "run-without-student"
    model_folder(tmp_path / "student", num_hidden_layers=3)
    assert facts(tmp_path).layers == 3
    assert facts(tmp_path).folder == tmp_path / "student"


def test_hub_models_are_known_from_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert model_facts("org/name") is None
    repository = tmp_path / "hf/hub/models--org--name"
    model_folder(repository / "snapshots" / commit, num_hidden_layers=7)
    assert model_facts("org/name") is None, "no ref tells which snapshot is main"
    (repository / "refs/pr").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    (repository / "refs/pr/1").write_text(commit)
    for revision in (None, "main", "pr/1", commit):
        found = model_facts("org/name", revision)
        assert found is not None
        assert found.layers == 7
    assert model_facts("org/name", "v2") is None
    assert model_facts("org/name", "f" * 40) is None
    (repository / "refs/main").write_text("../../../etc")
    assert model_facts("org/name") is None
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert model_facts("org/name", commit) is None


def test_where_the_hub_keeps_its_files(tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_cache() == tmp_path / "hf/hub"
    monkeypatch.delenv("HF_HOME")
    assert hub_cache() == isolated / "xdg_cache_home/huggingface/hub"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert hub_cache() == isolated / ".cache/huggingface/hub"
    monkeypatch.setenv("HF_HUB_CACHE", "~/mine")
    assert hub_cache() == isolated / "mine"
