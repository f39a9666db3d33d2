"""Seconds from files to a classifier that reaches AUROC 0.93 and 0.96 on the official test set.

Each way runs in its own process. The clock starts with the program and stops during each evaluation
of the test set. Lucency trains once for every number of epochs, because its learning rate reaches
zero in the last epoch; the others are evaluated after every epoch of one run. Everything is read
from ``$LUCENCY_DATA/chest_xray``: 5,216 training radiographs of 224 pixels and the public test set.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.command import run_json
from benchmarks.results import Figure
from benchmarks.sample_images import whole_data_set

FAIR, GOOD = 0.93, 0.96
OURS, ARTICLE, RESNET = "Lucency, quick", "article's code", "PyTorch, ResNet-18, bfloat16"
MOST_EPOCHS = {OURS: (1, 2, 3, 4, 6, 16), ARTICLE: (12,), RESNET: (4,)}

Curve = list[tuple[float, float]]  # seconds and AUROC


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    folder = whole_data_set(quick=quick, takes="most of an hour")
    ways = [way for way in WAYS if way != RESNET or importlib.util.find_spec("torch")]
    curves = {way: _curve(way, folder) for way in ways}
    n = sum(1 for _ in (folder / "train").rglob("*.jp*g"))
    figures = []
    for way, pairs in curves.items():
        figures += [
            Figure(f"{way}: AUROC after {seconds:.0f} s", "", [auroc], n)
            for seconds, auroc in pairs
        ]
        for level in (FAIR, GOOD):
            if (reached := _reached(pairs, level)) is not None:
                figures.append(Figure(f"{way}: until AUROC {level}", "s", [reached], n))
    ours, theirs = _reached(curves[OURS], GOOD), _reached(curves[ARTICLE], FAIR)
    if ours and theirs:
        name = f"{ARTICLE} until {FAIR} / {OURS} until {GOOD}"
        figures.append(Figure(name, "x", [theirs / ours], n, least=10))
    return figures


def _reached(pairs: Curve, level: float) -> float | None:
    return next((seconds for seconds, auroc in pairs if auroc >= level), None)


def _curve(way: str, folder: Path) -> Curve:
    pairs: Curve = []
    for epochs in MOST_EPOCHS[way]:
        pairs += map(tuple, run_json(__name__, way, folder, epochs))
        print(way, [(round(s), round(a, 4)) for s, a in pairs], flush=True)
    return pairs


class Clock:
    """Seconds since the program started, without those of the evaluations."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.curve: Curve = []

    def evaluate(self, labels: Sequence[int], scores: Callable[[], Sequence[float]]) -> float:
        """Record and return the AUROC at this moment."""
        from sklearn.metrics import roc_auc_score

        now = time.perf_counter()
        auroc = float(roc_auc_score(labels, scores()))
        self.curve.append((now - self._start, auroc))
        self._start += time.perf_counter() - now
        return auroc


def _lucency(folder: Path, epochs: int, clock: Clock) -> None:
    import lucency

    with TemporaryDirectory() as cache:
        config = lucency.Config(effort="quick", epochs=epochs, cache=cache)
        data = lucency.load_dataset(folder, config)
        classifier = lucency.train(data.train, data.val, config)
        clock.evaluate(data.test.labels, lambda: classifier.predict_split(data.test)[:, 1])


def _article(folder: Path, epochs: int, clock: Clock) -> None:
    from lucency.models import keras
    from benchmarks.speed.peers import keras as peer  # isort: skip
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # isort: skip

    network, images = peer.article(keras, folder / "train", 255, 100)
    test = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        folder / "test", (255, 255), class_mode="binary", batch_size=100, shuffle=False
    )
    network.compile("adam", "binary_crossentropy", metrics=["accuracy"])

    def end(_: int, logs: Any) -> None:  # noqa: ARG001
        scores = lambda: network.predict(test, verbose=0)[:, 0]  # noqa: E731
        network.stop_training = clock.evaluate(test.labels, scores) >= FAIR

    network.fit(
        images,
        epochs=epochs,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end)],
        verbose=0,
    )


def _resnet(folder: Path, epochs: int, clock: Clock) -> None:
    import torch

    from benchmarks.speed.peers import pytorch

    batches = pytorch.loader(pytorch.Images(folder / "train", 224, "mirror"), 32, shuffle=True)
    images = pytorch.Images(folder / "test", 224)
    test = pytorch.loader(images, 32, shuffle=False)
    network = pytorch.resnet18().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, epochs * len(batches))
    for _ in range(epochs):
        pytorch.epoch(network, optimizer, batches, "bfloat16", schedule)
        labels = [label for _, label in images.files]
        if clock.evaluate(labels, lambda: pytorch.predict(network, test, "bfloat16")) >= GOOD:
            return


WAYS: dict[str, Callable[[Path, int, Clock], None]] = {
    OURS: _lucency,
    ARTICLE: _article,
    RESNET: _resnet,
}

if __name__ == "__main__":
    CLOCK = Clock()
    WAYS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]), CLOCK)
    print(json.dumps(CLOCK.curve))
