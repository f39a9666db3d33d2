"""Calibrate a trained classifier on held-out images: scaling, threshold, sets, OOD detector."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lucency.calibration import conformal, ood, operating_point, scaling, units, values
from lucency.calibration.units import UnitRule
from lucency.calibration.values import ValueRule
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Split, evenly
from lucency.errors import ConfigError
from lucency.progress import Progress
from lucency.training.plan import BALANCED_LABEL, Choice, Plan

_MAX_IMAGES = 2000  # for the OOD detector; more change nothing and cost memory
_MAX_BYTES = 2**27
_SCALING = ("temperature", "bias")


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut:
    """Images that the network was not trained on: validation, or those of all folds.

    Attributes:
        logits: (n, 1) or (n, classes), not calibrated.
        labels: (n,) int64 true class indices.
        groups: n patients.
        targets: (n, labels) ``Split.targets``, where an image may have several labels.
        values: (n,) ``Split.values``, where numbers are to be predicted.
        units: n units, if they are not the patients; else empty.
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    groups: Sequence[str]
    targets: NDArray[np.float32] | None = None
    values: NDArray[np.float64] | None = None
    units: Sequence[str] = ()

    @classmethod
    def of(cls, logits: NDArray[np.float64], split: Split) -> Self:
        """Return the images of a split, with their logits."""
        return cls(logits, split.labels, split.groups, split.targets, split.values, split.units)

    @property
    def answered(self) -> Sequence[str]:
        """What has one answer: the n units, or the patients where there are none."""
        return self.units or self.groups

    @property
    def patients(self) -> Sequence[str]:
        """The n patients that the units are of; empty where the units are patients."""
        return self.groups if self.units else ()


def calibrate(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    labels: NDArray[np.int64],
    held_out: HeldOut,
    predict: Callable[[], NDArray[np.float64]],
    progress: Progress,
) -> None:
    """Choose everything that is chosen on held-out images, but for the OOD detector.

    Args:
        classifier: With weights; its spec is filled in.
        plan: How it was trained.
        config: With the rule of the operating point.
        labels: Of the training images, for their class shares.
        held_out: The images to choose on.
        predict: Returns their probabilities (n, classes), as soon as the scaling is chosen.
        progress: Warned if they do not reach the rule.
    """
    if held_out.targets is not None:
        _calibrate_labels(classifier, plan, config, held_out, held_out.targets, progress)
        return
    _scale(classifier, plan, labels, held_out)
    probabilities = predict()
    if held_out.values is not None:
        _calibrate_values(
            classifier, plan, config, probabilities, held_out, held_out.values, progress
        )
        return
    runs = classifier.task.is_ordinal
    sets = conformal.fit(probabilities, held_out.labels, held_out.groups, runs=runs)
    point = _operating_point(classifier, config, probabilities, held_out.labels, progress)
    classifier.spec = dataclasses.replace(
        classifier.spec,
        conformal=sets.to_json(),
        cut=_cut(classifier, plan, config, probabilities, held_out.labels, progress),
        threshold=point.threshold,
        rule=point.rule,
        validation_rates=point.rates(),
    )
    if config.answers != "image":
        rule = _unit(classifier, plan, config, probabilities, held_out, progress)
        _set_unit(classifier, config, rule)


def _calibrate_values(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    probabilities: NDArray[np.float64],
    held_out: HeldOut,
    found: NDArray[np.float64],
    progress: Progress,
) -> None:
    """Choose how wide the prediction intervals of numbers are, of images and of units."""
    spec, words = classifier.spec, classifier.task.decision
    rule = ValueRule.from_json(spec.value or {}, len(spec.classes))
    fitted = values.fit(rule, probabilities, found, held_out.groups)
    classifier.spec = dataclasses.replace(spec, value=fitted.to_json(), rule=words)
    if config.answers == "image":
        return
    names, patients = held_out.answered, held_out.patients
    pooling = units.fit_scaling(
        probabilities, held_out.labels, names, spec.class_prior, patients=patients, seed=plan.seed
    )
    _tell(progress, pooling.pooling, pooling.pooling_rule)
    _, unit = units.numbered(names)
    pooled, groups = pooling.probabilities(probabilities, unit), units.patients_of(names, patients)
    fitted = values.fit(rule, pooled, found[units.first_of(unit)], groups)
    of_units = dataclasses.replace(pooling, rule=words, value=fitted.to_json())
    _set_unit(classifier, config, of_units)


def _calibrate_labels(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    held_out: HeldOut,
    targets: NDArray[np.float32],
    progress: Progress,
) -> None:
    """Choose scaling, threshold and prediction sets of each label, on images where it is known.

    The scaling becomes part of the last layer, whose logits are then calibrated; that of units does
    not.
    """
    words, groups = classifier.task.decision, held_out.groups
    scaled = scaling.fit_labels(held_out.logits, targets, groups=groups, seed=plan.seed)
    classifier.scale_logits(scaled.temperature, scaled.bias)
    z = scaled(held_out.logits)
    found = _labels(classifier, config, scaled, z, targets, groups, progress)
    classifier.spec = dataclasses.replace(classifier.spec, labels=found, rule=words)
    if config.answers == "image":
        return
    names = held_out.answered
    _, unit = units.numbered(names)
    pairs = [units.two_classes(p) for p in special.expit(z).T]
    targets, groups = (
        units.pooled_targets(targets, unit), units.patients_of(names, held_out.patients)
    )  # fmt: skip
    choices = [
        units.choose_pooling(pair, unit, own.astype(np.int64), np.ones(len(own)), groups, plan.seed)
        for pair, own in zip(pairs, targets.T, strict=True)
    ]
    for name, choice in zip(classifier.classes, choices, strict=True):
        _tell(progress, *choice, name)
    pooled = np.concatenate(
        [
            units.pooled_logits(pair, unit, sharpness)
            for pair, (sharpness, _) in zip(pairs, choices, strict=True)
        ],
        axis=1,
    )
    scaled = scaling.fit_labels(pooled, targets, groups=groups, seed=plan.seed)
    found = _labels(classifier, config, scaled, scaled(pooled), targets, groups, progress)
    found = tuple(
        {**each, "pooling": sharpness, "pooling_rule": reason}
        for each, (sharpness, reason) in zip(found, choices, strict=True)
    )
    of_units = UnitRule("", 1.0, (), 0.5, words, None, conformal.Conformal(()), labels=found)
    _set_unit(classifier, config, of_units)


def _tell(progress: Progress, sharpness: float, reason: str, label: str = "") -> None:
    """Tell how the images of a unit are pooled, and why."""
    name = f"pooling of {label}" if label else "pooling"
    progress.note(Choice(name, units.pooling_words(sharpness), reason).words)


def _labels(
    classifier: Classifier,
    config: Config,
    scaled: scaling.LabelScaling,
    logits: NDArray[np.float64],
    targets: NDArray[np.float32],
    groups: Sequence[str],
    progress: Progress,
) -> tuple[dict[str, Any], ...]:
    """Return ``Spec.labels`` for images, or for units, from their calibrated logits."""
    found, balanced = [], operating_point.parse("balanced").words
    for k, z in enumerate(logits.T):
        known = np.flatnonzero(targets[:, k] >= 0).tolist()
        p, truth = special.expit(z[known]), targets[known, k] > 0
        # A rare label hardly ever is the more probable side.
        even = float(truth.mean())
        point = _chosen(p, truth, even, config, progress, classifier.classes[k])
        own = [groups[i] for i in known]
        sets = conformal.fit(np.stack([1 - p, p], axis=1), truth.astype(np.int64), own)
        found.append(
            {
                "temperature": float(scaled.temperature[k]),
                "bias": float(scaled.bias[k]),
                "threshold": point.threshold,
                "rule": BALANCED_LABEL if point.rule == balanced else point.rule,
                "validation": point.rates(),
                "prevalence": float(truth.mean()),
                "conformal": sets.to_json(),
            }
        )
    return tuple(found)


def _set_unit(classifier: Classifier, config: Config, rule: UnitRule) -> None:
    """Give the classifier the rule of units, with what identifies them."""
    rule = dataclasses.replace(
        rule, name=config.answers, regex=config.group_regex, frames=config.frames
    )
    classifier.spec = dataclasses.replace(classifier.spec, unit=rule.to_json())


def _unit(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    probabilities: NDArray[np.float64],
    held_out: HeldOut,
    progress: Progress,
) -> UnitRule:
    """Choose how the images of a unit, such as a patient, become one answer, on held-out units.

    The probabilities assume the same class shares as those of images.
    """
    names = held_out.answered
    rule = units.fit(
        probabilities, held_out.labels, names, classifier.spec.class_prior,
        patients=held_out.patients, runs=classifier.task.is_ordinal, seed=plan.seed,
    )  # fmt: skip
    _tell(progress, rule.pooling, rule.pooling_rule)
    _, unit = units.numbered(names)
    pooled, labels = rule.probabilities(probabilities, unit), held_out.labels[units.first_of(unit)]
    point = _operating_point(classifier, config, pooled, labels, progress)
    return dataclasses.replace(
        rule,
        threshold=point.threshold,
        rule=point.rule,
        validation=point.rates(),
        cut=_cut(classifier, plan, config, pooled, labels, progress),
    )


def probabilities_of(
    classifier: Classifier, logits: NDArray[np.float64], bias: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the probabilities (n, classes) that a calibrated classifier makes of known logits.

    Args:
        classifier: The classifier.
        logits: (n, units) from before it was calibrated.
        bias: (units,) of its last layer at that time.
    """
    if classifier.spec.labels:
        t, b = (np.array([each[key] for each in classifier.spec.labels]) for key in _SCALING)
        return np.asarray(special.expit((logits + b) / t))
    spec, scaled = classifier.spec, logits + (classifier.logits_bias - bias)
    scaled = scaled / spec.temperature
    if spec.bias:
        two = logits.shape[1] == 1
        scaled = scaled + ([spec.bias[1] - spec.bias[0]] if two else np.asarray(spec.bias))
    return scaling.probabilities(scaled)


def _scale(
    classifier: Classifier, plan: Plan, labels: NDArray[np.int64], held_out: HeldOut
) -> None:
    """Fit temperature and bias on held-out images.

    The network weighs the classes as its loss does. The fitted bias becomes part of its last layer,
    so that an activation map of mean 0 is evidence for neither class. With two classes, the
    probabilities are then moved to the class shares of train, as users expect; the threshold still
    weighs the classes as the loss does. With more, they stay as the loss weighs them, because the
    most probable class is predicted.
    """
    classes = len(classifier.classes)
    counts = np.bincount(labels, minlength=classes)
    weighed = counts * np.asarray(plan.class_weights)
    weighed = weighed / weighed.sum()
    truth = held_out.labels
    seen = np.bincount(truth, minlength=classes) / len(truth)
    weights = np.divide(weighed, seen, out=np.ones(classes), where=seen > 0)[truth]
    fitted = scaling.fit(held_out.logits, truth, weights, groups=held_out.groups, seed=plan.seed)
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
    labels: NDArray[np.int64],
    progress: Progress,
) -> operating_point.OperatingPoint:
    """Choose the threshold; if the images do not reach the rule, warn and use the default."""
    if classifier.positive is None:
        return operating_point.OperatingPoint(0.5, classifier.task.decision, np.nan, np.nan)
    k = classifier.classes.index(classifier.positive)
    return _chosen(probabilities[:, k], labels == k, classifier.spec.even, config, progress)


def _cut(
    classifier: Classifier,
    plan: Plan,
    config: Config,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    progress: Progress,
) -> dict[str, Any] | None:
    """Choose the threshold of the grade from which on an image is positive, if there is one."""
    if not plan.positive_from:
        return None
    k = classifier.classes.index(plan.positive_from)
    scores = probabilities[:, k:].sum(axis=1)
    point = _chosen(scores, labels >= k, 0.5, config, progress)
    return {
        "from": plan.positive_from,
        "threshold": point.threshold,
        "rule": point.rule,
        "validation": point.rates(),
    }


def _chosen(
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    even: float,
    config: Config,
    progress: Progress,
    label: str = "",
) -> operating_point.OperatingPoint:
    """Choose the threshold of the positive class, or of one of several labels."""
    rule = operating_point.parse(config.operating_point)
    try:
        point = operating_point.choose(rule, scores, truth, even=even, prevalence=config.prevalence)
    except ConfigError as error:
        # Hours of training are not discarded for a rule that can be changed afterwards.
        progress.warn(
            f"{label}: {error} It is {BALANCED_LABEL}."
            if label
            else f"{error} The threshold weighs both classes equally; choose another with lucency "
            "evaluate."
        )
        point = operating_point.choose(operating_point.parse("balanced"), scores, truth, even=even)
    return point


def ood_detector(classifier: Classifier, train: Split, val: Split) -> ood.OODDetector:
    """Fit the detector to training images that are not augmented; validation sets its limit."""
    fitted, held_out = sampled(train), sampled(val)
    return ood.fit(
        classifier.embed(train, fitted),
        train.labels[fitted],
        train.pixels(fitted),
        classifier.embed(val, held_out),
        val.pixels(held_out),
        [val.groups[i] for i in held_out],
    )


def sampled(split: Split) -> NDArray[np.int64]:
    """Return indices evenly over a split, as many as the OOD detector is fitted on."""
    return np.unique(evenly(len(split), most_images(split)))


def most_images(split: Split) -> int:
    """Return how many images of a split the OOD detector is fitted on at most."""
    return min(_MAX_IMAGES, _MAX_BYTES // int(np.prod(split.cache.shape)))
