"""Everything that a preset needs and that is neither on this machine nor to be had: data, models, tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from engine.data.hub_connection import endpoint
from engine.data.load import load_corpus, load_task
from engine.data.tasks import HUB_DATASET
from engine.data.unlabelled_files import check_unlabelled
from engine.errors import CrildError
from engine.models.hub import check_available
from engine.preset.names import GLUE_TASKS
from engine.preset.schema import Corpus, OtherTask, Preset, Task, UnlabelledFiles
from engine.preset.text import listed, plain
from engine.record.phases import Report, unreported
from engine.record.secrets import without_secrets
from engine.user.own_code import OwnCodeError

UNREACHABLE = "hub-unreachable"


def missing_sources(preset: Preset, *, report: Report = unreported) -> list[str]:
    """A sentence for each source that cannot be used; those of a hub that cannot be reached share one.

    Data is read; of models only the presence is checked, so nothing large is downloaded.
    """
    unreachable: dict[str, CrildError] = {}
    sentences = []
    for name, check in _sources(preset, report):
        report(f"looking for {name}")
        try:
            check()
        except OwnCodeError:
            continue  # the source is there
        except CrildError as error:
            if error.kind == UNREACHABLE:
                unreachable[name] = error
            else:
                sentences.append(str(error))
    if len(unreachable) == 1:
        sentences.insert(0, str(next(iter(unreachable.values()))))
    elif unreachable:
        sentences.insert(0, _all_of_the_hub(list(unreachable)))
    return list(dict.fromkeys(sentences))


def _all_of_the_hub(names: list[str]) -> str:
    return (
        f"the hub at {plain(without_secrets(endpoint()))} cannot be reached, and this machine has no copy of "
        f"{listed(names, 'and')}: name folders instead (task.source, teacher.model), set HF_ENDPOINT to a mirror or "
        "HTTPS_PROXY to a proxy, or set HF_HOME to a folder of earlier downloads"
    )


def _sources(preset: Preset, report: Report) -> Iterator[tuple[str, Callable[[], object]]]:
    yield _task_name(preset.task), partial(load_task, preset.task, report=report)
    for stage in preset.stage:
        if isinstance(stage.data, Corpus):
            corpus = stage.data
            yield (
                f"the corpus {plain(corpus.corpus)}",
                partial(load_corpus, corpus, preset.task.data_seed, report=report),
            )
        elif isinstance(stage.data, UnlabelledFiles):
            yield f"the inputs of stage {stage.name}", partial(check_unlabelled, stage.data, preset.task)
        elif isinstance(stage.data, OtherTask):
            yield _task_name(stage.data.task), partial(load_task, stage.data.task, report=report)
        if stage.augment is not None and stage.augment.model is not None:
            model, revision = stage.augment.model, stage.augment.revision
            yield f"the model {plain(model)}", partial(check_available, model, revision)
    teacher, student = preset.teacher, preset.student
    for each in teacher.models().values():
        if each.named != "scratch":
            yield f"the model {plain(each.named)}", partial(check_available, each.named, each.revision)
        if each.tokenizer is not None:
            tokenizer = partial(check_available, each.tokenizer, weights=False)
            yield f"the tokenizer {plain(each.tokenizer)}", tokenizer
    if student.init not in ("teacher", "pretrained", "scratch"):
        yield f"the model {plain(student.init)}", partial(check_available, student.init, student.revision)


def _task_name(task: Task) -> str:
    hub = task.name in GLUE_TASKS and task.source == "hub"
    return f"the data set {HUB_DATASET} ({task.name})" if hub else f"the data of {task.name}"
