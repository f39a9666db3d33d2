"""What validation settles once the weights are there: calibration, threshold, sets and gate."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from lucency import calibration, conformal, gate, interruption, models, operating
from lucency.augment.layer import varied
from lucency.batches import training_batches
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Split
from lucency.errors import ConfigError
from lucency.plan import Plan
from lucency.progress import Progress
from lucency.training.epochs import judge_of, logits_of_split
from lucency.training.fused import fused

keras = models.keras

_MOST_PICTURES = 2000  # that the gate learns from; more change nothing and cost memory
_MOST_BYTES = 2**27
_VIEWS = 2  # of every validation picture, varied anew each time


def settle(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    parts: tuple[Split, Split],
    progress: Progress,
) -> None:
    """Give a trained classifier all that is chosen on validation.

    Args:
        classifier: With weights; its spec and its gate are filled in.
        plan: How it was trained.
        config: With the rule of the operating point.
        parts: Train, for the gate to know what pictures look like, and validation.
        progress: Hears of a rule that validation cannot reach.
    """
    train, val = parts
    temperature, offset = _calibration(classifier, plan, val)
    classifier.spec = dataclasses.replace(
        classifier.spec, temperature=temperature, offset=offset, prior=_prior(plan, train)
    )
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
    classifier.gate = _gate(classifier, train, val)


def _calibration(
    classifier: Classifier, plan: Plan, split: Split
) -> tuple[float, tuple[float, ...]]:
    """Fit temperature and offset on validation, in the float32 arithmetic that is served.

    A network that has learned from varied pictures leans to one side where they are not varied, and
    pictures from elsewhere lie between the two. So both count, and count alike.
    """
    network, weights = classifier.keras_model, np.asarray(plan.class_weights)
    plain = logits_of_split(judge_of(network, plan.channels), split, plan.batch)
    if plan.calibration == "temperature":
        fitted = calibration.fit_temperature(plain, split.labels, weights[split.labels], doubt=True)
        return fitted, ()
    inputs, x = varied(plan.augmentation, (*plan.size, plan.channels))
    judge = keras.Model(inputs, fused(network, plan.channels)(x))
    logits, labels = [plain] * _VIEWS, [split.labels] * _VIEWS
    for view in range(_VIEWS):  # numbered on from the epochs, whose draws they must not share
        for batch in training_batches(
            split, plan.batch, plan.augmentation, plan.seed, plan.epochs + view
        ):
            logits.append(np.asarray(judge.predict_on_batch(batch.inputs), np.float64))
            labels.append(batch.labels)
            interruption.check()
    truth = np.concatenate(labels)
    temperature, offset = calibration.fit(
        np.concatenate(logits), truth, weights[truth], views=2 * _VIEWS
    )
    return temperature, tuple(map(float, offset))


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
) -> operating.OperatingPoint:
    """Choose the threshold; where validation cannot reach the rule, say so and take 0.5."""
    if classifier.positive is None:
        return operating.OperatingPoint(0.5, "the most probable class", np.nan, np.nan)
    k = classifier.classes.index(classifier.positive)
    rule = operating.parse(config.operating_point)
    scores, truth = probabilities[:, k], val.labels == k
    try:
        point = operating.choose(rule, scores, truth, config.prevalence)
    except ConfigError as error:
        # Hours of training are not thrown away for a rule that can be chosen again afterwards.
        progress.warn(f"{error} The threshold is 0.5; choose another with lucency evaluate.")
        rule = operating.parse("balanced")
        point = operating.choose(rule, scores, truth)
    words = "the more probable class"
    if np.ptp(classifier.spec.prior) < 1e-9:
        words += ", all classes taken as equally frequent"
    return dataclasses.replace(point, rule=words) if rule.kind == "balanced" else point


def _gate(classifier: Classifier, train: Split, val: Split) -> gate.Gate:
    """Fit the gate to training pictures as they are, and set its limit on validation."""
    seen, judged = _spread(train), _spread(val)
    return gate.fit(
        classifier.embed(train, seen),
        train.labels[seen],
        train.pixels(seen),
        classifier.embed(val, judged),
        val.pixels(judged),
        [val.groups[i] for i in judged],
    )


def _spread(split: Split) -> NDArray[np.int64]:
    """Return places evenly spread over the split, as many as memory is given for."""
    most = min(_MOST_PICTURES, _MOST_BYTES // int(np.prod(split.store.shape)))
    return np.unique(np.linspace(0, len(split) - 1, min(len(split), most)).round().astype(np.int64))
