"""A pretrained backbone under a last layer that was trained on one split, or on folds.

The features of images are computed by ONNX Runtime, once as they are and once or more augmented.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency import backend, models
from lucency.augmentation import draw, generator
from lucency.augmentation.layer import augmented
from lucency.calibration import ood
from lucency.classifier import Classifier, Outputs
from lucency.config import Config
from lucency.dataset import Dataset, Folds, Split
from lucency.dataset.batches import pixel_batches
from lucency.imaging.decoder.pool import Pixels
from lucency.progress import Progress
from lucency.training import fine_tuning
from lucency.training.calibrate import HeldOut, calibrate, probabilities_of, sampled
from lucency.training.ensemble import HEAD
from lucency.training.folds import OutOfFold, finish_folds
from lucency.training.linear_head import Head
from lucency.training.plan import Plan
from lucency.training.state import Epoch

VIEWS = 2  # of each held-out image: as it is, and augmented
_BATCH = 32

OnEpoch = Callable[[Epoch], None]
Weights = dict[str, NDArray[Any]]


class Features(NamedTuple):
    """What a backbone makes of images.

    Attributes:
        pooled: (..., d) float32, the mean of the last feature map.
        maps: (..., height, width, channels) float16, the feature maps before the last stage;
            ``None`` where they are not kept.
    """

    pooled: NDArray[np.float32]
    maps: NDArray[np.float16] | None

    @property
    def kept_maps(self) -> NDArray[np.float16]:
        """The feature maps, where they are kept."""
        if self.maps is None:
            raise ValueError("the feature maps were not kept")
        return self.maps


class Pooled(NamedTuple):
    """Pooled features of images as they are.

    Attributes:
        train: (n, d), by the network of the classifier.
        val: (m, d); empty with folds.
        of_folds: (n, k * d) of train by the networks of k folds, side by side; ``None`` where those
            have the features of the classifier.
    """

    train: NDArray[np.float32]
    val: NDArray[np.float32]
    of_folds: NDArray[np.float32] | None = None


Embed = Callable[[Pixels], Features]


class Backbone(ABC):
    """A pretrained backbone with a last layer, trained on one split or on folds.

    Args:
        plan: How it was trained.
        train: Images to learn from; with folds, all images that are not in test.
        val: Held-out images; with folds none.
        folds: Of train, if any.

    Attributes:
        plan: As given.
        logits: (views, n, units) of the held-out images, by networks that have not seen them; the
            first view is of the images as they are, the other is augmented.
    """

    logits: NDArray[np.float64]

    def __init__(self, plan: Plan, train: Split, val: Split, folds: Folds | None) -> None:
        self.plan = plan
        self._train, self._val, self._folds = train, val, folds

    @property
    def splits(self) -> tuple[Split, Split, Folds | None]:
        """Train, validation and the folds of train."""
        return self._train, self._val, self._folds

    def is_of(self, data: Dataset) -> bool:
        """Tell whether it was trained and measured on the whole of these splits."""
        return (self._train.files, self._val.files) == (data.train.files, data.val.files)

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """All weights, with those of the last layer."""

    @property
    def head(self) -> Head:
        """The last layer."""
        weights = self.weights
        kernel, bias = (weights[f"{HEAD}{name}"] for name in ("kernel", "bias"))
        return Head(kernel.astype(np.float64), bias.astype(np.float64))

    def classifier(
        self, config: Config, progress: Progress, on_epoch: OnEpoch | None = None
    ) -> tuple[Classifier, Outputs | None]:
        """Return the calibrated classifier, and with folds its out-of-fold outputs.

        Args:
            config: The user's choices.
            progress: Called on every step.
            on_epoch: Called with each row of the history.
        """
        made = self._made()
        if on_epoch:
            for row in made.history:
                on_epoch(row)
        return self.finish(made, self.logits[0], self.plan, config, progress)

    @abstractmethod
    def _made(self) -> Classifier:
        """Return the classifier with the facts of its training, not calibrated."""

    @abstractmethod
    def _pooled(self) -> Pooled:
        """Return the features of images as they are."""

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
        pooled = self._pooled()
        if self._folds is not None:
            held_out = OutOfFold(logits, pooled.train, pooled.of_folds)
            return finish_folds(made, train, self._folds, held_out, plan, config, progress)
        images = HeldOut.of(logits, val)
        calibrate(
            made, plan, config, train.labels, images,
            lambda: probabilities_of(made, logits, bias), progress,
        )  # fmt: skip
        fitted, held = sampled(train), sampled(val)
        made.ood_detector = ood.fit(
            pooled.train[fitted], train.labels[fitted], train.pixels(fitted),
            pooled.val[held], val.pixels(held), [val.groups[i] for i in held],
        )  # fmt: skip
        return made, None


class Augmenter:
    """Augments images as training does, outside of a training step.

    Some of the views that are only trained on are noisy, too. Fine-tuned on images without noise, a
    backbone takes it for content.

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
        if view in fine_tuning.NOISY:
            shown = self._noisy(shown, items, view)
        return shown.round().astype(np.uint8) if pixels.dtype == np.uint8 else shown

    def _noisy(
        self, shown: NDArray[np.float32], items: NDArray[np.int64], view: int
    ) -> NDArray[np.float32]:
        """Return images with Gaussian noise, of another standard deviation for each."""
        noisy = np.empty_like(shown)
        for place, item in enumerate(items):
            of_image = generator(self._plan.seed, view - 1, int(item), stream=2)
            spread = 255 * fine_tuning.NOISE * np.float32(of_image.random())
            noise = of_image.standard_normal(shown.shape[1:], np.float32)
            noisy[place] = shown[place] + spread * noise
        return noisy.clip(0, 255)

    def batches(self, split: Split, view: int) -> Iterator[Pixels]:
        """Yield the images of a split in batches of one size, the last one filled up."""
        for start, pixels in enumerate(pixel_batches(split, _BATCH)):
            items = np.minimum(start * _BATCH + np.arange(len(pixels)), len(split) - 1)
            yield self(pixels, items, view)


def features_of(
    embed: Embed,
    augmenter: Augmenter,
    split: Split,
    views: range,
    progress: Progress,
    *,
    keep_maps: bool = False,
) -> Features:
    """Return the features of views of a split's images, (views, n, ...)."""
    if not len(split):
        return Features(np.zeros((len(views), 0, 0), np.float32), None)
    pooled, maps = [], []
    with progress.task(f"Features of {split.name}", len(views) * len(split), "images") as task:
        for view in views:
            left = len(split)
            for pixels in augmenter.batches(split, view):
                found = embed(pixels)
                count = min(left, len(pixels))
                pooled.append(found.pooled[:count])
                if keep_maps and found.maps is not None:
                    maps.append(found.maps[:count])
                left -= count
                task.advance(count)
    shape = len(views), len(split)
    joined = np.concatenate(pooled)
    whole = np.concatenate(maps) if maps else None
    return Features(
        joined.reshape(*shape, -1),
        None if whole is None else whole.reshape(*shape, *whole.shape[1:]),
    )


_exported: dict[tuple[object, ...], Embed] = {}  # the last one, as exporting takes seconds


def embedder(classifier: Classifier) -> Embed:
    """Return what computes features of images by ONNX Runtime, twice as fast on processors."""
    spec = classifier.spec
    key = (*spec.parameters.items(), *spec.size, spec.channels, spec.depth)
    if key not in _exported:
        _exported.clear()
        with tempfile.TemporaryDirectory(prefix="lucency-") as folder:
            path = Path(folder) / "backbone.onnx"
            backend.export_onnx(_with_maps(classifier), path)
            made = Classifier(spec, classifier.weights, path.read_bytes())
        _exported[key] = lambda pixels: _run(made, pixels)
    return _exported[key]


def _run(classifier: Classifier, pixels: Pixels) -> Features:
    outputs = classifier.run_onnx(pixels, ["probabilities", "embedding", "activation_map"])
    return Features(outputs["embedding"], outputs["activation_map"].astype(np.float16))


def _with_maps(classifier: Classifier) -> Any:
    """Return the network with the feature maps before its last stage as its activation maps."""
    keras, spec, network = models.keras, classifier.spec, classifier.keras_model
    outputs = {
        "probabilities": network.output,
        "embedding": network.get_layer("logits").input,
        "activation_map": models.before_last_stage(str(spec.parameters["backbone"]), network),
    }
    pixels = keras.Input((*spec.size, spec.channels), dtype=spec.dtype, name="pixels")
    x = models.widened(network, spec.channels)(keras.ops.cast(pixels, "float32"))
    found = keras.Model(network.inputs, outputs)(x)
    if network.output.shape[-1] == 1:  # a probability for each class
        found["probabilities"] = keras.ops.concatenate(
            [1 - found["probabilities"], found["probabilities"]], axis=-1
        )
    return keras.Model(pixels, found, name="backbone")
