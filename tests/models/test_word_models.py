"""Models that label every token: the head of each family, fresh and trained, and what is saved."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel

from engine.data.types import TaskSpec
from engine.distill.activations import ActivationSpec
from engine.errors import ModelError
from engine.models.checkpoint import read_checkpoint
from engine.models.export import save_model
from engine.models.families import FAMILIES, family_of, labels_words, output_of
from engine.models.load import load_classifier, load_teacher, load_with_tokenizer
from engine.models.partial_encoder import PartialEncoder
from engine.models.students import keep_layers, make_student
from engine.preset.schema import Finetune, Student, Teacher
from tests.errors import raises
from tests.models.tiny_models import EVERY, batch_of, own_forward, saved, tiny, words

NER = TaskSpec("ner", "token-classification", ("B-PER", "I-PER", "O"), ("entity_f1",), is_pair=False)


def tiny_by_word(family: str, labels: int = 3) -> PreTrainedModel:
    """A random model of a family that labels every token."""
    config = copy.deepcopy(tiny(family, labels=labels).config)
    config.architectures = ["AnyForTokenClassification"]
    torch.manual_seed(1)
    kernel = "sdpa" if FAMILIES[family].fused else "eager"
    model: PreTrainedModel = AutoModelForTokenClassification.from_config(config, attn_implementation=kernel)
    return model.eval()


@pytest.mark.parametrize("family", EVERY)
def test_logits_are_those_of_the_models_own_forward(family: str) -> None:
    model = tiny_by_word(family)
    batch = batch_of(model, [7, 3, 12])
    seen = PartialEncoder(model, ActivationSpec(logits=True))(batch)
    assert seen.logits is not None
    expected = own_forward(model, batch).logits
    assert expected.shape == (3, 12, 3)
    real = batch.attention_mask.bool()
    torch.testing.assert_close(seen.logits[real], expected[real], rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", EVERY)
def test_a_bare_encoder_gets_a_head_and_a_student_takes_it_over(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "teacher", tiny(family), words(family))
    teacher = Teacher(model=str(folder), finetune=Finetune(seed=3))
    loaded = load_teacher(teacher, NER)
    assert loaded.fresh_head
    assert type(loaded.model).__name__.endswith("ForTokenClassification")
    assert output_of(loaded.model).out_features == 3
    again = load_teacher(teacher, NER)
    assert torch.equal(output_of(loaded.model).weight, output_of(again.model).weight)
    student = make_student(Student(layers=2), teacher, loaded.model, loaded.tokenizer, NER, seed=0)
    assert torch.equal(output_of(student).weight, output_of(loaded.model).weight)
    save_model(student, loaded.tokenizer, NER, tmp_path / "student")
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path / "student")
    assert plain.config.id2label == {0: "B-PER", 1: "I-PER", 2: "O"}
    assert plain.config.problem_type is None
    batch = batch_of(student, [5, 9])
    torch.testing.assert_close(own_forward(plain, batch).logits, own_forward(student, batch).logits)


def test_a_trained_head_is_aligned_by_the_names_of_labels(tmp_path: Path) -> None:
    model = tiny_by_word("bert")
    model.config.id2label = {0: "O", 1: "I-PER", 2: "B-PER"}
    before = output_of(model).weight.detach().clone()
    folder = saved(tmp_path / "teacher", model)
    loaded = load_teacher(Teacher(model=str(folder)), NER)
    assert torch.equal(output_of(loaded.model).weight, before[[2, 1, 0]])
    assert not loaded.fresh_head


def test_a_head_for_texts_is_none_for_words_and_the_reverse(tmp_path: Path) -> None:
    """The classifiers of RoBERTa differ in shape; those of BERT fit, and would be taken silently."""
    texts = saved(tmp_path / "texts", tiny("bert", labels=3, id2label=dict(enumerate(NER.labels))))
    with raises("teacher-without-head", "ner", error=ModelError):
        load_teacher(Teacher(model=str(texts)), NER)
    by_word = saved(tmp_path / "words", tiny_by_word("bert"))
    text_task = TaskSpec("t", "classification", ("a", "b", "c"), ("accuracy",), is_pair=False)
    with raises("teacher-without-head", error=ModelError):
        load_teacher(Teacher(model=str(by_word)), text_task)
    assert read_checkpoint(by_word).fresh_output
    assert not read_checkpoint(by_word, by_word=True).fresh_output


def test_without_a_task_the_config_says_which_head_it_is(tmp_path: Path) -> None:
    by_word = saved(tmp_path / "words", tiny_by_word("bert"))
    for model in (
        load_with_tokenizer(Teacher(model=str(by_word))).model,
        load_classifier(Teacher(model=str(by_word))),
    ):
        assert labels_words(model.config)
        assert family_of(model.config).head == ("dropout", "classifier")
    smaller = keep_layers(tiny_by_word("bert"), (0, 1))
    assert labels_words(smaller.config)
