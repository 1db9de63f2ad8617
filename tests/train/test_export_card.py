"""The card of an exported model: metadata that the hub reads, with this form's figures, and nothing wrong of the original."""

from __future__ import annotations

from huggingface_hub import ModelCard

from engine.record.export import ExportFacts
from engine.train.card import model_card
from engine.train.export_card import export_card
from tests.train.test_card import SPEC, glue, results

FACTS = ExportFacts("int8", "rte-crild-s1", 1000, "accuracy", 0.66, 0.6751, 0.25)


def test_its_figures_are_those_of_the_form() -> None:
    original = model_card(glue(), results(), SPEC, ["crild", "rte"])
    text = export_card(FACTS, "/runs/rte/student", original, 17_500_000)
    data = ModelCard(text).data
    [result] = list(data.eval_results or [])
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("accuracy", 0.66, "validation")
    assert (data.library_name, data.pipeline_tag, data.base_model) == (
        "onnx",
        "text-classification",
        ["bert-base-uncased"],
    )
    assert {"onnx", "int8", "distillation", "crild"} <= set(data.tags or ())
    for words in ("66.00", "67.51", "17.5 MB", "0.25", "## The original", "#### Training data", "\n## Use\n"):
        assert words in text, words
    assert "/runs" not in text


def test_without_a_task_or_a_card_there_are_no_figures() -> None:
    facts = ExportFacts("fp16", "model", 1000, logits_differ=0.001)
    for card in (None, "no metadata", "---\n: [\n---\nbroken", "---\nlicense: mit\nmodel-index: 3\n---\n# Mine"):
        data = ModelCard(export_card(facts, "owner/model", card, 1_000_000)).data
        assert data.eval_results is None
        assert (data.base_model, data.get("base_model_relation")) == ("owner/model", "quantized")
    kept = ModelCard(
        export_card(facts, "/folder", "---\nlicense: mit\n---\n# Mine\n```sh\n# no heading\n```\n", 1_000_000)
    )
    assert kept.data.license == "mit"
    assert "\n### Mine\n" in kept.text
    assert "\n# no heading\n" in kept.text
