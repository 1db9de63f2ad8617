"""Presets, settings, seeds and names that cannot be: exit code 2, a sentence with its place, and no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.models.family_rules import FAMILIES
from tests.faults.conftest import Refused, Tiny

# -- keys


@pytest.mark.parametrize(
    ("old", "new", "facts"),
    [
        ("max_length = 24", "max_lenght = 24", ['"max_lenght" in task', '"max_length"?']),
        ("[student]", "[studnet]", ['"studnet"', '"student"?']),
        ("log_every = 1", "colour = 1", ['"colour" in train', "device, precision"]),
        ("log_every = 1", "temperatur = 2.0", ['"temperature"?']),
        ("attention = 1.0", "atention = 1.0", ['"atention"', '"attention"?']),
        ("layers = 2", "layers = 2\nlayers = 3", ["student.layers", "line"]),
        ("log_every = 1", "clip = -1.0", ["train.clip", "0 or more, not -1.0"]),
        ("log_every = 1", "epochs = 1e300", ["train.epochs", "above 0", "100000, not 1e+300"]),
        ("threads = 1", "threads = 100000", ["train.threads", "from 1 to 1024, not 100000"]),
        ("seed = 7", "seed = 4294967296", ["seed", "from 0 to below 4294967296"]),
        ("max_length = 24", "max_length = 3", ["task.max_length", "from 4 to 8192, not 3"]),
        ("weight = 0.3", "weight = nan", ["consistency.weight", "not nan"]),
        ("layers = 2", 'layers = "2"', ["student.layers", 'from 1 to 1000, not "2"']),
        ("layers = 2", "layers = 2.0", ["student.layers", "from 1 to 1000, not 2.0"]),
        ("seed = 7", "seed = true", ["a whole number", "not true"]),
        ("keep_best = true", 'keep_best = "yes"', ["stage.kd.keep_best", "true or false", 'not "yes"']),
        ("schema = 1", "schema = 2", ["format 2"]),
        ('precision = "fp32"', 'precision = "fp16"', ["train.precision", '"auto", "fp32" or "bf16", not "fp16"']),
        ("[student]", '[student]\ninit = ""', ["student.init", "empty"]),
    ],
)
def test_a_wrong_key_is_named_with_its_line_and_what_is_right(
    refused: Refused, tiny: Tiny, old: str, new: str, facts: list[str]
) -> None:
    tiny.spoil(old, new)
    output = refused(*tiny.run())
    assert output.startswith(f"error: {tiny.preset}:{tiny.line_of(new.splitlines()[-1])}: "), output
    assert all(fact in output for fact in facts), output


def test_every_problem_is_told_at_once(refused: Refused, tiny: Tiny) -> None:
    for old, new in (("seed = 7", "sede = 7"), ("layers = 2", "layers = 0"), ('name = "ild"', 'name = "ILD"')):
        tiny.spoil(old, new)
    told = refused(*tiny.run("train.epochs=many")).splitlines()
    assert len(told) == 4, told
    assert [
        f"mine.toml:{tiny.line_of(text)}:" in line
        for text, line in zip(("sede", "layers", '"ILD"'), told, strict=False)
    ] == [True] * 3
    assert told[3].startswith("error: --set train.epochs=many: train.epochs ")


# -- layers and objectives


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("student.layers=5", ["5 layers", "has 4"]),
        ("student.layers=0", ["from 1 to 1000, not 0"]),
        ("student.keep=[0, 4]", ["layer 4", "0 to 3"]),
        ("student.keep=[1, 1]", ["twice: [1, 1]"]),
        ("student.keep=[0, 1, 2]", ["3 layers", "has 2"]),
        ("student.keep=middle", ['"first", "last", "alternate" or a list of layers counted from 0']),
        ("stage.ild.layer_map=[[5, 1]]", ["teacher layer 5", "1 to 4"]),
        ("stage.ild.layer_map=[[4, 3]]", ["student layer 3", "1 to 2"]),
        ("stage.ild.layer_map=[[0, 1]]", ["counted from 1", "contains 0"]),
        ("stage.ild.layer_map=lsat", ['not "lsat"', '"last"?']),
        ("stage.ild.layer_map=emd", ['"emd"', "attention and hidden, not for value"]),
        ("task.max_length=141", ["task.max_length", "141", "teacher.model", "140 tokens"]),
        ("stage.ild.objectives.value={relation_heads = 5}", ["5", "value", "32"]),
        ("stage.kd.objectives={labels = 0}", ["stage.kd", "weight 0"]),
        ("stage.ild.patience=2", ["patience", "labels or logits"]),
    ],
)
def test_layers_and_maps_that_cannot_be(refused: Refused, tiny: Tiny, setting: str, facts: list[str]) -> None:
    output = refused(*tiny.run(setting))
    assert output.startswith(f"error: --set {setting}: ")
    assert all(fact in output for fact in facts), output


def test_a_uniform_map_needs_layers_that_divide(refused: Refused, tiny: Tiny) -> None:
    output = refused(*tiny.run("student.layers=3", "stage.ild.layer_map=uniform"))
    assert "stage.ild.layer_map" in output
    assert all(fact in output for fact in ("uniform", "4", "3")), output


def test_a_scratch_student_of_other_heads_has_no_attention_to_compare(refused: Refused, tiny: Tiny) -> None:
    output = refused(*tiny.run("student.init=scratch", "student.heads=2"))
    assert f"{tiny.preset}:{tiny.line_of('attention')}: " in output
    assert all(fact in output for fact in ("attention", "4 heads", "student 2", "query, key and value")), output


def test_an_objective_that_the_family_cannot_offer(
    refused: Refused, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "bert", frozenset({"labels", "logits", "hidden"}))
    told = refused(*tiny.run())
    assert f"{tiny.preset}:{tiny.line_of('attention')}: " in told
    assert all(fact in told for fact in ("bert", "teacher", "attention", "hidden, labels and logits")), told


@pytest.mark.parametrize("where", ["train", "stage.ild"])
def test_a_plan_between_layers_cannot_be_cut_into_micro_batches(refused: Refused, tiny: Tiny, where: str) -> None:
    emd = ("stage.ild.layer_map=emd", "stage.ild.objectives={attention = 1.0, hidden = 1.0}")
    told = refused(*tiny.run(*emd, f"{where}.accumulate=4"))
    assert told.startswith(f'error: --set {where}.accumulate=4: the stage ild has layer_map "emd"')
    assert "set stage.ild.accumulate = 1" in told
    refused(*tiny.run(*emd, "train.accumulate=4", "stage.ild.accumulate=1", "seed=-1"))  # which is no longer reported
    assert "emd" not in refused(*tiny.run(*emd, "train.accumulate=4", "stage.ild.accumulate=1", "seed=-1"))


# -- files that are no presets


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", ["empty", "`crild presets new NAME --from crild`"]),
        (b"# nothing\n", ["empty"]),
        (b"seed = \n", [":1: ", "column 8", "after the ="]),
        (b"seed = 1\n[task\n", [":2: ", "TOML"]),
        (b"seed = yes\n", [":1: ", "column 8", " yes;", "quotes"]),
        (b'seed = 1\ndescription = "caf\xe9"\n', [":2: ", "byte 0xe9 at offset 27", "UTF-8"]),
        ("seed = 1\n".encode("utf-16"), ["UTF-16", "UTF-8"]),
        (b"\x00\x1b[31m[[[", [":1: ", "TOML", "column 1"]),
        (b"a = " + b"[" * 3000, ["deep"]),
    ],
)
def test_a_file_that_is_no_preset(refused: Refused, tmp_path: Path, content: bytes, facts: list[str]) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    output = refused("run", str(file))
    assert output.startswith(f"error: {file}")
    assert all(fact in output for fact in facts), output
    assert output.count("\n") == 1


def test_a_hundred_megabytes_are_not_read(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    with file.open("wb") as opened:
        opened.truncate(100_000_000)
    assert "100 MB" in refused("run", str(file))


@pytest.mark.parametrize(
    ("ref", "fact"),
    [
        ("quickstrat", '"quickstart"?'),
        ("./nowhere.toml", '"./nowhere.toml"'),
        ("a\x1b[31m", '"a\\x1b[31m"'),
        ("rte", ""),
    ],
)
def test_a_preset_that_is_not_there(refused: Refused, ref: str, fact: str) -> None:
    assert fact in refused("run", ref, *(("--set", "seed=-1") if ref == "rte" else ()))


def test_a_folder_is_no_preset(refused: Refused, tmp_path: Path) -> None:
    output = refused("run", str(tmp_path))
    assert output.startswith(f"error: {tmp_path}: ")
    assert "folder" in output


def test_hostile_names_and_values_are_shown_not_obeyed(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('"\\u001b[2J" = 1\n[task]\nname = "\\u001b]0;x\\u0007\\u202e"\n')
    told = refused("run", str(file))
    assert '"\\x1b[2J"' in told
    assert "\\x1b]0;x\\x07\\u202e" in told


# -- the command line's own words


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("", ["--set train.epochs=5"]),
        ("=1", ["--set train.epochs=5"]),
        ("train.epochs", ["--set train.epochs=5"]),
        ("trian.epochs=1", ['"trian"', '"train"?']),
        ("stage.idl.epochs=1", ['"idl"', '"ild"?']),
        ("stage.ild=1", ["--set stage.ild.epochs=5"]),
        ("train.learning_rate=[1", ["TOML"]),
        ("stages=[]", ["stages", "not []"]),
        ("extends=kd", ["extends"]),
        ("stage.ild.epochs=" + "[" * 5000, ["deep"]),
        ("\x1b[31m.epochs=1", ["--set \\x1b[31m.epochs=1: "]),
        ("train.\x1b]0;x\x07=1", ["--set train.\\x1b]0;x\\x07=1: "]),
    ],
)
def test_settings_that_are_none(refused: Refused, tiny: Tiny, setting: str, facts: list[str]) -> None:
    output = refused(*tiny.run(setting))
    assert output.startswith("error: --set ")
    assert all(fact in output for fact in facts), output
    assert len(output) < 500


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("1,,2", "1,2,3 or 1-5"),
        ("", "1,2,3 or 1-5"),
        ("-1", "1,2,3 or 1-5"),
        ("one", "1,2,3 or 1-5"),
        ("1;\x1b[31m", '"1;\\x1b[31m"'),
        ("1,2,1", "--seeds repeats 1:"),
        ("5-3", "3-5"),
        ("1-1000000", "1,000"),
        ("4294967296", "4294967295"),
        ("99999999999999", "1,2,3 or 1-5"),
    ],
)
def test_seeds_that_are_none(refused: Refused, tiny: Tiny, seeds: str, said: str) -> None:
    assert said in refused(*tiny.run(), "--seeds", seeds)


@pytest.mark.parametrize(
    "name", ["a/b", "../up", "..", ".", ".hidden", "a b", " ", "a\x1b[31m", "a\nb", "💥", "ünder", "", "-x", "x" * 81]
)
def test_names_that_no_run_can_have(refused: Refused, tiny: Tiny, name: str) -> None:
    told = refused(*tiny.run(), f"--name={name}")
    assert "a run's name is made of the letters a to z and A to Z, digits, '.', '_' and '-'" in told
    assert "at most 80 characters" in told


def test_a_name_that_means_another_run(refused: Refused, tiny: Tiny) -> None:
    assert "newest run" in refused(*tiny.run(), "--name", "latest")
