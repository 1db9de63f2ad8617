"""Findings about a run: its data, tokenizer, model and labels, checked against each other before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from engine.data.findings import Finding, data_findings
from engine.data.token_findings import EmbeddingSizes, TokenisedInputs, token_findings
from engine.data.tokenizer_facts import TokenizerFacts, tokenizer_facts
from engine.data.tokens import TokenSet
from engine.data.types import Example, TaskData
from engine.errors import CrildError, DataError, ModelError
from engine.evaluate.predict import takes_types
from engine.models.families import family_of
from engine.models.load import LoadedModel
from engine.models.problem_types import teacher_of_other_kind
from engine.preset.kinds import Kind
from engine.preset.schema import Preset
from engine.preset.text import plain


@dataclass(frozen=True)
class Reader:
    """What reads the texts of a run: tokenizer, embeddings, and the length at which it cuts."""

    tokenizer: TokenizerFacts
    sizes: EmbeddingSizes
    max_length: int

    @classmethod
    def of(cls, name: str, loaded: LoadedModel, max_length: int) -> Reader:
        """The reader that a model and its tokenizer are; `name` is what sentences call the model."""
        model = loaded.model
        types = int(getattr(model.config, "type_vocab_size", 2)) if takes_types(model) else None
        rows = int(model.get_input_embeddings().weight.shape[0])
        return cls(tokenizer_facts(loaded.tokenizer), EmbeddingSizes(name, rows, types), max_length)

    def findings(self, name: str, examples: Sequence[Example], tokens: TokenSet) -> tuple[Finding, ...]:
        """The findings about some tokenised inputs, which sentences call `name`."""
        return token_findings(TokenisedInputs(name, examples, tokens, self.max_length), self.tokenizer, self.sizes)


def task_findings(
    preset: Preset, data: TaskData, loaded: LoadedModel, train: TokenSet, dev: Mapping[str, TokenSet]
) -> tuple[Finding, ...]:
    """The findings about a run's task and its teacher: rows, classes, tokens, what the model's outputs mean.

    `dev` holds the tokens of every split that is measured.

    Dev tokens are only mentioned where they are worse than training tokens.
    """
    reader = Reader.of(preset.teacher.model, loaded, preset.task.max_length)
    found = [*_model_findings(preset, loaded, data.spec.kind), *data_findings(data)]
    found += reader.findings("training inputs", data.train, train)
    known = {(finding.kind, finding.severity) for finding in found}
    known |= {(kind, "note") for kind, _ in known} | {("texts-cut", "note")}
    for split, tokens in dev.items():
        others = reader.findings(f"inputs of {split}", data.measured[split], tokens)
        found += [finding for finding in others if (finding.kind, finding.severity) not in known]
    return tuple(found)


def stage_findings(
    preset: Preset, loaded: LoadedModel, own: Mapping[str, Sequence[Example]], tokens: Mapping[str, TokenSet]
) -> tuple[Finding, ...]:
    """The findings about the stages with data of their own: their examples and tokens by stage name."""
    if not own:
        return ()
    reader = Reader.of(preset.teacher.model, loaded, preset.task.max_length)
    found = (reader.findings(f"inputs of {name}", examples, tokens[name]) for name, examples in own.items())
    return tuple(chain.from_iterable(found))


def guessed_order(sentence: str) -> Finding:
    """The finding about a teacher whose order of classes was chosen by the dev set."""
    return Finding(sentence, kind="class-order-from-dev", severity="warning", subject="model")


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first refusal among the findings, if there is one, as a DataError or ModelError."""
    for finding in findings:
        if finding.severity == "refusal":
            error: type[CrildError] = ModelError if finding.subject == "model" else DataError
            raise error(finding.sentence, kind=finding.kind)


def has(findings: Iterable[Finding], kind: str) -> bool:
    """Whether there is a warning of a kind among the findings."""
    return any(finding.kind == kind and finding.severity == "warning" for finding in findings)


def _model_findings(preset: Preset, loaded: LoadedModel, kind: Kind) -> Iterator[Finding]:
    objectives = {name for stage in preset.stage for name in stage.terms()}
    finetuned = preset.teacher.finetune is not None
    fault = teacher_of_other_kind(
        preset.teacher.model, loaded.problem_type, kind=kind, finetuned=finetuned, objectives=objectives
    )
    if fault is not None:
        sentence, problem = fault
        yield Finding(sentence, kind=problem, severity="refusal", subject="model")
    if loaded.foreign_tokenizer:
        sentence = (
            f"teacher.tokenizer names {plain(preset.teacher.tokenizer or '')}, whose vocabulary is not that of the tokenizer of "
            f"{plain(preset.teacher.model)}: unless the model was trained with it, the model reads other words than the "
            "texts have"
        )
        yield Finding(sentence, kind="foreign-tokenizer", severity="warning", subject="model")
    config, pad = loaded.model.config, loaded.tokenizer.pad_token_id
    if family_of(config).positions_offset and pad != config.pad_token_id:
        sentence = (
            f"the padding token of the tokenizer has the id {pad}, but that of the model {plain(preset.teacher.model)} is "
            f"{config.pad_token_id}, from which it counts positions: use a tokenizer that belongs to the model"
        )
        facts = {"tokenizer": pad, "model": config.pad_token_id}
        yield Finding(sentence, kind="other-padding-token", severity="warning", facts=facts, subject="model")
