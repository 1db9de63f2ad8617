"""What the source of the schema declares: help texts, and the keys with their words. Imports no pydantic.

Completion in a shell must answer at once; importing the schema would take longer than all the rest.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILES = [Path(__file__).with_name(f"{module}.py") for module in ("schema", "field_types", "names", "kinds")]
SCHEMA = _FILES[0]
_SHORT = 200
"""Characters of the longest default that `Key.default` holds."""


@dataclass(frozen=True)
class Key:
    """A key of a table: the words that it takes, the tables that may stand there, and what it is when left out.

    `open`: whether it takes other values than those words and tables.
    """

    name: str
    words: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    """Words of a list's items."""
    default: object = None
    open: bool = False


@cache
def help_texts(file: Path = SCHEMA) -> dict[str, str]:
    """The help text of every table and key in a module of records: `{"Task": ..., "Task.name": ...}`, on one line each."""
    texts = {}
    for node in _classes(file).values():
        texts[node.name] = _one_line(ast.get_docstring(node) or "")
        for field, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
                value = after.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    texts[f"{node.name}.{field.target.id.rstrip('_')}"] = _one_line(value.value)
    for key in ("Task", "Teacher", "Student", "Train", "Stage", "Baseline"):
        if key in texts and "Preset" in texts:
            texts.setdefault(f"Preset.{key.lower()}", texts[key])
    return texts


@cache
def keys_of(table: str, file: Path = SCHEMA) -> dict[str, Key]:
    """The keys of a table, by the name of its record in a module, as "Stage"; empty for one that does not exist."""
    node = _classes(file).get(table)
    fields = node.body if node is not None else []
    return {
        field.target.id.rstrip("_"): _key(field.target.id.rstrip("_"), field)
        for field in fields
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


@cache
def sections_of(file: Path) -> dict[str, str]:
    """The name of each section's record in a module that declares `SECTIONS`."""
    for node in _parsed(file).body:
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.value, ast.Dict)
            and ast.unparse(node.target) == "SECTIONS"
        ):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {ast.literal_eval(name): ast.unparse(record) for name, record in pairs if name is not None}
    return {}


def _key(name: str, field: ast.AnnAssign) -> Key:
    branches = list(_branches(field.annotation))
    words = [text for kind, text in branches if kind == "word"]
    tables = [text for kind, text in branches if kind == "table"]
    items = [text for kind, text in branches if kind == "item"]
    is_open = any(kind == "open" for kind, _ in branches)
    return Key(name, tuple(words), tuple(tables), tuple(items), _default(field.value), open=is_open)


def _default(value: ast.expr | None) -> object:
    if value is None or len(ast.unparse(value)) > _SHORT:
        return None
    try:
        return ast.literal_eval(value)
    except ValueError:  # a call
        return None


def _branches(node: ast.expr) -> Iterator[tuple[str, str]]:
    """The branches of an annotation: ("word", its text), ("table", the record), ("item", of a list) or ("open", "")."""
    match node:
        case ast.BinOp(left=left, right=right):
            yield from _branches(left)
            yield from _branches(right)
        case ast.Subscript(value=ast.Name("Annotated"), slice=ast.Tuple(elts=[first, *_])):
            yield from _branches(first)
        case ast.Subscript(value=ast.Name("Literal"), slice=inner):
            for word in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
                yield from _branches(word)
        case ast.Subscript(value=ast.Name("list"), slice=inner):
            yield "open", ""
            yield from (("item", text) for kind, text in _branches(inner) if kind == "word")
        case ast.Constant(value=None):
            pass
        case ast.Constant(value=bool() as flag):
            yield "word", str(flag).lower()
        case ast.Constant(value=str() | int() as word):
            yield "word", str(word)
        case ast.Name("bool"):
            yield from (("word", "true"), ("word", "false"))
        case ast.Name(name) if name in _classes(SCHEMA):
            yield "table", name
        case ast.Name(name) if name in _aliases():
            yield from _branches(_aliases()[name])
        case _:
            yield "open", ""


@cache
def _classes(file: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _parsed(file).body if isinstance(node, ast.ClassDef)}


@cache
def _aliases() -> dict[str, ast.expr]:
    """The types that the modules name."""
    return {
        target.id: node.value
        for file in _FILES
        for node in _parsed(file).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _one_line(text: str) -> str:
    return " ".join(text.split())
