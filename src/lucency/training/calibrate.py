"""What validation settles once the weights are there: temperature, threshold, sets and gate."""

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

_MOST_IMAGES = 2000  # that the check learns from; more change nothing and cost memory
_MOST_BYTES = 2**27


def calibrate(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    parts: tuple[Split, Split],
    progress: Progress,
) -> None:
    """Give a trained classifier all that is chosen on validation.

    Args:
        classifier: With weights; its spec and its OOD detector are filled in.
        plan: How it was trained.
        config: With the rule of the operating point.
        parts: Train, for the check to know what images look like, and validation.
        progress: Hears of a rule that validation cannot reach.
    """
    train, val = parts
    temperature = _temperature(classifier, plan, val)
    prior = _prior(plan, train)
    classifier.spec = dataclasses.replace(classifier.spec, temperature=temperature, prior=prior)
    probabilities = classifier.predict_split(val)
    sets = conformal.fit(probabilities, val.labels, val.groups)
    point = _operating_point(classifier, config, probabilities, val, progress)
    classifier.spec = dataclasses.replace(
        classifier.spec,
        conformal=sets.to_json(),
        threshold=point.threshold,
        rule=point.rule,
        chosen=point.rates(),
    )
    classifier.ood_detector = _ood_detector(classifier, train, val)


def _temperature(classifier: Classifier, plan: Plan, split: Split) -> float:
    """Fit the temperature on validation, in the float32 arithmetic that is served."""
    logits = logits_of_split(eval_model(classifier.keras_model, plan.channels), split, plan.batch)
    weights = np.asarray(plan.class_weights)[split.labels]
    return temperature.fit_temperature(logits, split.labels, weights, doubt=True)


def _prior(plan: Plan, train: Split) -> tuple[float, ...]:
    """Return the class shares that the probabilities assume: those that the loss counted."""
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
    """Choose the threshold; where validation cannot reach the rule, say so and take 0.5."""
    if classifier.positive is None:
        return operating_point.OperatingPoint(0.5, "the most probable class", np.nan, np.nan)
    k = classifier.classes.index(classifier.positive)
    rule = operating_point.parse(config.operating_point)
    scores, truth = probabilities[:, k], val.labels == k
    try:
        point = operating_point.choose(rule, scores, truth, config.prevalence)
    except ConfigError as error:
        # Hours of training are not thrown away for a rule that can be chosen again afterwards.
        progress.warn(f"{error} The threshold is 0.5; choose another with lucency evaluate.")
        rule = operating_point.parse("balanced")
        point = operating_point.choose(rule, scores, truth)
    words = "the more probable class"
    if np.ptp(classifier.spec.prior) < 1e-9:
        words += ", all classes taken as equally frequent"
    return dataclasses.replace(point, rule=words) if rule.kind == "balanced" else point


def _ood_detector(classifier: Classifier, train: Split, val: Split) -> ood.OODDetector:
    """Fit the check to training images as they are, and set its limit on validation."""
    seen, judged = _spread(train), _spread(val)
    return ood.fit(
        classifier.embed(train, seen),
        train.labels[seen],
        train.pixels(seen),
        classifier.embed(val, judged),
        val.pixels(judged),
        [val.groups[i] for i in judged],
    )


def _spread(split: Split) -> NDArray[np.int64]:
    """Return places evenly spread over the split, as many as memory is given for."""
    most = min(_MOST_IMAGES, _MOST_BYTES // int(np.prod(split.store.shape)))
    return np.unique(evenly(len(split), most))
