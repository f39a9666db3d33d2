"""Calibrate a trained classifier on validation: scaling, threshold, sets, OOD detector."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lucency.calibration import conformal, ood, operating_point, scaling
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Split, evenly
from lucency.errors import ConfigError
from lucency.progress import Progress
from lucency.training.plan import Plan
from lucency.training.trainer import eval_model, logits_of_split

_MAX_IMAGES = 2000  # for the OOD detector; more change nothing and cost memory
_MAX_BYTES = 2**27


def calibrate(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    splits: tuple[Split, Split],
    progress: Progress,
) -> None:
    """Choose everything that is chosen on validation.

    Args:
        classifier: With weights; its spec and its OOD detector are filled in.
        plan: How it was trained.
        config: With the rule of the operating point.
        splits: Train, which the OOD detector is fitted on, and validation.
        progress: Warned if validation does not reach the rule.
    """
    train, val = splits
    _scale(classifier, plan, splits)
    probabilities = classifier.predict_split(val)
    sets = conformal.fit(probabilities, val.labels, val.groups)
    point = _operating_point(classifier, config, probabilities, val, progress)
    classifier.spec = dataclasses.replace(
        classifier.spec,
        conformal=sets.to_json(),
        threshold=point.threshold,
        rule=point.rule,
        validation_rates=point.rates(),
    )
    classifier.ood_detector = _ood_detector(classifier, train, val)


def _scale(classifier: Classifier, plan: Plan, splits: tuple[Split, Split]) -> None:
    """Fit temperature and bias on validation, in float32 as in prediction.

    The network weighs the classes as its loss does. The fitted bias becomes part of its last layer,
    so that an activation map of mean 0 is evidence for neither class. With two classes, the
    probabilities are then moved to the class shares of train, as users expect; the threshold still
    weighs the classes as the loss does. With more, they stay as the loss weighs them, because the
    most probable class is predicted.
    """
    train, val = splits
    classes = len(train.classes)
    counts = np.bincount(train.labels, minlength=classes)
    weighed = counts * np.asarray(plan.class_weights)
    weighed = weighed / weighed.sum()
    model = eval_model(classifier.keras_model, plan.channels, plan.dtype)
    logits = logits_of_split(model, val, plan.batch)
    seen = np.bincount(val.labels, minlength=classes) / len(val)
    fitted = scaling.fit(
        logits, val.labels, (weighed / seen)[val.labels], groups=val.groups, seed=plan.seed
    )
    classifier.add_to_logits(fitted.bias)
    assumed = counts / counts.sum() if classes == 2 else weighed
    classifier.spec = dataclasses.replace(
        classifier.spec,
        temperature=fitted.temperature,
        bias=tuple(map(float, np.log(assumed / weighed))),
        class_prior=tuple(map(float, assumed)),
    )


def _operating_point(
    classifier: Classifier,
    config: Config,
    probabilities: NDArray[np.float64],
    val: Split,
    progress: Progress,
) -> operating_point.OperatingPoint:
    """Choose the threshold; if validation does not reach the rule, warn and use the default."""
    if classifier.positive is None:
        return operating_point.OperatingPoint(0.5, "the most probable class", np.nan, np.nan)
    k = classifier.classes.index(classifier.positive)
    rule = operating_point.parse(config.operating_point)
    scores, truth = probabilities[:, k], val.labels == k
    try:
        point = operating_point.choose(
            rule, scores, truth, even=classifier.spec.even, prevalence=config.prevalence
        )
    except ConfigError as error:
        # Hours of training are not discarded for a rule that can be changed afterwards.
        progress.warn(
            f"{error} The threshold weighs both classes equally; choose another with lucency "
            "evaluate."
        )
        point = operating_point.choose(
            operating_point.parse("balanced"), scores, truth, even=classifier.spec.even
        )
    return point


def _ood_detector(classifier: Classifier, train: Split, val: Split) -> ood.OODDetector:
    """Fit the detector to training images that are not augmented; validation sets its limit."""
    fitted, held_out = _sample(train), _sample(val)
    return ood.fit(
        classifier.embed(train, fitted),
        train.labels[fitted],
        train.pixels(fitted),
        classifier.embed(val, held_out),
        val.pixels(held_out),
        [val.groups[i] for i in held_out],
    )


def _sample(split: Split) -> NDArray[np.int64]:
    """Return indices evenly over the split, as many as fit into the limits."""
    count = min(_MAX_IMAGES, _MAX_BYTES // int(np.prod(split.cache.shape)))
    return np.unique(evenly(len(split), count))
