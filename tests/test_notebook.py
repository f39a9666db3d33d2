"""The notebook, run from the first to the last cell on drawn radiographs."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOK, MAKER = ROOT / "notebooks/step_by_step.ipynb", ROOT / "docs/make_notebook.py"
SHOWN = (
    "float(convolution_difference)",
    "float(pooling_difference)",
    "parameters",
    "float(baseline / len(y_test))",
    "[float(end) for end in interval(390, 624)]",
    "float(hits(apart, s_test, y_test).mean())",
    "float(hits(leaked, s_test, y_test).mean())",
    "float(abs(auroc - evaluation.metrics['auroc'].value))",
    "float(map_difference)",
    "fingerprint() == before",
    "len(set(patients[to_val]) & set(patients[~to_val]))",
    "bool(rejected.reason)",
    "headings",
    "sorted(path.name for path in Path('.').iterdir()) == [WORK.name]",
)


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# No statement below depends on how many radiographs are drawn, how long these trainings are and how
# large the networks of Lucency; docs/make_notebook.py runs all of them whole.
SHORTER = {
    "images=480": "images=120",
    "round(0.15 * len(names))": "round(0.4 * len(names))",
    "EPOCHS = 4 if DATA else 3 ": "EPOCHS = 1 ",
    "    x_train, y_train, validation_data=(x_val, y_val)": (
        "    x_train[::4], y_train[::4], validation_data=(x_val[::4], y_val[::4])"
    ),
    "epochs or int(np.clip(10_000 / len(radiographs), 8, 60))": "epochs or 2",
    "for seed in range(3)": "for seed in range(2)",
    "side=64": "side=32",
    "article_network(64,": "article_network(32,",
    # One long epoch takes half as long as many short ones.
    "    network.fit(radiographs, labels, epochs=epochs, ": (
        "    often = np.tile(radiographs, (epochs, 1, 1, 1)), np.tile(labels, epochs)\n"
        "    network.fit(*often, epochs=1, "
    ),
    "*with_copies, seed=0, epochs=60": "*with_copies, seed=0, epochs=150",
    ".permutation(len(y_train))[:100]": ".permutation(len(y_train))[:16]",
    "epochs = None if DATA else 24\n": "epochs = 2\n",
    'on_leak="drop", cache=str(WORK / "cache"), workers=2\n)\nrun': (
        'on_leak="drop", cache=str(WORK / "cache"), workers=2, folds=2, size=32\n)\nrun'
    ),
    "np.mgrid[:64, :64]": "np.mgrid[:32, :32]",
    "integers((20, 26), (44, 38))": "integers((10, 13), (22, 19))",
    "epochs = int(np.clip(10_000 / len(f_train), 8, 60))\n": "epochs = 2\n",
}
SMALL = f"""import sys
sys.path.append({str(ROOT)!r})
from benchmarks.small_network import use_few_trees, use_small_network, use_small_report_images
use_few_trees(), use_small_network(), use_small_report_images();
"""


def shortened() -> Any:
    """Return the notebook with less to draw and to train."""
    notebook = read()
    for long, short in SHORTER.items():
        (cell,) = (cell for cell in code(notebook) if long in cell.source)
        cell.source = cell.source.replace(long, short)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SMALL))
    return notebook


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run all cells in a folder of their own; one more cell prints what they computed."""
    spec = importlib.util.spec_from_file_location("make_notebook", MAKER)
    assert spec
    assert spec.loader
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    notebook = shortened()
    shown = ", ".join(f"{name!r}: {name}" for name in SHOWN)
    notebook.cells.append(nbformat.v4.new_code_cell(f"print(repr({{{shown}}}))"))
    return maker.executed(notebook, tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def results(executed: Any) -> dict[str, Any]:
    return dict(ast.literal_eval(executed.cells[-1].outputs[0].text))


@pytest.mark.slow
def test_what_is_done_by_hand_is_what_keras_does(results: dict[str, Any]) -> None:
    assert results["float(convolution_difference)"] == 0
    assert results["float(pooling_difference)"] == 0
    assert results["parameters"] == 3_706_049
    assert results["float(map_difference)"] < 1e-4
    assert results["float(abs(auroc - evaluation.metrics['auroc'].value))"] < 1e-12


@pytest.mark.slow
def test_the_statements_about_scores_hold(results: dict[str, Any]) -> None:
    assert results["float(baseline / len(y_test))"] == 0.5
    assert results["[float(end) for end in interval(390, 624)]"] == pytest.approx(
        [58.57, 66.31], abs=0.01
    )
    # Radiographs that leaked are memorised.
    leaked = results["float(hits(leaked, s_test, y_test).mean())"]
    assert leaked > 0.95
    assert leaked > results["float(hits(apart, s_test, y_test).mean())"] + 0.02
    assert results["bool(rejected.reason)"] is True


@pytest.mark.slow
def test_the_notebook_changes_no_radiograph_and_writes_into_its_own_folder(
    results: dict[str, Any],
) -> None:
    assert results["fingerprint() == before"] is True
    assert results["len(set(patients[to_val]) & set(patients[~to_val]))"] == 0
    assert results["sorted(path.name for path in Path('.').iterdir()) == [WORK.name]"] is True


@pytest.mark.slow
def test_the_notebook_prints_no_warning(executed: Any) -> None:
    for cell in code(executed):
        for output in cell.outputs:
            assert output.get("name") != "stderr", output.text
            assert "warning" not in output.get("text", "").lower(), output.text


@pytest.mark.slow
def test_the_sections_of_the_report_are_explained(executed: Any, results: dict[str, Any]) -> None:
    (cell,) = (cell for cell in executed.cells if "| section | what it answers |" in cell.source)
    rows = re.findall(r"^\| ([^|]+) \|", cell.source, re.MULTILINE)[1:]
    explained = {name.strip() for row in rows for name in row.split(",")}
    assert explained == set(results["headings"])


def test_the_notebook_is_small_and_holds_drawn_radiographs_only() -> None:
    notebook = read()
    assert NOTEBOOK.stat().st_size < 1_000_000
    assert 'DATA = ""' in code(notebook)[0].source
    assert any(cell.outputs for cell in code(notebook))
    outputs = str([cell.outputs for cell in code(notebook)])
    assert "OPACITY" in outputs
    assert "PNEUMONIA" not in outputs
    assert not re.search(r"/(work|home|root|tmp)/|[a-z]:\\\\", outputs)


def test_every_score_on_real_radiographs_is_marked_as_such() -> None:
    notes = [
        part
        for cell in read().cells
        for part in re.split(r"\n\n", cell.source)
        if "On the real radiographs." in part
    ]
    assert len(notes) >= 8
    assert all(part.startswith("> **On the real radiographs.**") for part in notes)
    assert not any("{{" in cell.source for cell in read().cells)
