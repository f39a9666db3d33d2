"""One answer for a unit of several images, such as all those of a patient or of a study.

The logarithms of the images' probabilities are averaged, which is the mean of their logits; then a
temperature and a bias of their own make probabilities of the mean. So several images that agree
may say more than one, or no more, as the held-out units show. Where one image of many shows the
finding, the mean dilutes it: log-sum-exp pooling (Pinheiro and Collobert 2015) weighs the highest
logits more, or the lowest, if held-out units have a smaller log loss with it. The order of the
images changes nothing. Several labels are pooled each by itself, as two classes: absent and
present.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency.calibration import conformal, scaling
from lucency.calibration.conformal import Conformal
from lucency.config import MOST_FRAMES, PATIENT, column_of_unit, plural_of_unit
from lucency.errors import ClassifierError
from lucency.metrics import FloatArray, IntArray

_TINY = 1e-30  # float32 probabilities can be 0
NEAREST = 2.0**-24  # of the float32 probabilities of a label to 1, and so also to 0
_DIGITS = 9  # of changes, to which they count as equal
_LONGEST = 1000  # characters of a text
SHARPNESS = (-4.0, -2.0, -1.0, 1.0, 2.0, 4.0)  # of pooling, that is compared with the mean
SHARPEST = 100.0  # of those in classifier.json


@dataclass(frozen=True)
class UnitRule:
    """How the images of a unit become one answer; ``unit`` of ``classifier.json``.

    Attributes:
        regex: The regular expression that finds the patient in a path; empty where the patients
            are those of well-known names of files or of DICOM.
        temperature: Divides the pooled log probabilities.
        bias: Added to them before, one value for each class; for two classes one for their log
            odds.
        threshold: Smallest probability at which a unit of the positive class is predicted.
        rule: How the threshold was chosen, in words.
        validation: Sensitivity and specificity of the threshold on held-out units, if known.
        conformal: Thresholds of the prediction sets of units.
        cut: Of grades, ``Spec.cut`` for units.
        name: What a unit is: patient, study, series, or the column of a labels file whose values
            they are.
        frames: How many frames of a file are images, at most, or ``all``.
        labels: Of several labels, ``Spec.labels`` for units; each has pooling, temperature and a
            bias that replace those of this rule. Empty for other tasks.
        value: Of a number, ``Spec.value`` for units; ``None`` for other tasks.
        pooling: Sharpness of the pooling, as of ``pooled_logits``; 0 for the mean.
        pooling_rule: How the pooling was chosen, in words.
    """

    regex: str
    temperature: float
    bias: tuple[float, ...]
    threshold: float
    rule: str
    validation: Mapping[str, float] | None
    conformal: Conformal
    cut: Mapping[str, Any] | None = None
    name: str = PATIENT
    frames: int | str = 1
    labels: tuple[Mapping[str, Any], ...] = ()
    value: Mapping[str, Any] | None = None
    pooling: float = 0.0
    pooling_rule: str = ""

    @property
    def key(self) -> str:
        """The key of an answer in JSON: patient, study, series, or unit for a column."""
        return "unit" if column_of_unit(self.name) else self.name

    @property
    def plural(self) -> str:
        """The word for several units."""
        return plural_of_unit(self.name)

    def probabilities(self, probabilities: FloatArray, unit: IntArray) -> FloatArray:
        """Return the probabilities of units.

        Args:
            probabilities: (n, classes) of the images, rows sum to 1; or that each of several labels
                is present.
            unit: (n,) number of the unit of each image, from 0.

        Returns:
            (units, classes) float64, rows sum to 1; or that each label is present.
        """
        if self.labels:
            pairs = [two_classes(p) for p in np.asarray(probabilities).T]
            found = [self.of_label(k).probabilities(pair, unit) for k, pair in enumerate(pairs)]
            return np.stack([pair[:, 1] for pair in found], axis=1)
        z = pooled_logits(probabilities, unit, self.pooling)
        return scaling.probabilities((z + np.asarray(self.bias)) / self.temperature)

    def of_label(self, k: int) -> Self:
        """Return the rule of one of several labels, as of two classes: absent and present."""
        of = self.labels[k]
        return replace(
            self, temperature=of["temperature"], bias=(of["bias"],),
            pooling=of.get("pooling", 0.0), labels=(),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the values for ``classifier.json``; ``labels`` and ``value`` only if given."""
        document = {
            **vars(self),
            "bias": list(self.bias),
            "validation": self.validation and dict(self.validation),
            "conformal": self.conformal.to_json(),
            "cut": self.cut and dict(self.cut),
            "labels": [dict(each) for each in self.labels],
            "value": self.value and dict(self.value),
        }
        return {name: x for name, x in document.items() if x or name not in ("labels", "value")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], classes: Sequence[str]) -> Self:
        """Check the output of ``to_json``, but for ``labels`` and ``value``: ``Spec`` checks them.

        Args:
            data: The object.
            classes: The class names.

        Raises:
            ClassifierError: It is incomplete, or a value is out of range.
        """
        try:
            labels = tuple(data.get("labels", ()))
            return cls(
                regex=_regex(data["regex"]),
                temperature=number(data["temperature"], 1e-3, 1e3),
                bias=_bias(data["bias"], 0 if labels else len(classes)),
                threshold=number(data["threshold"], 0, 1),
                rule=text(data["rule"]),
                validation=_rates(data["validation"]),
                conformal=Conformal.from_json(data["conformal"], len(classes)),
                cut=_cut(data["cut"], classes),
                name=_name(data.get("name", PATIENT)),
                frames=_frames(data.get("frames", 1)),
                labels=labels,
                value=data.get("value"),
                pooling=number(data.get("pooling", 0), -SHARPEST, SHARPEST),
                pooling_rule=text(data.get("pooling_rule", "")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ClassifierError(
                "The unit in classifier.json is incomplete or has a wrong value "
                f"({type(error).__name__}: {str(error)[:80]}). Restore the file from the training "
                "run, or train again."
            ) from error


@dataclass(frozen=True)
class Evidence:
    """What the answer for a unit of n images rests on.

    Attributes:
        decisive: The image whose absence would change the answer most.
        changes: (n,) how much the log odds of the answered class fall without each image; negative
            where it speaks against the class. Of a number, how much it falls. Empty for a single
            image.
        agree: Images that are decided by themselves as the unit is; of a number, those whose own
            numbers lie in the interval of the unit, or ``None`` without one.
        lowest: Smallest probability of the class among the images, or smallest number.
        highest: Largest one.
    """

    decisive: int
    changes: tuple[float, ...]
    agree: int | None
    lowest: float
    highest: float


def evidence(rule: UnitRule, probabilities: FloatArray, k: int, decisions: IntArray) -> Evidence:
    """Return what the answer for one unit rests on.

    The log odds are those that ``rule`` gives the unit, so that another prevalence, which adds a
    constant, changes nothing. Any two images of two classes have changes of one size: then the
    decisive one speaks for the answer. Of equal images, it is the first.

    Args:
        rule: How the images become one answer.
        probabilities: (n, classes) of its images, at least one.
        k: Index of the answered class.
        decisions: (n,) class indices that the images are decided as by themselves.
    """
    p = without_each(rule, probabilities)
    odds = np.log(np.maximum(p[:, k], _TINY)) - np.log(
        np.maximum(np.delete(p, k, axis=1).sum(axis=1), _TINY)
    )
    changes = odds[0] - odds[1:]
    return Evidence(
        decisive=decisive(changes),
        changes=tuple(map(float, changes)),
        agree=int((decisions == k).sum()),
        lowest=float(probabilities[:, k].min()),
        highest=float(probabilities[:, k].max()),
    )


def without_each(rule: UnitRule, probabilities: FloatArray) -> FloatArray:
    """Return the probabilities of one unit of n images, and those without each of them.

    Args:
        rule: How the images become one answer.
        probabilities: (n, classes) of its images, at least one.

    Returns:
        (1 + n, classes); (1, classes) for a single image.
    """
    z = _logits(probabilities)
    found = _pooled(z, rule.pooling)[None]
    if len(z) > 1:
        found = np.concatenate([found, _without_each(z, rule.pooling)])
    return scaling.probabilities((found + np.asarray(rule.bias)) / rule.temperature)


def _without_each(z: FloatArray, sharpness: float) -> FloatArray:
    """Return the pooled logits of a unit without each of its images, (n, classes)."""
    if sharpness:
        return np.stack([_pooled(np.delete(z, i, axis=0), sharpness) for i in range(len(z))])
    return np.asarray((np.sort(z, axis=0).sum(axis=0) - z) / (len(z) - 1))


def decisive(changes: FloatArray) -> int:
    """Return the place of the largest change, but for rounding; 0 for a single image."""
    keys = [(abs(each), each) for each in np.round(changes, _DIGITS).tolist()]
    return keys.index(max(keys)) if keys else 0


def fit(
    probabilities: FloatArray,
    labels: IntArray,
    groups: Sequence[str],
    prior: Sequence[float],
    *,
    patients: Sequence[str] = (),
    runs: bool = False,
    seed: int = 0,
) -> UnitRule:
    """Fit pooling, scaling and prediction sets of units, without a threshold for decisions.

    Args: see ``fit_scaling``.
        runs: Whether the classes are grades, as for ``conformal.fit``.
    """
    rule = fit_scaling(probabilities, labels, groups, prior, patients=patients, seed=seed)
    _, unit = numbered(groups)
    apart = patients_of(groups, patients)
    pooled, truth = rule.probabilities(probabilities, unit), labels[first_of(unit)]
    return replace(rule, conformal=conformal.fit(pooled, truth, apart, runs=runs))


def fit_scaling(
    probabilities: FloatArray,
    labels: IntArray,
    groups: Sequence[str],
    prior: Sequence[float],
    *,
    patients: Sequence[str] = (),
    seed: int = 0,
) -> UnitRule:
    """Fit pooling, temperature and bias of units, without what makes decisions.

    The pooling is as ``choose_pooling`` chooses it.

    Args:
        probabilities: (n, classes) of held-out images.
        labels: (n,) their true class indices; the images of a unit have one.
        groups: n names of units, "" for an image that stands alone.
        prior: (classes,) how frequent the classes are among units, as the probabilities assume.
        patients: n patients, each with any number of units; empty where the units are patients.
        seed: Of the folds that decide on pooling and bias.
    """
    _, unit = numbered(groups)
    truth = labels[first_of(unit)]
    seen = np.bincount(truth, minlength=len(prior)) / len(truth)
    weights = np.divide(prior, seen, out=np.ones(len(prior)), where=seen > 0)[truth]
    apart = patients_of(groups, patients)
    pooling, words = choose_pooling(probabilities, unit, truth, weights, apart, seed)
    z = pooled_logits(probabilities, unit, pooling)
    fitted = scaling.fit(z, truth, weights, groups=apart, seed=seed)
    return UnitRule(
        "", fitted.temperature, fitted.bias, 0.5, "", None, Conformal(()),
        pooling=pooling, pooling_rule=words,
    )  # fmt: skip


def choose_pooling(
    probabilities: FloatArray,
    unit: IntArray,
    labels: IntArray,
    weights: FloatArray,
    patients: Sequence[str],
    seed: int,
) -> tuple[float, str]:
    """Return the sharpness of the pooling, and how it was chosen, in words.

    It is the mean, unless another has a smaller cross-validated log loss by more than the standard
    error of the difference, by patient. Units with a single image are left out. Any pooling says
    the same of them, and how many images a unit has often tells its class: log-sum-exp pooling,
    which exceeds the mean of several images, would be chosen for that.

    Args:
        probabilities: (n, classes) of held-out images.
        unit: (n,) number of the unit of each image; every number from 0 occurs.
        labels: (units,) true class indices; below 0 unknown, which are left out, too.
        weights: (units,) weights of the losses.
        patients: The patient of each unit.
        seed: Of the folds.
    """
    used = (np.bincount(unit) > 1) & (labels >= 0)
    inside = used[unit]
    p, numbers = probabilities[inside], (np.cumsum(used) - 1)[unit[inside]]
    truth, w = labels[used], weights[used]
    names = [patients[i] for i in np.flatnonzero(used).tolist()]

    def out_of_fold(sharpness: float) -> FloatArray | None:
        z = pooled_logits(p, numbers, sharpness)
        return scaling.out_of_fold(z, truth, w, groups=names, seed=seed)

    mean = out_of_fold(0.0) if len(truth) else None
    if mean is None:
        return 0.0, "too few held-out units with several images to choose another"
    others = ((each, out_of_fold(each)) for each in SHARPNESS)
    pairs = [(each, losses) for each, losses in others if losses is not None]
    best, losses = min(pairs, key=lambda pair: float(pair[1].sum()))
    members = np.unique(names, return_inverse=True)[1]
    gain, error = scaling.gain_with_error(losses, mean, members)
    chosen = best if gain > error else 0.0
    of_mean, of_best, error = (float(x) / w.sum() for x in (mean.sum(), losses.sum(), error))
    words = (
        f"log loss on {len(truth):,} held-out units with several images: {of_mean:.3f} with the "
        f"mean, {of_best:.3f} with log-sum-exp pooling of sharpness {best:g}; standard error of "
        f"the difference {error:.3f}"
    )
    return chosen, words


def pooling_words(sharpness: float) -> str:
    """Return how the logits of a unit's images are pooled, in words."""
    return f"log-sum-exp with sharpness {sharpness:g}" if sharpness else "mean"


def patients_of(groups: Sequence[str], patients: Sequence[str] = ()) -> list[str]:
    """Return the patient of each unit, in order of appearance.

    Args:
        groups: n names of units, "" for an image that stands alone.
        patients: n patients, each with any number of units; empty where the units are patients.
    """
    names, unit = numbered(groups)
    return [patients[i] for i in first_of(unit)] if patients else [*map(str, range(len(names)))]


def numbered(names: Sequence[str]) -> tuple[tuple[str, ...], IntArray]:
    """Return the names of units in order of appearance, and the number of each image's unit.

    Args:
        names: The unit of each image; one without a name is a unit of its own.
    """
    keys = [(name, -1) if name else ("", i) for i, name in enumerate(names)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return tuple(name for name, _ in numbers), np.array([numbers[key] for key in keys], np.int64)


def pooled_logits(probabilities: FloatArray, unit: IntArray, sharpness: float = 0.0) -> FloatArray:
    """Return the pooled log probabilities of units, for two classes the pooled log odds.

    Without a sharpness this is their mean. With one, it is ``log(mean(exp(r z))) / r`` (Pinheiro
    and Collobert 2015, "From Image-level to Pixel-level Labeling with Convolutional Networks",
    equation 6), of more than two classes of log probabilities whose mean over the classes is 0. It
    lies between the mean and the maximum for r > 0, and between the mean and the minimum for r < 0.

    Args:
        probabilities: (n, classes).
        unit: (n,) number of the unit of each image; every number from 0 occurs.
        sharpness: r; 0 for the mean.

    Returns:
        (units, classes), or (units, 1) for two classes.
    """
    z = _logits(probabilities)
    return np.stack([_pooled(z[own], sharpness) for own in images_of(unit)])


def _pooled(z: FloatArray, sharpness: float) -> FloatArray:
    """Return the pooled logits of one unit, (classes,) or (1,), of those of its images."""
    # Sorted, so that the sum does not depend on the order of the images.
    if not sharpness:
        return np.asarray(np.sort(z, axis=0).mean(axis=0))
    scaled = np.sort(
        sharpness * (z - z.mean(axis=1, keepdims=True) if z.shape[1] > 1 else z), axis=0
    )
    highest = scaled[-1]
    return np.asarray((highest + np.log(np.exp(scaled - highest).mean(axis=0))) / sharpness)


def two_classes(present: FloatArray) -> FloatArray:
    """Return the probabilities of a label, (n,), as those of absent and present, (n, 2).

    None is 0 or 1, whose log odds would outweigh those of all other images.
    """
    p = np.clip(present, NEAREST, 1 - NEAREST)
    return np.stack([1 - p, p], axis=1)


def pooled_targets(targets: NDArray[np.float32], unit: IntArray) -> NDArray[np.float32]:
    """Return which labels the units have: known where one of their images knows it.

    Args:
        targets: (n, labels) of images: 1 present, 0 absent, below 0 unknown. The known ones of a
            unit are equal.
        unit: (n,) number of the unit of each image; every number from 0 occurs.

    Returns:
        (units, labels).
    """
    return np.stack([targets[own].max(axis=0) for own in images_of(unit)])


def _logits(probabilities: FloatArray) -> FloatArray:
    """Return log probabilities (n, classes), of two classes the log odds of the second (n, 1)."""
    logs = np.log(np.maximum(np.asarray(probabilities, np.float64), _TINY))
    return logs[:, 1:] - logs[:, :1] if logs.shape[1] == 2 else logs


def images_of(unit: IntArray) -> list[IntArray]:
    """Return the places of each unit's images, in their order.

    Args:
        unit: (n,) number of the unit of each image; every number from 0 occurs.
    """
    return np.split(np.argsort(unit, kind="stable"), np.cumsum(np.bincount(unit))[:-1])


def first_of(unit: IntArray) -> IntArray:
    """Return the first image of each unit, (units,)."""
    return np.asarray(np.unique(unit, return_index=True)[1], np.int64)


def text(value: Any) -> str:
    """Return a value of JSON that is a text to show; raises ``ValueError`` for another."""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise ValueError(f"expected up to {_LONGEST} printable characters")
    return value


def _name(value: Any) -> str:
    if not text(value) or value == "image":
        raise ValueError("expected patient, study, series or the name of a column")
    return text(value)


def _frames(value: Any) -> int | str:
    if value == "all":
        return "all"
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_FRAMES:
        raise ValueError(f"expected from 1 to {MOST_FRAMES} frames, or all")
    return value


def _regex(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a regular expression")
    return value


def number(value: Any, low: float, high: float) -> float:
    """Return a value of JSON that is a number in a range; raises ``ValueError`` for another."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"expected a number from {low:g} to {high:g}")
    return float(value)


def _bias(value: Any, classes: int) -> tuple[float, ...]:
    bias = tuple(number(each, -1e4, 1e4) for each in value)
    if len(bias) != (1 if classes == 2 else classes):
        raise ValueError("the bias has not one number for each class")
    return bias


def _cut(value: Any, classes: Sequence[str]) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if value["from"] not in classes[1:]:
        raise ValueError("the cut is not from a grade above the lowest")
    return {
        "from": str(value["from"]),
        "threshold": number(value["threshold"], 0, 1),
        "rule": text(value["rule"]),
        "validation": _rates(value["validation"]),
    }


def _rates(value: Any) -> Mapping[str, float] | None:
    if value is None:
        return None
    return {name: number(value[name], 0, 1) for name in ("sensitivity", "specificity")}
