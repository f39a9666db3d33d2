"""From scratch, on a pretrained backbone, or both: decided on held-out images.

All are measured on the same images that neither has seen, as they are and augmented as in
training: images as they are come from the same cameras and scanners as those to learn from, while a
classifier will also see others. On the chest radiographs the two are equal on images as they are,
and far apart on augmented ones, and on those of the official test split, which differ from train.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lucency import metrics
from lucency.calibration import scaling
from lucency.classifier import Classifier
from lucency.config import COMPARED
from lucency.dataset import Dataset, Folds, Split, class_balanced, evenly
from lucency.training.backbone import VIEWS, Augmenter, Backbone
from lucency.training.plan import Choice, Plan
from lucency.training.state import Epoch
from lucency.training.step import eval_model

_ALL = slice(None)
_ENOUGH = 0.5  # standard errors by which the mean must be better, once both have been trained
_WHOLE = 6000  # images to train on and held out, up to which starts are compared on all of them
_TRAIN, _HELD_OUT = 1500, 750  # images of the sample of a larger data set
# Training from scratch ends after this share of its epochs if its lowest loss so far is this many
# times that of the backbone. The rest of the epochs does not make up for that: on the chest
# radiographs the lowest loss fell to 0.55 times that of a quarter, 0.91 times that of a half.
_HOPELESS = ((0.5, 1.6), (0.25, 2.0))

Floats = NDArray[np.float64]
Winner = Literal["scratch", "pretrained", "ensemble"]


class FineTuning(NamedTuple):
    """The mean log loss of a backbone on held-out images, over all of their views.

    Attributes:
        frozen: With a linear head, the backbone frozen.
        fine_tuned: With its last stage fine-tuned.
        error: Standard error of the difference, by patient.
        n: Images.
    """

    frozen: float
    fine_tuned: float
    error: float
    n: int

    @property
    def is_better(self) -> bool:
        """Whether fine-tuning is better by more than the standard error of the difference."""
        return self.frozen - self.fine_tuned > self.error

    @property
    def choice(self) -> Choice:
        """The decision in words, with the figures that decided."""
        return Choice(
            "last stage",
            "fine-tuned" if self.is_better else "frozen",
            f"log loss on {self.n:,} held-out images, as they are and augmented: "
            f"{self.fine_tuned:.3f} fine-tuned, {self.frozen:.3f} frozen (standard error of the "
            f"difference {self.error:.3f})",
        )


class Comparison(NamedTuple):
    """The mean log loss on the same held-out images, over all of their views.

    Attributes:
        scratch: Of the network trained from scratch.
        pretrained: Of the backbone.
        error: Standard error of the difference, by patient.
        n: Images.
        trained: Share of the epochs from scratch after which they were compared; below 1 where the
            training was hopeless. ``scratch`` is then the lowest loss so far on the images as they
            are, not calibrated, and there is no ``error``.
        ensemble: Of the mean of the logits of both, if it was measured.
        ensemble_errors: Standard errors of its differences from ``scratch`` and ``pretrained``.
        ended: Whether training from scratch ended before it was complete.
        fine_tuned: Whether the last stage of the backbone is fine-tuned; it is frozen if not.
    """

    scratch: float
    pretrained: float
    error: float | None
    n: int
    trained: float = 1.0
    ensemble: float | None = None
    ensemble_errors: tuple[float, float] | None = None
    ended: bool = False
    fine_tuned: bool = False

    @property
    def winner(self) -> Winner:
        """What is kept of that which has been trained.

        That is the mean of both where it is better than either by more than half of the standard
        error of the difference, as averages vary less. Else it is the network from scratch, unless
        the backbone is better by more than the standard error.
        """
        if self.ended or self.error is None:
            return "pretrained"
        if self.ensemble is not None and self.ensemble_errors:
            gains = self.scratch - self.ensemble, self.pretrained - self.ensemble
            pairs = zip(gains, self.ensemble_errors, strict=True)
            if all(gain > _ENOUGH * error for gain, error in pairs):
                return "ensemble"
        return "pretrained" if self.scratch - self.pretrained > self.error else "scratch"

    def is_worth_more(self, effort: str) -> bool:
        """Tell whether the other folds should be trained from scratch, too.

        That is so where it, or the mean of both, is better than the backbone by more than the
        standard error. The mean takes all those trainings to gain a little on a good backbone:
        ``quick`` does without it.

        Args:
            effort: Of the plan.
        """
        if self.error is None:
            return False
        if self.pretrained - self.scratch > self.error:
            return True
        if effort == "quick" or self.ensemble is None or not self.ensemble_errors:
            return False
        return self.pretrained - self.ensemble > self.ensemble_errors[1]

    @property
    def choice(self) -> Choice:
        """The decision in words, with the figures that decided."""
        how = "its last stage fine-tuned" if self.fine_tuned else "frozen"
        backbone = f"{COMPARED} with ImageNet weights, {how}"
        value = {
            "scratch": "from scratch",
            "pretrained": backbone,
            "ensemble": f"from scratch, and {backbone}: the mean of both",
        }[self.winner]
        found = f"{self.pretrained:.3f} from {COMPARED}, {self.scratch:.3f} from scratch"
        if self.error is None:
            found += f" (ended after {self.trained:.0%} of its epochs)"
        else:
            found += f" (standard error of the difference {self.error:.3f})"
        if self.ensemble is not None and self.ensemble_errors:
            low, high = sorted(self.ensemble_errors)
            found += f", {self.ensemble:.3f} from the mean of both ({low:.3f} and {high:.3f})"
        return Choice(
            "start",
            value,
            f"log loss on {self.n:,} held-out images, as they are and augmented: {found}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures for ``plan.json``."""
        return {"backbone": COMPARED, **self._asdict()}


class HeldOutLosses:
    """The log loss of held-out images, each with the weight of its class.

    Args:
        held_out: The images.
        plan: Of the training on all images, with the weights of the classes.
    """

    def __init__(self, held_out: Split, plan: Plan) -> None:
        self._held_out, self._seed = held_out, plan.seed
        weights = np.asarray(plan.class_weights)[held_out.labels]
        self._weights = weights / weights.mean()

    def calibrated(self, logits: Floats, images: NDArray[np.int64] | slice = _ALL) -> Floats:
        """Return the logits (views, n, units) of images, calibrated on their first view."""
        if self._held_out.targets is not None:
            of_labels = scaling.fit_labels(
                logits[0], self._held_out.targets[images], groups=self._groups(images),
                seed=self._seed,
            )  # fmt: skip
            return np.stack([of_labels(view) for view in logits])
        fitted = scaling.fit(
            logits[0], self._held_out.labels[images], self._weights[images],
            groups=self._groups(images), seed=self._seed,
        )  # fmt: skip
        return np.stack([fitted(view) for view in logits])

    def losses(self, calibrated: Floats, images: NDArray[np.int64] | slice = _ALL) -> Floats:
        """Return the loss of images (n,), the mean of their views."""
        if self._held_out.targets is not None:
            truth = self._held_out.targets[images]
            views = [metrics.label_losses(truth, special.expit(view)) for view in calibrated]
            return np.asarray(np.mean(views, axis=0))
        labels = self._held_out.labels[images]
        row = np.arange(len(labels))
        views = [scaling.probabilities(view)[row, labels] for view in calibrated]
        loss = np.mean(-np.log(np.maximum(views, 1e-12)), axis=0)
        return np.asarray(self._weights[images] * loss)

    def error(self, differences: Floats, images: NDArray[np.int64] | slice = _ALL) -> float:
        """Return the standard error of the mean of differences (n,), by patient."""
        groups = np.unique(self._groups(images), return_inverse=True)[1]
        sums = np.bincount(groups, differences)
        # One patient says nothing of others: the difference is then as large as its error.
        spread = np.sqrt(len(sums)) * sums.std(ddof=1) if len(sums) > 1 else abs(sums[0])
        return float(spread / len(differences))

    def _groups(self, images: NDArray[np.int64] | slice) -> list[str]:
        return [*np.asarray(self._held_out.groups)[images]]


def compared_on(data: Dataset) -> Dataset:
    """Return the images to compare starts on: all but those of test, of many a sample."""
    train, val = data.train, data.val
    if data.folds is None and len(train) + len(val) > _WHOLE:
        if len(train) > _TRAIN:
            kept = class_balanced(train.labels, len(train.classes), _TRAIN)
            train = train.subset("train", kept)
        val = val.subset("val", evenly(len(val), _HELD_OUT))
    return dataclasses.replace(data, train=train, val=val, test=None)


def compare_fine_tuning(frozen: Backbone, tuned: Backbone, plan: Plan) -> FineTuning:
    """Compare two trainings of a backbone, perhaps on a sample, on the images held out of both.

    Args:
        frozen: With a linear head.
        tuned: Fine-tuned.
        plan: Of the training on all images, with the weights of the classes.
    """
    train, val, folds = frozen.splits
    measured = HeldOutLosses(val if folds is None else train, plan)
    before, after = (measured.losses(measured.calibrated(each.logits)) for each in (frozen, tuned))
    return FineTuning(
        float(before.mean()), float(after.mean()), measured.error(before - after), len(before)
    )


class Contest:
    """A backbone against the networks that are trained from scratch.

    Args:
        rival: The backbone, trained on the same data set or on a sample of it.
        plan: Of the training from scratch.
        held_out: The images that both are measured on, at the size of the training from scratch;
            with folds, all that are not in test.
        folds: Of these images, if any.

    Attributes:
        rival: As given.
    """

    def __init__(self, rival: Backbone, plan: Plan, held_out: Split, folds: Folds | None) -> None:
        self.rival = rival
        self._plan, self._held_out = plan, held_out
        self._fold = np.zeros(len(held_out), np.int64) if folds is None else folds.held_out
        self._measured = HeldOutLosses(held_out, plan)
        self._logits = np.zeros(rival.logits.shape)
        self._calibrated = self._measured.calibrated(rival.logits)
        self._pretrained = self._measured.losses(self._calibrated)

    def measure(self, network: Classifier, fold: int = 0) -> Comparison:
        """Compare with a network, and with those of the folds before.

        Args:
            network: Trained from scratch, not calibrated.
            fold: Number of the fold that it has not seen, from 0; 0 without folds.
        """
        own = np.flatnonzero(self._fold == fold)
        seen = np.flatnonzero(self._fold <= fold)
        self._logits[:, own] = _logits(network, self._held_out.subset("val", own), self._plan)
        of = self._measured
        calibrated = of.calibrated(self._logits[:, seen], seen)
        mean = (calibrated + self._calibrated[:, seen]) / 2
        scratch, pretrained = of.losses(calibrated, seen), self._pretrained[seen]
        both = of.losses(of.calibrated(mean, seen), seen)
        return Comparison(
            float(scratch.mean()), float(pretrained.mean()), of.error(scratch - pretrained, seen),
            len(seen), ensemble=float(both.mean()),
            ensemble_errors=(of.error(scratch - both, seen), of.error(pretrained - both, seen)),
            fine_tuned=self.rival.plan.is_fine_tuned,
        )  # fmt: skip

    def hopeless(self, history: Sequence[Epoch], epochs: int) -> Comparison | None:
        """Return a comparison if training from scratch should end early, else ``None``.

        Args:
            history: The epochs so far, of the first network.
            epochs: How many are planned.
        """
        share, best = len(history) / epochs, min(row.val_loss for row in history)
        factor = next((factor for least, factor in _HOPELESS if share >= least), np.inf)
        first = self._pretrained[self._fold == 0]
        if not best > factor * first.mean():
            return None
        return Comparison(
            best, float(first.mean()), None, len(first), share, ended=True,
            fine_tuned=self.rival.plan.is_fine_tuned,
        )  # fmt: skip

    def is_lost(self, found: Comparison) -> bool:
        """Tell whether training from scratch should end here.

        Where the two do not differ clearly, the cheaper one is kept: the backbone while
        other folds would have to be trained from scratch, otherwise the network from scratch.
        """
        if self.is_complete(found):
            return found.winner == "pretrained"
        return not found.is_worth_more(self._plan.effort)

    def is_complete(self, found: Comparison) -> bool:
        """Tell whether all images were compared, those of every fold."""
        return found.n == len(self._held_out)


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
