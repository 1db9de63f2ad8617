"""What a preset says: one frozen, strict declaration from which validation, help texts and the JSON Schema come."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

SCHEMA_VERSION = 1

GLUE_TASKS = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
TOY_TASKS = ("toy-sentiment", "toy-entailment", "toy-similarity")

ObjectiveName = Literal["labels", "logits", "attention", "query", "key", "value", "hidden", "cls", "embedding"]
HEAD_OBJECTIVES = frozenset({"labels", "logits"})  # send gradient to the classifier
LAYER_OBJECTIVES = frozenset({"attention", "query", "key", "value", "hidden", "cls"})  # read pairs of layers
RELATIONS = frozenset({"query", "key", "value"})  # compared in relation heads (MiniLMv2)
EMD_OBJECTIVES = frozenset({"attention", "hidden"})  # what BERT-EMD transports between layers
REGRESSION_METRICS = frozenset({"pearson", "spearman"})

TaskName = Literal[
    "cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli",
    "toy-sentiment", "toy-entailment", "toy-similarity", "custom",
]  # fmt: skip
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LayerPair = Annotated[tuple[Count, Count], Field(strict=False)]  # TOML has arrays only


def _form(value: object) -> str:
    """Tells the branch of a union by the form of the value, so that a fault in it is reported once.

    The marks cannot be mistaken for keys in the place of an error.
    """
    if isinstance(value, dict | BaseModel):
        return "<table>"
    if isinstance(value, list | tuple):
        return "<list>"
    return "<number>" if isinstance(value, int | float) and not isinstance(value, bool) else "<word>"


def _data_form(value: object) -> str:
    if isinstance(value, OtherTask) or (isinstance(value, dict) and "task" in value):
        return "<task>"
    return _form(value)


LayerMap = Annotated[
    Annotated[Literal["last", "uniform", "emd"], Tag("<word>")]
    | Annotated[list[LayerPair], Field(min_length=1), Tag("<list>")],
    Discriminator(_form),
]
Kept = Annotated[
    Annotated[Literal["first", "last", "alternate"], Tag("<word>")]
    | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Tag("<list>")],
    Discriminator(_form),
]
Evaluate = Annotated[
    Annotated[Literal["epoch"], Tag("<word>")] | Annotated[Count, Tag("<number>")], Discriminator(_form)
]

Fault = tuple[tuple[str, ...], str]
"""The keys that do not go together, the one to blame first, relative to their table; and the sentence."""


def _refuse(faults: list[Fault]) -> None:
    """Raises one validation error that carries all of a table's faults in its context."""
    if faults:
        text = "; ".join(sentence for _, sentence in faults)
        raise PydanticCustomError("faults", "{text}", {"text": text, "faults": faults})


class Record(BaseModel):
    """Frozen; an unknown key is an error; no silent conversion of types beyond integer to float.

    The text below a field is its help: `json_schema.help_texts()` reads it from this source, because collecting it
    while the classes are made would cost every command 20 ms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Files(Record):
    """Where the rows of a custom task are: CSV, TSV, JSON lines or Parquet, told by the ending."""

    train: str
    """Training rows."""
    dev: str
    """Rows that metrics are computed on."""
    dev_mismatched: str | None = None
    """A second dev set, reported beside the first."""


class Columns(Record):
    """Names of the columns of a custom task."""

    text: str = "text"
    """The sentence, or the first of a pair."""
    pair: str | None = None
    """The second sentence of a pair; leave out for one-sentence tasks."""
    label: str = "label"
    """The class (of any type) or the score."""
    id: str | None = None
    """A unique name for each example; without it, split and row number."""


class Task(Record):
    """What the student must learn: data, labels, metric."""

    name: TaskName
    """A GLUE task, an embedded toy task, or "custom"."""
    source: str = "hub"
    """"hub", or a folder in the official GLUE layout (the task's folder, or the one that holds them all).
    Embedded and custom tasks leave it out."""
    revision: str | None = None
    """The commit of the hub data set; resolved and written down when a run starts."""
    files: Files | None = None
    """For "custom": the files."""
    columns: Columns | None = None
    """For "custom": the names of their columns."""
    kind: Literal["classification", "regression"] | None = None
    """For "custom": classes or scores. GLUE and toy tasks know theirs."""
    metrics: (
        Annotated[
            list[Literal["accuracy", "f1", "f1_macro", "matthews", "pearson", "spearman"]],
            Field(min_length=1),
        ]
        | None
    ) = None
    """For "custom": what is reported; the first picks the best checkpoint. Default: accuracy, or pearson."""
    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Tokens at most, special tokens included; longer inputs are cut, and the run says how many were."""
    data_seed: Seed = 0
    """Draws subsets and noise: the same data whatever the training seed."""
    examples: Count | None = None
    """Few-sample setting: this many training examples, drawn with `data_seed`, each class keeping its share."""
    label_noise: Fraction = 0.0
    """Share of training labels that are replaced: by another class, or for scores by another example's score."""

    @model_validator(mode="after")
    def _keys_fit_the_task(self) -> Self:
        _refuse(self._custom_faults() if self.name == "custom" else self._known_faults())
        return self

    def _custom_faults(self) -> list[Fault]:
        faults: list[Fault] = []
        if self.files is None:
            sentence = 'a custom task needs its files: files = { train = "train.csv", dev = "dev.csv" }'
            faults.append((("name", "files"), sentence))
        if self.kind is None:
            faults.append((("name", "kind"), 'a custom task needs its kind: "classification" or "regression"'))
        if self.source != "hub":
            faults.append((("source", "name"), "source is for GLUE tasks; a custom task reads its files"))
        for metric in self.metrics or ():
            if self.kind is not None and (self.kind == "regression") != (metric in REGRESSION_METRICS):
                faults.append((("metrics", "kind"), f"{metric} is no metric of {self.kind}"))
        if self.columns is not None:
            named = [name for name in (self.columns.text, self.columns.pair, self.columns.label) if name is not None]
            if len(set(named)) < len(named):
                faults.append((("columns",), f"one column is named twice: {', '.join(named)}"))
        return faults

    def _known_faults(self) -> list[Fault]:
        faults: list[Fault] = []
        for key in ("files", "columns", "kind", "metrics"):
            if getattr(self, key) is not None:
                faults.append(((key, "name"), f'{key} belongs to name = "custom"; {self.name} knows its own'))
        if self.name in TOY_TASKS and self.source != "hub":
            faults.append((("source", "name"), f"source is for GLUE tasks; {self.name} is made by crild itself"))
        return faults


def _not_a_multiple(hidden_size: int, heads: int) -> str:
    return f"hidden_size {hidden_size} is not a multiple of heads {heads}"


class Architecture(Record):
    """The shape of an encoder that is trained from scratch (BERT)."""

    layers: Count = 4
    hidden_size: Count = 128
    heads: Count = 4
    intermediate_size: Count | None = None
    """Width of the feed-forward part; four times `hidden_size` when left out."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.hidden_size % self.heads:
            _refuse([(("hidden_size", "heads"), _not_a_multiple(self.hidden_size, self.heads))])
        return self


class Finetune(Record):
    """How the teacher learns the task before anything is distilled."""

    seed: Seed = 0
    """Its own, so that runs with other seeds share one teacher."""
    epochs: Positive = 3.0
    learning_rate: Positive = 2e-5
    batch_size: Count = 32
    weight_decay: NotNegative = 0.01
    warmup: Fraction = 0.1
    clip: NotNegative = 1.0
    evaluate: Evaluate = "epoch"
    keep_best: bool = True
    """Keep the weights of the best evaluation rather than the last."""
    patience: Count | None = None
    """Stop after this many evaluations without a better one."""


class Teacher(Record):
    """The model that is distilled."""

    model: str
    """Hub id, folder, or "scratch" for one that is trained here from nothing."""
    revision: str | None = None
    """Commit, tag or branch on the hub; resolved to a commit and written down when a run starts."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along. Off unless you trust its author."""
    tokenizer: str | None = None
    """Another folder or hub id for the tokenizer; "scratch" teachers otherwise learn their words from the task."""
    labels: list[str] | None = None
    """Names of the teacher's outputs in their order, where its config does not tell."""
    architecture: Architecture | None = None
    """For "scratch" only."""
    finetune: Finetune | None = None
    """Leave out for a model that already knows the task."""

    @model_validator(mode="after")
    def _scratch_is_trained(self) -> Self:
        faults: list[Fault] = []
        if self.model == "scratch" and self.finetune is None:
            sentence = 'a teacher from "scratch" knows nothing yet: add a [teacher.finetune] table'
            faults.append((("model", "finetune"), sentence))
        if self.model != "scratch" and self.architecture is not None:
            sentence = 'architecture belongs to model = "scratch"; a checkpoint brings its own'
            faults.append((("architecture", "model"), sentence))
        if self.labels is not None and len(set(self.labels)) < max(len(self.labels), 2):
            faults.append((("labels",), "labels must be the names of two outputs or more, each named once"))
        _refuse(faults)
        return self


class Student(Record):
    """The model that comes out."""

    layers: Count | None = None
    """Transformer layers; half of the teacher's when left out (all of them where `init` names a model)."""
    init: str = "teacher"
    """"teacher", "pretrained" (the teacher before fine-tuning), "scratch", or a folder, hub id or run."""
    revision: str | None = None
    """Commit of a hub id in `init`."""
    keep: Kept = "first"
    """Which layers of the initial model are kept, counted from 0 when listed (then `layers` may be left out)."""
    hidden_size: Count | None = None
    """Width of a student from scratch; the teacher's when left out."""
    heads: Count | None = None
    """Attention heads of a student from scratch; the teacher's when left out."""
    intermediate_size: Count | None = None
    """Feed-forward width of a student from scratch; the teacher's, or four times a `hidden_size` that differs."""

    @model_validator(mode="after")
    def _shape_fits_init(self) -> Self:
        faults: list[Fault] = []
        if self.init != "scratch":
            for key in ("hidden_size", "heads", "intermediate_size"):
                if getattr(self, key) is not None:
                    sentence = f'{key} belongs to init = "scratch"; this student takes over the weights of a model'
                    faults.append(((key, "init"), sentence))
        if self.hidden_size is not None and self.heads is not None and self.hidden_size % self.heads:
            faults.append((("hidden_size", "heads"), _not_a_multiple(self.hidden_size, self.heads)))
        if isinstance(self.keep, list):
            if len(set(self.keep)) < len(self.keep):
                faults.append((("keep",), f"keep lists a layer twice: {self.keep}"))
            if self.layers is not None and len(self.keep) != self.layers:
                sentence = f"keep lists {len(self.keep)} layers, but the student has {self.layers}"
                faults.append((("keep", "layers"), sentence))
        _refuse(faults)
        return self


class Train(Record):
    """Settings of the loop, and defaults for every stage."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    """auto, cpu, mps, cuda or cuda:N."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 where the hardware has it (CPUs included), else fp32. Weights and evaluations are always fp32."""
    threads: Count | None = None
    """CPU threads; all cores when left out. A resumed run takes the number it began with."""
    compile: bool = False
    """torch.compile for the steps on CUDA."""
    epochs: Positive = 3.0
    """For stages that leave theirs open."""
    batch_size: Count = 32
    """Examples to each optimiser step, however they are split by `accumulate` or over devices."""
    learning_rate: Positive = 3e-5
    weight_decay: NotNegative = 0.01
    """Not applied to biases and normalisation weights."""
    warmup: Fraction = 0.1
    """Share of a stage's steps over which the learning rate rises."""
    schedule: Literal["linear", "constant"] = "linear"
    """How the learning rate goes on after the warm-up."""
    clip: NotNegative = 1.0
    """Largest gradient norm; 0 switches clipping off."""
    accumulate: Count = 1
    """Micro-batches to each optimiser step: less memory, the same result."""
    temperature: Positive = 1.0
    evaluate: Evaluate = "epoch"
    """"epoch", or every n steps; always at the end of a stage."""
    log_every: Count = 10
    """Steps between two points of the curves."""
    checkpoint_every: Count | None = None
    """Steps between checkpoints, beside those made by the clock, at each stage's end and on stopping."""
    checkpoint_minutes: Positive = 5.0
    keep_checkpoints: Count = 2
    """Checkpoints kept for resuming, the newest first; the best weights are kept besides."""
    save_teacher_cache: bool = True
    """Keep the fine-tuned teacher for other runs on the same data with the same settings."""


class Objective(Record):
    """One term of a stage's loss."""

    weight: NotNegative = 1.0
    mse: bool = False
    """`attention` only: mean squared error of the scores (TinyBERT) instead of KL of the distributions."""
    relation_heads: Count | None = None
    """`query`, `key`, `value` only: heads that the width is cut into; the student's own when left out."""
    layer_map: LayerMap | None = None
    """Another map than the stage's, for this term alone."""


class Mixup(Record):
    """Mixed inputs: λ·e(x) + (1 − λ)·e(x′), x′ the batch reversed."""

    alpha: Positive = 1.0
    """λ ~ Beta(alpha, alpha), then max(λ, 1 − λ); one for each batch."""
    unpaired: Literal["padding", "whole"] = "padding"
    """Where one sentence is longer: mix with the embedding of padding (released code), or take it whole."""


class Consistency(Record):
    """The pull of the student on mixed input towards a target on the two clean ones."""

    weight: NotNegative = 0.1
    ramp: Literal["linear", "constant"] = "linear"
    """linear: from nothing to the full weight over the stage."""
    target: Literal["ema", "student"] = "ema"
    """The averaged self-teacher, or the student itself without gradient."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Of the average, each step."""
    warmup: bool = True
    """min(decay, (1 + t)/(10 + t)): lets the average follow in a short stage."""


class Corpus(Record):
    """Plain text for a stage that needs no labels."""

    corpus: str
    """A text file or a folder of them, one paragraph a line; or the id of a hub data set."""
    column: str = "text"
    """Column of a hub data set."""
    subset: str | None = None
    """Configuration of a hub data set, as "wikitext-2-raw-v1"."""
    revision: str | None = None
    unit: Literal["line", "sentence"] = "line"
    """What makes one input."""
    pairs: bool = False
    """Two consecutive units make one input, as in pair tasks."""
    examples: Count | None = None
    """At most this many inputs, drawn with the task's `data_seed`."""


class OtherTask(Record):
    """Inputs of another task, without its labels."""

    task: Task


StageData = Annotated[
    Annotated[Literal["task"], Tag("<word>")] | Annotated[Corpus, Tag("<table>")] | Annotated[OtherTask, Tag("<task>")],
    Discriminator(_data_form),
]
Weighted = Annotated[
    Annotated[NotNegative, Tag("<number>")] | Annotated[Objective, Tag("<table>")], Discriminator(_form)
]


class Stage(Record):
    """data × weighted objectives × schedule."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    """Small letters, digits, - and _; "teacher" and "baseline" are taken."""
    data: StageData = "task"
    """"task", plain text { corpus = "folder" }, or another task { task = { name = "mnli" } }."""
    objectives: Annotated[dict[ObjectiveName, Weighted], Field(min_length=1)]
    """Weights, or tables with options, by name."""
    layer_map: LayerMap = "last"
    """"last", "uniform", "emd", or pairs [teacher layer, student layer] counted from 1."""
    mixup: Annotated[
        Annotated[Mixup, Tag("<table>")] | Annotated[Literal[False], Tag("<word>")], Discriminator(_form)
    ] = False
    """Distil on mixed inputs; false switches an inherited table off."""
    consistency: Annotated[
        Annotated[Consistency, Tag("<table>")] | Annotated[Literal[False], Tag("<word>")], Discriminator(_form)
    ] = False
    """Pull the student towards a target on the clean inputs; false switches an inherited table off."""
    temperature: Positive | None = None
    """Softens logits on both sides; the term is scaled by its square. Train's when left out."""
    epochs: Positive | None = None
    steps: Count | None = None
    """Instead of epochs."""
    batch_size: Count | None = None
    learning_rate: Positive | None = None
    weight_decay: NotNegative | None = None
    warmup: Fraction | None = None
    schedule: Literal["linear", "constant"] | None = None
    clip: NotNegative | None = None
    accumulate: Count | None = None
    evaluate: Evaluate | None = None
    keep_best: bool = False
    """Hand on the weights of the best evaluation rather than the last (stages with labels or logits)."""
    patience: Count | None = None
    """Early stopping: evaluations without a better one (stages with labels or logits)."""

    def terms(self) -> dict[str, Objective]:
        """The objectives with a weight above nothing, plain weights turned into tables."""
        tables = {
            name: value if isinstance(value, Objective) else Objective(weight=float(value))
            for name, value in self.objectives.items()
        }
        return {name: table for name, table in tables.items() if table.weight > 0}

    @model_validator(mode="after")
    def _terms_make_sense(self) -> Self:
        terms = self.terms()
        faults: list[Fault] = []
        if self.name in ("teacher", "baseline"):
            faults.append((("name",), f'a stage cannot be named "{self.name}": the engine uses that name itself'))
        if not terms:
            faults.append((("objectives",), "every objective has weight 0, so nothing would be learnt"))
        if self.epochs is not None and self.steps is not None:
            faults.append((("steps", "epochs"), "give epochs or steps, not both"))
        if self.data != "task" and "labels" in self.objectives:
            sentence = "the labels objective needs data with the task's labels; this stage reads other data"
            faults.append((("objectives.labels", "data"), sentence))
        if terms and not HEAD_OBJECTIVES & terms.keys():
            for key, wanted in (("keep_best", self.keep_best), ("patience", self.patience is not None)):
                if wanted:
                    sentence = f"{key} needs labels or logits: without them nothing trains the classifier"
                    faults.append(((key, "objectives"), sentence))
        if terms and self.consistency and not LAYER_OBJECTIVES & terms.keys():
            listed = ", ".join(sorted(LAYER_OBJECTIVES))
            sentence = f"consistency acts on layer objectives ({listed}), and this stage has none"
            faults.append((("consistency", "objectives"), sentence))
        _refuse(faults + self._option_faults() + self._emd_faults())
        return self

    def _option_faults(self) -> list[Fault]:
        faults: list[Fault] = []
        for name, value in self.objectives.items():
            if isinstance(value, Objective):
                if value.mse and name != "attention":
                    faults.append(((f"objectives.{name}.mse",), f"mse is an option of attention, not of {name}"))
                if value.relation_heads is not None and name not in RELATIONS:
                    sentence = f"relation_heads is an option of query, key and value, not of {name}"
                    faults.append(((f"objectives.{name}.relation_heads",), sentence))
                if value.layer_map is not None and name not in LAYER_OBJECTIVES:
                    sentence = f"{name} reads no layers, so it takes no layer_map"
                    faults.append(((f"objectives.{name}.layer_map",), sentence))
        return faults

    def _emd_faults(self) -> list[Fault]:
        faults: list[Fault] = []
        for name, term in self.terms().items():
            if name in LAYER_OBJECTIVES - EMD_OBJECTIVES and (term.layer_map or self.layer_map) == "emd":
                key = f"objectives.{name}.layer_map" if term.layer_map else "layer_map"
                sentence = f'layer_map "emd" is defined for attention and hidden, not for {name}'
                faults.append(((key, "layer_map", f"objectives.{name}"), sentence))
        return faults


class Baseline(Record):
    """The same student trained for as many steps on labels alone, for the closing table."""

    enabled: bool = False
    learning_rate: Positive | None = None
    """The last stage's when left out."""
    batch_size: Count | None = None
    """The last stage's when left out."""


class Notify(Record):
    """What is done when a run ends."""

    command: str | None = None
    """Run by the shell, with CRILD_RUN, CRILD_STATE and CRILD_METRIC in its environment."""


class Preset(Record):
    """A complete experiment."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    """Version of this format."""
    description: str = ""
    seed: Seed = 42
    tags: list[str] = []
    task: Task
    teacher: Teacher
    student: Student = Student()
    train: Train = Train()
    stage: Annotated[list[Stage], Field(min_length=1)]
    baseline: Baseline = Baseline()
    notify: Notify = Notify()

    @model_validator(mode="after")
    def _stage_names_differ(self) -> Self:
        names = [stage.name for stage in self.stage]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            _refuse([(("stage",), f"two stages are named {', '.join(sorted(twice))}")])
        return self

    def document(self) -> dict[str, Any]:
        """The preset as plain data that TOML can hold, without what is left open."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
