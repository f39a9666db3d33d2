"""Training of the last layer alone: a linear head on a frozen, pretrained backbone.

The features of each image are computed once as it is and once augmented, by ONNX Runtime. With
folds, each has its own head, and the classifier is the mean of all heads: one network.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import backend, metrics, models
from lucency.augmentation import draw
from lucency.augmentation.layer import augmented
from lucency.calibration import ood, scaling
from lucency.classifier import Classifier, Outputs
from lucency.config import Config
from lucency.dataset import Dataset, Folds, Split
from lucency.dataset.batches import pixel_batches
from lucency.imaging.decoder.pool import Pixels
from lucency.progress import Progress
from lucency.training.calibrate import HeldOut, calibrate, probabilities_of, sampled
from lucency.training.fit import untrained
from lucency.training.folds import OutOfFold, finish_folds
from lucency.training.linear_head import Examples, Head, cross_fit, fit_head, mean_head
from lucency.training.plan import Plan
from lucency.training.state import Epoch

VIEWS = 2  # of each image: as it is, and augmented
_BATCH = 32

OnEpoch = Callable[[Epoch], None]
Embed = Callable[[Pixels], NDArray[np.float32]]


class FrozenBackbone:
    """Heads on a frozen backbone, trained on one split and applied to held-out images.

    Args:
        plan: With the backbone, its weights, and how images are augmented.
        train: Images to learn from; with folds, all images that are not in test.
        val: Held-out images; with folds none.
        folds: Of train, if any.
        progress: Called on every batch.

    Attributes:
        logits: (views, n, units) of the held-out images, by heads that have not seen them; the
            first view is of the images as they are, the others are augmented.
    """

    def __init__(
        self, plan: Plan, train: Split, val: Split, folds: Folds | None, progress: Progress
    ) -> None:
        self._plan, self._train, self._val, self._folds = plan, train, val, folds
        self._backbone = untrained(plan, train.classes)
        self._began = time.perf_counter()
        embed = _embedder(self._backbone)
        shown = Augmenter(plan)
        self._features = _features(embed, shown, train, progress)
        weights = np.asarray(plan.class_weights)
        examples = Examples(self._features, train.labels, weights)
        if folds is None:
            self._heads = [fit_head(examples, train.groups, plan.seed)]
            self._held_features = _features(embed, shown, val, progress)
            self.logits = self._heads[0].logits(self._held_features)
        else:
            self._heads, self.logits = cross_fit(examples, folds.held_out)

    def is_of(self, data: Dataset) -> bool:
        """Tell whether it was trained and measured on the whole of these splits."""
        return (self._train.files, self._val.files) == (data.train.files, data.val.files)

    def classifier(
        self, config: Config, progress: Progress, on_epoch: OnEpoch | None = None
    ) -> tuple[Classifier, Outputs | None]:
        """Return the calibrated classifier, and with folds its out-of-fold outputs.

        Args:
            config: The user's choices.
            progress: Called on every step.
            on_epoch: Called with each row of the history, one for each head.
        """
        return self.finish(self._made(on_epoch), self.logits[0], self._plan, config, progress)

    def finish(
        self,
        made: Classifier,
        logits: NDArray[np.float64],
        plan: Plan,
        config: Config,
        progress: Progress,
    ) -> tuple[Classifier, Outputs | None]:
        """Calibrate a classifier with this backbone; return it, with folds with its outputs.

        Args:
            made: The classifier.
            logits: (n, units) of the held-out images.
            plan: How it was trained.
            config: The user's choices.
            progress: Warned if the images do not reach the rule of the operating point.
        """
        train, val, bias = self._train, self._val, made.logits_bias
        if self._folds is not None:
            held_out = OutOfFold(logits, self._features[0])
            return finish_folds(made, train, self._folds, held_out, plan, config, progress)
        calibrate(
            made, plan, config, train.labels, HeldOut(logits, val.labels, val.groups),
            lambda: probabilities_of(made, logits, bias), progress,
        )  # fmt: skip
        fitted, held = sampled(train), sampled(val)
        made.ood_detector = ood.fit(
            self._features[0, fitted], train.labels[fitted], train.pixels(fitted),
            self._held_features[0, held], val.pixels(held), [val.groups[i] for i in held],
        )  # fmt: skip
        return made, None

    @property
    def head(self) -> Head:
        """The mean of all heads."""
        return mean_head(self._heads)

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        """The weights of the backbone, and of a last layer that is not trained."""
        return dict(self._backbone.weights)

    def _made(self, on_epoch: OnEpoch | None) -> Classifier:
        """Return the network with the mean of all heads, and the facts of its training."""
        head, weights = self.head, self.weights
        for name, value in (("kernel", head.kernel), ("bias", head.bias)):
            (path,) = (each for each in weights if each.endswith(f"logits/{name}"))
            weights[path] = value.astype(np.float32)
        made = Classifier(self._backbone.spec, weights)
        made.history = tuple(self._row(k) for k in range(len(self._heads)))
        made.training = {"divergences": [], "frozen": True}
        if self._folds is not None:
            folds = [{"fold": x, "epochs": 1, "best_epoch": 1} for x in self._folds.names]
            made.training = {**made.training, "folds": folds}
        if on_epoch:
            for row in made.history:
                on_epoch(row)
        return made

    def _row(self, k: int) -> Epoch:
        """Return the row of the history for a head: its losses on images as they are."""
        train, features = self._train, self._features[0]
        held, truth, rest = self.logits[0], self._val.labels, np.ones(len(train), bool)
        if self._folds is not None:
            inside = self._folds.held_out == k
            held, truth, rest = held[inside], train.labels[inside], ~inside
        loss, accuracy, _ = self._measured(
            self._heads[k].logits(features[rest]), train.labels[rest]
        )
        val_loss, val_accuracy, val_auroc = self._measured(held, truth)
        seconds = (time.perf_counter() - self._began) / len(self._heads)
        return Epoch(
            epoch=k + 1, learning_rate=math.nan, loss=loss, accuracy=accuracy, val_loss=val_loss,
            val_accuracy=val_accuracy, val_auroc=val_auroc,
            seconds=seconds, images_per_second=VIEWS * rest.sum() / seconds,
        )  # fmt: skip

    def _measured(
        self, logits: NDArray[np.float64], labels: NDArray[np.int64]
    ) -> tuple[float, float, float]:
        """Return loss (class-weighted), accuracy and AUROC."""
        p = scaling.probabilities(logits)
        weights = np.asarray(self._plan.class_weights)[labels]
        right = float(np.mean(p.argmax(axis=1) == labels))
        return metrics.log_loss(labels, p, weights), right, metrics.macro_auroc(labels, p)


class Augmenter:
    """Augments images as training does, outside of a training step.

    Args:
        plan: With the policy, the seed and the size of images.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        inputs, x = augmented(plan.augmentation, (*plan.size, plan.channels), plan.dtype)
        self._model = models.keras.Model(inputs, x)

    def __call__(self, pixels: Pixels, items: NDArray[np.int64], view: int) -> Pixels:
        """Return images in their own type.

        Args:
            pixels: (n, height, width, channels), 0 to 255.
            items: Places of the n images in their split, which determine the random numbers.
            view: Number of the view; 0 returns the images as they are.
        """
        if not view:
            return pixels
        drawn = draw(self._plan.augmentation, self._plan.seed, view - 1, items, self._plan.size)
        shown = np.asarray(self._model.predict_on_batch([pixels, *drawn.arrays]))
        return shown.round().astype(np.uint8) if pixels.dtype == np.uint8 else shown

    def batches(self, split: Split, view: int) -> Any:
        """Yield the images of a split in batches of one size, the last one filled up."""
        for start, pixels in enumerate(pixel_batches(split, _BATCH)):
            items = np.minimum(start * _BATCH + np.arange(len(pixels)), len(split) - 1)
            yield self(pixels, items, view)


def _features(
    embed: Embed,
    augmenter: Augmenter,
    split: Split,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return the pooled features of all views of a split's images, (views, n, d)."""
    found = []
    with progress.task(f"Features of {split.name}", VIEWS * len(split), "images") as task:
        for view in range(VIEWS):
            rows = []
            for pixels in augmenter.batches(split, view):
                rows.append(embed(pixels))
                task.advance(min(len(pixels), len(split) - _BATCH * (len(rows) - 1)))
            found.append(np.concatenate(rows)[: len(split)])
    return np.stack(found)


_exported: dict[tuple[object, ...], Embed] = {}  # the last one, as exporting takes seconds


def _embedder(classifier: Classifier) -> Embed:
    """Return what computes features of images by ONNX Runtime, twice as fast on processors."""
    spec = classifier.spec
    key = (*spec.parameters.items(), *spec.size, spec.channels, spec.depth)
    if key not in _exported:
        _exported.clear()
        with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
            path = Path(folder) / "backbone.onnx"
            backend.export_onnx(classifier.calibrated_model, path)
            onnx = path.read_bytes()
        _exported[key] = Classifier(spec, classifier.weights, onnx).embeddings
    return _exported[key]
