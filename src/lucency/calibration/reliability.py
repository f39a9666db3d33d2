"""Whether probabilities are calibrated: reliability diagram and calibration errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_BINS = 10
_PER_BIN = 10  # fewer images do not estimate a frequency
_CELLS = 2**18  # simulations x images in memory at once


@dataclass(frozen=True)
class Bin:
    """Images of similar probability: their number, mean probability and observed frequency."""

    n: int
    mean_probability: float
    fraction: float


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
