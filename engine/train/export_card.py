"""The model card of an exported model: what was measured on this form, how to use it, then the card of the original."""

from __future__ import annotations

import copy
import re
from contextlib import suppress
from dataclasses import replace

from huggingface_hub import ModelCard, ModelCardData

from engine.preset.source_names import is_path
from engine.preset.text import plain
from engine.record.export import ExportFacts
from engine.record.student import THIS_FOLDER
from engine.report import units

_FORMS = {
    "onnx": "as ONNX",
    "int8": "as ONNX, its weights in 8 bits",
    "int8-static": "as ONNX, in 8 bits, the ranges of its activations measured on training rows",
    "fp16": "as ONNX in half precision",
}


def export_card(facts: ExportFacts, model: str, card: str | None, size: int) -> str:
    """The README.md of an exported folder.

    `model` is the folder or hub id that was exported, `card` its own README.md, if it has one, `size` the bytes of the file.
    Figures in the metadata are those of this form: others of the original's card are left out.
    """
    original = _read(card)
    metadata = _metadata(facts, model, original).to_yaml()
    parts = [
        f"---\n{metadata}\n---",
        f"# {plain(facts.source)} {_FORMS[facts.form]}",
        "Exported with crild. It is computed by ONNX Runtime, without PyTorch, and cannot be trained.",
        _measured(facts, size),
        "## Use",
        _usage(),
    ]
    if original is not None and original.text.strip():
        parts += ["## The original", _demoted(original.text).strip()]
    return "\n\n".join(parts) + "\n"


def _read(card: str | None) -> ModelCard | None:
    """The original's card; None for one that cannot be read, which may be anybody's."""
    if card is not None:
        with suppress(Exception):
            return ModelCard(card, ignore_metadata_errors=True)
    return None


def _metadata(facts: ExportFacts, model: str, original: ModelCard | None) -> ModelCardData:
    data = ModelCardData() if original is None else copy.deepcopy(original.data)
    results = [each for each in data.eval_results or () if each.metric_name == facts.metric][:1]
    data.eval_results = None
    if facts.value is not None and results:
        data.eval_results = [replace(results[0], metric_value=round(facts.value, 6), verified=None, verify_token=None)]
        data.model_name = f"{data.model_name or plain(facts.source)}-{facts.form}"
    if not is_path(model):
        data.base_model = model
        data.base_model_relation = "quantized"
    pipeline = (data.pipeline_tag if original is not None else None) or "text-classification"
    data.library_name, data.pipeline_tag = "onnx", pipeline
    tags = data.tags if isinstance(data.tags, list) else []
    data.tags = list(dict.fromkeys([*tags, pipeline, "crild", "onnx", facts.form]))
    return data


def _measured(facts: ExportFacts, size: int) -> str:
    where = "random tokens" if facts.metric is None else "dev"
    megabytes = f"{size / 1e6:.1f} MB"
    differ = "" if facts.logits_differ is None else f"{facts.logits_differ:.2g}"
    if facts.value is None or facts.original is None:
        return f"The file has {megabytes}; on {where}, no logit differs from the original's by more than {differ}."
    rows = [
        ("", f"{facts.metric} on dev", "largest difference of a logit", "size"),
        ("---", "---", "---", "---"),
        ("original", units.metric(facts.original), "", ""),
        ("**this form**", units.metric(facts.value), differ, megabytes),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\nMetrics are times 100."


def _usage() -> str:
    return f"""```python
import onnxruntime
from transformers import AutoTokenizer

session = onnxruntime.InferenceSession("model.onnx")  # the file beside this card
words = AutoTokenizer.from_pretrained("{THIS_FOLDER}")(["..."], truncation=True, return_tensors="np")
(logits,) = session.run(["logits"], {{given.name: words[given.name] for given in session.get_inputs()}})
```"""


def _demoted(text: str) -> str:
    """Markdown with each heading two levels lower; lines of code that begin with # stay."""
    parts = re.split(r"(?ms)(^```.*?^```[^\n]*$)", text)
    return "".join(part if part.startswith("```") else re.sub(r"(?m)^(#{1,4} )", r"##\1", part) for part in parts)
