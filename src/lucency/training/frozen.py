"""Training of the last layer alone: a linear head on a frozen, pretrained backbone.

With folds, each has its own head, and the classifier has the mean of all heads: one network.
"""

from __future__ import annotations

import math
import time

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lucency import metrics
from lucency.calibration import scaling
from lucency.classifier import Classifier
from lucency.dataset import Folds, Split
from lucency.progress import Progress
from lucency.task import task_of
from lucency.training.backbone import (
    VIEWS,
    Augmenter,
    Backbone,
    Features,
    Pooled,
    Weights,
    embedder,
    features_of,
)
from lucency.training.ensemble import HEAD
from lucency.training.fit import untrained
from lucency.training.linear_head import Examples, cross_fit, fit_head, mean_head
from lucency.training.plan import Plan
from lucency.training.state import Epoch


class FrozenBackbone(Backbone):
    """Heads on a frozen backbone.

    Args:
        plan: With the backbone, its weights, and how images are augmented.
        train: As for ``Backbone``.
        val: As for ``Backbone``.
        folds: As for ``Backbone``.
        progress: Called on every batch.
        keep_maps: Whether to keep the feature maps before the last stage.

    Attributes:
        train_features: Of all views of the training images.
        val_features: Of all views of the validation images, of which there are none with folds.
        heads: One for each fold; one without folds.
    """

    def __init__(
        self,
        plan: Plan,
        train: Split,
        val: Split,
        folds: Folds | None,
        progress: Progress,
        *,
        keep_maps: bool = False,
    ) -> None:
        super().__init__(plan, train, val, folds)
        self._backbone = untrained(plan, train.outputs)
        self._began = time.perf_counter()
        self._keep_maps = keep_maps
        self.train_features = self.features(train, range(VIEWS), progress)
        self.val_features = self.features(val, range(VIEWS), progress)
        weights = np.asarray(plan.class_weights)
        examples = Examples(
            self.train_features.pooled,
            train.labels,
            weights,
            task_of(plan.task).is_ordered,
            train.learned,
        )
        if folds is None:
            self.heads = [fit_head(examples, train.groups, plan.seed)]
            self.logits = self.heads[0].logits(self.val_features.pooled)
        else:
            self.heads, self.logits = cross_fit(examples, folds.held_out)

    def features(self, split: Split, views: range, progress: Progress) -> Features:
        """Return the features of views of a split's images, (views, n, ...)."""
        embed, shown = embedder(self._backbone), Augmenter(self.plan)
        return features_of(embed, shown, split, views, progress, keep_maps=self._keep_maps)

    def forget_maps(self) -> None:
        """Free the memory of the feature maps."""
        self.train_features = self.train_features._replace(maps=None)
        self.val_features = self.val_features._replace(maps=None)

    @property
    def weights(self) -> Weights:
        """All weights, with the mean of all heads."""
        head, weights = mean_head(self.heads), dict(self._backbone.weights)
        weights[f"{HEAD}kernel"] = head.kernel.astype(np.float32)
        weights[f"{HEAD}bias"] = head.bias.astype(np.float32)
        return weights

    def _made(self) -> Classifier:
        """Return the classifier; its history has a row for each head."""
        made = Classifier(self._backbone.spec, self.weights)
        made.history = tuple(self._row(k) for k in range(len(self.heads)))
        made.training = {"divergences": [], "frozen": True}
        if self._folds is not None:
            folds = [{"fold": x, "epochs": 1, "best_epoch": 1} for x in self._folds.names]
            made.training = {**made.training, "folds": folds}
        return made

    def _pooled(self) -> Pooled:
        return Pooled(self.train_features.pooled[0], self.val_features.pooled[0])

    def _row(self, k: int) -> Epoch:
        """Return the row of the history for a head: its losses on images as they are."""
        train, features = self._train, self.train_features.pooled[0]
        held, measured, rest = self.logits[0], self._val, np.arange(len(train))
        if self._folds is not None:
            inside = self._folds.held_out == k
            held, rest = held[inside], np.flatnonzero(~inside)
            measured = train.subset("val", np.flatnonzero(inside))
        own = self.heads[k].logits(features[rest])
        loss, accuracy, _ = self._measured(own, train.subset("train", rest))
        val_loss, val_accuracy, val_auroc = self._measured(held, measured)
        seconds = (time.perf_counter() - self._began) / len(self.heads)
        return Epoch(
            epoch=k + 1, learning_rate=math.nan, loss=loss, accuracy=accuracy, val_loss=val_loss,
            val_accuracy=val_accuracy, val_auroc=val_auroc,
            seconds=seconds, images_per_second=VIEWS * len(rest) / seconds,
        )  # fmt: skip

    def _measured(self, logits: NDArray[np.float64], split: Split) -> tuple[float, float, float]:
        """Return loss (class-weighted), accuracy and AUROC."""
        if split.targets is not None:
            p = special.expit(logits)
            loss = float(metrics.label_losses(split.targets, p).mean())
            right = metrics.label_accuracy(split.targets, p)
            return loss, right, metrics.mean_auroc(split.targets, p)
        p, labels = scaling.probabilities(logits), split.labels
        weights = np.asarray(self.plan.class_weights)[labels]
        right = float(np.mean(p.argmax(axis=1) == labels))
        return metrics.log_loss(labels, p, weights), right, metrics.macro_auroc(labels, p)
