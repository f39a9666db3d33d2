"""AUROC of small models on a few features, cross-validated by patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lucency import metrics
from lucency.metrics import Estimate

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_REPLICATES = 1000
_TAIL = 3.29  # standard deviations that chance exceeds once in 2,000 times
_BINS = 250  # of each feature; those of scikit-learn's trees are at most 255
_INFLATION = 1.4  # of the standard deviation, as the folds share training data


def cross_validated(
    features: FloatArray, labels: IntArray, groups: Sequence[str], seed: int, *, trees: bool
) -> Estimate:
    """Estimate the AUROC of a small model by five-fold cross-validation by patient.

    Args:
        features: (n, d).
        labels: (n,) class indices.
        groups: n patients, each of whom is in one fold.
        seed: Of the folds.
        trees: Boosted trees, for few features of any scale; otherwise logistic regression.

    Returns:
        The AUROC of the out-of-fold scores, the mean over the classes where there are more than
        two; nan where a class has fewer than five patients.
    """
    classes = int(labels.max()) + 1
    patients = np.unique(np.asarray(groups), return_inverse=True)[1]
    folds = metrics.group_folds(labels, patients, classes, seed) if classes > 1 else None
    if folds is None:
        return Estimate(math.nan, math.nan, math.nan, "undefined")
    scores = np.zeros((len(labels), classes))
    for k in range(metrics.FOLDS):
        train, test = folds != k, folds == k
        model = _model(trees).fit(features[train], labels[train])
        scores[test] = model.predict_proba(features[test])
    return auroc(labels, scores, groups)


def transfer(
    train: tuple[FloatArray, IntArray],
    test: tuple[FloatArray, IntArray, Sequence[str]],
    *,
    trees: bool,
) -> Estimate:
    """Train a small model on one sample and estimate its AUROC on another."""
    features, labels, groups = test
    model = _model(trees).fit(*train)
    if len(np.unique(labels)) < len(model.classes_):
        return Estimate(math.nan, math.nan, math.nan, "undefined")
    return auroc(labels, model.predict_proba(features), groups)


def auroc(labels: IntArray, scores: FloatArray, groups: Sequence[str]) -> Estimate:
    """Estimate an AUROC with a patient-level interval; macro average for several classes."""
    if scores.shape[1] == 2:
        return metrics.delong(labels == 1, scores[:, 1], groups)
    ranks = [metrics.rank(labels == k, scores[:, k]) for k in range(scores.shape[1])]
    replicates = [
        np.mean([rank.cut(rows).auroc() for rank in ranks], axis=0)
        for rows in metrics.bootstrap_weights(groups, _REPLICATES)
    ]
    low, high = (float(end) for end in metrics.percentiles(np.concatenate(replicates)))
    return Estimate(metrics.macro_auroc(labels, scores), low, high, "patient bootstrap")


def single_features(features: FloatArray, labels: IntArray) -> FloatArray:
    """Return the AUROC of each feature alone, (d,), in whichever direction is better."""
    found = []
    for column in features.T:
        areas = [float(metrics.auroc(labels == k, column)) for k in range(int(labels.max()) + 1)]
        found.append(max(max(x, 1 - x) for x in areas if math.isfinite(x)))
    return np.array(found)


def beyond_chance(auc: float, labels: IntArray, groups: Sequence[str]) -> bool:
    """Tell whether chance yields such a cross-validated AUROC less than once in 2,000 times.

    By chance an AUROC has a standard deviation of sqrt((m + n + 1) / 12 m n) (Mann & Whitney 1947);
    m and n count patients, as images of one patient are similar. Cross-validation inflates it up to
    1.4 times, as the folds share training data (1.3 to 1.45 on shuffled radiographs). A confidence
    interval of the AUROC is not suitable: near 1 it depends on one or two patients and may reach
    below 0.5.

    Args:
        auc: The AUROC, the mean over the classes where there are more than two; nan gives False.
        labels: (n,) class indices.
        groups: n patients.
    """
    patients = np.unique(np.asarray(groups), return_inverse=True)[1]
    present = np.unique(labels)
    deviations = []
    for k in present[: 1 if len(present) == 2 else None]:
        m, n = (len(np.unique(patients[of])) for of in (labels == k, labels != k))
        deviations.append(math.sqrt((m + n + 1) / (12 * m * n)) if m and n else math.inf)
    return bool(auc > 0.5 + _TAIL * _INFLATION * np.mean(deviations))


def _model(trees: bool) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if trees:
        return _Trees()
    logistic = LogisticRegression(C=0.05, max_iter=300, class_weight="balanced")
    return make_pipeline(StandardScaler(), logistic)


class _Trees:
    """Boosted trees on features that are numbered by bins of equally many images.

    With weights, scikit-learn's trees look for such bins more than ten times as long as they grow,
    unless a feature has few values. ``KBinsDiscretizer`` puts the two values of a flag in one bin.
    """

    def __init__(self) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        self._edges: list[FloatArray] = []
        self._trees = HistGradientBoostingClassifier(
            max_depth=3, max_iter=60, min_samples_leaf=10, class_weight="balanced", random_state=0
        )

    def fit(self, features: FloatArray, labels: IntArray) -> Self:
        shares = np.linspace(0, 1, _BINS)
        found = np.quantile(features, shares, axis=0, method="averaged_inverted_cdf")
        values = (np.unique(column) for column in found.T)
        self._edges = [(each[1:] + each[:-1]) / 2 for each in values]
        self._trees.fit(self._binned(features), labels)
        return self

    @property
    def classes_(self) -> IntArray:
        return np.asarray(self._trees.classes_)

    def predict_proba(self, features: FloatArray) -> FloatArray:
        return np.asarray(self._trees.predict_proba(self._binned(features)))

    def _binned(self, features: FloatArray) -> FloatArray:
        pairs = zip(self._edges, features.T, strict=True)
        return np.stack([np.searchsorted(*pair) for pair in pairs], axis=1).astype(np.float64)
