"""Fine-tuning of the last stage of a pretrained backbone, and of a new last layer.

The stages before it are frozen, so that the feature maps that they make of several augmented views
of each image are computed once, and training sees these instead of images.

With folds, a network is trained without each of them, to choose and evaluate on the images that it
has not seen; the classifier is one more, trained on all.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lucency.augmentation import Augmentation
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Split
from lucency.dataset.cache import PixelCache
from lucency.models import keras, variables_of
from lucency.progress import Progress
from lucency.training.backbone import VIEWS, Backbone, Pooled, Weights
from lucency.training.ensemble import HEAD
from lucency.training.fine_tuning import views_of
from lucency.training.fit import Fitted, fit, spec_of
from lucency.training.folds import fold_seed, record_folds
from lucency.training.frozen import FrozenBackbone
from lucency.training.plan import Plan
from lucency.training.trainer import build_network

_BATCH = 32


class FineTunedBackbone(Backbone):
    """A backbone whose last stage and last layer are fine-tuned.

    Args:
        plan: How it is trained.
        frozen: The same backbone with a linear head, which has kept its feature maps.
        config: The user's choices.
        progress: Called on every step.
        checkpoints: Folder for a folder of checkpoints for each network; ``None`` writes none.
    """

    def __init__(
        self,
        plan: Plan,
        frozen: FrozenBackbone,
        config: Config,
        progress: Progress,
        checkpoints: Path | None = None,
    ) -> None:
        train, val, folds = frozen.splits
        super().__init__(plan, train, val, folds)
        views = views_of(len(train), plan.size)
        self._frozen, self._config, self._progress = frozen, config, progress
        # A head that separates the images already would leave little to learn.
        self._initial = frozen.weights
        for name in (f"{HEAD}kernel", f"{HEAD}bias"):
            self._initial[name] = np.zeros_like(self._initial[name])
        self._folder = checkpoints and checkpoints / f"last-stage-{len(train)}"
        more = frozen.features(train, range(VIEWS, views), progress)
        maps = np.concatenate([each.kept_maps for each in (frozen.train_features, more)])
        every, of_train = np.arange(len(train)), _Maps(train, maps)
        whole = of_train.split("train", every, views)
        self._fitted: list[Fitted] = []
        self._maps, self._val_maps = maps[0].copy(), maps[0, :0].copy()
        if folds is None:
            of_val = _Maps(val, frozen.val_features.kept_maps)
            self._val_maps = of_val.maps[0].copy()
            held_out = of_val.split("val", np.arange(len(val)), VIEWS)
            self.logits = self._fit(whole, held_out)
        else:
            self.logits = np.zeros_like(frozen.logits)
            for k in range(len(folds)):
                progress.note(f"Fine-tuning without fold {k + 1} of {len(folds)}.")
                own = folds.held_out == k
                rest = of_train.split("train", every[~own], views)
                self.logits[:, own] = self._fit(rest, of_train.split("val", every[own], VIEWS))
            progress.note("Fine-tuning on all folds.")
            self._fit(whole, of_train.split("val", every, VIEWS))  # whose loss decides nothing
        frozen.forget_maps()

    @property
    def weights(self) -> Weights:
        """All weights: those of the network trained on all images in place of the frozen ones."""
        return self._frozen.weights | self._fitted[-1].network.weights

    def _made(self) -> Classifier:
        """Return the classifier; its history is that of the networks of all folds."""
        made = Classifier(spec_of(self.plan, self._train.outputs), self.weights)
        networks = [each.network for each in self._fitted]
        if self._folds is None:
            (of,) = networks
            made.history, made.best_epoch, made.training = of.history, of.best_epoch, of.training
        else:
            record_folds(made, networks[:-1], self._folds)
        return made

    def _fit(self, train: Split, held_out: Split) -> NDArray[np.float64]:
        """Train the next network; return the logits (views, n, units) of held-out images."""
        number = len(self._fitted)
        plan = dataclasses.replace(
            self._of_maps(train.cache.shape), seed=fold_seed(self.plan.seed, number)
        )
        fitted = fit(
            (train, held_out), plan, self._config, progress=self._progress, on_epoch=None,
            checkpoints=self._folder and self._folder / str(number + 1),
            initial=self._initial,
        )  # fmt: skip
        self._fitted.append(fitted)
        return fitted.logits.reshape(VIEWS, -1, fitted.logits.shape[-1])

    def _pooled(self) -> Pooled:
        model = build_network(self._of_maps(self._maps.shape[1:]), len(self._train.outputs))
        pooled = keras.Model(model.input, model.get_layer("pooled").output)
        found = []
        for each in self._fitted:
            for name, variable in variables_of(model).items():
                variable.assign(each.network.weights[name])
            found.append(_predicted(pooled, self._maps))
        *folds, train = found
        # The weights are now those of the classifier.
        val = _predicted(pooled, self._val_maps) if len(self._val_maps) else train[:0]
        return Pooled(train, val, np.concatenate(folds, axis=1) if folds else None)

    def _of_maps(self, shape: tuple[int, ...]) -> Plan:
        """Return the plan for feature maps of a shape (height, width, channels)."""
        height, width, channels = shape
        return dataclasses.replace(
            self.plan, size=(height, width), channels=channels, depth=_Maps.depth,
            network_channels=channels, architecture="last_stage", augmentation=Augmentation(),
            parameters={k: v for k, v in self.plan.parameters.items() if k != "weights"},
        )  # fmt: skip


class _Maps:
    """Feature maps of views of a split's images, read as the pixels of a split are.

    Args:
        of: The split of n images.
        maps: (views, n, height, width, channels) float16.
    """

    depth = 16  # read as float32, as images of more than 8 bits are

    def __init__(self, of: Split, maps: NDArray[np.float16]) -> None:
        self._of, self.maps = of, maps
        self._rows = maps.reshape(-1, *maps.shape[2:])
        self.shape = maps.shape[2:]
        content = [of.cache.sha256[row] for row in of.rows]
        self.sha256 = tuple(f"{sha} {view}" for view in range(len(maps)) for sha in content)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows: all images of the first view, then those of the next one."""
        return self._rows[rows].astype(np.float32)

    def split(self, name: str, images: NDArray[np.int64], views: int) -> Split:
        """Return the first views of some images as a split, one view after the other."""
        rows = (np.arange(views)[:, None] * len(self._of) + images).reshape(-1)
        shown = self._of.subset(name, rows % len(self._of))
        return dataclasses.replace(shown, cache=cast("PixelCache", self), rows=rows)


def _predicted(model: Any, maps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return what a model makes of feature maps, in batches."""
    batches = np.split(maps, range(_BATCH, len(maps), _BATCH))
    found = [np.asarray(model.predict_on_batch(each.astype(np.float32))) for each in batches]
    return np.concatenate(found)
