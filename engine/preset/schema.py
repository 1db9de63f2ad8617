"""The keys of a preset: one frozen, strict declaration that gives validation, help texts and the JSON Schema.

It checks each key by itself. Which keys go together is in `rules`; `load` checks both.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from engine.preset.field_types import (
    Batch,
    ClassWeights,
    Count,
    DevShare,
    Epochs,
    Evaluate,
    Examples,
    Fraction,
    Heads,
    LayerMap,
    Layers,
    LayerSelection,
    Name,
    NotNegative,
    Positive,
    Project,
    Record,
    Seed,
    Steps,
    TaskShare,
    Threads,
    Title,
    Width,
    form,
)
from engine.preset.kinds import Kind, MetricName
from engine.preset.names import ObjectiveName, TaskName


class Files(Record):
    """The files of a custom task: CSV, TSV, JSON lines, Parquet or (words with labels) CoNLL, by their ending."""

    train: Name
    """Training rows."""
    dev: Name | None = None
    """Rows that metrics are computed on; a share of the training rows when left out (`dev_share`)."""
    dev_mismatched: Name | None = None
    """A second dev set, reported besides the first."""
    test: Name | None = None
    """Rows that are measured once, when training has ended; nothing is chosen by them."""

    def splits(self) -> dict[str, str]:
        """The files by split: "train" and, where there are such files, "dev", "dev_mismatched" and "test"."""
        splits = {"train": self.train, "dev": self.dev, "dev_mismatched": self.dev_mismatched, "test": self.test}
        return {split: file for split, file in splits.items() if file is not None}

    def source(self, split: str) -> str:
        """The file that the rows of a split come from: those of a dev set without a file come from the training file."""
        return self.splits().get(split, self.train)


class Columns(Record):
    """Names of the columns of a custom task."""

    text: str = "text"
    """The sentence, or the first of a pair. For kind = "token-classification" a list of words; in CoNLL files, whose columns
    have no names, the number of a column, as "1"."""
    pair: str | None = None
    """The second sentence of a pair; leave out for one-sentence tasks."""
    label: str = "label"
    """The class (of any type) or the score; where a text can have several labels, a list of them, or all in one text.
    For kind = "token-classification" a list with a label for each word, or the number of a column."""
    labels: Annotated[list[Name], Field(min_length=2)] | None = None
    """For kind = "multilabel": a column for each label, with 1 where it applies and 0 where not, instead of `label`."""
    separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """For kind = "multilabel": what stands between the labels in `label`, such as "|"; recognised when left out."""
    label_names: Annotated[list[Name], Field(min_length=2)] | None = None
    """For kind = "token-classification" with numbers as labels: the names of 0, 1, ..., where the file doesn't have them."""
    group: str | None = None
    """The query that a row answers, for rerankers (it can be the column of the text, too): rows with equal values are ranked against each other by mrr and ndcg, and
    dev_share keeps them together."""
    id: str | None = None
    """A unique name for each example; split and row number when left out."""

    def names(self) -> list[str]:
        """The columns that are read."""
        names = (self.text, self.pair, *self.label_columns(), self.group, self.id)
        return list(dict.fromkeys(name for name in names if name is not None))

    def label_columns(self) -> list[str]:
        """The column of the labels, or those with one label each."""
        return [self.label] if self.labels is None else self.labels


class Task(Record):
    """What the student must learn: data, labels, metric."""

    name: TaskName
    """A GLUE task, an embedded toy task, or "custom"."""
    source: Name = "hub"
    """"hub", or a folder in the official GLUE layout (the task's folder, or the one that holds them all).
    Toy and custom tasks leave it out."""
    title: Title | None = None
    """What lists, reports and model cards call the data; the task's name when left out."""
    revision: str | None = None
    """The commit of the hub data set; resolved and recorded when a run starts."""
    files: Files | None = None
    """For "custom": the files."""
    columns: Columns | None = None
    """For "custom": the names of their columns."""
    kind: Kind | None = None
    """For "custom": one of several classes, "multilabel" (any number of labels for a text), scores, or "token-classification"
    (a label for each word); recognised when left out, as far as the labels can be read in one way. GLUE and toy tasks know
    theirs."""
    class_names: Annotated[list[Name], Field(min_length=2)] | None = None
    """For "custom" with training rows that have no labels: the classes, in the order of the model's outputs. Recognised from
    the teacher, where it is a file of answers or knows the task. The dev file still has labels; a column of labels in the
    training file is not read."""
    dev_share: DevShare | None = None
    """For "custom" without a dev file: this share of the training rows is the dev set, drawn with `data_seed`, each
    class (but no label of several) keeping its share. 0.2 when left out."""
    metrics: (
        Annotated[
            list[MetricName],
            Field(min_length=1),
        ]
        | None
    ) = None
    """For "custom": the metrics to report; the first picks the best checkpoint. Default: accuracy, f1_micro
    ("multilabel"), pearson, mrr and ndcg where `columns.group` is set, or, of labels by word that mark entities, entity_f1,
    entity_precision, entity_recall and accuracy."""
    thresholds: Literal["train"] | None = None
    """For "multilabel": "train" chooses on the training rows from which probability each label applies (the best F1), and
    stores that with the student; 0.5 when left out, as other programs have it."""
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Most tokens of an input, special tokens included; longer inputs are cut, and the run reports how many."""
    data_seed: Seed = 0
    """Seed of subsets and label noise, so that the data is the same for every training seed."""
    holdout: Positive | None = None
    """Training rows to set aside before anything else is drawn: a share below 1, or a number of rows. Nothing trains or
    chooses on them. Drawn with `data_seed`, equal texts together, each class keeping its share."""
    measure_holdout: bool | None = None
    """Measure the rows of `holdout` once, as the test set, when training has ended; false leaves them unused."""
    examples: Examples | None = None
    """Few-sample setting: this many training examples, drawn with `data_seed`, each class (but no label of several)
    keeping its share."""
    label_noise: Fraction = 0.0
    """Share of training labels to replace: by another class, or for scores and several labels by another
    example's. Not for "token-classification"."""

    def columns_of(self, split: str) -> list[str]:
        """The columns that are read of a split of a custom task: of training rows without labels, none with labels."""
        columns = self.columns or Columns()
        unread = columns.label_columns() if split == "train" and self.class_names is not None else []
        return [name for name in columns.names() if name not in unread]

    @property
    def display_name(self) -> str:
        """What lists, reports and model cards call the data."""
        return self.title or self.name


class Architecture(Record):
    """The shape of an encoder that is trained from scratch (BERT)."""

    layers: Layers = 4
    """Transformer layers."""
    hidden_size: Width = 128
    """Width of the hidden states."""
    heads: Heads = 4
    """Attention heads; they share the width evenly."""
    intermediate_size: Width | None = None
    """Width of the feed-forward part; four times `hidden_size` when left out."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout of hidden states and attention during training."""


class Finetune(Record):
    """How the teacher learns the task before anything is distilled."""

    seed: Seed = 0
    """A seed of its own, so that runs with different seeds share one teacher."""
    epochs: Epochs = 3.0
    """Passes over the training examples; fractions are allowed."""
    learning_rate: Positive = 2e-5
    """Peak learning rate, after the warm-up."""
    batch_size: Batch = 32
    """Examples in each optimiser step."""
    weight_decay: NotNegative = 0.01
    """Not applied to biases and normalisation weights."""
    warmup: Fraction = 0.1
    """Share of the steps over which the learning rate rises."""
    clip: NotNegative = 1.0
    """Largest gradient norm; 0 switches clipping off."""
    evaluate: Evaluate = "epoch"
    """"epoch", or every n steps; always at the end."""
    keep_best: bool = True
    """Keep the weights of the best evaluation rather than the last; of equal ones, those with the lower loss on dev."""
    patience: Count | None = None
    """Stop after this many evaluations without a better one."""


class AnswerColumns(Record):
    """Names of the columns of a file of answers; what is left out is recognised."""

    id: Name | None = None
    """The ids of the task's rows: joins by id."""
    text: Name | None = None
    """The sentence, or the first of a pair, as the task has it: joins by text."""
    pair: Name | None = None
    """The second sentence of a pair."""
    label: Name | None = None
    """One class for each row instead of numbers for all of them, or the score of a regression task."""
    classes: Annotated[dict[str, Name], Field(min_length=1)] | None = None
    """The column of each class, as { positive = "p_pos", negative = "p_neg" }."""


class OtherTeacher(Record):
    """A further teacher: a model that already knows the task."""

    model: Name
    """Hub id or folder. Its vocabulary may be another one."""
    revision: str | None = None
    """Commit, tag or branch on the hub; resolved to a commit and recorded when a run starts."""
    tokenizer: Name | None = None
    """Another folder or hub id for its tokenizer."""
    labels: list[str] | None = None
    """Names of its outputs in their order, if its config does not name them."""
    weight: Positive = 1.0
    """Its weight in the mean of all teachers."""


class Teacher(Record):
    """The model to distil, or a file of its answers."""

    model: Name | None = None
    """Hub id, folder, or "scratch" to train one from random weights. Leave out where `answers` names a file."""
    answers: Name | None = None
    """Instead of a model, a file of answers to the training rows, such as an API gave or `crild predict` wrote: CSV, TSV,
    JSON lines or Parquet. The student then comes from `student.init`: a folder, hub id or run, or "scratch"."""
    columns: AnswerColumns | None = None
    """For `answers`: the names of its columns."""
    values: Literal["probabilities", "scores", "logits", "ranks"] | None = None
    """For `answers`: what its numbers are. "probabilities" (the default) sum to 1 in each row, "scores" are at least 0 and
    are divided by their sum, "logits" are taken as they are, "ranks" order the classes: 1 is the first, equal ones are ties."""
    join: Literal["id", "text", "row"] | None = None
    """For `answers`: how its rows find those of the task. When left out: by the ids or texts that `columns` names, else by
    a column with the task's ids or texts, else by row number."""
    revision: str | None = None
    """Commit, tag or branch on the hub; resolved to a commit and recorded when a run starts."""
    trust_remote_code: Literal[False] | None = None
    """false: load a checkpoint that has its own code by the class of transformers instead. No preset can let code run:
    that takes your consent (`--trust-remote-code`, or your settings.toml)."""
    tokenizer: Name | None = None
    """Another folder or hub id for the tokenizer; "scratch" teachers otherwise learn their vocabulary from the task."""
    labels: list[str] | None = None
    """Names of the teacher's outputs in their order, if its config does not name them."""
    architecture: Architecture | None = None
    """For "scratch" only."""
    finetune: Finetune | None = None
    """Leave out for a model that already knows the task."""

    others: Annotated[dict[str, OtherTeacher], Field(min_length=1)] | None = None
    """Further teachers, by names of yours: { large = { model = "folder", weight = 2.0 } }. The logits objective learns the
    weighted mean of all answers; layers are those of the first teacher, `model`, alone."""
    weight: Positive | None = None
    """With `others`: weight of the first teacher in the mean; 1 when left out."""
    combine: Literal["probabilities", "logits"] | None = None
    """With `others`: what is averaged. "probabilities" (the default), softened by the stage's temperature, or "logits"."""

    def models(self) -> dict[str, Teacher]:
        """Every teacher that is a model, by the table that names it: the first one, then the others."""
        first = {} if self.model is None else {"teacher": self}
        keys = {"model", "revision", "tokenizer", "labels"}
        return first | {
            f"teacher.others.{name}": Teacher(
                **other.model_dump(include=keys), trust_remote_code=self.trust_remote_code
            )
            for name, other in (self.others or {}).items()
        }

    @property
    def weights(self) -> list[float]:
        """Of the teachers in `models`."""
        return [self.weight or 1.0, *(other.weight for other in (self.others or {}).values())]

    @property
    def named(self) -> str:
        """The model, where there is one: a file of answers cannot be loaded."""
        assert self.model is not None, "the teacher is a file of answers"
        return self.model


class Student(Record):
    """The model that training produces."""

    layers: Layers | None = None
    """Transformer layers; half of the teacher's when left out (all of them where `init` names a model; 4 from scratch where
    there is no teacher)."""
    init: Name = "teacher"
    """"teacher", "pretrained" (the teacher before fine-tuning), "scratch", or a folder, hub id or run, which
    may have another vocabulary where stages compare answers alone. With `teacher.answers` there is no teacher to take
    layers from."""
    revision: str | None = None
    """Commit of a hub id in `init`."""
    keep: LayerSelection = "first"
    """Which layers of the initial model are kept, counted from 0 when listed (then `layers` may be left out)."""
    hidden_size: Width | None = None
    """Width of a student from scratch; the teacher's when left out."""
    heads: Heads | None = None
    """Attention heads of a student from scratch; the teacher's when left out."""
    intermediate_size: Width | None = None
    """Feed-forward width of a student from scratch; the teacher's, or four times a `hidden_size` that differs."""


class Train(Record):
    """Settings of the loop, and defaults for every stage."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?|cuda:[0-9]{1,3}(,cuda:[0-9]{1,3})+)$")] = (
        "auto"
    )
    """auto, cpu, mps, cuda or cuda:N; or several GPUs that share each step, as "cuda:0,cuda:1"."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 where the hardware has it (CPUs included), else fp32. Weights are always fp32; see `evaluate_precision`."""
    threads: Threads | None = None
    """CPU threads of each process; all cores when left out. A resumed run uses the number that it started with."""
    processes: Threads = 1
    """Processes that share each step, on this machine: each computes a part of the batch. On GPUs, one for each."""
    graphs: bool = True
    """On CUDA, capture steps as graphs: the same computation, without waiting for kernels to be launched."""
    epochs: Epochs = 3.0
    """For stages without their own."""
    batch_size: Batch = 32
    """Examples in each optimiser step, however `accumulate` splits them."""
    learning_rate: Positive = 3e-5
    """Peak learning rate, after the warm-up."""
    weight_decay: NotNegative = 0.01
    """Not applied to biases and normalisation weights."""
    warmup: Fraction = 0.1
    """Share of a stage's steps over which the learning rate rises."""
    schedule: Literal["linear", "constant"] = "linear"
    """Course of the learning rate after the warm-up."""
    clip: NotNegative = 1.0
    """Largest gradient norm; 0 switches clipping off."""
    accumulate: Batch = 1
    """Micro-batches in each optimiser step: less memory, the same step but for the draws of dropout."""
    gradient_checkpointing: bool = False
    """Keep only the input of each layer, and run the layer again in the backward pass: less memory, slower, the same
    result. `accumulate` usually costs less time; this is for a batch whose single pairs don't fit."""
    temperature: Positive = 1.0
    """Softens logits on both sides, for stages without their own."""
    class_weights: ClassWeights | None = None
    """For rare classes: "balanced", or a table with a weight for each class, as { common = 1.0, rare = 3.0 }. Of the
    cross-entropy with labels: in stages with the labels objective, the teacher's fine-tuning and the baseline. Where a
    text can have several labels, a weight counts where the label applies."""
    evaluate: Evaluate = "epoch"
    """"epoch", or every n steps; always at the end of a stage."""
    evaluate_precision: Literal["fp32", "bf16"] = "fp32"
    """Of the evaluations during training, which pick the best weights. The figures of the results are always in fp32."""
    evaluate_train: Examples | None = None
    """Training examples that each evaluation of the student measures too, to compare with dev; none when left out."""
    log_every: Count = 10
    """Steps between two points of the curves."""
    checkpoint_every: Count | None = None
    """Steps between checkpoints, besides those every `checkpoint_minutes`, at the end of a stage and on stopping."""
    checkpoint_minutes: Positive = 5.0
    """Minutes between checkpoints."""
    keep_checkpoints: Count = 2
    """How many of the newest checkpoints to keep for resuming; the best weights are kept as well."""
    keep_for_extending: bool = False
    """Keep the checkpoints when the run finishes, so that `crild resume RUN --set stage.X.epochs=...` can train its last
    stage for longer. They take several times the size of the student."""
    save_teacher_cache: bool = True
    """Keep the fine-tuned teacher for other runs on the same data with the same settings."""


class Objective(Record):
    """One term of a stage's loss."""

    weight: NotNegative = 1.0
    """Weight of this term in the sum; 0 leaves it out."""
    mse: bool = False
    """`attention` and `logits` only: mean squared error of the scores (TinyBERT) or logits instead of KL of the
    distributions."""
    anneal: Count | None = None
    """`logits` with `mse` only: multiply the teacher's logits by 1/n, 2/n, ..., 1 in n equal parts of the stage
    (Annealing-KD)."""
    relation_heads: Heads | None = None
    """`query`, `key`, `value` only: heads to split the width into; the student's own when left out."""
    layer_map: LayerMap | None = None
    """Another map than the stage's, for this term alone."""


class Mixup(Record):
    """Mixed inputs: λ·e(x) + (1 − λ)·e(x′), x′ the batch reversed."""

    alpha: Positive = 1.0
    """λ ~ Beta(alpha, alpha), then max(λ, 1 − λ); one for each batch."""
    unpaired: Literal["padding", "whole"] = "padding"
    """Where one sentence is longer: mix its end with the embedding of padding (released code), or leave it unmixed."""
    project: Literal["tokens"] | None = None
    """"tokens": replace each mixture of two words by the nearest word of the vocabulary, so that the mixed input is a text
    (after AugPro-Mix); the end of a longer sentence stays then. Needs a large alpha, as 20."""


class Consistency(Record):
    """Consistency loss: pulls the student on mixed input towards a target on the two clean inputs."""

    weight: NotNegative = 0.1
    """Weight of the consistency loss next to the objectives, at the end of the ramp."""
    ramp: Literal["linear", "constant"] = "linear"
    """linear: from nothing to the full weight over the stage."""
    target: Literal["ema", "student"] = "ema"
    """A moving average of the student (the self-teacher), or the student itself without gradient."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average in each step."""
    warmup: bool = True
    """min(decay, (1 + t)/(10 + t)): lets the average follow in a short stage."""


class Augment(Record):
    """Changed copies of a stage's inputs, made once and kept in the cache."""

    words: Literal["mlm", "delete", "swap", "punctuation"]
    """What happens to words: likely ones take their place ("mlm", TinyBERT), some are deleted or exchanged (EDA), or
    punctuation is put between them (AEDA). Another value than that of the presets before, as by
    `--set stage.kd.data.augment.words=delete`, drops their model, revision, share and top."""
    model: Name | None = None
    """For "mlm": the masked language model, a folder or hub id."""
    revision: str | None = None
    """Commit of a hub id in `model`; resolved and recorded when a run starts."""
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the words that is changed: 0.4 for "mlm", 0.1 for "delete" and "swap", when left out; for "punctuation" (0.3)
    the most."""
    top: Annotated[int, Field(ge=1, le=1000)] | None = None
    """For "mlm": a word is replaced by one of so many likely ones, each with equal probability; 15 when left out."""
    copies: Annotated[int, Field(ge=1, le=1000)] = 10
    """Copies of each row; those that repeat a row or another copy are left out."""
    seed: Seed = 0
    """Seed of the copies, so that runs with different seeds share them."""


class TaskCopies(Record):
    """The task's training rows without labels, and changed copies of them."""

    augment: Augment
    """How the copies are made."""


class Corpus(Record):
    """Plain text for a stage that needs no labels."""

    corpus: Name
    """A text file or a folder of them, with one paragraph on each line; or the id of a hub data set."""
    column: str = "text"
    """Column of a hub data set."""
    subset: str | None = None
    """Configuration of a hub data set, such as "wikitext-2-raw-v1"."""
    revision: str | None = None
    """The commit of a hub data set; resolved and written down when a run starts."""
    unit: Literal["line", "sentence"] = "line"
    """What makes one input."""
    pairs: bool = False
    """Join two consecutive units to one input, as in pair tasks."""
    examples: Examples | None = None
    """At most this many inputs, drawn at random with the task's `data_seed`."""
    augment: Augment | None = None
    """Changed copies of these inputs, besides them."""


class OtherTask(Record):
    """Inputs of another task, without its labels."""

    task: Task
    """The other task, written like a [task] table."""
    augment: Augment | None = None
    """Changed copies of these inputs, besides them."""


class InputColumns(Record):
    """Names of the columns of unlabelled files."""

    text: str = "text"
    """The sentence, or the first of a pair."""
    pair: str | None = None
    """The second sentence of a pair; leave out for one-sentence tasks."""


class UnlabelledFiles(Record):
    """Files of your own with inputs for the run's task, for a stage that needs no labels."""

    files: Annotated[list[Name], Field(min_length=1)]
    """CSV, TSV, JSON lines, Parquet, or plain text with one input on each line; where words have labels, CoNLL, too. May be
    compressed. `*` and `?` stand for several files."""
    columns: InputColumns | None = None
    """Names of their columns; those of the task, or usual names, when left out. No other column is read."""
    with_task: Annotated[
        Annotated[bool, Tag("<word>")] | Annotated[TaskShare, Tag("<number>")], Discriminator(form)
    ] = False
    """true: the task's training rows too, every row once. A share: so much of each epoch are rows of the task, each as often
    as it takes; 0.2 is a fifth."""
    augment: Augment | None = None
    """Changed copies of these inputs, besides them."""


class Select(Record):
    """Train on those of a stage's inputs from which the student, as it is then, has most to learn (after Glitter)."""

    worst: Annotated[int, Field(ge=1, le=1000)]
    """How many of each `of` are trained on: those whose answers differ most from the teacher's."""
    of: Annotated[int, Field(ge=1, le=1000)]
    """How many are compared: changed copies of one row (a divisor of `copies`), or, without copies, rows drawn in each epoch."""


def _data_form(value: object) -> str:
    for key, record in (("task", OtherTask), ("files", UnlabelledFiles)):
        if isinstance(value, record) or (isinstance(value, dict) and key in value):
            return f"<{key}>"
    is_of_task = isinstance(value, TaskCopies) or (isinstance(value, dict) and value.keys() == {"augment"})
    return "<augment>" if is_of_task else form(value)


StageData = Annotated[
    Annotated[Literal["task"], Tag("<word>")]
    | Annotated[Corpus, Tag("<table>")]
    | Annotated[OtherTask, Tag("<task>")]
    | Annotated[UnlabelledFiles, Tag("<files>")]
    | Annotated[TaskCopies, Tag("<augment>")],
    Discriminator(_data_form),
]
Weighted = Annotated[
    Annotated[NotNegative, Tag("<number>")] | Annotated[Objective, Tag("<table>")], Discriminator(form)
]


class Stage(Record):
    """One stage of training: data × weighted objectives × schedule."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    """Lower-case letters, digits, - and _; "teacher" and "baseline" are reserved."""
    data: StageData = "task"
    """"task", plain text { corpus = "folder" }, unlabelled rows { files = ["more.csv"] }, another task
    { task = { name = "mnli" } }, or the task's rows with changed copies { augment = { words = "delete" } }."""
    objectives: Annotated[dict[ObjectiveName, Weighted], Field(min_length=1)]
    """Weights, or tables with options, by name."""
    layer_map: LayerMap = "last"
    """"last", "uniform" (every n-th of the teacher's), "upper" (its last ones), "reverse" (uniform upside down),
    "all-to-one" (its last one for every student layer), "random" (drawn for each epoch, in order), "emd" (all, by optimal
    transport), "alp" (all, by attention to them), or pairs [teacher layer, student layer] counted from 1."""
    mixup: Annotated[
        Annotated[Mixup, Tag("<table>")] | Annotated[Literal[False], Tag("<word>")], Discriminator(form)
    ] = False
    """Distil on mixed inputs; false switches an inherited table off."""
    consistency: Annotated[
        Annotated[Consistency, Tag("<table>")] | Annotated[Literal[False], Tag("<word>")], Discriminator(form)
    ] = False
    """Pull the student towards a target on the clean inputs; false switches an inherited table off."""
    select: (
        Annotated[Annotated[Select, Tag("<table>")] | Annotated[Literal[False], Tag("<word>")], Discriminator(form)]
        | None
    ) = None
    """Before each step, choose the inputs whose answers differ most from the teacher's, of changed copies or unlabelled rows;
    the task's own rows always stay. Costs a forward pass of the student for each input compared. false switches an inherited
    table off."""
    padding: Literal["released"] | None = None
    """"released": treat padding as the released CR-ILD code does, and pad every batch to max_length. Only for
    comparisons with that code; otherwise padding is never data."""
    temperature: Positive | None = None
    """Softens logits on both sides; the term is scaled by its square. Train's when left out."""
    epochs: Epochs | None = None
    """Passes over the data; fractions are allowed. Train's when left out."""
    steps: Steps | None = None
    """Instead of epochs."""
    batch_size: Batch | None = None
    """Examples in each optimiser step. Train's when left out."""
    learning_rate: Positive | None = None
    """Peak learning rate, after the warm-up. Train's when left out."""
    weight_decay: NotNegative | None = None
    """Train's when left out."""
    warmup: Fraction | None = None
    """Share of the stage's steps over which the learning rate rises. Train's when left out."""
    schedule: Literal["linear", "constant"] | None = None
    """Course of the learning rate after the warm-up. Train's when left out."""
    clip: NotNegative | None = None
    """Largest gradient norm; 0 switches clipping off. Train's when left out."""
    accumulate: Batch | None = None
    """Micro-batches in each optimiser step. Train's when left out."""
    evaluate: Evaluate | None = None
    """"epoch", or every n steps; always at the end. Train's when left out."""
    keep_best: bool = False
    """Pass on the weights of the best evaluation rather than the last (stages with labels or logits); of equal ones, those with
    the lower loss on dev."""
    patience: Count | None = None
    """Early stopping: stop after this many evaluations without a better one (stages with labels or logits)."""

    @property
    def augment(self) -> Augment | None:
        """How copies of its inputs are made, if they are."""
        return None if self.data == "task" else self.data.augment

    def terms(self) -> dict[str, Objective]:
        """The objectives with a weight above 0, plain weights turned into tables."""
        tables = {
            name: value if isinstance(value, Objective) else Objective(weight=float(value))
            for name, value in self.objectives.items()
        }
        return {name: table for name, table in tables.items() if table.weight > 0}


class Baseline(Record):
    """The same student trained for as many steps on labels alone, for comparison in the closing table."""

    enabled: bool = False
    """Costs as many steps as all stages of the student together."""
    learning_rate: Positive | None = None
    """The last stage's when left out."""
    batch_size: Batch | None = None
    """The last stage's when left out."""


class Preset(Record):
    """A complete experiment."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    """Version of this format."""
    description: str = ""
    """One line for lists of presets and runs."""
    seed: Seed = 42
    """Seed of the student, its batches, mixup and dropout."""
    tags: list[str] = Field(default_factory=list)
    """Words to find the run by in lists; spaces and commas in one become hyphens."""
    project: Project | None = None
    """Project of trackers (TensorBoard, W&B, MLflow, trackio) that the run is shown in; crild if left out."""
    task: Task
    teacher: Teacher
    student: Student = Student()
    train: Train = Train()
    stage: Annotated[list[Stage], Field(min_length=1)]
    baseline: Baseline = Baseline()

    def document(self) -> dict[str, Any]:
        """The preset as plain data for TOML, without keys that are left open."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
