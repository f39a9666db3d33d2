"""How well a small model tells labels apart by a few features, on patients it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.metrics import Estimate

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_FOLDS = 5
_REPLICATES = 1000
_TAIL = 3.29  # standard deviations that chance exceeds once in 2,000 times
_SHARED = 1.4


def cross_validated(
    features: FloatArray, labels: IntArray, groups: Sequence[str], seed: int, *, trees: bool
) -> Estimate:
    """Estimate the AUROC of a small model by five-fold cross-validation over patients.

    Args:
        features: (n, d).
        labels: (n,) class indices.
        groups: n patients, who stay in one fold.
        seed: Of the folds.
        trees: Boosted trees, for few features of any scale; else logistic regression.

    Returns:
        The AUROC of the out-of-fold scores, the mean over the classes where there are more than
        two; nan where a class has fewer than five patients.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = int(labels.max()) + 1
    owner = np.unique(np.asarray(groups), return_inverse=True)[1]
    patients = [len(np.unique(owner[labels == k])) for k in range(classes)]
    if classes < 2 or min(patients) < _FOLDS:
        return Estimate(math.nan, math.nan, math.nan, "undefined")
    scores = np.full((len(labels), classes), 1 / classes)
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    for learn, ask in folds.split(features, labels, owner):
        if len(np.unique(labels[learn])) == classes:
            scores[ask] = (
                _model(trees).fit(features[learn], labels[learn]).predict_proba(features[ask])
            )
    return area(labels, scores, groups)


def transferred(
    learn: tuple[FloatArray, IntArray],
    ask: tuple[FloatArray, IntArray, Sequence[str]],
    *,
    trees: bool,
) -> Estimate:
    """Estimate the AUROC on one part of a small model that learnt on another."""
    features, labels, groups = ask
    model = _model(trees).fit(*learn)
    if len(np.unique(labels)) < len(model.classes_):
        return Estimate(math.nan, math.nan, math.nan, "undefined")
    return area(labels, model.predict_proba(features), groups)


def area(labels: IntArray, scores: FloatArray, groups: Sequence[str]) -> Estimate:
    """Estimate an AUROC with an interval that knows about patients; macro for several classes."""
    if scores.shape[1] == 2:
        return metrics.delong(labels == 1, scores[:, 1], groups)
    ranks = [metrics.rank(labels == k, scores[:, k]) for k in range(scores.shape[1])]
    spread = [
        np.mean([rank.cut(rows).auroc() for rank in ranks], axis=0)
        for rows in metrics.bootstrap_weights(groups, _REPLICATES)
    ]
    low, high = (float(end) for end in metrics.percentiles(np.concatenate(spread)))
    return Estimate(metrics.macro_auroc(labels, scores), low, high, "patient bootstrap")


def single(features: FloatArray, labels: IntArray) -> FloatArray:
    """Return how well each feature alone ranks the classes, (d,), whichever way round."""
    found = []
    for column in features.T:
        areas = [float(metrics.auroc(labels == k, column)) for k in range(int(labels.max()) + 1)]
        found.append(max(max(x, 1 - x) for x in areas if math.isfinite(x)))
    return np.array(found)


def beyond_chance(auc: float, labels: IntArray, groups: Sequence[str]) -> bool:
    """Whether chance gives cross-validated scores such an AUROC less than once in 2,000 times.

    Chance alone has a standard deviation of sqrt((m + n + 1) / 12 m n) (Mann & Whitney 1947), here
    of m and n patients, as images of one are alike, and of up to 1.4 times that, as the folds
    share what they learn from (1.3 to 1.45 in shuffled radiographs). An interval around the AUROC
    will not do: near 1 it hangs on one or two patients and may reach below 0.5.

    Args:
        auc: To judge, the mean over the classes where there are more than two; nan is not beyond.
        labels: (n,) class indices.
        groups: n patients.
    """
    owner = np.unique(np.asarray(groups), return_inverse=True)[1]
    present = np.unique(labels)
    errors = []
    for k in present[: 1 if len(present) == 2 else None]:
        m, n = (len(np.unique(owner[of])) for of in (labels == k, labels != k))
        errors.append(math.sqrt((m + n + 1) / (12 * m * n)) if m and n else math.inf)
    return bool(auc > 0.5 + _TAIL * _SHARED * np.mean(errors))


def _model(trees: bool) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if trees:
        return HistGradientBoostingClassifier(
            max_depth=3, max_iter=60, min_samples_leaf=10, class_weight="balanced", random_state=0
        )
    logistic = LogisticRegression(C=0.05, max_iter=300, class_weight="balanced")
    return make_pipeline(StandardScaler(), logistic)
