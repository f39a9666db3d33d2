"""Whether probabilities mean what they say, and the one number that mends them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lucency.errors import ClassifierError, DataError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_TEMPERATURES = (0.05, 20.0)
_BINS = 10
_PER_BIN = 10  # fewer images say nothing about a frequency
_CELLS = 2**18  # simulations x images held at once


@dataclass(frozen=True)
class Bin:
    """Images of like probability: how many, what was claimed, how often it came true."""

    n: int
    mean_probability: float
    fraction: float


def probabilities(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Turn a network's logits into calibrated probabilities.

    Args:
        logits: (n, classes), or (n,) or (n, 1) for the log odds of the second of two classes.
        temperature: Divides the logits; above 1 softens.

    Returns:
        (n, classes) float64, rows sum to 1. Both columns of two classes keep their small values:
        neither is 1 minus the other.
    """
    scaled = np.asarray(logits, np.float64) / temperature
    if scaled.ndim == 1 or scaled.shape[1] == 1:
        odds = scaled.reshape(-1)
        return np.stack([special.expit(-odds), special.expit(odds)], axis=1)
    return np.asarray(special.softmax(scaled, axis=1), np.float64)


def fit_temperature(
    logits: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    doubt: bool = False,
) -> float:
    """Find the temperature under which the labels are most likely (Guo et al. 2017).

    Where every image is right, ever larger certainty looks ever better. With ``doubt``, each class
    is taken to have one image more of every class (Platt 1999, section 2.2), so that n images
    never make the classifier more certain than n images can.

    Args:
        logits: (n, classes), or (n,) or (n, 1) for the log odds of the second of two classes.
        labels: (n,) true class indices.
        weights: (n,) how much each image counts; all alike when left out.
        doubt: Whether to add that doubt.

    Returns:
        A temperature in [0.05, 20]; 1 where no other is better, an end where the labels would have
        it beyond (0.05 when every image is right, 20 when the logits say nothing).

    Raises:
        DataError: There is no image.
        ClassifierError: A logit is not finite.
    """
    values = np.asarray(logits, np.float64)
    if not len(values):
        raise DataError("Cannot calibrate: the validation split holds no image.")
    if not np.isfinite(values).all():
        raise ClassifierError(
            "Cannot calibrate: the network gives values that are not finite. "
            "Training has diverged; lower the learning rate."
        )
    truth = np.asarray(labels, np.int64)
    margins = _margins(values, truth)
    classes = margins.shape[1]
    others = 1 / (np.bincount(truth, minlength=classes) + classes)[truth] if doubt else 0.0
    counted = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = margins / math.exp(log_temperature)
        losses = special.logsumexp(scaled, axis=1) - others * scaled.sum(axis=1)
        return float(counted @ losses / counted.sum())

    # Convex in 1/T, so it falls and then rises in log T: one bounded search finds the minimum.
    from scipy import optimize

    bounds = (math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1]))
    found = optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-8}
    ).x
    best = min((0.0, float(found), *bounds), key=loss)
    return math.exp(best)


def _margins(logits: FloatArray, labels: IntArray) -> FloatArray:
    """Return by how much each class leads the true one, (n, classes); 0 for the true one."""
    if logits.ndim == 1 or logits.shape[1] == 1:
        odds = logits.reshape(-1)
        logits = np.stack([np.zeros_like(odds), odds], axis=1)
    return np.asarray(logits - np.take_along_axis(logits, labels[:, None], axis=1))


def equal_mass_bins(probability: ArrayLike) -> IntArray:
    """Divide images by probability into up to ten bins of about the same size.

    Args:
        probability: (n,) in [0, 1]; n >= 1.

    Returns:
        (n,) bin numbers from 0, rising with the probability, none left out. Equal probabilities
        share a bin, and there are fewer bins when there would be fewer than ten images in each.
    """
    claimed = np.asarray(probability, np.float64)
    wanted = min(_BINS, max(1, len(claimed) // _PER_BIN))
    edges = np.sort(claimed)[np.arange(1, wanted) * len(claimed) // wanted]
    _, bins = np.unique(np.searchsorted(edges, claimed, side="right"), return_inverse=True)
    return np.asarray(bins, np.int64)


def reliability(probability: ArrayLike, outcomes: ArrayLike) -> list[Bin]:
    """Compare what was claimed with what came true, bin by bin.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (n,) true or 1 where it came true.

    Returns:
        The bins of ``equal_mass_bins`` in rising order.
    """
    claimed, came = np.asarray(probability, np.float64), np.asarray(outcomes, np.float64)
    bins = equal_mass_bins(claimed)
    sizes = np.bincount(bins)
    means = (np.bincount(bins, values) / sizes for values in (claimed, came))
    return [Bin(*row) for row in zip(sizes.tolist(), *(m.tolist() for m in means), strict=True)]


def expected_calibration_error(
    probability: ArrayLike,
    outcomes: ArrayLike,
    weights: FloatArray | None = None,
    bins: IntArray | None = None,
) -> FloatArray:
    """Return the mean distance between claim and frequency over equal-mass bins.

    Chance alone keeps it above 0, the more the fewer images: see ``debiased_error``.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (n,) true or 1 where it came true.
        weights: (..., n) how often each image counts; once when left out.
        bins: (n,) those of ``equal_mass_bins``, which are found when left out.

    Returns:
        (...) in [0, 1].
    """
    claimed, came = np.asarray(probability, np.float64), np.asarray(outcomes, np.float64)
    counted = np.ones(len(claimed)) if weights is None else weights
    bins = equal_mass_bins(claimed) if bins is None else bins
    member = np.eye(bins.max() + 1)[bins]
    gaps = counted @ (member * (claimed - came)[:, None])
    return np.asarray(np.abs(gaps).sum(-1) / counted.sum(-1))


def debiased_error(
    probability: ArrayLike, outcomes: ArrayLike, owner: ArrayLike | None = None
) -> FloatArray:
    """Return the root mean square distance between claim and frequency, without chance's part.

    The squared gap of a bin is too large by the variance of the gap. Without it (Broecker 2012;
    Kumar et al. 2019, section 5) it is the mean product of the gaps of two images of the bin; where
    the bin's claims are equal and a share f comes true, that subtracts f (1 - f) / (n - 1). The two
    are of different patients, as one patient's gaps are alike by more than the bin's. The bins'
    squares are averaged by their images; a bin of one patient is left out.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (..., n) true or 1 where it came true.
        owner: (n,) whose image it is; each image its own when left out.

    Returns:
        (...) in [0, 1]: 0 where chance explains all of it, nan where every bin is of one patient.
    """
    claimed = np.asarray(probability, np.float64)
    gaps = np.asarray(outcomes, np.float64) - claimed
    bins = equal_mass_bins(claimed)
    owners = np.arange(len(claimed)) if owner is None else np.asarray(owner)
    # Images of one patient in one bin lie side by side, and count as their sum.
    order = np.lexsort((owners, bins))
    placed, whose = bins[order], owners[order]
    starts = np.flatnonzero(np.append(True, (np.diff(placed) != 0) | (whose[1:] != whose[:-1])))
    sums = np.add.reduceat(gaps[..., order], starts, axis=-1)
    sizes = np.diff(np.append(starts, len(order)))
    member = np.eye(bins.max() + 1)[placed[starts]]
    images = sizes @ member
    pairs = images**2 - sizes**2 @ member
    products = (sums @ member) ** 2 - sums**2 @ member
    told = pairs > 0
    if not told.any():
        return np.full(gaps.shape[:-1], np.nan)
    squared = (products[..., told] / pairs[told]) @ images[told] / images[told].sum()
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def chance_error(
    probability: ArrayLike,
    owner: ArrayLike | None = None,
    simulations: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return where ``debiased_error`` lies in 95 % of draws if every probability is exactly right.

    Outcomes are drawn from the probabilities: anew for each patient, and as alike as the
    probabilities permit for the images of one, because a patient usually is ill in all of them or
    in none. Where outcomes of one patient are less alike, the range is too wide.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        owner: (n,) whose image it is; each image its own when left out.
        simulations: How many sets of outcomes are drawn.
        seed: The same seed gives the same range.

    Returns:
        The lower end, 0, and the upper; nan where every bin is of one patient.
    """
    claimed = np.asarray(probability, np.float64)
    owners = np.arange(len(claimed)) if owner is None else np.asarray(owner)
    _, own = np.unique(owners, return_inverse=True)
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // len(claimed))
    errors = []
    for start in range(0, simulations, step):
        luck = generator.random((min(step, simulations - start), own.max() + 1))
        errors.append(debiased_error(claimed, luck[:, own] < claimed, own))
    # Weibull's quantile: one more draw lies below it in 95 %, however few there are.
    return 0.0, float(np.quantile(np.concatenate(errors), 0.95, method="weibull"))
