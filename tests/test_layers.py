"""The architecture: a module imports only from layers above its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "lucency"

LAYERS = [
    "errors",
    "files | progress | config | headers | sources | explained | interruption",
    "runs | dicom",
    "images | metrics | plots | backend | phantoms",
    "decoding | calibration | operating | conformal | gate | standalone",
    "dataset | models | augment",
    "batches | probes",
    "classifier",
    "plan",
    "training | evaluation",
    "ledger | robustness | explain",
    "comparison | verify | card",
    "gallery | report | page",
    "examination | checking | tracking | export",
    "pipeline | estimator",
    "serve",
    "screen",
    "cli",
]
LEVEL = {name.strip(): i for i, line in enumerate(LAYERS) for name in line.split("|")}
TOPICS = sorted(
    path.stem for path in SOURCE.iterdir() if path.stem not in ("__init__", "py", "__pycache__")
)


def imported_topics(file: Path) -> set[str]:
    """Return the modules of this package that a file imports, at any depth, typing included."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "lucency":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lucency."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("lucency.")}
    return found


@pytest.mark.parametrize("topic", TOPICS)
def test_imports_come_from_above(topic: str) -> None:
    assert topic in LEVEL, f"{topic} has no layer; add it to LAYERS and to the README"
    path = SOURCE / f"{topic}.py"
    files = [path] if path.exists() else sorted((SOURCE / topic).rglob("*.py"))
    assert files
    for file in files:
        wrong = {
            other
            for other in imported_topics(file) - {topic}
            if LEVEL.get(other, -1) >= LEVEL[topic]
        }
        assert not wrong, f"{file.name} imports {wrong}, which are not above {topic}"


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
