"""Types of the values in a preset: ranges, unions, and the record class of all tables."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
# Upper limits catch typing errors before a machine computes for years.
Epochs = Annotated[float, Field(gt=0, le=100_000)]
Steps = Annotated[int, Field(ge=1, le=99_999_999)]  # checkpoints are named by eight digits
Batch = Annotated[int, Field(ge=1, le=65_536)]
Examples = Annotated[int, Field(ge=1, le=999_999_999)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Heads = Annotated[int, Field(ge=1, le=1000)]
Width = Annotated[int, Field(ge=1, le=100_000)]
Name = Annotated[str, Field(min_length=1)]
PROJECT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""What all trackers take as the name of a project."""
Project = Annotated[str, Field(pattern=PROJECT_NAME)]
Title = Annotated[str, Field(min_length=1, max_length=60)]
TaskShare = Annotated[float, Field(gt=0, lt=1)]
DevShare = Annotated[float, Field(gt=0, le=0.5)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
LayerPair = Annotated[tuple[Count, Count], Field(strict=False)]  # TOML has arrays only


def form(value: object) -> str:
    """The branch of a union that a value belongs to, by its form, so that pydantic reports a fault in it once.

    The tags cannot be mistaken for keys in the location of an error.
    """
    if isinstance(value, dict | BaseModel):
        return "<table>"
    if isinstance(value, list | tuple):
        return "<list>"
    return "<number>" if isinstance(value, int | float) and not isinstance(value, bool) else "<word>"


LayerMap = Annotated[
    Annotated[Literal["last", "uniform", "upper", "reverse", "all-to-one", "random", "emd", "alp"], Tag("<word>")]
    | Annotated[list[LayerPair], Field(min_length=1), Tag("<list>")],
    Discriminator(form),
]
LayerSelection = Annotated[
    Annotated[Literal["first", "last", "alternate"], Tag("<word>")]
    | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), Tag("<list>")],
    Discriminator(form),
]
ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("<word>")] | Annotated[dict[str, Positive], Field(min_length=1), Tag("<table>")],
    Discriminator(form),
]
Evaluate = Annotated[
    Annotated[Literal["epoch"], Tag("<word>")] | Annotated[Count, Tag("<number>")], Discriminator(form)
]


class Fault(NamedTuple):
    """Keys of a table that do not go together, the one to blame first, relative to the table; and why."""

    keys: tuple[str, ...]
    sentence: str
    kind: str


class Record(BaseModel):
    """Frozen; an unknown key is an error; no silent conversion of types beyond integer to float.

    The text below a field is its help: `schema_source.help_texts()` reads it from this source, because collecting it
    while the classes are built would cost every command 20 ms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
