"""Presets, settings, seeds and names that cannot be: exit code 2, a sentence with its place, and no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.preflight import model_facts
from tests.faults.conftest import Refused, Tiny

# -- keys


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_length = 24", "max_lenght = 24", ['unknown key "max_lenght" in task', 'did you mean "max_length"?']),
        ("[student]", "[studnet]", ['unknown key "studnet"', 'did you mean "student"?']),
        ("log_every = 1", "colour = 1", ['unknown key "colour" in train; known are device, precision']),
        ("log_every = 1", "temperatur = 2.0", ['did you mean "temperature"?']),
        ("attention = 1.0", "atention = 1.0", ['unknown objective "atention"', 'did you mean "attention"?']),
        ("layers = 2", "layers = 2\nlayers = 3", ["student.layers is given twice; the first is on line"]),
        ("log_every = 1", "clip = -1.0", ["train.clip must be a number from 0, not -1.0"]),
        ("log_every = 1", "epochs = 1e300", ["train.epochs must be a number above 0 and at most 100000, not 1e+300"]),
        ("threads = 1", "threads = 100000", ["train.threads must be a whole number from 1 to 1024, not 100000"]),
        ("seed = 7", "seed = 4294967296", ["seed must be a whole number from 0 to below 4294967296"]),
        ("max_length = 24", "max_length = 3", ["task.max_length must be a whole number from 4 to 8192, not 3"]),
        ("weight = 0.3", "weight = nan", ["consistency.weight must be a number from 0, not nan"]),
        ("layers = 2", 'layers = "2"', ['student.layers must be a whole number from 1 to 1000, not "2"']),
        ("layers = 2", "layers = 2.0", ["student.layers must be a whole number from 1 to 1000, not 2.0"]),
        ("seed = 7", "seed = true", ["seed must be a whole number", "not true"]),
        ("keep_best = true", 'keep_best = "yes"', ['stage.kd.keep_best must be true or false, not "yes"']),
        ("schema = 1", "schema = 2", ["the preset is written in format 2, and this crild reads format 1"]),
        ('precision = "fp32"', 'precision = "fp16"', ['train.precision must be "auto", "fp32" or "bf16", not "fp16"']),
        ("[student]", '[student]\ninit = ""', ["student.init must not be empty"]),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named_with_its_line_and_what_is_right(
    refused: Refused, tiny: Tiny, old: str, new: str, said: list[str]
) -> None:
    tiny.spoil(old, new)
    told = refused(*tiny.run())
    place = f"{tiny.preset}:{tiny.line_of(new.splitlines()[-1])}: "
    assert told.startswith(f"error: {place}"), told
    assert all(words in told for words in said), told


def test_every_problem_is_told_at_once(refused: Refused, tiny: Tiny) -> None:
    for old, new in (("seed = 7", "sede = 7"), ("layers = 2", "layers = 0"), ('name = "ild"', 'name = "ILD"')):
        tiny.spoil(old, new)
    told = refused(*tiny.run("train.epochs=many")).splitlines()
    assert len(told) == 4, told
    assert [
        f"mine.toml:{tiny.line_of(text)}:" in line
        for text, line in zip(("sede", "layers", '"ILD"'), told, strict=False)
    ] == [True] * 3
    assert told[3].startswith("error: --set train.epochs=many: train.epochs must be a number above 0")


# -- layers and objectives


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("student.layers=5", 'the student cannot have 5 layers: the teacher has 4, and only init = "scratch" can have more'),
        ("student.layers=0", "student.layers must be a whole number from 1 to 1000, not 0"),
        ("student.keep=[0, 4]", "student.keep names layer 4, but the teacher has layers 0 to 3"),
        ("student.keep=[1, 1]", "keep lists a layer twice: [1, 1]"),
        ("student.keep=[0, 1, 2]", "keep lists 3 layers, but the student has 2"),
        ("student.keep=middle", 'student.keep must be "first", "last", "alternate" or a list of layers counted from 0'),
        ("stage.ild.layer_map=[[5, 1]]", "[5, 1] names layer 5 of the teacher, which has layers 1 to 4"),
        ("stage.ild.layer_map=[[4, 3]]", "[4, 3] names layer 3 of the student, which has layers 1 to 2"),
        ("stage.ild.layer_map=[[0, 1]]", "counted from 1; in it stands 0"),
        ("stage.ild.layer_map=lsat", 'not "lsat"; did you mean "last"?'),
        ("stage.ild.layer_map=emd", 'layer_map "emd" is defined for attention and hidden, not for value'),
        ("task.max_length=141", "task.max_length 141 is more than teacher.model can read: 140 tokens at most"),
        ("stage.ild.objectives.value={relation_heads = 5}", "relation_heads 5 of stage.ild.objectives.value do not divide the teacher's width of 32"),
        ("stage.kd.objectives={labels = 0}", "stage.kd: every objective has weight 0, so nothing would be learnt"),
        ("stage.ild.patience=2", "patience needs labels or logits: without them nothing trains the classifier"),
    ],
)  # fmt: skip
def test_layers_and_maps_that_cannot_be(refused: Refused, tiny: Tiny, setting: str, said: str) -> None:
    told = refused(*tiny.run(setting))
    assert told.startswith(f"error: --set {setting}: ")
    assert said in told


def test_a_uniform_map_needs_layers_that_divide(refused: Refused, tiny: Tiny) -> None:
    told = refused(*tiny.run("student.layers=3", "stage.ild.layer_map=uniform"))
    assert "a teacher whose layers are a multiple of the student's, and 4 is none of 3" in told


def test_a_scratch_student_of_other_heads_has_no_attention_to_compare(refused: Refused, tiny: Tiny) -> None:
    told = refused(*tiny.run("student.init=scratch", "student.heads=2"))
    assert f"{tiny.preset}:{tiny.line_of('attention')}: attention needs as many heads on both sides" in told
    assert "take query, key and value relations" in told


def test_an_objective_that_the_family_cannot_offer(
    refused: Refused, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(model_facts.FAMILIES, "bert", frozenset({"labels", "logits", "hidden"}))
    told = refused(*tiny.run())
    assert (
        f"{tiny.preset}:{tiny.line_of('attention')}: models of the family bert (the teacher) do not offer attention"
        in told
    )
    assert "they offer hidden, labels and logits" in told


@pytest.mark.parametrize("where", ["train", "stage.ild"])
def test_a_plan_between_layers_cannot_be_cut_into_micro_batches(refused: Refused, tiny: Tiny, where: str) -> None:
    emd = ("stage.ild.layer_map=emd", "stage.ild.objectives={attention = 1.0, hidden = 1.0}")
    told = refused(*tiny.run(*emd, f"{where}.accumulate=4"))
    assert told.startswith(f'error: --set {where}.accumulate=4: the stage ild has layer_map "emd"')
    assert "set stage.ild.accumulate = 1" in told
    refused(*tiny.run(*emd, "train.accumulate=4", "stage.ild.accumulate=1", "seed=-1"))  # that alone is told no more
    assert "emd" not in refused(*tiny.run(*emd, "train.accumulate=4", "stage.ild.accumulate=1", "seed=-1"))


# -- files that are no presets


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the preset is empty; `crild presets new NAME --from crild` writes one to begin with"),
        (b"# nothing\n", "the preset is empty"),
        (b"seed = \n", ":1: not valid TOML at column 8: invalid value; a value belongs after the ="),
        (b"seed = 1\n[task\n", ":2: not valid TOML"),
        (b"seed = yes\n", ":1: not valid TOML at column 8: invalid value yes; text stands in quotes"),
        (b'seed = 1\ndescription = "caf\xe9"\n', ":2: the preset is not UTF-8 text (byte 0xe9 at offset 27): save it as UTF-8"),
        ("seed = 1\n".encode("utf-16"), "the preset is UTF-16 text: save it as UTF-8"),
        (b"\x00\x1b[31m[[[", ":1: not valid TOML at column 1"),
        (b"a = " + b"[" * 3000, "the preset nests tables or lists hundreds deep"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_preset(refused: Refused, tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    told = refused("run", str(file))
    assert told.startswith(f"error: {file}")
    assert said in told
    assert told.count("\n") == 1


def test_a_hundred_megabytes_are_not_read(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    with file.open("wb") as opened:
        opened.truncate(100_000_000)
    assert "a preset has a few kilobytes, and this file has 100 MB" in refused("run", str(file))


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("quickstrat", 'did you mean "quickstart"?'),
        ("./nowhere.toml", 'there is no preset file "./nowhere.toml"'),
        ("a\x1b[31m", '"a\\x1b[31m"'),
        ("rte", ""),
    ],
)
def test_a_preset_that_is_not_there(refused: Refused, ref: str, said: str) -> None:
    assert said in refused("run", ref, *(("--set", "seed=-1") if ref == "rte" else ()))


def test_a_folder_is_no_preset(refused: Refused, tmp_path: Path) -> None:
    assert "a preset is a file, and this is a folder" in refused("run", str(tmp_path))


def test_hostile_names_and_values_are_shown_not_obeyed(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('"\\u001b[2J" = 1\n[task]\nname = "\\u001b]0;x\\u0007\\u202e"\n')
    told = refused("run", str(file))
    assert 'unknown key "\\x1b[2J"' in told
    assert "\\x1b]0;x\\x07\\u202e" in told


# -- the command line's own words


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("", "write a key, = and a value"),
        ("=1", "write a key, = and a value"),
        ("train.epochs", "write a key, = and a value"),
        ("trian.epochs=1", 'unknown key "trian"; did you mean "train"?'),
        ("stage.idl.epochs=1", 'there is no stage "idl"; did you mean "ild"?'),
        ("stage.ild=1", "say which key of the stage: --set stage.ild.epochs=5"),
        ("train.learning_rate=[1", "begins like TOML but cannot be read as it"),
        ("stages=[]", "stages must be a list of names of stages, not []"),
        ("extends=kd", "extends belongs into a preset file"),
        ("stage.ild.epochs=" + "[" * 5000, "this value nests too deep"),
        ("\x1b[31m.epochs=1", "--set \\x1b[31m.epochs=1: "),
        ("train.\x1b]0;x\x07=1", "--set train.\\x1b]0;x\\x07=1: "),
    ],
)
def test_settings_that_are_none(refused: Refused, tiny: Tiny, setting: str, said: str) -> None:
    told = refused(*tiny.run(setting))
    assert told.startswith("error: --set ")
    assert said in told
    assert len(told) < 500


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("1,,2", "write them as 1,2,3 or 1-3"),
        ("", "write them as 1,2,3 or 1-3"),
        ("-1", "write them as 1,2,3 or 1-3"),
        ("one", "write them as 1,2,3 or 1-3"),
        ("1;\x1b[31m", "'1;\\x1b[31m' names no seeds"),
        ("1,2,1", "--seeds names 1 twice: each seed makes one run"),
        ("5-3", "names none: write it as 3-5"),
        ("1-1000000", "names more than 1000"),
        ("4294967296", "a seed is a number from 0 to 4294967295"),
        ("99999999999999", "names no seeds"),
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
    assert "that word stands for the newest run" in refused(*tiny.run(), "--name", "latest")
