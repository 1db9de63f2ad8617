"""What the models' configs show about a preset, before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CrildError, ModelError, PresetError
from engine.models.family_rules import FIRST_LAYER_STAYS
from engine.preflight import model_facts
from engine.preflight.check import UnusableError, check
from engine.preflight.models import Shape, shapes
from tests.preset.support import load, model_folder, write_weights


def text(stage: str = "", student: str = "", task: str = "") -> str:
    """A preset whose teacher is the folder `teacher`."""
    objectives = "" if "objectives" in stage else "objectives = { attention = 1, hidden = 1 }\n"
    return (
        f'[task]\nname = "rte"\n{task}\n[teacher]\nmodel = "./teacher"\n[student]\n{student}\n'
        f'[[stage]]\nname = "s"\n{objectives}{stage}\n'
    )


def found(folder: Path, preset: str, *overrides: str) -> list[str]:
    """The problems that check finds, as a person sees them, with the test's folder taken out."""
    loaded = load(folder, preset, *overrides)
    try:
        check(loaded)
    except CrildError as error:
        return str(error).replace(f"{folder}/", "").split("\n")
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a teacher like BERT-base."""
    model_folder(tmp_path / "teacher")
    return tmp_path


def test_what_fits_passes(folder: Path) -> None:
    assert found(folder, text('layer_map = "uniform"', "layers = 4")) == []
    assert found(folder, text("layer_map = [[12, 6], [1, 1]]", "layers = 6")) == []
    assert found(folder, text("objectives = { query = { relation_heads = 24 } }")) == []
    assert found(folder, text(student='layers = 12\nkeep = "last"', task="max_length = 512")) == []


@pytest.mark.parametrize(
    ("stage", "student", "sentence"),
    [
        (
            "",
            "layers = 13",
            'mine.toml:7: the student cannot have 13 layers: the teacher has 12, and only init = "scratch" can have more',
        ),
        (
            "",
            "keep = [0, 11, 12, 14]",
            "mine.toml:7: student.keep names layer 12 and 14, but the teacher has layers 0 to 11",
        ),
        (
            'layer_map = "uniform"',
            "layers = 5",
            'mine.toml:11: stage.s.layer_map: "uniform" needs a teacher whose layers are a multiple of the student\'s, and '
            "12 is none of 5; pairs [teacher layer, student layer] can say what you mean",
        ),
        (
            'layer_map = "upper"',
            'layers = 14\ninit = "scratch"',
            'mine.toml:12: stage.s.layer_map: "upper" needs a teacher with as many layers as the student at least, and it '
            "has 12 to 14",
        ),
        (
            "layer_map = [[13, 6]]",
            "",
            "mine.toml:11: stage.s.layer_map: [13, 6] names layer 13 of the teacher, which has layers 1 to 12",
        ),
        (
            "layer_map = [[12, 7]]",
            "",
            "mine.toml:11: stage.s.layer_map: [12, 7] names layer 7 of the student, which has layers 1 to 6",
        ),
        (
            "layer_map = [[1, 4]]",
            "keep = [0, 1, 2]",
            "mine.toml:11: stage.s.layer_map: [1, 4] names layer 4 of the student, which has layers 1 to 3",
        ),
        (
            "objectives = { attention = 1, cls = { layer_map = [[1, 9]] } }",
            "",
            "mine.toml:10: stage.s.objectives.cls.layer_map: [1, 9] names layer 9 of the student, which has layers 1 to 6",
        ),
        (
            "objectives = { key = { relation_heads = 5 } }",
            'init = "scratch"\nhidden_size = 100\nheads = 4',
            "mine.toml:12: relation_heads 5 of stage.s.objectives.key do not divide the teacher's width of 768",
        ),
        (
            "objectives = { key = { relation_heads = 48 } }",
            'init = "scratch"\nhidden_size = 100\nheads = 4',
            "mine.toml:12: relation_heads 48 of stage.s.objectives.key do not divide the student's width of 100",
        ),
        (
            "objectives = { value = 1 }",
            'init = "scratch"\nhidden_size = 100\nheads = 5',
            "mine.toml:12: the student's 5 heads, as relation_heads of stage.s.objectives.value do not divide the "
            "teacher's width of 768",
        ),
        (
            "",
            'init = "scratch"\nheads = 8',
            "mine.toml:11: attention needs as many heads on both sides, but the teacher has 12 and the student 8: take "
            "query, key and value relations (MiniLMv2), which have a free number of relation_heads",
        ),
        (
            "objectives = { hidden = 1 }",
            'init = "scratch"\nhidden_size = 100',
            "mine.toml:8: the student's width of 100 is not a multiple of its 12 heads",
        ),
    ],
)
def test_what_cannot_be(folder: Path, stage: str, student: str, sentence: str) -> None:
    assert found(folder, text(stage, student)) == [sentence]


def test_another_width_is_fine_where_a_projection_bridges_it(folder: Path) -> None:
    student = 'init = "scratch"\nhidden_size = 96\nheads = 12\nlayers = 20'
    assert found(folder, text("objectives = { attention = 1, hidden = 1, embedding = 1, cls = 1 }", student)) == []


def test_unused_maps_are_not_judged(folder: Path) -> None:
    assert found(folder, text('objectives = { logits = 1 }\nlayer_map = "uniform"', "layers = 5")) == []


def test_every_problem_at_once_with_its_override(folder: Path) -> None:
    assert found(folder, text("layer_map = [[13, 1]]", "layers = 99", "max_length = 600"), "student.layers=50") == [
        "mine.toml:3: task.max_length 600 is more than teacher.model can read: 512 tokens at most",
        '--set student.layers=50: the student cannot have 50 layers: the teacher has 12, and only init = "scratch" can '
        "have more",
        "mine.toml:11: stage.s.layer_map: [13, 1] names layer 13 of the teacher, which has layers 1 to 12",
    ]


def test_models_that_are_not_there(folder: Path) -> None:
    assert found(folder, text(), "teacher.model=./teachr") == [
        "teachr: there is no such model folder; did you mean teacher? "
        "(teacher.model, set in --set teacher.model=./teachr)"
    ]
    (folder / "teacher/config.json").unlink()
    assert found(folder, text()) == [
        "teacher: this is no model folder: it has no config.json (teacher.model, set in mine.toml:5)"
    ]


def test_a_hub_model_that_is_not_here_yet_is_left_to_the_engine(folder: Path) -> None:
    assert found(folder, text("layer_map = [[99, 1]]", "layers = 50"), "teacher.model=org/model") == []
    assert found(folder, text("layer_map = [[12, 7]]"), "student.init=org/model") == []
    assert "layer 13 of the teacher" in found(folder, text("layer_map = [[13, 7]]"), "student.init=org/model")[0]


def test_a_folder_has_no_revisions(folder: Path) -> None:
    assert found(folder, text(), "teacher.revision=v1") == [
        "--set teacher.revision=v1: a revision belongs to a hub model, and teacher is a folder: remove it"
    ]
    assert found(folder, text(), "teacher.model=org/model", "teacher.revision=v1") == []


def test_a_family_that_is_not_supported(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="gpt2\x1b")
    assert found(folder, text()) == [
        "teacher/config.json: models of the family gpt2\\x1b cannot be used; supported are bert, roberta, xlm-roberta, "
        "distilbert, electra, albert, modernbert, mpnet and deberta-v2"
    ]


def test_an_objective_that_the_family_does_not_offer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(model_facts.FAMILIES, "bert", frozenset({"labels", "logits", "hidden"}))
    assert found(folder, text()) == [
        "mine.toml:10: models of the family bert (the teacher) do not offer attention; they offer hidden, labels and logits"
    ]


def test_a_family_whose_attention_has_other_scores_says_what_would_be_right(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="deberta-v2")
    (problem,) = found(folder, text())
    assert problem.startswith(
        "mine.toml:10: models of the family deberta-v2 (the teacher) do not offer attention: its attention adds products "
        "with relative positions to the products of queries and keys; take query, key and value relations; they offer cls, "
    )
    assert found(folder, text(), "stage.s.objectives={query = 1.0, key = 1.0, value = 1.0}") == []


def test_a_student_of_a_modernbert_keeps_its_first_layer_first(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="modernbert")
    for keep in ('"first"', '"alternate"', "[0, 4, 3]"):
        assert found(folder, text(student=f"keep = {keep}")) == []
    for keep in ('"last"', "[1, 2, 3]", "[3, 0, 5]"):
        (problem,) = found(folder, text(student=f"keep = {keep}"))
        assert problem == f"mine.toml:7: {FIRST_LAYER_STAYS}"
    assert found(folder, text(student='keep = "last"\nlayers = 12')) == []


def test_a_modernbert_from_scratch_has_heads_of_an_even_size(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="modernbert")
    problems = found(folder, text(student='init = "scratch"\nhidden_size = 36\nheads = 12'))
    assert problems == [
        "mine.toml:9: a ModernBERT of width 36 cannot have 12 heads: each would have 3 numbers, and its rotary positions "
        "need an even number"
    ]


class TestInitialModel:
    """`student.init` names another model."""

    def test_its_layers_count(self, folder: Path) -> None:
        model_folder(folder / "small", num_hidden_layers=4)
        assert found(folder, text(student='init = "./small"')) == []
        assert found(folder, text(student='init = "./small"\nlayers = 5')) == [
            'mine.toml:8: the student cannot have 5 layers: the model in student.init has 4, and only init = "scratch" '
            "can have more"
        ]
        assert "has layers 1 to 4" in found(folder, text("layer_map = [[1, 5]]", 'init = "./small"'))[0]

    def test_its_heads_and_positions_count(self, folder: Path) -> None:
        model_folder(folder / "small", hidden_size=320, num_attention_heads=5, max_position_embeddings=100)
        problems = found(folder, text(student='init = "./small"'))
        assert problems[0].endswith("task.max_length 128 is more than student.init can read: 100 tokens at most")
        assert "the teacher has 12 and the student 5" in problems[1]

    def test_another_vocabulary_is_an_error_of_the_model(self, folder: Path) -> None:
        small = model_folder(folder / "small", vocab_size=28996)
        loaded = load(folder, text(student='init = "./small"'))
        with pytest.raises(ModelError) as caught:
            check(loaded)
        assert caught.value.exit_code == 3
        assert caught.value.sentence == (
            "the student's initial model has a vocabulary of 28996 tokens, the teacher one of 30522; both must read the "
            "same tokens: take another for student.init"
        )
        assert caught.value.file == str(small / "config.json")

    def test_other_words_are_another_vocabulary(self, folder: Path) -> None:
        model_folder(folder / "teacher", vocabulary=["[PAD]", "a", "b"])
        model_folder(folder / "small", vocabulary=["[PAD]", "a", "B"])
        assert "has other words in its vocabulary" in found(folder, text(student='init = "./small"'))[0]
        model_folder(folder / "small", vocabulary=["[PAD]\r", "a\r", "b\r"])
        assert found(folder, text(student='init = "./small"')) == []

    def test_no_model_shares_the_words_of_a_teacher_from_scratch(self, folder: Path) -> None:
        preset = text().replace('"./teacher"', '"scratch"\nfinetune = {}')
        problems = found(folder, preset, "student.init=./teacher")
        assert problems[0].endswith('which no other model shares: init = "teacher"')
        assert found(folder, preset) == []


def test_weights_that_are_missing_or_cut_short(folder: Path) -> None:
    weights = folder / "teacher/model.safetensors"
    write_weights(weights, missing_bytes=1)
    assert found(folder, text())[0].startswith("teacher/model.safetensors: the weights are cut short: ")
    write_weights(weights, missing_bytes=20)
    assert "its header cannot be read" in found(folder, text())[0]
    weights.write_bytes(b"")
    assert "its header cannot be read" in found(folder, text())[0]
    weights.unlink()
    assert found(folder, text()) == [
        "teacher: this model folder holds no weights (model.safetensors or pytorch_model.bin)"
    ]


def test_faults_of_models_alone_leave_with_three_and_behind_those_of_the_preset_with_two(folder: Path) -> None:
    (folder / "teacher/model.safetensors").unlink()
    both = load(folder, text(), "task.source=./nowhere")
    with pytest.raises(UnusableError) as caught:
        check(both)
    assert (caught.value.exit_code, caught.value.category, len(caught.value.problems)) == (3, "model", 2)
    with pytest.raises(PresetError) as worse:
        check(load(folder, text(student="layers = 99"), "task.source=./nowhere"))
    assert [problem.exit_code for problem in worse.value.problems] == [2, 3, 3]
    assert worse.value.exit_code == 2


def test_shapes(folder: Path) -> None:
    assert shapes(load(folder, text()).preset) == (Shape(12, 768, 12), Shape(6, 768, 12))
    assert shapes(load(folder, text(student="keep = [1, 2]")).preset)[1] == Shape(2, 768, 12)
    own = load(folder, text(student='init = "scratch"\nhidden_size = 64\nheads = 2')).preset
    assert shapes(own)[1] == Shape(6, 64, 2)
    assert shapes(load(folder, text(), "student.init=./teacher").preset)[1] == Shape(12, 768, 12)
    assert shapes(load(folder, text(), "teacher.model=org/model").preset) == (None, None)
    scratch = load(folder, text().replace('"./teacher"', '"scratch"\nfinetune = {}')).preset
    assert shapes(scratch) == (Shape(4, 128, 4), Shape(2, 128, 4))
