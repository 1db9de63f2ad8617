"""The student's model card (README.md): metadata that the Hugging Face hub reads, and what a user of the model must know.

It can be published as it is: folders of this machine appear by their last name, and no account or host is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, try_to_load_from_cache

from engine.data.tasks import GLUE, HUB_DATASET, hub_split
from engine.data.types import TEST, TaskSpec
from engine.errors import CrildError
from engine.preset.kinds import RANKINGS, WORD_LABELS, Kind
from engine.preset.load import load_preset
from engine.preset.names import LABELS
from engine.preset.schema import Corpus, OtherTask, Preset, Stage
from engine.preset.shipped import path_of
from engine.preset.source_names import INIT_WORDS, is_corpus_path, is_path
from engine.preset.text import listed, plain, plural
from engine.preset.toml_text import inline
from engine.preset.write import dump
from engine.record.export import LARGEST_CARD
from engine.record.json_values import mapping
from engine.record.latency import cautions, conditions, latency_of, speedup, times
from engine.record.student import THIS_FOLDER
from engine.report import units
from engine.report.closing_table import has_scores, teacher_name

_METRICS = {
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "f1_macro": "f1",
    "f1_micro": "f1",
    "subset_accuracy": "accuracy",
    "entity_f1": "f1",
    "entity_precision": "precision",
    "entity_recall": "recall",
}
"""Names of metrics on the hub, where they differ."""
_PROBLEMS: Mapping[Kind, str] = {
    "classification": "Text Classification",
    "multilabel": "Text Classification",
    "regression": "Text Regression",
    "token-classification": "Token Classification",
}
_ABSOLUTE = re.compile(r"(?<![\w./:~])~?/(?:[^\s/`'\"|,;]+/)*([^\s/`'\"|,;]+)")
"""An absolute path in a sentence; its last name is the group."""
_LANGUAGE = "en"  # of GLUE and the built-in tasks
_OF_THE_MACHINE = frozenset({"train.device", "train.threads", "train.processes"})
"""Settings that change no result."""


def model_card(preset: Preset, results: Mapping[str, Any], spec: TaskSpec, names: Sequence[str] = ()) -> str:
    """The student's README.md; `names` are the presets that the run was made from, if they are known."""
    public = Preset.model_validate(_public(preset.document()))
    parts = [
        f"---\n{_metadata(preset, results, spec).to_yaml()}\n---",
        f"# {_title(preset)}: a student of {plural(results['student']['layers'], 'layer')}",
        f"{_origin(preset)} It predicts {_answers(spec)}.",
        _method(preset, results),
        "## Results",
        _comparison(results),
        _measured_on(results),
        *_latency(results),
        "## Use",
        _usage(spec, preset.task.max_length, results["student"].get("thresholds", {})),
        _intended_use(preset, spec),
        "## Training data",
        *_training_data(preset, results, spec),
        *_findings(preset, results),
        "## Reproduce",
        _reproduce(preset, public, names),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


# -- metadata


def _metadata(preset: Preset, results: Mapping[str, Any], spec: TaskSpec) -> ModelCardData:
    """The YAML at the top: what is known for certain, nothing else."""
    task = preset.task.name
    known = task in GLUE or task.startswith("toy-")
    student = results["student"]
    title = _title(preset)
    return ModelCardData(
        base_model=_hub_models(preset) or None,
        datasets=_hub_datasets(preset) or None,
        language=_LANGUAGE if known else None,
        license=_licence(preset.teacher.model or preset.student.init),
        library_name="transformers",
        pipeline_tag=_pipeline(spec),
        tags=[_pipeline(spec), "distillation", "crild"],
        metrics=list(dict.fromkeys(_METRICS.get(name, name) for name in spec.metrics)),
        model_name=f"{_slug(title)}-{student['layers']}-layers",
        eval_results=[
            EvalResult(
                task_type=_pipeline(spec),
                task_name=_PROBLEMS[spec.kind],
                dataset_type=HUB_DATASET if task in GLUE else _slug(title),
                dataset_name=f"GLUE {task.upper()}" if task in GLUE else title,
                dataset_config=task if task in GLUE else None,
                dataset_split=hub_split(task, split),
                dataset_revision=preset.task.revision if task in GLUE and preset.task.source == "hub" else None,
                metric_type=_METRICS.get(name, name),
                metric_name=name,
                metric_value=round(value, 6),
            )
            for split, metrics in _metrics_by_split(student, results["split"]).items()
            if _metrics(student)
            for name, value in metrics.items()
        ],
    )


def _metrics_by_split(student: Mapping[str, Any], primary: str) -> dict[str, Mapping[str, float]]:
    test = {TEST: student[TEST]} if TEST in student else {}
    return {primary: student["metrics"], **student.get("dev_extra", {}), **test}


def _hub_models(preset: Preset) -> list[str]:
    """The models on the hub that the student was made from."""
    student = preset.student.init if preset.student.init not in INIT_WORDS else None
    teachers = [teacher.model for teacher in preset.teacher.models().values()]
    return [name for name in (*teachers, student) if name and name != "scratch" and not is_path(name)]


def _hub_datasets(preset: Preset) -> list[str]:
    tasks = [preset.task, *(stage.data.task for stage in preset.stage if isinstance(stage.data, OtherTask))]
    glue = [HUB_DATASET for task in tasks if task.name in GLUE]
    corpora = [stage.data.corpus for stage in preset.stage if isinstance(stage.data, Corpus)]
    return list(dict.fromkeys([*glue, *(name for name in corpora if not is_corpus_path(name))]))


def _licence(teacher: str) -> str | None:
    """The licence in the teacher's own card, where this machine has one."""
    with suppress(Exception):  # the card is somebody else's file, which may hold anything
        card = Path(teacher) / "README.md" if is_path(teacher) else try_to_load_from_cache(teacher, "README.md")
        if isinstance(card, str | Path) and Path(card).is_file() and Path(card).stat().st_size < LARGEST_CARD:
            licence = ModelCard.load(card, ignore_metadata_errors=True).data.license
            if isinstance(licence, str) and licence != "other" and re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,40}", licence):
                return licence
    return None


# -- text


def _title(preset: Preset) -> str:
    return plain(preset.task.display_name)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "task"


def _origin(preset: Preset) -> str:
    model = preset.teacher.model
    if model is None:
        init = preset.student.init
        start = "random weights" if init == "scratch" else f"the model `{plain(Path(init).name)}`"
        file = plain(Path(preset.teacher.answers or "").name)
        return f"Distilled with crild from the answers in the file `{file}`; the student started from {start}."
    teacher = "a teacher that was trained from random weights" if model == "scratch" else _link(model)
    tuned = ", fine-tuned on the task first" if preset.teacher.finetune is not None and model != "scratch" else ""
    others = preset.teacher.others or {}
    also = [f", and from {_link(other.model)} (weight {other.weight:g})" for other in others.values()]
    return f"Distilled with crild from {teacher}{tuned}{''.join(also)}."


def _link(model: str) -> str:
    """A model by its name: the last part of a folder's, a link to the hub's."""
    if is_path(model):
        return f"the model `{plain(Path(model).name)}`"
    return f"[{plain(model)}](https://huggingface.co/{model})"


def _pipeline(spec: TaskSpec) -> str:
    """The pipeline of transformers that applies the model."""
    return "token-classification" if spec.kind == WORD_LABELS else "text-classification"


def _answers(spec: TaskSpec) -> str:
    if spec.kind == WORD_LABELS:
        return f"for each word one of {', '.join(map(plain, spec.labels))}"
    several = "any number" if spec.kind == "multilabel" else "one"
    return f"{several} of {', '.join(map(plain, spec.labels))}" if spec.labels else "a score"


def _method(preset: Preset, results: Mapping[str, Any]) -> str:
    """How it was trained, in a sentence."""
    stages = "; ".join(f"in stage {stage.name} it {_stage(stage)}" for stage in preset.stage)
    layers = plural(results["student"]["layers"], "layer")
    if theirs := mapping(results["teacher"]).get("layers"):
        layers += f", its teacher {theirs}"
    return f"Method: the student has {layers}; {stages}."


def _stage(stage: Stage) -> str:
    terms = list(stage.terms())
    taught = [name for name in terms if name != "labels"]
    parts = []
    if taught:
        where = "" if taught == ["logits"] else f" (layers: {stage.layer_map})"
        parts.append(f"learns the teacher's {listed(taught, 'and')}{where}")
    if "labels" in terms:
        parts.append("learns the labels")
    if stage.mixup:
        blends = "texts made of two inputs" if stage.mixup.project else "blends of two inputs"
        parts.append(f"sees {blends} (mixup)")
    if stage.consistency:
        parts.append("is kept close to its own moving average (consistency)")
    if stage.select:
        parts.append(
            f"is trained on the {stage.select.worst} of every {stage.select.of} inputs whose answers differ most from the teacher's"
        )
    return listed(parts, "and")


def _comparison(results: Mapping[str, Any]) -> str:
    student = results["student"]
    rows = [(teacher_name(results["teacher"]), results["teacher"])] if results["teacher"] else []
    rows.append(("**this student**", student))
    if results["baseline"]:
        rows.append(("same student, labels alone", results["baseline"]))
    names = list(student["metrics"])
    lines = [
        ["model", "layers", "parameters", *names],
        ["---"] * (3 + len(names)),
        *([name, *_size(found), *_figures(_metrics(found), names)] for name, found in rows),
        ["majority guess", "", "", *_figures(results["majority"], names)],
    ]
    return _table(lines)


def _size(found: Mapping[str, Any]) -> list[str]:
    """Layers and parameters; empty of a teacher that is a file of answers."""
    return [str(found["layers"]), f"{found['parameters']:,}"] if "layers" in found else ["", ""]


def _metrics(found: Mapping[str, Any]) -> Mapping[str, float]:
    """A model's metrics; none if its classifier isn't trained."""
    return found["metrics"] if found.get("head_trained", True) else {}


def _measured_on(results: Mapping[str, Any]) -> str:
    if not results["student"].get("head_trained", True):
        return (
            "No stage trained the student's head (its classifier): it has to be trained before the model can be used."
        )
    return (
        f"Metrics are times 100. Measured on {results['split']}, which was also used during training: "
        f"{results['saved_why']}.{_agreement(results)}{_measured_on_test(results)}"
    )


def _agreement(results: Mapping[str, Any]) -> str:
    share = results["agreement"]
    if share is None:
        return " Its teacher's answers to these rows are not known."
    if results["metric"] in RANKINGS and not has_scores(results):
        return ""  # equal classes say nothing of how rows are ranked
    if has_scores(results):
        return f" The scores of student and teacher correlate with {share:.2f} (Pearson) on it."
    return f" Student and teacher give the same answer on {100 * share:.1f} % of it."


def _measured_on_test(results: Mapping[str, Any]) -> str:
    test, metric = mapping(results.get(TEST)), results["metric"]
    if not test:
        return ""
    figures = [
        f"{name} {units.metric(results[name][TEST][metric])}"
        for name in ("teacher", "student")
        if TEST in mapping(results[name])
    ]
    least = f"majority guess {units.metric(test['majority'][metric])}"
    return (
        f"\n\nOn the test set ({test['rows']:,} rows, measured once after training; nothing was chosen by it), {metric}: "
        f"{', '.join([*figures, least])}."
    )


def _latency(results: Mapping[str, Any]) -> Iterator[str]:
    """Latency of teacher and student by the protocol, with what is needed to quote it."""
    latency = latency_of(results)
    if latency is None or not latency.cases:
        return
    yield "## Latency"
    lines = [["model", "batch", "ms (quartiles)", "examples/s", "times as fast (quartiles)"], ["---"] * 5]
    for case in latency.cases:
        for model in case.models:
            own, ratio = model.milliseconds, model.ratio
            lines.append([
                model.name, str(case.batch), f"{own.median:.3g} ({own.low:.3g} to {own.high:.3g})",
                f"{case.throughput(model.name) or 0:.3g}",
                f"{times(ratio.median)} ({times(ratio.low)} to {times(ratio.high)})" if len(case.models) > 1 else "",
            ])  # fmt: skip
    yield _table(lines)
    yield (
        ". ".join(filter(None, [speedup(latency, "student", "teacher"), conditions(latency), *cautions(latency)])) + "."
    )


def _usage(spec: TaskSpec, max_length: int, thresholds: Mapping[str, float]) -> str:
    example = '{"text": "...", "text_pair": "..."}' if spec.is_pair else '"..."'
    if spec.kind == WORD_LABELS:
        return f"""```python
from transformers import pipeline

label = pipeline("token-classification", model="{THIS_FOLDER}", aggregation_strategy="first")
label("...")
```

It was trained on words that single spaces separate, punctuation marks among them, and labels each by its first piece."""
    every = ", top_k=None" if spec.kind == "multilabel" else ""
    code = f"""```python
from transformers import pipeline

classify = pipeline("text-classification", model="{THIS_FOLDER}"{every})
classify({example}, truncation=True, max_length={max_length})
```"""
    if spec.kind != "multilabel":
        return code
    where = "those from 0.5 apply"
    if thresholds:
        each = ", ".join(f"{plain(name)} {value:.3g}" for name, value in thresholds.items())
        where = (
            f"for the figures above, a label applies from a threshold of its own, chosen on the training rows: {each}"
        )
    return f"{code}\n\nIt gives the probability of each label; {where}. They do not add up to 1."


def _intended_use(preset: Preset, spec: TaskSpec) -> str:
    texts = "pairs of texts" if spec.is_pair else "texts"
    always = "It can give no label at all"
    if spec.kind == WORD_LABELS:
        always = "It labels every word"
    elif spec.kind != "multilabel":
        always = "It always gives an answer, also to texts that belong to no class"
    return (
        f"Intended for {texts} like those of {_title(preset)}: same language, same kind of source. It was trained "
        f"on inputs of at most {preset.task.max_length} tokens; longer ones are cut. Other texts were not tested, nor "
        f"was fairness between groups of people. {always}; its probabilities are not calibrated. It can repeat what is wrong in its training data and in its teacher."
    )


def _training_data(preset: Preset, results: Mapping[str, Any], spec: TaskSpec) -> Iterator[str]:
    data = mapping(results.get("data"))
    task = preset.task
    if data:
        dev = " and ".join(f"{rows:,} of {plain(split)}" for split, rows in mapping(data.get("dev")).items())
        without = "" if task.class_names is None else " without labels"
        yield f"{data['train']:,} rows of {_title(preset)}{without} for training; measured on {dev}."
    changes = []
    if task.holdout is not None:
        part = f"{100 * task.holdout:.3g} %" if task.holdout < 1 else f"{task.holdout:,.0f} rows"
        changes.append(f"{part} of the training rows were set aside")
    if task.examples is not None:
        changes.append(f"a subset of {data.get('train', task.examples)} rows, drawn with seed {task.data_seed}")
    if task.label_noise:
        changes.append(f"{100 * task.label_noise:g} % of the training labels were replaced at random")
    if changes:
        yield f"Changed on purpose: {listed(changes, 'and')}."
    if classes := mapping(data.get("classes")):
        total = max(1, data["train"] if spec.kind == "multilabel" else sum(classes.values()))
        words = "words" if spec.kind == WORD_LABELS else "rows"
        rows = [[_cell(name), f"{count:,}", f"{100 * count / total:.1f} %"] for name, count in classes.items()]
        yield _table(
            [
                ["class" if spec.kind == "classification" else "label", f"training {words}", "share"],
                ["---"] * 3,
                *rows,
            ]
        )
    elif scores := data.get("scores"):
        yield f"Scores from {scores[0]:g} to {scores[1]:g}."


def _findings(preset: Preset, results: Mapping[str, Any]) -> Iterator[str]:
    if results["findings"]:
        yield "About its data, before training:"
        sentences = (_without_paths(plain(finding["sentence"]), preset) for finding in results["findings"])
        yield "\n".join(f"- {sentence}" for sentence in sentences)


def _reproduce(preset: Preset, public: Preset, names: Sequence[str]) -> str:
    """The command, and the complete preset."""
    folders = " (folders by their last name; put your own paths in)" if any(_paths(preset.document())) else ""
    command = run_command(public, names) or "crild run preset.toml"
    return f"""```sh
{command}
```

<details><summary>preset.toml: all settings{folders}</summary>

```toml
{dump(public).strip().replace("```", "` ` `")}
```

</details>"""


def run_command(preset: Preset, names: Sequence[str]) -> str | None:
    """`crild run` with the names of shipped presets and `--set` for what differs; None if other presets were used."""
    if not names or any(path_of(name) is None for name in names):
        return None
    try:
        changes = list(_changes(load_preset(list(names)).preset.document(), preset.document()))
    except (CrildError, LookupError):  # a later version may have other presets
        return None
    return " ".join([f"crild run {' '.join(names)}", *(f"\\\n    --set {_quoted(change)}" for change in changes)])


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Settings that turn one preset into the other. Raises LookupError where no setting can (stages were added)."""
    for key, value in after.items():
        old = before.get(key)
        if key in LABELS and not prefix:
            continue
        if key == "stage" and not prefix:
            stages = {stage["name"]: stage for stage in old or ()}
            if list(stages) != [stage["name"] for stage in value]:
                raise LookupError(key)
            for stage in value:
                yield from _changes(stages[stage["name"]], stage, f"stage.{stage['name']}.")
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            yield from _changes(old, value, f"{prefix}{key}.")
        elif value != old and f"{prefix}{key}" not in _OF_THE_MACHINE:
            yield f"{prefix}{key}={inline(value)}"
    for key in before:
        if key not in after and f"{prefix}{key}" == "teacher.finetune":
            yield f"{prefix}{key}=false"
        elif key not in after and key not in LABELS:
            raise LookupError(key)


def _quoted(change: str) -> str:
    escaped = change.replace("'", "'\"'\"'")
    return change if re.fullmatch(r"[\w.=-]+", change) else f"'{escaped}'"


# -- without paths


def _public(value: Any) -> Any:
    """A preset's document with the last name of each folder and file instead of its path."""
    if isinstance(value, Mapping):
        return {key: item if key == "labels" else _public(item) for key, item in value.items() if key != "description"}
    if isinstance(value, list):
        return [_public(item) for item in value]
    return _last_name(value) if isinstance(value, str) and value.startswith(("/", "~")) else value


def _last_name(path: str) -> str:
    return Path(path).name or "folder"


def _paths(value: Any) -> Iterator[str]:
    """The absolute paths in a preset's document."""
    if isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _paths(item)
    elif isinstance(value, str) and value.startswith(("/", "~")) and _last_name(value) != value:
        yield value


def _without_paths(sentence: str, preset: Preset) -> str:
    for path in sorted(_paths(preset.document()), key=len, reverse=True):
        sentence = sentence.replace(plain(path), plain(_last_name(path)))
    return _ABSOLUTE.sub(r"\1", sentence)


# -- Markdown


def _table(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|")


def _figures(metrics: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return ["" if metrics.get(name) is None else units.metric(metrics[name]) for name in names]
