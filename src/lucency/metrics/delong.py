"""The AUROC's interval."""

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
    spread,
    t_interval,
)
from lucency.metrics.scores import auroc


def delong(labels: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Estimate the AUROC with DeLong's variance, for patients with any number of images.

    The structural components come from midranks (Sun & Xu 2014) and their variance from sums over
    each group (Obuchowski 1997), which for groups of one is DeLong's own (1988). The interval is
    a t interval on the logit scale, as the plain normal one misses AUROCs near 1 (Qin & Hotilovac
    2008). Where the variance cannot be had (one group of a class) or is 0 (perfect separation, all
    scores equal), it is Clopper and Pearson's for ``independent_pairs``, of which the AUROC is the
    chance to be ranked right: wide, and for perfect separation exact whatever the scores.

    Args:
        labels: (n,) true or 1 for positives.
        scores: (n,) finite, higher for positives; n >= 1.
        groups: (n,) whose image it is; each image its own when left out.

    Returns:
        The AUROC; all nan when positives or negatives are absent.
    """
    positive, values = np.asarray(labels, bool), np.asarray(scores, np.float64)
    owners = np.arange(len(positive)) if groups is None else np.asarray(groups)
    _, owner = np.unique(owners, return_inverse=True)
    if is_one_class(positive):
        return UNDEFINED
    area = float(auroc(positive, values))
    centred = components(positive, values) - area
    variance = clustered_variance(positive, centred, owner)
    if variance > 0 and 0 < area < 1:
        _, freedom = spread(centred / np.where(positive, positive.sum(), (~positive).sum()), owner)
        ends = t_interval(area, math.sqrt(variance), freedom, "logit")
        return Estimate(area, *ends, named("DeLong, logit", owner))
    return exact_auroc(area, independent_pairs(positive, owner))


def exact_auroc(area: float, pairs: int) -> Estimate:
    """Estimate the AUROC as the share of independent pairs that are ranked right."""
    return Estimate(
        area, *clopper_pearson(area * pairs, pairs), f"exact, {pairs} independent pairs"
    )


def independent_pairs(positive: BoolArray, owner: IntArray) -> int:
    """Return how many positive-negative pairs can be drawn with every group used once."""
    with_positive, with_negative = np.unique(owner[positive]), np.unique(owner[~positive])
    return min(len(with_positive), len(with_negative), len(np.unique(owner)) // 2)


def clustered_variance(positive: BoolArray, centred: FloatArray, owner: IntArray) -> float:
    """Return the AUROC's variance from its centred components; nan with too few groups."""
    sums, factors, sizes = [], [], []
    for members in (positive, ~positive):
        held = len(np.unique(owner[members]))
        if held < 2:
            return math.nan
        sums.append(np.bincount(owner, centred * members, minlength=owner.max() + 1))
        factors.append(held / (held - 1))
        sizes.append(int(members.sum()))
    (above, below), (m, n), groups = sums, sizes, len(sums[0])
    own = factors[0] * (above**2).sum() / m**2 + factors[1] * (below**2).sum() / n**2
    return float(own + 2 * groups / (groups - 1) * (above * below).sum() / (m * n))
