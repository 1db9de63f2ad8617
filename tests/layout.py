"""What must hold of the layout of the product's code, as lists of findings.

python -m tests.layout [FOLDER]     # the findings in this checkout, or in another one
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOTS = ("crild", "crild_tui", "engine")
ROOMS: Mapping[str, frozenset[str]] = {
    "crild": frozenset({"api"}),
    "crild_tui": frozenset({"charts", "cli", "launch_form", "monitor", "runs", "screens", "serve", "widgets"}),
    "engine": frozenset({
        "data", "distill", "evaluate", "launch", "models", "preflight", "preset", "record", "report", "search", "sweep", "track", "train",
        "user",
    }),
}  # fmt: skip
LOOSE: Mapping[str, frozenset[str]] = {
    "crild": frozenset({"__main__", "process"}),
    "crild_tui": frozenset({"app", "keys", "messages", "text", "textual_internals", "theme"}),
    "engine": frozenset({"errors", "worker"}),
}
"""Modules that every room of a package needs, and so belong to no room."""


def modules(folder: Path) -> dict[str, Path]:
    """Every module of the product below `folder`, by dotted name."""
    files = sorted(path for root in ROOTS for path in (folder / root).rglob("*.py"))
    names = (path.relative_to(folder).with_suffix("").parts for path in files)
    return {
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts): path
        for parts, path in zip(names, files, strict=True)
    }


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module, known: Mapping[str, Path]) -> set[str]:
    """The product's modules that a module imports: at its top, inside functions, and for types alone."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & set(known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found |= {name if name in known else node.module} & set(known)
    return found


def circles(folder: Path) -> list[str]:
    """Groups of modules that import one another in a circle, lazy and type-only imports included."""
    files = modules(folder)
    graph = {name: imports(parsed(path), files) for name, path in files.items()}
    reach = {name: _reachable(name, graph) for name in graph}
    groups = {
        frozenset(other for other in reach[name] if name in reach[other]) for name in graph if name in reach[name]
    }
    return sorted(" <-> ".join(sorted(group)) for group in groups)


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    left = set(graph[start])
    while left:
        name = left.pop()
        reached.add(name)
        left |= graph[name] - reached
    return reached


def homeless(folder: Path) -> list[str]:
    """Modules and folders that stand in no room."""
    outside = []
    for name in modules(folder):
        root, *rest = name.split(".")
        if (rest and rest[0] not in ROOMS[root] | LOOSE[root]) or (rest and rest[0] in LOOSE[root] and len(rest) > 1):
            outside.append(name)
    return outside


def undocumented(folder: Path) -> list[str]:
    """Public modules, classes, functions and methods without a docstring; what overrides a library's method included."""
    found = []
    for name, path in modules(folder).items():
        tree = parsed(path)
        for where, node in _public(tree, name):
            if ast.get_docstring(node) is None and not _is_overload(node):
                found.append(where)
    return found


def _public(
    node: ast.AST, name: str
) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield name, node
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith(
                "_"
            ):
                yield from _public(child, f"{name}.{child.name}")


def _is_overload(node: ast.AST) -> bool:
    return any(getattr(decorator, "id", None) == "overload" for decorator in getattr(node, "decorator_list", ()))


def strangers(folder: Path) -> list[str]:
    """Private names that one module takes from another."""
    files = modules(folder)
    return [
        f"{name} imports {node.module}.{alias.name}"
        for name, path in files.items()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module in files
        for alias in node.names
        if alias.name.startswith("_")
    ]


CHECKS = {
    "import circles": circles,
    "modules outside the rooms": homeless,
    "public without a docstring": undocumented,
    "private names imported": strangers,
}


def main() -> None:
    """Print the findings."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    for title, check in CHECKS.items():
        found = check(folder)
        print(f"{title}: {len(found)}")
        for line in found:
            print(f"    {line}")


if __name__ == "__main__":
    main()
