"""What a student with another vocabulary than its teacher's cannot do. Imports no torch: preflight asks too."""

from __future__ import annotations

from collections.abc import Sequence

from engine.preset.kinds import WORD_LABELS, Kind
from engine.preset.names import HEAD_OBJECTIVES
from engine.preset.schema import Stage


def needs_same_words(stages: Sequence[Stage], kind: Kind | None) -> str | None:
    """Why the stages need a student that reads the teacher's tokens, as the end of a sentence; None where they don't.

    With vocabularies of their own, both models read the same texts in other tokens, so only answers can be compared. A
    mixed input is a mixture of embeddings, which only one of them could read. Answers to words are at the places of their
    first tokens. `kind` is the task's, None where it is not known yet.
    """
    for stage in stages:
        if kind == WORD_LABELS and "logits" in stage.terms():
            return (
                f"the stage {stage.name} compares the answers to words, at the tokens where they begin, so both must read the same "
                "tokens. Use a student with the teacher's vocabulary"
            )
        if layers := sorted(stage.terms().keys() - HEAD_OBJECTIVES):
            return (
                f"the stage {stage.name} compares {', '.join(layers)}, token by token, so both must read the same tokens. Use the "
                "objectives logits and labels, or a student with the teacher's vocabulary"
            )
        if stage.mixup and "logits" in stage.terms():
            return (
                f"the stage {stage.name} mixes embeddings of two inputs (mixup), and the teacher would have to read the same "
                "mixture. Set mixup = false, or use a student with the teacher's vocabulary"
            )
    return None
