"""Split conformal prediction: sets of classes that contain the true class at a given rate.

The score of a class is 1 minus its probability (Sadinle, Lei & Wasserman 2019). A set contains the
classes whose score is at most a quantile of the true classes' scores on validation: one quantile
for all classes ("marginal"), or one for each class ("class-conditional", Vovk 2012).

A patient may have several images. Every patient has the same weight, shared by its images, and one
additional patient has an infinite score (Dunn, Wasserman & Ramdas 2022; Lee, Barber & Willett
2023): the guarantee holds for an image of a new patient. With one image per patient, this is the
usual quantile at ceil((n + 1)(1 - alpha)) / n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from lucency.errors import ClassifierError, ConfigError, DataError
from lucency.metrics import BoolArray, FloatArray, IntArray

Kind = Literal["marginal", "class-conditional"]
ALPHAS = (0.1, 0.05)
_SCORE = "1 - probability"
_NEGLIGIBLE = 1e-9
_MAX_THRESHOLDS = 100
_MAX_PATIENTS = 2**40


@dataclass(frozen=True)
class Threshold:
    """One rule that turns probabilities into sets.

    Attributes:
        alpha: The miscoverage rate, in (0, 1).
        kind: Whether coverage is guaranteed over all images or over those of each class.
        scores: The largest 1 - probability at which each class is in the set, in [0, 1]; 1 if there
            are too few patients for this alpha, and the class is in every set.
        patients: Number of validation patients behind each score.
        runs: Whether the classes are grades, and a set also has those between two of its grades.
    """

    alpha: float
    kind: Kind
    scores: tuple[float, ...]
    patients: tuple[int, ...]
    runs: bool = False

    @property
    def unlimited(self) -> tuple[bool, ...]:
        """For each class, whether it has too few patients and is therefore in every set."""
        return tuple(count < needed_patients(self.alpha) for count in self.patients)

    def sets(self, probabilities: FloatArray) -> BoolArray:
        """Return which classes are in each image's set.

        Args:
            probabilities: (n, classes), rows sum to 1.

        Returns:
            (n, classes); a set may be empty, or contain all classes.
        """
        inside = np.asarray(1 - probabilities <= np.array(self.scores))
        if not self.runs:
            return inside
        up, down = (np.logical_or.accumulate(x, axis=1) for x in (inside, inside[:, ::-1]))
        return np.asarray(up & down[:, ::-1])


@dataclass(frozen=True)
class Conformal:
    """The thresholds for every alpha and kind, as stored in ``classifier.json``."""

    thresholds: tuple[Threshold, ...]

    def sets(
        self, probabilities: FloatArray, alpha: float = ALPHAS[0], kind: Kind = "class-conditional"
    ) -> BoolArray:
        """Return the sets for one alpha and kind.

        Args:
            probabilities: (n, classes), rows sum to 1.
            alpha: The miscoverage rate, one of those fitted.
            kind: Whether coverage is guaranteed over all images or over those of each class.

        Returns:
            (n, classes); a set may be empty, or contain all classes.

        Raises:
            ConfigError: There is no threshold for them.
        """
        return self.threshold(alpha, kind).sets(probabilities)

    def threshold(self, alpha: float, kind: Kind) -> Threshold:
        """Return the rule for one alpha and kind.

        Raises:
            ConfigError: None was fitted for them.
        """
        for threshold in self.thresholds:
            if threshold.kind == kind and math.isclose(threshold.alpha, alpha):
                return threshold
        known = ", ".join(f"{each.kind} {each.alpha:g}" for each in self.thresholds)
        raise ConfigError(
            f"The classifier has prediction sets for {known or 'nothing'}. "
            f"Received: {kind} {alpha:g}."
        )

    def deciding(self, alpha: float, kind: Kind) -> Threshold | None:
        """Return the rule that makes an image ambiguous: its set is not a single class.

        ``None`` if a class has too few patients. It would be in every set, so that no set could be
        another class alone, and the classifier would abstain whatever an image shows.

        Raises:
            ConfigError: There is no rule for this alpha and kind.
        """
        rule = self.threshold(alpha, kind)
        return None if any(rule.unlimited) else rule

    def to_json(self) -> dict[str, Any]:
        """Return ``{"score", "thresholds": [{"alpha", "kind", "scores", "patients"}...]}``.

        For grades, each also has ``"runs": true``.
        """
        rows = [{**vars(each), "scores": list(each.scores)} for each in self.thresholds]
        rows = [{**row, "patients": list(row["patients"])} for row in rows]
        for row in rows:
            if not row["runs"]:
                del row["runs"]
        return {"score": _SCORE, "thresholds": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], classes: int) -> Self:
        """Check the output of ``to_json``.

        Args:
            data: The object.
            classes: Number of classes.

        Returns:
            The thresholds.

        Raises:
            ClassifierError: It is incomplete, or a value is out of range.
        """
        try:
            if data["score"] != _SCORE:
                raise ValueError(f"score {str(data['score'])[:40]!r}, expected {_SCORE!r}")
            rows = data["thresholds"]
            if not isinstance(rows, list) or len(rows) > _MAX_THRESHOLDS:
                raise ValueError(f"expected a list of at most {_MAX_THRESHOLDS} thresholds")
            return cls(tuple(_threshold(row, classes) for row in rows))
        except (KeyError, TypeError, ValueError) as error:
            raise ClassifierError(
                "The prediction sets in classifier.json are incomplete or have a wrong value "
                f"({type(error).__name__}: {error}). Restore the file from the training run, or "
                "train again."
            ) from error


def _threshold(row: Mapping[str, Any], classes: int) -> Threshold:
    """Return one checked row; raises KeyError, TypeError or ValueError."""
    alpha, kind, scores, patients = (row[name] for name in ("alpha", "kind", "scores", "patients"))
    if kind not in ("marginal", "class-conditional") or not _numeric(alpha) or not 0 < alpha < 1:
        raise ValueError(f"alpha {str(alpha)[:40]} of kind {str(kind)[:40]!r}")
    if not isinstance(scores, list) or not isinstance(patients, list):
        raise TypeError("expected lists of scores and patients")
    if not len(scores) == len(patients) == classes:
        raise ValueError(f"{len(scores)} scores and {len(patients)} counts for {classes} classes")
    if not all(_numeric(score) and 0 <= score <= 1 for score in scores):
        raise ValueError(f"scores {str(scores)[:80]} are not all from 0 to 1")
    if not all(type(count) is int and 0 <= count < _MAX_PATIENTS for count in patients):
        raise ValueError(f"counts of patients {str(patients)[:80]}")
    runs = row.get("runs", False)
    if type(runs) is not bool:
        raise TypeError(f"runs must be true or false, received {str(runs)[:40]}")
    return Threshold(float(alpha), kind, tuple(map(float, scores)), tuple(patients), runs)


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def needed_patients(alpha: float) -> int:
    """Return the smallest number of patients that bounds a set: ``ceil(1 / alpha) - 1``."""
    return math.ceil(1 / alpha - _NEGLIGIBLE) - 1


def rank_of(patients: int, alpha: float) -> int:
    """Return the rank of the quantile among the sorted scores, from 1; above ``patients``, none."""
    return math.ceil((patients + 1) * (1 - alpha) - _NEGLIGIBLE)


def fit(
    probabilities: FloatArray,
    labels: ArrayLike,
    groups: Sequence[str] | IntArray | None = None,
    alphas: Sequence[float] = ALPHAS,
    *,
    runs: bool = False,
) -> Conformal:
    """Find the thresholds on validation, both kinds for every alpha.

    Args:
        probabilities: (n, classes), rows sum to 1; n >= 1.
        labels: (n,) true class indices.
        groups: (n,) patient of each image, "" for an image without one; None if none has one.
        alphas: Miscoverage rates, each in (0, 1).
        runs: Whether the classes are grades. A set then also has the grades between two of its own,
            which can only raise its coverage.

    Returns:
        The thresholds. With fewer than ``needed_patients(alpha)`` patients only the set of all
        classes has the guaranteed coverage (``Threshold.unlimited``).

    Raises:
        ConfigError: An alpha is not in (0, 1).
        DataError: There are no images.
    """
    truth = np.asarray(labels, np.int64)
    if not len(truth):
        raise DataError("Cannot fit prediction sets: the validation split has no images.")
    for alpha in alphas:
        if not 0 < alpha < 1:
            raise ConfigError(f"alpha must be between 0 and 1. Received: {alpha!r}")
    patient = _patients(groups, len(truth))
    scores = 1 - np.take_along_axis(np.asarray(probabilities), truth[:, None], axis=1)[:, 0]
    classes = range(probabilities.shape[1])
    subsets: dict[Kind, list[BoolArray]] = {
        "marginal": [np.ones(len(truth), bool) for _ in classes],
        "class-conditional": [truth == k for k in classes],
    }
    return Conformal(
        tuple(
            Threshold(
                alpha,
                kind,
                tuple(_threshold_of(scores[rows], patient[rows], alpha) for rows in members),
                tuple(len(np.unique(patient[rows])) for rows in members),
                runs,
            )
            for alpha in alphas
            for kind, members in subsets.items()
        )
    )


def _patients(groups: Sequence[str] | IntArray | None, n: int) -> IntArray:
    """Number the patients; an image without one is a patient of its own."""
    given = [""] * n if groups is None else [str(name) for name in groups]
    names = [(name, -1) if name else ("", i) for i, name in enumerate(given)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _threshold_of(scores: FloatArray, patients: IntArray, alpha: float) -> float:
    """Return the 1 - alpha quantile; the additional patient has the largest possible score, 1."""
    found = quantile_by_patient(scores, patients, 1 - alpha)
    return 1.0 if found is None else found


def quantile_by_patient(scores: FloatArray, patients: IntArray, level: float) -> float | None:
    """Return a quantile of the scores, where each of K patients weighs 1 / (K + 1).

    The images of a patient share its weight; an additional patient has an infinite score.

    Args:
        scores: (n,) of images.
        patients: (n,) number of the patient of each.
        level: In (0, 1).

    Returns:
        A score, or ``None`` where the quantile is that of the additional patient.
    """
    _, patient, images = np.unique(patients, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    cumulative = np.cumsum(1 / images[patient][order])
    # The tolerance keeps 9 of 10 from missing 0.9 by the last bit.
    index = np.searchsorted(cumulative, level * (len(images) + 1) - _NEGLIGIBLE)
    return float(scores[order[index]]) if index < len(scores) else None


def expected_coverage(
    calibrated: int, tested: int | None, alpha: float, level: float = 0.95
) -> tuple[float, float]:
    """Return the range of coverage that is expected by chance.

    The true coverage of a threshold varies with the patients it was fitted on, as
    Beta(k, K + 1 - k) for k = ceil((K + 1)(1 - alpha)) (Vovk 2012), and the measured coverage with
    the patients it is measured on: together beta-binomial. This is exact for one image per patient
    and scores without ties. With several images per patient coverage varies less, and the range is
    conservative.

    Args:
        calibrated: Number of patients that the threshold was fitted on.
        tested: Number of patients that coverage is measured on; None for the true coverage.
        alpha: The miscoverage rate, in (0, 1).
        level: Probability that coverage is in the range, in (0, 1).

    Returns:
        The lower and the upper end; (1, 1) with fewer than ``needed_patients(alpha)``.
    """
    from scipy import stats

    rank = rank_of(calibrated, alpha)
    if rank > calibrated:
        return 1.0, 1.0
    tails = [(1 - level) / 2, (1 + level) / 2]
    if tested is None:
        low, high = stats.beta.ppf(tails, rank, calibrated + 1 - rank)
    else:
        low, high = stats.betabinom.ppf(tails, tested, rank, calibrated + 1 - rank) / tested
    return float(low), float(high)
