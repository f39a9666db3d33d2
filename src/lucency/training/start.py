"""From scratch or from a frozen, pretrained backbone: decided on held-out images.

Both are measured on the same images that neither has seen, as they are and augmented as in
training: images as they are come from the same cameras and scanners as those to learn from, while a
classifier will also see others. On the chest radiographs the two are equal on images as they are,
and far apart on augmented ones, and on those of the official test split, which differ from train.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.calibration import scaling
from lucency.classifier import Classifier
from lucency.config import COMPARED
from lucency.dataset import Folds, Split
from lucency.training.frozen import VIEWS, Augmenter, FrozenBackbone
from lucency.training.plan import Choice, Plan
from lucency.training.state import Epoch
from lucency.training.trainer import eval_model

MOST_TRAIN, MOST_HELD_OUT = 1500, 750  # images that it is measured on
# Training from scratch ends after this share of its epochs if its lowest loss so far is this many
# times that of the frozen backbone. The rest of the epochs does not make up for that: on the chest
# radiographs the lowest loss fell to 0.55 times that of a quarter, 0.91 times that of a half.
_HOPELESS = ((0.5, 1.6), (0.25, 2.0))

Floats = NDArray[np.float64]


class Comparison(NamedTuple):
    """The mean log loss of both on the same held-out images, over all of their views.

    Attributes:
        scratch: Of the network trained from scratch.
        frozen: Of the head on the frozen backbone.
        error: Standard error of the difference, by patient.
        n: Images.
        trained: Share of the epochs from scratch after which they were compared; below 1 where the
            training was hopeless. ``scratch`` is then the lowest loss so far on the images as they
            are, not calibrated, and there is no ``error``.
    """

    scratch: float
    frozen: float
    error: float | None
    n: int
    trained: float = 1.0

    @property
    def advantage(self) -> float:
        """Of the frozen backbone, in standard errors; below 0 where it is worse."""
        return (self.scratch - self.frozen) / max(self.error or 0.0, 1e-12)

    def choice(self, *, frozen: bool) -> Choice:
        """Return the decision in words, with the figures that decided."""
        value = f"{COMPARED} with ImageNet weights, frozen" if frozen else "from scratch"
        how = (
            f" (ended after {self.trained:.0%} of its epochs)"
            if self.error is None
            else f" (standard error of the difference {self.error:.3f})"
        )
        return Choice(
            "start",
            value,
            f"log loss on {self.n:,} held-out images, as they are and augmented: {self.frozen:.3f} "
            f"from {COMPARED}, {self.scratch:.3f} from scratch{how}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures for ``plan.json``."""
        return {"backbone": COMPARED, **self._asdict()}


class Contest:
    """A frozen backbone against the networks that are trained from scratch.

    Args:
        rival: The frozen backbone, trained on the same data set or on a sample of it.
        plan: Of the training from scratch.
        held_out: The images that both are measured on, at the size of the training from scratch;
            with folds, all that are not in test.
        folds: Of these images, if any.

    Attributes:
        rival: As given.
    """

    def __init__(
        self, rival: FrozenBackbone, plan: Plan, held_out: Split, folds: Folds | None
    ) -> None:
        self.rival = rival
        self._plan, self._held_out = plan, held_out
        self._fold = np.zeros(len(held_out), np.int64) if folds is None else folds.held_out
        weights = np.asarray(plan.class_weights)[held_out.labels]
        self._weights = weights / weights.mean()
        self._logits = np.zeros(rival.logits.shape)
        self._frozen = self._losses(rival.logits, np.arange(len(held_out)))

    def measure(self, network: Classifier, fold: int = 0) -> Comparison:
        """Compare with a network, and with those of the folds before.

        Args:
            network: Trained from scratch, not calibrated.
            fold: Number of the fold that it has not seen, from 0; 0 without folds.
        """
        own = np.flatnonzero(self._fold == fold)
        seen = np.flatnonzero(self._fold <= fold)
        self._logits[:, own] = _logits(network, self._held_out.subset("val", own), self._plan)
        scratch, frozen = self._losses(self._logits[:, seen], seen), self._frozen[seen]
        groups = np.unique([self._held_out.groups[i] for i in seen], return_inverse=True)[1]
        sums = np.bincount(groups, scratch - frozen)
        # One patient says nothing of others: the difference is then as large as its error.
        spread = np.sqrt(len(sums)) * sums.std(ddof=1) if len(sums) > 1 else abs(sums[0])
        error = spread / len(seen)
        return Comparison(float(scratch.mean()), float(frozen.mean()), float(error), len(seen))

    def hopeless(self, history: Sequence[Epoch], epochs: int) -> Comparison | None:
        """Return a comparison if training from scratch should end early, else ``None``.

        Args:
            history: The epochs so far, of the first network.
            epochs: How many are planned.
        """
        share, best = len(history) / epochs, min(row.val_loss for row in history)
        factor = next((factor for least, factor in _HOPELESS if share >= least), np.inf)
        first = self._frozen[self._fold == 0]
        if not best > factor * first.mean():
            return None
        return Comparison(best, float(first.mean()), None, len(first), share)

    def is_lost(self, found: Comparison) -> bool:
        """Tell whether training from scratch should end here.

        Where the two do not differ clearly, the cheaper one is kept: the frozen backbone while
        other folds would have to be trained from scratch, otherwise the network from scratch.
        """
        over = found.n == len(self._held_out)
        return found.advantage > 1 if over else found.advantage >= -1

    def _losses(self, logits: Floats, images: NDArray[np.int64]) -> Floats:
        """Return the weighted log loss of images (n,), the mean of their views, calibrated."""
        labels, weights = self._held_out.labels[images], self._weights[images]
        groups = [self._held_out.groups[i] for i in images]
        fitted = scaling.fit(logits[0], labels, weights, groups=groups, seed=self._plan.seed)
        row = np.arange(len(labels))
        views = [scaling.probabilities(fitted(view))[row, labels] for view in logits]
        return np.asarray(weights * np.mean(-np.log(np.maximum(views, 1e-12)), axis=0))


def _logits(network: Classifier, split: Split, plan: Plan) -> Floats:
    """Return the logits of all views of a split's images, (views, n, units)."""
    model, shown = eval_model(network.keras_model, plan.channels, plan.dtype), Augmenter(plan)
    views = [
        np.concatenate([
            np.asarray(model.predict_on_batch(pixels)) for pixels in shown.batches(split, view)
        ])
        for view in range(VIEWS)
    ]  # fmt: skip
    return np.stack(views)[:, : len(split)].astype(np.float64)
