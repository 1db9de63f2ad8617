"""What the models' configs show about a preset, before a run exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ModelError, PresetError
from engine.models.family_rules import FAMILIES
from engine.preflight.check import UnusableError, check
from tests.preset.support import checked, load, mistake, model_folder, write_weights


def text(stage: str = "", student: str = "", task: str = "") -> str:
    """A preset whose teacher is the folder `teacher`."""
    objectives = "" if "objectives" in stage else "objectives = { attention = 1, hidden = 1 }\n"
    return (
        f'[task]\nname = "rte"\n{task}\n[teacher]\nmodel = "./teacher"\n[student]\n{student}\n'
        f'[[stage]]\nname = "s"\n{objectives}{stage}\n'
    )


def found(folder: Path, preset: str, *overrides: str) -> list[str]:
    """The location, kind and key of each problem that preflight finds, without the test's folder."""
    return [mistake(problem).replace(f"{folder}/", "") for problem in checked(load(folder, preset, *overrides))]


def sentences(folder: Path, preset: str, *overrides: str) -> str:
    """The sentences of all problems that preflight finds."""
    return "\n".join(problem.sentence for problem in checked(load(folder, preset, *overrides)))


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
    ("architectures", "problems"),
    [
        (["BertModel"], ["teacher/config.json teacher-without-head teacher.model"]),
        (["BertForMaskedLM"], ["teacher/config.json teacher-without-head teacher.model"]),
        (["BertForTokenClassification"], ["teacher/config.json teacher-without-head teacher.model"]),
        (["BertForSequenceClassification"], []),
        (["OwnForSequenceClassification"], []),
        ([], []),
        ("BertModel", []),
    ],
    ids=str,
)
def test_a_teacher_that_learns_nothing_needs_a_head(folder: Path, architectures: object, problems: list[str]) -> None:
    model_folder(folder / "teacher", architectures=architectures)
    assert found(folder, text()) == problems
    assert found(folder, text(), "teacher.finetune.epochs=1") == []
    others = [problem.replace("teacher.model", "teacher.others.large.model") for problem in problems]
    assert found(folder, text(), "teacher.finetune.epochs=1", "teacher.others.large.model=./teacher") == others
    if problems:
        facts = ("teacher.answers", "[teacher.finetune]", "trained on the task", "rte")
        assert all(fact in sentences(folder, text()) for fact in facts)


def test_a_teacher_of_words_has_a_head_for_words(folder: Path) -> None:
    custom = text().replace('"rte"', '"custom"\nkind = "token-classification"\nfiles = { train = "a.conll" }')
    (folder / "a.conll").write_text("EU B-ORG\nrejects O\n\n")
    model_folder(folder / "teacher", architectures=["BertForTokenClassification"])
    assert "teacher-without-head" not in " ".join(found(folder, custom))
    model_folder(folder / "teacher", architectures=["BertForSequenceClassification"])
    assert "teacher-without-head" in " ".join(found(folder, custom))


SCRATCH = 'init = "scratch"\nhidden_size = 100\n'


@pytest.mark.parametrize(
    ("stage", "student", "problem", "facts"),
    [
        ("", "layers = 13", "7 too-many-layers student.layers", ["13", "12", "scratch"]),
        ("", "keep = [0, 11, 12, 14]", "7 unknown-layer student.keep", ["layer 12", "0 to 11"]),
        (
            'layer_map = "uniform"',
            "layers = 5",
            "11 uniform-map-does-not-divide stage.s.layer_map",
            ["uniform", "12", "5"],
        ),
        (
            'layer_map = "upper"',
            'layers = 14\ninit = "scratch"',
            "12 upper-map-too-few-layers stage.s.layer_map",
            ["upper", "12", "14"],
        ),
        (
            "layer_map = [[13, 6]]",
            "",
            "11 map-names-unknown-layer stage.s.layer_map",
            ["[13, 6]", "teacher layer 13", "1 to 12"],
        ),
        (
            "layer_map = [[12, 7]]",
            "",
            "11 map-names-unknown-layer stage.s.layer_map",
            ["[12, 7]", "student layer 7", "1 to 6"],
        ),
        (
            "layer_map = [[1, 4]]",
            "keep = [0, 1, 2]",
            "11 map-names-unknown-layer stage.s.layer_map",
            ["[1, 4]", "student layer 4", "1 to 3"],
        ),
        (
            "objectives = { attention = 1, cls = { layer_map = [[1, 9]] } }",
            "",
            "10 map-names-unknown-layer stage.s.objectives.cls.layer_map",
            ["[1, 9]", "student layer 9", "1 to 6"],
        ),
        (
            "objectives = { key = { relation_heads = 5 } }",
            SCRATCH + "heads = 4",
            "12 heads-do-not-divide-width stage.s.objectives.key.relation_heads",
            ["5", "teacher's width of 768"],
        ),
        (
            "objectives = { key = { relation_heads = 48 } }",
            SCRATCH + "heads = 4",
            "12 heads-do-not-divide-width stage.s.objectives.key.relation_heads",
            ["48", "student's width of 100"],
        ),
        (
            "objectives = { value = 1 }",
            SCRATCH + "heads = 5",
            "12 heads-do-not-divide-width stage.s.objectives.value.relation_heads",
            ["5", "teacher's width of 768"],
        ),
        (
            "",
            'init = "scratch"\nheads = 8',
            "11 unequal-attention-heads stage.s.objectives.attention",
            ["12", "8", "query, key and value"],
        ),
        (
            "objectives = { hidden = 1 }",
            'init = "scratch"\nhidden_size = 100',
            "8 heads-do-not-divide-width student.hidden_size",
            ["100", "12 heads"],
        ),
        (
            "objectives = { attention = 1 }",
            'init = "scratch"\nhidden_size = 100',
            "8 heads-do-not-divide-width student.hidden_size",
            ["100", "12 heads"],
        ),
    ],
)
def test_what_cannot_be(folder: Path, stage: str, student: str, problem: str, facts: list[str]) -> None:
    assert found(folder, text(stage, student)) == [f"mine.toml:{problem}"]
    assert all(fact in sentences(folder, text(stage, student)) for fact in facts)


def test_another_width_is_fine_where_a_projection_bridges_it(folder: Path) -> None:
    student = 'init = "scratch"\nhidden_size = 96\nheads = 12\nlayers = 20'
    assert found(folder, text("objectives = { attention = 1, hidden = 1, embedding = 1, cls = 1 }", student)) == []


def test_unused_maps_are_not_judged(folder: Path) -> None:
    assert found(folder, text('objectives = { logits = 1 }\nlayer_map = "uniform"', "layers = 5")) == []


def test_every_problem_at_once_with_its_override(folder: Path) -> None:
    assert found(folder, text("layer_map = [[13, 1]]", "layers = 99", "max_length = 600"), "student.layers=50") == [
        "mine.toml:3 max-length-too-long task.max_length",
        "--set student.layers=50 too-many-layers student.layers",
        "mine.toml:11 map-names-unknown-layer stage.s.layer_map",
    ]
    sentence = sentences(folder, text(task="max_length = 600"))
    assert all(fact in sentence for fact in ("600", "teacher.model", "512"))


def test_models_that_are_not_there(folder: Path) -> None:
    assert found(folder, text(), "teacher.model=./teachr") == ["teachr no-model-folder teacher.model"]
    sentence = sentences(folder, text(), "teacher.model=./teachr")
    assert f"{folder}/teacher?" in sentence
    assert sentence.endswith("(teacher.model, set in --set teacher.model=./teachr)")
    (folder / "teacher/config.json").unlink()
    assert found(folder, text()) == ["teacher no-config teacher.model"]
    assert sentences(folder, text()).endswith("(teacher.model, set in mine.toml:5)")


def test_a_hub_model_that_is_not_here_yet_is_left_to_the_engine(folder: Path) -> None:
    assert found(folder, text("layer_map = [[99, 1]]", "layers = 50"), "teacher.model=org/model") == []
    assert found(folder, text("layer_map = [[12, 7]]"), "student.init=org/model") == []
    assert "teacher layer 13" in sentences(folder, text("layer_map = [[13, 7]]"), "student.init=org/model")


def test_a_folder_has_no_revisions(folder: Path) -> None:
    assert found(folder, text(), "teacher.revision=v1") == [
        "--set teacher.revision=v1 revision-of-folder teacher.revision"
    ]
    assert found(folder, text(), "teacher.model=org/model", "teacher.revision=v1") == []


def test_a_family_that_is_not_supported(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="gpt2\x1b")
    assert found(folder, text()) == ["teacher/config.json unsupported-family teacher.model"]
    assert "gpt2\\x1b" in sentences(folder, text())
    assert "albert, modernbert, mpnet and deberta-v2" in sentences(folder, text())


def test_a_multi_label_teacher_is_not_distilled_by_softmax(folder: Path) -> None:
    model_folder(folder / "teacher", problem_type="multi_label_classification")
    with_logits = text("objectives = { logits = 1 }")
    assert found(folder, with_logits) == ["teacher/config.json multi-label-teacher problem_type"]
    assert "[teacher.finetune]" in sentences(folder, with_logits)
    assert found(folder, with_logits, "teacher.finetune={}") == []
    assert found(folder, text("objectives = { hidden = 1 }")) == []
    model_folder(folder / "teacher", problem_type="single_label_classification")
    assert found(folder, with_logits) == []
    model_folder(folder / "teacher", problem_type=[3])
    assert found(folder, with_logits) == []


def test_an_objective_that_the_family_does_not_offer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "bert", frozenset({"labels", "logits", "hidden"}))
    assert found(folder, text()) == ["mine.toml:10 objective-not-offered stage.s.objectives.attention"]
    assert all(fact in sentences(folder, text()) for fact in ("bert (the teacher)", "hidden, labels and logits"))


def test_a_family_whose_attention_has_other_scores_says_what_would_be_right(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="deberta-v2")
    assert found(folder, text()) == ["mine.toml:10 objective-not-offered stage.s.objectives.attention"]
    sentence = sentences(folder, text())
    assert all(fact in sentence for fact in ("deberta-v2 (the teacher)", "relative positions", "query, key and value"))
    assert found(folder, text(), "stage.s.objectives={query = 1.0, key = 1.0, value = 1.0}") == []


def test_a_student_of_a_modernbert_keeps_its_first_layer_first(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="modernbert")
    for keep in ('"first"', '"alternate"', "[0, 4, 3]"):
        assert found(folder, text(student=f"keep = {keep}")) == []
    for keep in ('"last"', "[1, 2, 3]", "[3, 0, 5]"):
        assert found(folder, text(student=f"keep = {keep}")) == ["mine.toml:7 first-layer-missing student.keep"]
    assert found(folder, text(student='keep = "last"\nlayers = 12')) == []


def test_a_modernbert_from_scratch_has_heads_of_an_even_size(folder: Path) -> None:
    model_folder(folder / "teacher", model_type="modernbert")
    preset = text(student='init = "scratch"\nhidden_size = 36\nheads = 12')
    assert found(folder, preset) == ["mine.toml:9 odd-head-size student.heads"]
    assert all(fact in sentences(folder, preset) for fact in ("36", "12 heads", "3"))


class TestInitialModel:
    """`student.init` names another model."""

    def test_its_layers_count(self, folder: Path) -> None:
        model_folder(folder / "small", num_hidden_layers=4)
        assert found(folder, text(student='init = "./small"')) == []
        too_many = text(student='init = "./small"\nlayers = 5')
        assert found(folder, too_many) == ["mine.toml:8 too-many-layers student.layers"]
        assert "has 4" in sentences(folder, too_many)
        assert "1 to 4" in sentences(folder, text("layer_map = [[1, 5]]", 'init = "./small"'))

    def test_its_heads_and_positions_count(self, folder: Path) -> None:
        model_folder(folder / "small", hidden_size=320, num_attention_heads=5, max_position_embeddings=100)
        preset = text(student='init = "./small"')
        length, heads = found(folder, preset)
        assert length.endswith("max-length-too-long task.max_length")
        assert heads.endswith("unequal-attention-heads stage.s.objectives.attention")
        assert all(
            fact in sentences(folder, preset) for fact in ("128", "student.init", "100", "12 heads", "student 5")
        )

    def test_another_vocabulary_is_an_error_of_the_model(self, folder: Path) -> None:
        small = model_folder(folder / "small", vocab_size=28996)
        loaded = load(folder, text(student='init = "./small"'))
        with pytest.raises(ModelError) as caught:
            check(loaded)
        assert caught.value.exit_code == 3
        assert (caught.value.kind, caught.value.key) == ("other-vocabulary", "student.init")
        assert all(fact in caught.value.sentence for fact in ("28996", "30522"))
        assert caught.value.file == str(small / "config.json")

    def test_other_words_are_another_vocabulary(self, folder: Path) -> None:
        model_folder(folder / "teacher", vocabulary=["[PAD]", "a", "b"])
        model_folder(folder / "small", vocabulary=["[PAD]", "a", "B"])
        assert found(folder, text(student='init = "./small"')) == ["small/config.json other-vocabulary student.init"]
        model_folder(folder / "small", vocabulary=["[PAD]\r", "a\r", "b\r"])
        assert found(folder, text(student='init = "./small"')) == []

    def test_no_model_shares_the_words_of_a_teacher_from_scratch(self, folder: Path) -> None:
        preset = text().replace('"./teacher"', '"scratch"\nfinetune = {}')
        problems = found(folder, preset, "student.init=./teacher")
        assert problems[0] == "--set student.init=./teacher vocabulary-from-scratch student.init"
        assert found(folder, preset) == []
        student = model_folder(folder / "run" / "student")
        (student.parent / "status.json").write_text("{}")
        of_words = [each for each in found(folder, preset, "student.init=./run") if "vocabulary" in each]
        assert of_words == [], "a teacher on the same rows learnt the same words"


def test_weights_that_are_missing_or_cut_short(folder: Path) -> None:
    weights = folder / "teacher/model.safetensors"
    write_weights(weights, missing_bytes=1)
    assert found(folder, text()) == ["teacher/model.safetensors truncated-weights teacher.model"]
    write_weights(weights, missing_bytes=20)
    assert found(folder, text()) == ["teacher/model.safetensors not-safetensors teacher.model"]
    weights.write_bytes(b"")
    assert found(folder, text()) == ["teacher/model.safetensors not-safetensors teacher.model"]
    weights.unlink()
    assert found(folder, text()) == ["teacher no-weights teacher.model"]
    assert "model.safetensors or pytorch_model.bin" in sentences(folder, text())
    index = folder / "teacher/model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    assert found(folder, text()) == ["teacher no-weights teacher.model"]
    assert "model-00001-of-00001.safetensors" in sentences(folder, text())
    write_weights(folder / "teacher/model-00001-of-00001.safetensors")
    assert found(folder, text()) == []


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
