"""Temperature scaling, and whether probabilities are calibrated."""

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
_PER_BIN = 10  # fewer images do not estimate a frequency
_CELLS = 2**18  # simulations x images in memory at once


@dataclass(frozen=True)
class Bin:
    """Images of similar probability: their number, mean probability and observed frequency."""

    n: int
    mean_probability: float
    fraction: float


def probabilities(logits: ArrayLike, temperature: float = 1.0) -> FloatArray:
    """Turn a network's logits into calibrated probabilities.

    Args:
        logits: (n, classes), or (n,) or (n, 1) for the log odds of the second of two classes.
        temperature: Divides the logits; above 1 softens.

    Returns:
        (n, classes) float64, rows sum to 1. With two classes both columns are computed separately,
        so that small values keep their precision.
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
    smooth: bool = False,
) -> float:
    """Find the temperature under which the labels are most likely (Guo et al. 2017).

    If every prediction is correct, the likelihood always rises with confidence. With ``smooth``,
    each class gets one additional image of every class (Platt 1999, section 2.2), so that n images
    never make the classifier more confident than n images can.

    Args:
        logits: (n, classes), or (n,) or (n, 1) for the log odds of the second of two classes.
        labels: (n,) true class indices.
        weights: (n,) weight of each image; equal if ``None``.
        smooth: Whether to smooth the labels like that.

    Returns:
        A temperature in [0.05, 20]; 1 if no other is better, an end of the interval if the optimum
        lies beyond it (0.05 if every prediction is correct, 20 if the logits are uninformative).

    Raises:
        DataError: There is no image.
        ClassifierError: A logit is not finite.
    """
    values = np.asarray(logits, np.float64)
    if not len(values):
        raise DataError("Cannot calibrate: the validation split has no images.")
    if not np.isfinite(values).all():
        raise ClassifierError(
            "Cannot calibrate: the network's logits are not finite. "
            "Training has diverged; lower the learning rate."
        )
    truth = np.asarray(labels, np.int64)
    margins = _margins(values, truth)
    classes = margins.shape[1]
    others = 1 / (np.bincount(truth, minlength=classes) + classes)[truth] if smooth else 0.0
    counts = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = margins / math.exp(log_temperature)
        losses = special.logsumexp(scaled, axis=1) - others * scaled.sum(axis=1)
        return float(counts @ losses / counts.sum())

    # Convex in 1/T, hence unimodal in log T: one bounded search finds the minimum.
    from scipy import optimize

    bounds = (math.log(_TEMPERATURES[0]), math.log(_TEMPERATURES[1]))
    found = optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-8}
    ).x
    best = min((0.0, float(found), *bounds), key=loss)
    return math.exp(best)


def _margins(logits: FloatArray, labels: IntArray) -> FloatArray:
    """Return the logit of each class minus that of the true class, (n, classes)."""
    if logits.ndim == 1 or logits.shape[1] == 1:
        odds = logits.reshape(-1)
        logits = np.stack([np.zeros_like(odds), odds], axis=1)
    return np.asarray(logits - np.take_along_axis(logits, labels[:, None], axis=1))


def equal_mass_bins(probability: ArrayLike) -> IntArray:
    """Assign images to up to ten bins of about equal size by their probability.

    Args:
        probability: (n,) in [0, 1]; n >= 1.

    Returns:
        (n,) bin numbers from 0, increasing with the probability, without gaps. Equal probabilities
        share a bin, and there are fewer bins if a bin would have fewer than ten images.
    """
    p = np.asarray(probability, np.float64)
    count = min(_BINS, max(1, len(p) // _PER_BIN))
    edges = np.sort(p)[np.arange(1, count) * len(p) // count]
    _, bins = np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)
    return np.asarray(bins, np.int64)


def reliability(probability: ArrayLike, outcomes: ArrayLike) -> list[Bin]:
    """Compare probabilities with observed frequencies, bin by bin.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (n,) true or 1 if the event occurred.

    Returns:
        The bins of ``equal_mass_bins`` in increasing order.
    """
    p, y = np.asarray(probability, np.float64), np.asarray(outcomes, np.float64)
    bins = equal_mass_bins(p)
    sizes = np.bincount(bins)
    means = (np.bincount(bins, values) / sizes for values in (p, y))
    return [Bin(*row) for row in zip(sizes.tolist(), *(m.tolist() for m in means), strict=True)]


def expected_calibration_error(
    probability: ArrayLike,
    outcomes: ArrayLike,
    weights: FloatArray | None = None,
    bins: IntArray | None = None,
) -> FloatArray:
    """Return the mean distance between probability and frequency over equal-mass bins.

    Chance alone keeps it above 0, and the more so the fewer images: see ``debiased_error``.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (n,) true or 1 if the event occurred.
        weights: (..., n) how often each image counts; once if ``None``.
        bins: (n,) bins of ``equal_mass_bins``; computed if ``None``.

    Returns:
        (...) in [0, 1].
    """
    p, y = np.asarray(probability, np.float64), np.asarray(outcomes, np.float64)
    counts = np.ones(len(p)) if weights is None else weights
    bins = equal_mass_bins(p) if bins is None else bins
    member = np.eye(bins.max() + 1)[bins]
    gaps = counts @ (member * (p - y)[:, None])
    return np.asarray(np.abs(gaps).sum(-1) / counts.sum(-1))


def debiased_error(
    probability: ArrayLike, outcomes: ArrayLike, cluster: ArrayLike | None = None
) -> FloatArray:
    """Return the root mean square distance between probability and frequency, without bias.

    The squared gap of a bin is too large by the variance of the gap. Without that bias (Broecker
    2012; Kumar et al. 2019, section 5) it is the mean product of the gaps of two images of the bin;
    if the bin's probabilities are equal and the frequency is f, this subtracts f (1 - f) / (n - 1).
    The two images are of different patients, because gaps within a patient are correlated. Bins are
    weighted by their images; a bin with a single patient is excluded.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        outcomes: (..., n) true or 1 if the event occurred.
        cluster: (n,) patient of each image; all different if ``None``.

    Returns:
        (...) in [0, 1]: 0 if chance explains all of it, nan if every bin has a single patient.
    """
    p = np.asarray(probability, np.float64)
    gaps = np.asarray(outcomes, np.float64) - p
    bins = equal_mass_bins(p)
    clusters = np.arange(len(p)) if cluster is None else np.asarray(cluster)
    # Images of one patient in one bin are adjacent in this order, and count as their sum.
    order = np.lexsort((clusters, bins))
    bin_of, patient = bins[order], clusters[order]
    starts = np.flatnonzero(np.append(True, (np.diff(bin_of) != 0) | (patient[1:] != patient[:-1])))
    sums = np.add.reduceat(gaps[..., order], starts, axis=-1)
    sizes = np.diff(np.append(starts, len(order)))
    member = np.eye(bins.max() + 1)[bin_of[starts]]
    images = sizes @ member
    pairs = images**2 - sizes**2 @ member
    products = (sums @ member) ** 2 - sums**2 @ member
    usable = pairs > 0
    if not usable.any():
        return np.full(gaps.shape[:-1], np.nan)
    squared = (products[..., usable] / pairs[usable]) @ images[usable] / images[usable].sum()
    return np.asarray(np.sqrt(np.maximum(squared, 0)))


def chance_error(
    probability: ArrayLike,
    cluster: ArrayLike | None = None,
    simulations: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % range of ``debiased_error`` if every probability is exactly right.

    Outcomes are drawn from the probabilities: independently for each patient, and as correlated as
    the probabilities permit for the images of one patient, because a patient usually has the
    disease in all of them or in none. If outcomes of a patient are less correlated, the range is
    too wide.

    Args:
        probability: (n,) in [0, 1]; n >= 1.
        cluster: (n,) patient of each image; all different if ``None``.
        simulations: Number of simulated sets of outcomes.
        seed: The same seed gives the same range.

    Returns:
        The lower end, 0, and the upper; nan if every bin has a single patient.
    """
    p = np.asarray(probability, np.float64)
    clusters = np.arange(len(p)) if cluster is None else np.asarray(cluster)
    _, patient = np.unique(clusters, return_inverse=True)
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // len(p))
    errors = []
    for start in range(0, simulations, step):
        uniform = generator.random((min(step, simulations - start), patient.max() + 1))
        errors.append(debiased_error(p, uniform[:, patient] < p, patient))
    # Weibull's quantile: a further draw lies below it in 95 %, however few draws there are.
    return 0.0, float(np.quantile(np.concatenate(errors), 0.95, method="weibull"))
