"""Findings about a run: its data, tokenizer, model and labels, checked against each other before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from engine.data.findings import Finding, data_findings
from engine.data.token_findings import EmbeddingSizes, TokenisedInputs, token_findings
from engine.data.tokenizer_facts import tokenizer_facts
from engine.data.tokens import TokenSet
from engine.data.types import Example, TaskData
from engine.errors import CrildError, DataError, ModelError
from engine.evaluate.predict import takes_types
from engine.models.families import family_of
from engine.models.load import LoadedModel
from engine.models.problem_types import MULTI_LABEL, multi_label_teacher
from engine.preset.schema import Preset
from engine.preset.text import plain


def task_findings(
    preset: Preset, data: TaskData, loaded: LoadedModel, train: TokenSet, dev: Mapping[str, TokenSet]
) -> tuple[Finding, ...]:
    """The findings about a run's task and its teacher: rows, classes, tokens, what the model's outputs mean.

    Dev tokens are only mentioned for what training tokens don't show already.
    """
    found = list(_model_findings(preset, loaded))
    found += data_findings(data)
    found += input_findings("training inputs", data.train, train, preset, loaded)
    known = {finding.kind for finding in found}
    for split, tokens in dev.items():
        others = input_findings(f"inputs of {split}", data.dev[split], tokens, preset, loaded)
        found += [finding for finding in others if finding.kind not in known | {"texts-cut"}]
    return tuple(found)


def input_findings(
    name: str, examples: Sequence[Example], tokens: TokenSet, preset: Preset, loaded: LoadedModel
) -> tuple[Finding, ...]:
    """The findings about some tokenised inputs, which sentences call `name`."""
    model = loaded.model
    types = int(model.config.type_vocab_size) if takes_types(model) else None
    rows = int(model.get_input_embeddings().weight.shape[0])
    sizes = EmbeddingSizes(preset.teacher.model, rows, types)
    inputs = TokenisedInputs(name, examples, tokens, preset.task.max_length)
    return token_findings(inputs, tokenizer_facts(loaded.tokenizer), sizes)


def stage_findings(
    preset: Preset, loaded: LoadedModel, own: Mapping[str, Sequence[Example]], tokens: Mapping[str, TokenSet]
) -> tuple[Finding, ...]:
    """The findings about the stages with data of their own: their examples and tokens by stage name."""
    return tuple(
        finding
        for name, examples in own.items()
        for finding in input_findings(f"inputs of {name}", examples, tokens[name], preset, loaded)
    )


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first refusal among the findings, if there is one, as a DataError or ModelError."""
    for finding in findings:
        if finding.severity == "refusal":
            error: type[CrildError] = ModelError if finding.subject == "model" else DataError
            raise error(finding.sentence, kind=finding.kind)


def has(findings: Iterable[Finding], kind: str) -> bool:
    """Whether there is a warning of a kind among the findings."""
    return any(finding.kind == kind and finding.severity == "warning" for finding in findings)


def _model_findings(preset: Preset, loaded: LoadedModel) -> Iterator[Finding]:
    problem_type = MULTI_LABEL if loaded.multi_label else None
    objectives = {name for stage in preset.stage for name in stage.terms()}
    finetuned = preset.teacher.finetune is not None
    reason = multi_label_teacher(preset.teacher.model, problem_type, finetuned=finetuned, objectives=objectives)
    if reason is not None:
        yield Finding(reason, kind="multi-label-teacher", severity="refusal", subject="model")
    config, pad = loaded.model.config, loaded.tokenizer.pad_token_id
    if family_of(config).positions_offset and pad != config.pad_token_id:
        sentence = (
            f"the padding token of the tokenizer has the id {pad}, but that of the model {plain(preset.teacher.model)} is "
            f"{config.pad_token_id}, from which it counts positions: use a tokenizer that belongs to the model"
        )
        facts = {"tokenizer": pad, "model": config.pad_token_id}
        yield Finding(sentence, kind="other-padding-token", severity="warning", facts=facts, subject="model")
