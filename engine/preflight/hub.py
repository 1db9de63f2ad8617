"""What presets would fetch from the hub, and whether it can be reached. Downloads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.data.hub_connection import HubUnreachableError, check_hub, endpoint
from engine.preset.names import GLUE_TASKS
from engine.preset.schema import Corpus, OtherTask, Preset, Task
from engine.preset.source_names import is_corpus_path, is_path
from engine.preset.text import listed, plain
from engine.record.secrets import without_secrets

MOST_NAMED = 4


def hub_problem(presets: Iterable[Preset]) -> str | None:
    """A sentence if presets name sources on a hub that cannot be reached; None where they name none, or it can be.

    Takes at most eight seconds (`hub_connection.PATIENCE`). What was downloaded before is not looked up.
    """
    names = dict.fromkeys(name for preset in presets for name in _names(preset))
    if not names:
        return None
    try:
        check_hub()
    except HubUnreachableError as error:
        hub = plain(without_secrets(endpoint()))
        wanted = listed(names, "and", MOST_NAMED)
        return f"the hub at {hub} cannot be reached ({plain(str(error))}): unless downloaded before, {wanted} will be missing"
    return None


def _names(preset: Preset) -> Iterator[str]:
    """The hub ids that a preset names, each with what it is."""
    tasks = [preset.task, *(stage.data.task for stage in preset.stage if isinstance(stage.data, OtherTask))]
    yield from (f"the data of {task.name}" for task in tasks if _is_on_hub(task))
    corpora = (stage.data.corpus for stage in preset.stage if isinstance(stage.data, Corpus))
    yield from (f"the corpus {plain(corpus)}" for corpus in corpora if not is_corpus_path(corpus))
    teachers = (name for each in preset.teacher.models().values() for name in (each.model, each.tokenizer))
    copying = (stage.augment.model for stage in preset.stage if stage.augment is not None)
    models = [*teachers, preset.student.init, *copying]
    words = ("scratch", "teacher", "pretrained")
    yield from (f"the model {plain(model)}" for model in models if model and model not in words and not is_path(model))


def _is_on_hub(task: Task) -> bool:
    return task.name in GLUE_TASKS and task.source == "hub"
