"""Every sentence of an error, collected from the source, in the one table `tests/sentences.txt`.

    python -m tests.sentences --write       # after a sentence has changed on purpose; read the difference

A sentence is the text in a call that names a `kind=`, or in a `Fault` or `Problem`. What is filled in stands in braces.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.layout import modules, parsed

TABLE = Path(__file__).with_name("sentences.txt")


def sentences(folder: Path) -> dict[str, list[str]]:
    """The sentences of each kind, as they stand in the product below `folder`."""
    found: dict[str, set[str]] = {}
    for path in modules(folder).values():
        for call, function in _calls(parsed(path)):
            kind = _kind(call)
            if kind is not None and call.args:
                found.setdefault(kind, set()).update(_templates(call, function))
    return {kind: sorted(found[kind]) for kind in sorted(found)}


def _kind(call: ast.Call) -> str | None:
    """The literal kind that a call names: as `kind=`, or last in a `Fault` or `Problem` of a preset."""
    values = [word.value for word in call.keywords if word.arg == "kind"]
    if getattr(call.func, "id", "") in ("Fault", "Problem"):
        values += call.args[-1:]
    value = values[0] if values else None
    return (
        value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) and "-" in value.value else None
    )


def without_kind(folder: Path, errors: frozenset[str]) -> list[str]:
    """Where one of `errors` (names of classes) is made from a sentence without a kind, as `module:line`."""
    return [
        f"{name}:{call.lineno}"
        for name, path in modules(folder).items()
        for call, _ in _calls(parsed(path))
        if getattr(call.func, "id", getattr(call.func, "attr", None)) in errors
        and not any(word.arg in ("kind", None) for word in call.keywords)
    ]


def template(node: ast.expr) -> str:
    """An expression as a sentence: text as it is, everything else in braces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else f"{{{_source(part)}}}" for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return template(node.left) + template(node.right)
    if isinstance(node, ast.IfExp):
        return f"{template(node.body)} | {template(node.orelse)}"
    return f"{{{ast.unparse(node)}}}"


def _source(part: ast.expr) -> str:
    return ast.unparse(part.value) if isinstance(part, ast.FormattedValue) else ast.unparse(part)


def _templates(call: ast.Call, function: ast.AST) -> set[str]:
    """The sentences that a call's first argument can be: of a variable, what the function last gave it."""
    node = next((part for part in call.args if _is_text(part)), call.args[0])
    if not isinstance(node, ast.Name):
        return {template(node)}
    found: set[str] = set()
    for step in sorted(_assignments(node.id, function), key=lambda step: -step.lineno):
        if step.lineno < call.lineno:
            found.add(template(step.value))
            if step.col_offset <= call.col_offset - len("raise "):  # not in a branch that may not have run
                break
    return found or {template(node)}


def _is_text(part: ast.expr) -> bool:
    if isinstance(part, ast.Constant):
        return isinstance(part.value, str) and " " in part.value
    return isinstance(part, ast.JoinedStr | ast.BinOp | ast.IfExp) or (
        isinstance(part, ast.Name) and part.id == "sentence"
    )


def _assignments(name: str, function: ast.AST) -> list[ast.Assign | ast.AugAssign]:
    return [
        step
        for step in ast.walk(function)
        if isinstance(step, ast.Assign | ast.AugAssign)
        and any(
            isinstance(target, ast.Name) and target.id == name
            for target in (step.targets if isinstance(step, ast.Assign) else [step.target])
        )
    ]


def _calls(tree: ast.AST, function: ast.AST | None = None) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Every call, with the function that it stands in (or the module)."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield node, function or tree
        inside = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function or tree
        yield from _calls(node, inside)


def table(folder: Path) -> str:
    """The table as text: a kind, and below it its sentences."""
    return "".join(
        f"{kind}\n" + "".join(f"    {line}\n" for line in lines) for kind, lines in sentences(folder).items()
    )


if __name__ == "__main__":
    if "--write" in sys.argv:
        TABLE.write_text(table(REPOSITORY), encoding="utf-8")
    else:
        print(table(REPOSITORY), end="")
