"""The architecture: rooms import only from floors above their own, files never in a circle."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "lucency"

FLOORS = [
    "errors | plots | progress | signals",
    "backend | config | imaging | io | metrics",
    "augmentation | calibration | cluster | models | run_folder | task",
    "dataset",
    "classifier | probes",
    "evaluation | explain | training",
    "comparison | estimator | report | serve | tracking | verify",
    "export",
    "pipeline",
    "cli",
]
FLOOR = {name.strip(): i for i, line in enumerate(FLOORS) for name in line.split("|")}
ROOMS = sorted(
    path.stem for path in SOURCE.iterdir() if path.stem not in ("__init__", "py", "__pycache__")
)


def files_of(root: Path) -> dict[str, Path]:
    """Return the Python files of a package by the names that they are imported by."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports_of(file: Path, known: dict[str, Path], *, at_start: bool = False) -> Iterator[str]:
    """Yield the files that a file imports; at any depth, or only when it is itself imported."""
    for node in walked(ast.parse(file.read_text()), at_start=at_start):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                name = whole if whole in known else node.module
                if name in known:
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


def walked(tree: ast.AST, *, at_start: bool) -> Iterator[ast.AST]:
    """Yield the nodes of a tree; at the start of a module, functions do not run."""
    for node in ast.iter_child_nodes(tree):
        yield node
        if at_start and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield from walked(node, at_start=at_start)


FILES = files_of(SOURCE)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_come_from_above(room: str) -> None:
    assert room in FLOOR, f"{room} has no floor; add it to FLOORS"
    inside = {name: file for name, file in FILES.items() if name.split(".")[1:2] == [room]}
    assert inside
    for name, file in inside.items():
        others = {each.split(".")[1] for each in imports_of(file, FILES) if "." in each}
        wrong = {other for other in others - {room} if FLOOR.get(other, -1) >= FLOOR[room]}
        assert not wrong, f"{name} imports {wrong}, which are not above {room}"


def test_no_floor_is_without_need() -> None:
    """Each room stands right below the lowest of those that it imports from."""
    above: dict[str, set[str]] = defaultdict(set)
    for name, file in FILES.items():
        if "." in name:
            room = name.split(".")[1]
            above[room] |= {each.split(".")[1] for each in imports_of(file, FILES) if "." in each}
    for room in ROOMS:
        needed = max((FLOOR[other] for other in above[room] - {room}), default=-1) + 1
        assert FLOOR[room] == needed, f"{room} belongs on floor {needed}: {FLOORS[needed]}"


@pytest.mark.parametrize("package", ["src/lucency", "benchmarks"])
def test_no_files_import_in_a_circle(package: str) -> None:
    known = files_of(ROOT / package)
    graph = {name: {*imports_of(file, known)} - {name} for name, file in known.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")


def test_a_package_names_its_files() -> None:
    for name, file in FILES.items():
        if file.name != "__init__.py" or file.parent == SOURCE:
            continue
        text = ast.get_docstring(ast.parse(file.read_text())) or ""
        listed = {found[1] for found in re.finditer(r"^ *(\w+)/? {2,}\S", text, re.MULTILINE)}
        inside = {
            path.stem
            for path in file.parent.iterdir()
            if path.suffix == ".py" or (path / "__init__.py").exists()
        } - {"__init__"}
        assert inside <= listed, f"{name} does not say what {sorted(inside - listed)} are"


def test_only_the_backend_names_a_framework() -> None:
    frameworks = {"tensorflow", "jax", "torch"}
    for file in sorted(SOURCE.rglob("*.py")):
        if file.relative_to(SOURCE).parts[0] == "backend":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not frameworks & {name.split(".")[0] for name in names}, file
