"""The confidence interval of the AUROC (DeLong), with patients as clusters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from lucency.metrics.arrays import BoolArray, FloatArray, IntArray
from lucency.metrics.influences import components
from lucency.metrics.intervals import (
    UNDEFINED,
    Estimate,
    clopper_pearson,
    is_one_class,
    named,
    standard_error,
    t_interval,
)
from lucency.metrics.scores import auroc


def delong(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Estimate the AUROC with DeLong's variance; patients may have any number of images.

    The structural components come from midranks (Sun & Xu 2014) and their variance from sums over
    each group (Obuchowski 1997); for groups of one image this is DeLong's variance (1988). The
    interval is a t interval on the logit scale, because the plain normal interval has too little
    coverage near 1 (Qin & Hotilovac 2008). Where the variance is unknown (a class has one group)
    or 0 (perfect separation, all scores equal), the interval is Clopper and Pearson's for
    ``independent_pairs``: the AUROC is the probability that a pair is ranked correctly.

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.
        groups: (n,) patient of each image; by default every image is a group.

    Returns:
        The AUROC; all nan without positives or negatives.
    """
    positive, values = np.asarray(labels, bool), np.asarray(scores, np.float64)
    clusters = np.arange(len(positive)) if groups is None else np.asarray(groups)
    _, cluster = np.unique(clusters, return_inverse=True)
    if is_one_class(positive):
        return UNDEFINED
    area = float(auroc(positive, values))
    centred = components(positive, values) - area
    variance = clustered_variance(positive, centred, cluster)
    if variance > 0 and 0 < area < 1:
        _, freedom = standard_error(
            centred / np.where(positive, positive.sum(), (~positive).sum()), cluster
        )
        ends = t_interval(area, math.sqrt(variance), freedom, "logit")
        return Estimate(area, *ends, named("DeLong, logit", cluster))
    return exact_auroc(area, independent_pairs(positive, cluster))


def exact_auroc(area: float, pairs: int) -> Estimate:
    """Estimate the AUROC as the share of independent pairs that are ranked correctly."""
    return Estimate(
        area, *clopper_pearson(area * pairs, pairs), f"exact, {pairs} independent pairs"
    )


def independent_pairs(positive: BoolArray, cluster: IntArray) -> int:
    """Return how many positive-negative pairs can be formed using every group once."""
    with_positive, with_negative = np.unique(cluster[positive]), np.unique(cluster[~positive])
    return min(len(with_positive), len(with_negative), len(np.unique(cluster)) // 2)


def clustered_variance(positive: BoolArray, centred: FloatArray, cluster: IntArray) -> float:
    """Return the variance of the AUROC from its centred components; nan with too few groups."""
    sums, factors, sizes = [], [], []
    for members in (positive, ~positive):
        held = len(np.unique(cluster[members]))
        if held < 2:
            return math.nan
        sums.append(np.bincount(cluster, centred * members, minlength=cluster.max() + 1))
        factors.append(held / (held - 1))
        sizes.append(int(members.sum()))
    (above, below), (m, n), groups = sums, sizes, len(sums[0])
    own = factors[0] * (above**2).sum() / m**2 + factors[1] * (below**2).sum() / n**2
    return float(own + 2 * groups / (groups - 1) * (above * below).sum() / (m * n))
