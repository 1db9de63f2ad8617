"""The parts of the reference that are made from the code: each a function that returns Markdown.

A page asks for one with a line `<!-- from code: NAME -->`, in whose place `conf.py` puts it when the site is built.
`python -m docs.from_code NAME` prints it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import typer

from crild_tui.cli.app import HEADINGS, application
from engine.distill.objectives import ObjectiveSpec
from engine.preset import rules, schema, schema_keys
from engine.preset.field_types import Record
from engine.preset.json_schema import json_schema
from engine.preset.names import HEAD_OBJECTIVES
from engine.preset.schema_source import help_texts
from engine.preset.text import listed
from engine.preset.toml_text import inline
from engine.record.event_kinds import COMMON, KINDS
from engine.record.latency import Latency, LatencyCase, ModelLatency, Quartiles
from engine.record.owner import Owner
from engine.record.result_fields import FIELDS
from engine.record.states import STATES, WRITTEN
from engine.record.status import Fault, Status

_MARK = re.compile(r"^<!-- from code: ([\w-]+) -->$", re.MULTILINE)
_KEYS = {info.alias or name for name, info in schema.Preset.model_fields.items()}
_STAGE = ("stage", "NAME")
_OBJECTIVE = (*_STAGE, "objectives", "OBJECTIVE")


def filled(page: str) -> str:
    """A page with the made parts in place of its marks. Raises KeyError for a mark that names no part."""
    return _MARK.sub(lambda mark: PARTS[mark[1]](), page)


def marks(page: str) -> list[str]:
    """The names of the parts that a page asks for."""
    return _MARK.findall(page)


# -- presets


def preset_keys() -> str:
    """Every key of a preset with its values, default and meaning, a section for each table."""
    top = {name: info for name, info in _model_fields(schema.Preset) if not schema_keys.tables(_path(name))}
    parts = ["## Top level", _key_table(schema.Preset, (), top), _table(("key", "meaning"), _rows(_merging_keys()))]
    for name in ("task", "teacher", "student", "train", "baseline"):
        parts += _table_sections((name,), f"[{name}]", 2)
    parts += _table_sections(_STAGE, "[[stage]]", 2)
    return "\n\n".join(parts)


def _merging_keys() -> dict[str, str]:
    """Keys that only say how files merge, with their meaning."""
    properties = json_schema()["properties"]
    return {name: properties[name]["description"] for name in properties if name not in _KEYS}


def _path(name: str) -> tuple[str, ...]:
    return _STAGE if name == "stage" else (name,)


def _model_fields(record: type[Record]) -> Iterator[tuple[str, Any]]:
    for name, info in record.model_fields.items():
        yield info.alias or name, info


def _table_sections(path: tuple[str, ...], title: str, level: int) -> Iterator[str]:
    """The section of the table at a path, then those of the tables in it."""
    records = schema_keys.tables(path)
    if schema.OtherTask in records and len(path) > len(_STAGE) + 1:
        return
    for record in records:
        kind = "" if len(records) == 1 else f" with `{next(iter(record.model_fields))}`"
        yield f"{'#' * level} `{title}`{kind}"
        yield _escaped(help_texts()[record.__name__])
        if path == ("train",):
            yield f"A stage can set for itself: {_codes(_set_by_stages())}."
        yield _key_table(record, path, dict(_model_fields(record)))
    for record in records:
        for key, _ in _model_fields(record):
            below = _OBJECTIVE if (*path, key) == (*_STAGE, "objectives") else (*path, key)
            if schema_keys.tables(below) and (record, key) != (schema.OtherTask, "task"):
                dotted = ".".join(("stage", *below[2:]) if path[0] == "stage" else below)
                yield from _table_sections(below, f"[{dotted}]", 3)


def _set_by_stages() -> list[str]:
    """Keys of [train] that are defaults of stages."""
    return [name for name in schema.Train.model_fields if name in schema.Stage.model_fields]


def _key_table(record: type[Record], path: tuple[str, ...], keys: Mapping[str, Any]) -> str:
    """A table of the keys of a record: values, default, meaning."""
    rows = []
    for key, info in keys.items():
        meaning = help_texts().get(f"{record.__name__}.{key}", "")
        rows.append((f"`{key}`", _escaped(schema_keys.expected((*path, key))), _default(info), _escaped(meaning)))
    return _table(("key", "values", "default", "meaning"), rows)


def _default(info: Any) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or isinstance(value, Record):
        return ""
    return f"`{inline(value)}`"


# -- commands


def commands() -> str:
    """Every command with its usage, arguments and options, under the headings of `crild --help`."""
    root: Any = typer.main.get_command(application)
    context = root.make_context("crild", [], resilient_parsing=True)
    parts = ["## crild", *_command(root, context, "crild")]
    for heading, names in HEADINGS.items():
        parts.append(f"## {heading}")
        for name in names:
            parts += _with_subcommands(root.get_command(context, name), context, f"crild {name}", 3)
    return "\n\n".join(part for part in parts if part)


def _with_subcommands(command: Any, above: Any, name: str, level: int) -> Iterator[str]:
    context = command.context_class(command, info_name=command.name, parent=above)
    yield f"{'#' * level} {name}"
    yield from _command(command, context, name)
    for sub in getattr(command, "commands", {}).values():
        yield from _with_subcommands(sub, context, f"{name} {sub.name}", level + 1)


def _command(command: Any, context: Any, name: str) -> Iterator[str]:
    parameters = [parameter for parameter in command.get_params(context) if not parameter.hidden]
    arguments = [parameter for parameter in parameters if parameter.param_type_name == "argument"]
    words = [name, "[OPTIONS]", *(_metavar(argument) for argument in arguments)]
    yield f"```text\n{' '.join([*words, 'COMMAND'] if hasattr(command, 'commands') else words)}\n```"
    yield _prose(command.help or "")
    rows = []
    for parameter in parameters:
        names, text = parameter.get_help_record(context) or ("", "")
        name_shown = parameter.metavar if parameter in arguments else names
        rows.append((f"`{name_shown}`", _escaped(" ".join(text.replace("[required]", "").split()))))
    if rows:
        yield _table(("argument or option", ""), rows)
    if command.epilog:
        yield _prose(command.epilog)


def _metavar(argument: Any) -> str:
    text: str = argument.metavar
    return text if argument.required or text.startswith("[") else f"[{text}]"


def _prose(text: str) -> str:
    """A help text: paragraphs, and as code what stands as it is (after `\\b`)."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        literal = paragraph.startswith("\b\n")
        body = textwrap.dedent(paragraph.removeprefix("\b\n"))
        if not literal:
            parts.append(_escaped(" ".join(body.split())))
        elif body.startswith(("crild", "cat ", "echo ")):
            parts.append(f"```sh\n{body}\n```")
        else:
            parts.append(_escaped(" ".join(body.split())))
    return "\n\n".join(parts)


# -- records


def event_kinds() -> str:
    """Every kind of event with its fields."""
    parts = [_table(("field of every event", ""), _rows(COMMON))]
    for kind, event in KINDS.items():
        parts += [f"## `{kind}`", _escaped(event.meaning), _table(("field", ""), _rows(event.fields))]
    return "\n\n".join(parts)


def status_fields() -> str:
    """The fields of status.json."""
    return "\n\n".join(
        (
            _escaped(inspect.getdoc(Status) or ""),
            _record_table(Status),
            f"`state` is one of {_codes(WRITTEN)}; readers may find a run "
            f"{listed((f'`{name}`' for name in STATES if name not in WRITTEN), 'or')} instead.",
            *_nested(Owner, "`owner`"),
            *_nested(Fault, "`error`"),
        )
    )


def result_fields() -> str:
    """The fields of results.json."""
    return "\n\n".join(
        (
            _table(("field", ""), _rows(FIELDS)),
            *_nested(Latency, "`latency`"),
            *_nested(LatencyCase, "`latency.cases[]`"),
            *_nested(ModelLatency, "`latency.cases[].models[]`"),
            *_nested(Quartiles, "`milliseconds` and `ratio`"),
        )
    )


def _nested(record: type[Any], name: str) -> Iterator[str]:
    yield f"## {name}"
    yield _escaped(" ".join((inspect.getdoc(record) or "").split()))
    yield _record_table(record)


def _record_table(record: type[Any]) -> str:
    """A table of the fields of a dataclass: type, meaning from the docstring below it."""
    types_by_name, texts = get_type_hints(record), field_docstrings(record)
    rows = [
        (f"`{item.name}`", _type(types_by_name[item.name]), _escaped(texts.get(item.name, "").replace("None", "null")))
        for item in fields(record)
    ]
    return _table(("field", "type", "meaning"), rows)


def field_docstrings(record: type[Any]) -> dict[str, str]:
    """The text below each field of a class, on one line each."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(record))).body
    assert isinstance(node, ast.ClassDef)
    texts = {}
    for item, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts[item.target.id] = " ".join(value.value.split())
    return texts


_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def _type(annotation: Any) -> str:
    """A type as JSON has it, in words."""
    if isinstance(annotation, types.UnionType):
        return listed(_type(branch) for branch in get_args(annotation))
    if annotation is type(None):
        return "null"
    kind = get_origin(annotation) or annotation
    if kind is tuple:
        return "list"
    return _TYPES.get(kind, "object" if is_dataclass(kind) or issubclass(kind, Mapping) else kind.__name__)


# -- objectives


def objectives() -> str:
    """What each registered objective compares, counts and can be combined with."""
    from engine.distill.objectives import OBJECTIVES

    rows = []
    for name, spec in OBJECTIVES.items():
        compared = "products of " + listed(spec.reads, "and") if spec.compares_scores else spec.reads[0]
        rows.append(
            (
                f"`{name}`",
                "logits, with the gold labels" if spec.gold else compared + _positions_of(spec),
                "token" if spec.per_token else "example",
                "yes" if name in HEAD_OBJECTIVES else "",
                _codes(option for option, table in _OPTIONS.items() if _takes(name, table)),
            )
        )
    return _table(("objective", "compares", "position", "trains the classifier", "can be used with"), rows)


def _positions_of(spec: ObjectiveSpec) -> str:
    """Which states of a layer an objective compares, where they aren't those of each token."""
    if spec.first_token:
        return " of [CLS]"
    if spec.any_width:
        return " over the tokens of an example"
    return " averaged over tokens" if spec.per_layer and not spec.per_token else ""


_OPTIONS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mse": ({"mse": True}, {}),
    "anneal": ({"mse": True, "anneal": 10}, {}),
    "relation_heads": ({"relation_heads": 4}, {}),
    "layer_map": ({"layer_map": "uniform"}, {}),
    'layer_map = "emd"': ({"layer_map": "emd"}, {}),
    'layer_map = "alp"': ({"layer_map": "alp"}, {}),
    "consistency": ({}, {"consistency": schema.Consistency()}),
    "keep_best": ({}, {"keep_best": True}),
    "data = { corpus = ... }": ({}, {"data": schema.Corpus(corpus="texts")}),
}
"""Options of an objective and of its stage, to be tried by the rules of presets."""


def _takes(name: str, options: tuple[dict[str, Any], dict[str, Any]]) -> bool:
    """Whether a stage of this objective alone is valid with options of the objective and of the stage."""
    own, of_stage = options
    stage = schema.Stage.model_validate({"name": "one", "objectives": {name: schema.Objective(**own)}, **of_stage})
    return not any(rules.of_stage(stage))


# -- Python


def python_api() -> str:
    """Every name of `import crild`: functions, then classes with their methods and properties, as their docstrings say."""
    import crild

    names = {name: getattr(crild, name) for name in crild.__all__}
    functions = {name: value for name, value in names.items() if inspect.isfunction(value)}
    classes = {name: value for name, value in names.items() if inspect.isclass(value) and name != "CrildError"}
    parts = ["## Functions"]
    for name, function in functions.items():
        parts += [f"### `crild.{name}`", *_callable(f"crild.{name}", function)]
    parts.append("## Classes")
    for name, kind in classes.items():
        parts += [f"### `crild.{name}`", _paragraphs(kind)]
        rows = [(f"`{key}`", _one_paragraph(value)) for key, value in _public(kind) if isinstance(value, property)]
        parts += [_table(("property", ""), rows)] if rows else []
        for key, value in _public(kind):
            if inspect.isfunction(value):
                parts += [f"#### `{name}.{key}`", *_callable(f"{name}.{key}", value)]
    return "\n\n".join(parts)


def _public(kind: type) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in vars(kind).items() if not key.startswith("_"))


def _callable(name: str, function: Any) -> Iterator[str]:
    """The call of a function, an argument a line where it is long, then what its docstring says."""
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    call = f"{name}{_unquoted(str(signature.replace(parameters=own)))}"
    if len(call) > 100:
        arguments, end = call.removeprefix(f"{name}(").rsplit(")", 1)
        lines = "".join(f"    {argument},\n" for argument in re.split(r", (?=\*|\w+:)", arguments))
        call = f"{name}(\n{lines}){end}"
    yield f"```text\n{call}\n```"
    yield _paragraphs(function)


def _unquoted(signature: str) -> str:
    """A signature whose annotations are texts, as it is written."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)


def _paragraphs(described: Any) -> str:
    paragraphs = (inspect.getdoc(described) or "").split("\n\n")
    return "\n\n".join(_escaped(" ".join(paragraph.split())) for paragraph in paragraphs)


def _one_paragraph(described: Any) -> str:
    return _escaped(" ".join((inspect.getdoc(described) or "").split()))


# -- Markdown


def _rows(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(f"`{name}`", _escaped(text)) for name, text in texts.items()]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _escaped(text: str) -> str:
    """Plain text as Markdown; what is between backticks, and links, stay."""
    parts = re.split(r"(`[^`]*`|\[[^\]]*\]\([^)]*\))", text)
    return "".join(part if index % 2 else re.sub(r"([\\<*\[\]])", r"\\\1", part) for index, part in enumerate(parts))


PARTS: Mapping[str, Callable[[], str]] = {
    "preset-keys": preset_keys,
    "commands": commands,
    "event-kinds": event_kinds,
    "status-fields": status_fields,
    "result-fields": result_fields,
    "objectives": objectives,
    "python-api": python_api,
}
"""Every part by the name in the marks."""


if __name__ == "__main__":
    print(PARTS[sys.argv[1]]())
