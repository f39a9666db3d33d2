"""Sets of classes that hold the true one with a stated chance, by split conformal prediction.

The score of a class is 1 minus its probability (Sadinle, Lei & Wasserman 2019), and a set holds the
classes whose score is at most a quantile of the true classes' scores on validation: all alike
("marginal"), or for each class its own ("class-conditional", Vovk 2012).

A patient may have several images. Every patient then weighs the same, its images share that
weight, and one patient more is taken to score infinitely (Dunn, Wasserman & Ramdas 2022; Lee,
Barber & Willett 2023): what is promised holds for an image of a new patient. With one image
each, that is the usual quantile at ceil((n + 1)(1 - alpha)) / n.
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
_MOST_THRESHOLDS = 100
_MOST_PATIENTS = 2**40


@dataclass(frozen=True)
class Threshold:
    """One rule that turns probabilities into sets.

    Attributes:
        alpha: The chance that a set may miss the true class, in (0, 1).
        kind: Whether the promise is for all images or for those of each class.
        scores: The largest 1 - probability with which each class is in the set, in [0, 1]; 1 where
            there are too few patients for this alpha, and the class is in every set.
        patients: How many of validation each of these comes from.
    """

    alpha: float
    kind: Kind
    scores: tuple[float, ...]
    patients: tuple[int, ...]

    @property
    def unlimited(self) -> tuple[bool, ...]:
        """Say for each class whether its patients are too few, and it is in every set."""
        return tuple(count < needed_patients(self.alpha) for count in self.patients)

    def sets(self, probabilities: FloatArray) -> BoolArray:
        """Return which classes are in each image's set.

        Args:
            probabilities: (n, classes), rows sum to 1.

        Returns:
            (n, classes); a set may hold no class, or all of them.
        """
        return np.asarray(1 - probabilities <= np.array(self.scores))


@dataclass(frozen=True)
class Conformal:
    """The thresholds for every alpha and kind, as ``classifier.json`` keeps them."""

    thresholds: tuple[Threshold, ...]

    def sets(
        self, probabilities: FloatArray, alpha: float = ALPHAS[0], kind: Kind = "class-conditional"
    ) -> BoolArray:
        """Return the sets for one alpha and kind.

        Args:
            probabilities: (n, classes), rows sum to 1.
            alpha: The chance to miss the true class, one of those fitted.
            kind: Whether that chance is over all images or over those of each class.

        Returns:
            (n, classes); a set may hold no class, or all of them.

        Raises:
            ConfigError: There is no threshold for them.
        """
        return self.threshold(alpha, kind).sets(probabilities)

    def threshold(self, alpha: float, kind: Kind) -> Threshold:
        """Return the rule for one alpha and kind.

        Raises:
            ConfigError: There is none.
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
        """Return the rule by which an image is ambiguous: its set is not one class.

        ``None`` where a class has too few patients. It would be in every set, so that no set could
        ever be another class alone, and nothing would be answered for want of validation images,
        whatever an image shows.

        Raises:
            ConfigError: There is no rule for this alpha and kind.
        """
        rule = self.threshold(alpha, kind)
        return None if any(rule.unlimited) else rule

    def to_json(self) -> dict[str, Any]:
        """Return ``{"score", "thresholds": [{"alpha", "kind", "scores", "patients"}...]}``."""
        rows = [{**vars(each), "scores": list(each.scores)} for each in self.thresholds]
        rows = [{**row, "patients": list(row["patients"])} for row in rows]
        return {"score": _SCORE, "thresholds": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], classes: int) -> Self:
        """Check what ``to_json`` gave.

        Args:
            data: The object.
            classes: How many classes the classifier has.

        Returns:
            The thresholds.

        Raises:
            ClassifierError: It is not complete, or a value is out of range.
        """
        try:
            if data["score"] != _SCORE:
                raise ValueError(f"score {str(data['score'])[:40]!r}, expected {_SCORE!r}")
            rows = data["thresholds"]
            if not isinstance(rows, list) or len(rows) > _MOST_THRESHOLDS:
                raise ValueError(f"expected a list of at most {_MOST_THRESHOLDS} thresholds")
            return cls(tuple(_threshold(row, classes) for row in rows))
        except (KeyError, TypeError, ValueError) as error:
            raise ClassifierError(
                "The prediction sets in classifier.json are not complete or have a wrong value "
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
    if not all(type(count) is int and 0 <= count < _MOST_PATIENTS for count in patients):
        raise ValueError(f"counts of patients {str(patients)[:80]}")
    return Threshold(float(alpha), kind, tuple(map(float, scores)), tuple(patients))


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def needed_patients(alpha: float) -> int:
    """Return the fewest patients that can bound a set: ``ceil(1 / alpha) - 1``."""
    return math.ceil(1 / alpha - _NEGLIGIBLE) - 1


def rank_of(patients: int, alpha: float) -> int:
    """Return which of the rising scores is the quantile, from 1; above ``patients`` for none."""
    return math.ceil((patients + 1) * (1 - alpha) - _NEGLIGIBLE)


def fit(
    probabilities: FloatArray,
    labels: ArrayLike,
    groups: Sequence[str] | IntArray | None = None,
    alphas: Sequence[float] = ALPHAS,
) -> Conformal:
    """Find the thresholds on validation, both kinds for every alpha.

    Args:
        probabilities: (n, classes), rows sum to 1; n >= 1.
        labels: (n,) true class indices.
        groups: (n,) whose image it is, "" for one that stands alone; None when all do.
        alphas: Chances to miss the true class, each in (0, 1).

    Returns:
        The thresholds. With fewer than ``needed_patients(alpha)`` patients nothing can be
        promised but the set of all classes, and that it is (``Threshold.unlimited``).

    Raises:
        ConfigError: An alpha is not in (0, 1).
        DataError: There is no image.
    """
    truth = np.asarray(labels, np.int64)
    if not len(truth):
        raise DataError("Cannot fit prediction sets: the validation split holds no image.")
    for alpha in alphas:
        if not 0 < alpha < 1:
            raise ConfigError(f"The chance to miss must lie between 0 and 1. Received: {alpha!r}")
    cluster = _clusters(groups, len(truth))
    scores = 1 - np.take_along_axis(np.asarray(probabilities), truth[:, None], axis=1)[:, 0]
    classes = range(probabilities.shape[1])
    parts: dict[Kind, list[BoolArray]] = {
        "marginal": [np.ones(len(truth), bool) for _ in classes],
        "class-conditional": [truth == k for k in classes],
    }
    return Conformal(
        tuple(
            Threshold(
                alpha,
                kind,
                tuple(_quantile(scores[part], cluster[part], alpha) for part in members),
                tuple(len(np.unique(cluster[part])) for part in members),
            )
            for alpha in alphas
            for kind, members in parts.items()
        )
    )


def _clusters(groups: Sequence[str] | IntArray | None, n: int) -> IntArray:
    """Number the patients; an image without one is its own."""
    given = [""] * n if groups is None else [str(name) for name in groups]
    names = [(name, -1) if name else ("", i) for i, name in enumerate(given)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], np.int64)


def _quantile(scores: FloatArray, cluster: IntArray, alpha: float) -> float:
    """Return the smallest score that 1 - alpha of the patients' weight, and of one more, reach.

    Each of K patients weighs 1 / (K + 1), shared by its images; the one more scores at the very
    end, which is 1.
    """
    _, patient, images = np.unique(cluster, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(1 / images[patient][order])
    # The slack keeps 9 of 10 from missing 0.9 by the last bit.
    place = np.searchsorted(reached, (1 - alpha) * (len(images) + 1) - _NEGLIGIBLE)
    return float(scores[order[place]]) if place < len(scores) else 1.0


def expected_coverage(
    calibrated: int, tested: int | None, alpha: float, level: float = 0.95
) -> tuple[float, float]:
    """Return the range in which the measured coverage falls by chance.

    The coverage that a threshold really has varies with the patients it was found on, as
    Beta(k, K + 1 - k) for k = ceil((K + 1)(1 - alpha)) (Vovk 2012), and what is measured
    varies with those it is measured on: together beta-binomial. That is exact for one image a
    patient and scores without ties. With several images, every patient weighing the same,
    coverage varies less, so that the range is wider than need be.

    Args:
        calibrated: Patients behind the threshold.
        tested: Patients that it is measured on; None for the coverage that it really has.
        alpha: The chance to miss, in (0, 1).
        level: Share of the time that coverage is in the range, in (0, 1).

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
