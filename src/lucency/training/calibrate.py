"""Calibrate a trained classifier on validation: temperature, threshold, sets, OOD detector."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lucency.calibration import conformal, ood, operating_point, temperature
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
    classifier.spec = dataclasses.replace(
        classifier.spec,
        temperature=_temperature(classifier, plan, val),
        class_prior=_class_prior(plan, train),
    )
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


def _temperature(classifier: Classifier, plan: Plan, split: Split) -> float:
    """Fit the temperature on validation, in float32 as in prediction."""
    logits = logits_of_split(
        eval_model(classifier.keras_model, plan.channels, plan.dtype), split, plan.batch
    )
    weights = np.asarray(plan.class_weights)[split.labels]
    return temperature.fit_temperature(logits, split.labels, weights, smooth=True)


def _class_prior(plan: Plan, train: Split) -> tuple[float, ...]:
    """Return the class shares that the probabilities assume: those weighted as in the loss."""
    counts = np.bincount(train.labels, minlength=len(train.classes))
    shares = counts * np.asarray(plan.class_weights)
    return tuple(map(float, shares / shares.sum()))


def _operating_point(
    classifier: Classifier,
    config: Config,
    probabilities: NDArray[np.float64],
    val: Split,
    progress: Progress,
) -> operating_point.OperatingPoint:
    """Choose the threshold; if validation does not reach the rule, warn and use 0.5."""
    if classifier.positive is None:
        return operating_point.OperatingPoint(0.5, "the most probable class", np.nan, np.nan)
    k = classifier.classes.index(classifier.positive)
    rule = operating_point.parse(config.operating_point)
    scores, truth = probabilities[:, k], val.labels == k
    try:
        point = operating_point.choose(rule, scores, truth, config.prevalence)
    except ConfigError as error:
        # Hours of training are not discarded for a rule that can be changed afterwards.
        progress.warn(f"{error} The threshold is 0.5; choose another with lucency evaluate.")
        rule = operating_point.parse("balanced")
        point = operating_point.choose(rule, scores, truth)
    words = "the more probable class"
    if np.ptp(classifier.spec.class_prior) < 1e-9:
        words += ", all classes assumed equally frequent"
    return dataclasses.replace(point, rule=words) if rule.kind == "balanced" else point


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
