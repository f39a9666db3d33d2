"""The same training as a scikit-learn estimator: images and labels in, a fitted classifier out.

    LucencyClassifier(effort="quick").fit(X, y, groups=patients).predict_proba(X_new)

``X`` is an array of images or a sequence of files, ``y`` one label of each, or a column of 1, 0 and
nan (unknown) for each of several labels; ``LucencyRegressor`` takes numbers. A validation split is
taken from it, by patient if groups are given. The test split is left to cross-validation.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from lucency.calibration.values import ValueRule
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import Entry, Split
from lucency.dataset.cache import PixelCache
from lucency.dataset.load import is_colour_dataset
from lucency.dataset.multilabel import (
    ABSENT,
    PRESENT,
    UNKNOWN,
    Findings,
    check_config,
    check_names,
    strata,
)
from lucency.dataset.split import choose_groups
from lucency.dataset.values import Bins, check_regression
from lucency.errors import DataError, InputError
from lucency.imaging.decoder.pool import DecoderPool, Pixels, Request
from lucency.imaging.depths import EIGHT, is_deep, needed
from lucency.imaging.image import SourceImage, encode_png
from lucency.task import REGRESSION, in_order

__all__ = ["LucencyClassifier", "LucencyRegressor"]

_MAX_SEED = 2**31 - 1


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: parameters, images and pickling."""

    classifier_: Classifier

    def __init__(
        self,
        *,
        effort: str = "standard",
        epochs: int | None = None,
        size: int | None = None,
        batch: int | None = None,
        learning_rate: float | None = None,
        random_state: int | np.random.RandomState | None = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.effort = effort
        self.epochs = epochs
        self.size = size
        self.batch = batch
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.settings = settings

    def _config(self, **task: str) -> Config:
        values = {
            "effort": self.effort,
            "epochs": self.epochs,
            "size": self.size,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "seed": _seed(self.random_state),
            **(self.settings or {}),
            **task,
        }
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
        config = Config.load(None, (), **plain)
        if config.answers != "image":
            raise InputError(
                "An estimator answers for each image. Leave out the settings unit and frames."
            )
        return config

    def _keep(self, trained: Classifier, X: NDArray[Any]) -> Self:
        """Keep what was trained on images."""
        self.classifier_ = trained
        if X.ndim > 1:
            self.n_features_in_ = int(np.prod(X.shape[1:]))
        return self

    def _predicted(self, X: Any) -> NDArray[np.float64]:
        """Return the probabilities of images, (n, outputs)."""
        check_is_fitted(self)
        spec = self.classifier_.spec
        images = _decoded(_images(X), spec.size, spec.channels == 3, spec.depth)
        return self.classifier_.predict_pixels(images.read(range(len(images))))

    def __getstate__(self) -> dict[str, Any]:
        """Exclude what cannot be pickled: sessions and Keras models."""
        state: dict[str, Any] = dict(super().__getstate__())
        if fitted := state.get("classifier_"):
            state["classifier_"] = Classifier(
                fitted.spec, fitted.weights, fitted.onnx, fitted.ood_detector
            )
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags


class LucencyClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """An image classifier with the interface of scikit-learn.

    Args:
        effort: ``quick``, ``standard`` or ``thorough``.
        epochs: Passes over the training images; depends on the effort if ``None``.
        size: Side of the square input in pixels; depends on the effort if ``None``.
        batch: Images per step; decided by the plan if ``None``.
        learning_rate: Highest learning rate; decided by the plan if ``None``.
        random_state: Seed, generator, or ``None`` for another seed in every fit.
        settings: Other keys of ``lucency.Config`` with their values, such as ``recipe``,
            ``val_fraction``, ``positive`` or ``operating_point``.

    Attributes:
        classifier_: The trained ``lucency.Classifier``; ``classifier_.save(folder)`` saves it.
        classes_: (k,) the distinct labels, sorted. Of several labels the names of the columns of
            ``y``, or their numbers.
        n_features_in_: Number of values in an image; only if ``X`` was an array.
    """

    def fit(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train on images; some of them are used for validation.

        Args:
            X: (n, height, width) or (n, height, width, 1 or 3) uint8, or n paths of image files.
            y: (n,) labels of two or more classes, each with two or more images (or patients). Or
                (n, labels): 1 where an image has a label, 0 where not, nan where that is unknown.
            groups: (n,) patient of each image; all different if ``None``.

        Raises:
            InputError: X, y or groups are invalid; it is a ``ValueError`` too.
            ConfigError: A parameter is invalid.
        """
        from lucency.training.train import train

        config = self._config()
        X = _images(X)
        names = [str(i) for i in range(len(X))] if groups is None else _names(X, groups)
        if np.ndim(y) == 2 and np.shape(y)[1] > 1:
            check_config(config)
            targets = self._targets(X, y)
            cache = _decoded(X, config.input_size, depth=config.depth or 0)
            splits = _split_labels(cache, targets, names, [*map(str, self.classes_)], config)
        else:
            labels = self._labels(X, y)
            cache = _decoded(X, config.input_size, depth=config.depth or 0)
            classes = in_order([*map(str, self.classes_)], config.order)
            # Of each label, its place in the order of the classifier.
            self._places = np.array([classes.index(str(each)) for each in self.classes_])
            splits = _split(cache, self._places[labels], names, classes, config)
        return self._keep(train(*splits, config), X)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return calibrated probabilities, (n, k) in the order of ``classes_``.

        Of several labels, they are those that each is present, and do not add up to 1.

        Raises:
            InputError: An image is invalid; a scikit-learn estimator cannot abstain.
        """
        found = self._predicted(X)
        return found if self.classifier_.spec.labels else np.asarray(found[:, self._places])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the predicted labels, (n,), at the operating point of ``settings``.

        Of several labels, (n, labels): 1 for those that are present at their thresholds, else 0.
        """
        probabilities = self.predict_proba(X)
        if self.classifier_.spec.labels:
            return self.classifier_.decide(probabilities)
        label_of = np.argsort(self._places)
        decisions = self.classifier_.decide(probabilities[:, label_of])
        return np.asarray(self.classes_[label_of[decisions]])

    def _labels(self, X: NDArray[Any], y: ArrayLike) -> NDArray[np.int64]:
        """Set ``classes_`` and return (n,) indices into it."""
        y = _column(X, y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"Expected two classes or more. Received one class: {self.classes_}")
        return labels.astype(np.int64)

    def _targets(self, X: NDArray[Any], y: ArrayLike) -> NDArray[np.float32]:
        """Set ``classes_`` and return (n, labels) targets: 1, 0, and -1 for unknown."""
        check_consistent_length(X, y)
        names = getattr(y, "columns", None)  # of a table of pandas
        try:
            given = np.asarray(y, np.float64)
        except (TypeError, ValueError):
            given = np.full(np.shape(y), np.inf)
        targets = np.where(np.isnan(given), -1, given).astype(np.float32)
        wrong = np.argwhere(~np.isin(given, (0, 1)) & ~np.isnan(given))
        if len(wrong):
            i, k = wrong[0]
            raise InputError(
                "y with several columns must hold 1 (present), 0 (absent) or nan (unknown) for "
                f"each label. Received in row {i}, column {k}: {np.asarray(y)[i, k]!r}"
            )
        self.classes_ = np.arange(given.shape[1]) if names is None else np.asarray(names)
        return targets

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class LucencyRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A network that predicts a number for each image, with the interface of scikit-learn.

    Args:
        effort: As of ``LucencyClassifier``, like all other parameters.
        epochs: Passes over the training images; depends on the effort if ``None``.
        size: Side of the square input in pixels; depends on the effort if ``None``.
        batch: Images per step; decided by the plan if ``None``.
        learning_rate: Highest learning rate; decided by the plan if ``None``.
        random_state: Seed, generator, or ``None`` for another seed in every fit.
        settings: Other keys of ``lucency.Config`` with their values.

    Attributes:
        classifier_: The trained ``lucency.Classifier``; ``classifier_.save(folder)`` saves it.
        n_features_in_: Number of values in an image; only if ``X`` was an array.
    """

    def fit(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train on images; some of them are used for validation.

        Args:
            X: As of ``LucencyClassifier.fit``.
            y: (n,) finite numbers, with three different values or more; n >= 36.
            groups: (n,) patient of each image; all different if ``None``.

        Raises:
            InputError: X, y or groups are invalid; it is a ``ValueError`` too.
            ConfigError: A parameter is invalid.
        """
        from lucency.training.train import train

        config = self._config(task=REGRESSION)
        check_regression(config)
        X = _images(X)
        names = [str(i) for i in range(len(X))] if groups is None else _names(X, groups)
        numbers = _numbers(X, y)
        cache = _decoded(X, config.input_size, depth=config.depth or 0)
        return self._keep(train(*_split_numbers(cache, numbers, names, config), config), X)

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the predicted numbers, (n,)."""
        found = self._predicted(X)
        return self._rule.predicted(found)

    def predict_interval(self, X: Any) -> NDArray[np.float64]:
        """Return prediction intervals, (n, 2), that contain 90 % of the numbers of new patients.

        They are infinite where fewer than nine patients were held out.
        """
        found = self._predicted(X)
        intervals = self._rule.intervals(found)
        return np.tile([-np.inf, np.inf], (len(found), 1)) if intervals is None else intervals

    @property
    def _rule(self) -> ValueRule:
        rule = self.classifier_.value
        if rule is None:
            raise ValueError("the fitted classifier predicts no number")
        return rule


def _seed(random_state: Any) -> int:
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(_MAX_SEED))


def _images(images: Any) -> NDArray[Any]:
    """Return images as (n, height, width[, channels]) uint8, or files as (n,) strings."""
    X = np.asarray(images)
    if X.ndim == 1 and X.dtype.kind in "UOT":
        X = np.array([str(each) for each in X], object)
    elif not (X.dtype == np.uint8 and (X.ndim == 3 or (X.ndim == 4 and X.shape[3] in (1, 3)))):
        raise InputError(
            "X must be images as a uint8 array (n, height, width) or (n, height, width, 1 or 3) "
            f"from 0 to 255, or paths of files. Received: {X.dtype} {X.shape}"
        )
    if len(X) == 0:
        raise InputError("X must hold at least one image. Received: 0 sample(s)")
    return X


def _decoded(
    X: NDArray[Any], size: tuple[int, int], colour: bool | None = None, depth: int = 0
) -> InMemoryImages:
    """Return images as all commands decode them.

    ``colour`` is whether to return three channels; ``None`` does so for arrays with three channels
    and for files that contain colour. ``depth`` is that of files; 0 takes the smallest that holds
    all of them.
    """
    if X.ndim == 1:
        with DecoderPool() as pool:
            colour = is_colour_dataset([*X], pool) if colour is None else colour
            images = _read(pool, X, Request("", size, colour, depth=depth))
            if depth or not is_deep(images.needed):
                return images
            return _read(pool, X, Request("", size, colour, depth=images.needed))
    images_of = X[..., None] if X.ndim == 3 else X
    colour = images_of.shape[3] == 3 if colour is None else colour
    sizes = np.full((len(X), 2), X.shape[1:3], np.int64)
    if images_of.shape[1:] == (*size, 3 if colour else 1):
        return InMemoryImages(np.ascontiguousarray(images_of), sizes)
    rows = [SourceImage(encode_png(each)).pixels(size, colour) for each in images_of]
    return InMemoryImages(np.stack(rows), sizes)


def _read(pool: DecoderPool, files: NDArray[Any], request: Request) -> InMemoryImages:
    request = request._replace(deep=is_deep(request.depth))
    sizes, bits = np.empty((len(files), 2), np.int64), set()
    rows: list[Pixels] = []
    decoded = pool.map(request._replace(source=file) for file in files)
    for i, (file, each) in enumerate(zip(files, decoded, strict=True)):
        if each.pixels is None:
            raise InputError(f"{file} cannot be read: {each.reason}")
        rows.append(each.pixels)
        sizes[i] = each.size
        bits.add(each.bits)
    return InMemoryImages(np.stack(rows), sizes, request.depth or EIGHT, needed(bits))


def _names(X: NDArray[Any], groups: ArrayLike) -> list[str]:
    check_consistent_length(X, groups)
    return [str(group) for group in np.asarray(groups)]


def _split(
    cache: InMemoryImages,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    classes: tuple[str, ...],
    config: Config,
) -> tuple[Split, Split]:
    """Split off validation by group, stratified by class."""
    in_val = _in_validation([*map(str, labels)], groups, config)
    for k, name in enumerate(classes):
        if len({*in_val[labels == k]}) < 2:
            images = int((labels == k).sum())
            raise InputError(
                f"The class {name!r} has {images} sample(s), of too few groups to be in training "
                "and in validation. Expected two or more groups, or two images without groups."
            )
    return _splits_of(cache, labels, groups, classes, in_val)


def _split_labels(
    cache: InMemoryImages,
    targets: NDArray[np.float32],
    groups: Sequence[str],
    names: Sequence[str],
    config: Config,
) -> tuple[Split, Split]:
    """Split off validation by group, stratified by the rarest label that each image has."""
    check_names(Path("y"), names)
    signs = {1.0: PRESENT, 0.0: ABSENT, -1.0: UNKNOWN}
    states = tuple("".join(signs[value] for value in row) for row in targets.tolist())
    of_image = strata(Findings(tuple(names), states, ""))
    classes = tuple(dict.fromkeys(sorted(of_image)))
    numbers = np.array([classes.index(each) for each in of_image])
    in_val = _in_validation(of_image, groups, config)
    for k, name in enumerate(names):
        for inside, what in ((~in_val, "training"), (in_val, "validation")):
            if not {0.0, 1.0} <= {*targets[inside, k].tolist()}:
                raise InputError(
                    f"The label {name!r} has too few samples with or without it to be in training "
                    f"and in validation: {what} lacks one of both. Add images of more groups, or "
                    "leave out the label."
                )
    train, val = (
        dataclasses.replace(
            each,
            label_names=tuple(names),
            targets=targets[each.rows],
            learned=targets[each.rows],
        )
        for each in _splits_of(cache, numbers, groups, classes, in_val)
    )
    return train, val


def _column(X: NDArray[Any], y: ArrayLike) -> NDArray[Any]:
    """Return one label or number for each image, (n,)."""
    if y is None:
        raise InputError("requires y to be passed, but the target y is None.")
    column = np.asarray(column_or_1d(y, warn=True))
    check_consistent_length(X, column)
    return column


def _numbers(X: NDArray[Any], y: ArrayLike) -> NDArray[np.float64]:
    """Return (n,) numbers to predict."""
    numbers = _column(X, y)
    try:
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"y must hold numbers. Received: {numbers.dtype} ({error})") from error
    if not np.isfinite(numbers).all():
        raise InputError("y must hold finite numbers. Received: Input contains NaN or infinity.")
    return numbers


def _split_numbers(
    cache: InMemoryImages,
    numbers: NDArray[np.float64],
    groups: Sequence[str],
    config: Config,
) -> tuple[Split, Split]:
    """Split off validation by group, stratified by the bins of the numbers."""
    try:
        bins = Bins.of(numbers)
    except DataError as error:
        raise InputError(f"y: {error}") from error
    labels = bins.numbers(numbers)
    in_val = _in_validation([*map(str, labels)], groups, config)
    if not in_val.any() or {*labels[~in_val].tolist()} != {*range(len(bins.names))}:
        raise InputError(
            "The images are of too few groups to be in training and in validation. Expected "
            "several groups with numbers in each part of the axis."
        )
    train, val = (
        dataclasses.replace(each, values=numbers[each.rows], value_name="y")
        for each in _splits_of(cache, labels, groups, bins.names, in_val)
    )
    return train, val


def _in_validation(
    strata: Sequence[str], groups: Sequence[str], config: Config
) -> NDArray[np.bool_]:
    """Choose groups for validation, stratified; return for which (n,) images."""
    entries = [
        Entry(str(i), stratum, group=group, row=i)
        for i, (stratum, group) in enumerate(zip(strata, groups, strict=True))
    ]
    chosen = choose_groups(entries, fraction=config.val_fraction, seed=config.seed, keep=1)
    return np.array([entry.group in chosen for entry in entries])


def _splits_of(
    cache: InMemoryImages,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    classes: tuple[str, ...],
    in_val: NDArray[np.bool_],
) -> tuple[Split, Split]:
    """Return train and val."""
    train, val = (
        Split(
            name=name,
            classes=classes,
            files=tuple(str(row) for row in rows),
            groups=tuple(groups[row] for row in rows.tolist()),
            labels=labels[rows],
            cache=cache,
            rows=rows.astype(np.int64),
        )
        for name, rows in (("train", np.flatnonzero(~in_val)), ("val", np.flatnonzero(in_val)))
    )
    return train, val


class InMemoryImages(PixelCache):
    """Images that are decoded already, read like those on disk.

    Args:
        pixels: (n, height, width, 1 or 3) uint8, or float32 for more than 8 bits; not copied.
        sizes: (n, 2) int64, height and width of the original images.
        depth: Bits of files of more than 8.
        smallest: The smallest depth that holds all of them.
    """

    def __init__(
        self,
        pixels: Pixels,
        sizes: NDArray[np.int64],
        depth: int = EIGHT,
        smallest: int = EIGHT,
    ) -> None:
        height, width, channels = pixels.shape[1:]
        self._pixels, self.sizes = pixels, sizes
        self.shape, self.depth, self.needed = (height, width, channels), depth, smallest
        self.sha256 = tuple(hashlib.sha256(each.tobytes()).hexdigest() for each in pixels)
        self.reasons: dict[int, str] = {}
        self.decoded = 0

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> Pixels:
        """Return rows in the requested order, (k, height, width, channels), 0 to 255."""
        return self._pixels[np.asarray(rows, np.int64)]

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is no file to close."""
