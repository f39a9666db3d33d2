"""The scikit-learn interface: scikit-learn's own checks, its tools, and the same training."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from conftest import draw_folder, draw_image
from lucency.calibration.operating_point import parse
from lucency.classifier import Classifier, Spec
from lucency.config import Config
from lucency.dataset import Split
from lucency.errors import InputError, LucencyError
from lucency.estimator import LucencyClassifier
from lucency.imaging.image import read_image
from small_runs import labelled_spec

FAST: dict[str, Any] = {
    "effort": "quick", "epochs": 1, "size": 16, "settings": {"precision": "float32"},
}  # fmt: skip
SIDE = 8


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw grey images of 40 x 40 pixels, every second with a bright spot."""
    drawn = [draw_image(np.random.default_rng([7, i]), bright=i % 2 == 1) for i in range(count)]
    return np.stack([np.asarray(each) for each in drawn]), np.array(["dark", "light"] * count)[
        :count
    ]


# -- scikit-learn's own checks ---------------------------------------------------------------------


def fake_training(train: Split, val: Split, config: Config) -> Classifier:
    """Replace the training by linear discriminants of pixels, in a real classifier."""
    x = train.pixels(range(len(train))).reshape(len(train), -1).astype(np.float64)
    if train.targets is not None:
        return fake_labels(train, x)
    means = np.stack([x[train.labels == k].mean(axis=0) for k in range(len(train.classes))])
    covariance = np.cov((x - means[train.labels]).T) + 1e-2 * np.eye(x.shape[1])
    slope = np.linalg.solve(covariance, means.T)
    offset = -0.5 * np.einsum("kd,dk->k", means, slope)
    shape, k = train.cache.shape, len(train.classes)
    onnx = discriminants(shape, slope, offset, "Softmax")
    spec = Spec(
        classes=train.classes, positive=train.classes[1] if k == 2 else None,
        size=shape[:2], channels=1, architecture="default", network_channels=1,
        parameters={"width": 1, "blocks": [1]},
    )  # fmt: skip
    return Classifier(spec, {"w": np.ones(spec.weight_count, np.float32)}, onnx)


def fake_labels(train: Split, x: np.ndarray) -> Classifier:
    """Do the same for each of several labels, on the images where it is known."""
    assert train.targets is not None
    slopes, offsets, each = [], [], labelled_spec(train.label_names, 0.5).labels
    for target in train.targets.T:
        known = target >= 0
        has, of = target[known] > 0, x[known]
        means = np.stack([of[~has].mean(axis=0), of[has].mean(axis=0)])
        covariance = np.cov((of - means[has.astype(int)]).T) + 1e-2 * np.eye(x.shape[1])
        slopes.append(np.linalg.solve(covariance, means[1] - means[0]))
        offsets.append(-slopes[-1] @ means.mean(axis=0))
    onnx = discriminants(train.cache.shape, np.stack(slopes, axis=1), np.array(offsets), "Sigmoid")
    spec = Spec(
        classes=train.label_names, positive=None, size=train.cache.shape[:2], channels=1,
        architecture="default", network_channels=1, task="multilabel", labels=each,
        parameters={"width": 1, "blocks": [1], "multilabel": True},
    )  # fmt: skip
    return Classifier(spec, {"w": np.ones(spec.weight_count, np.float32)}, onnx)


def discriminants(
    shape: tuple[int, int, int], slope: np.ndarray, offset: np.ndarray, last: str
) -> bytes:
    """Return an ONNX file of linear functions of pixels."""
    constants = [
        numpy_helper.from_array(slope.astype(np.float32), "slope"),
        numpy_helper.from_array(offset.astype(np.float32), "offset"),
        numpy_helper.from_array(np.array([-1, len(slope)], np.int64), "flat"),
    ]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["raw", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "slope"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offset"], ["logits"]),
        helper.make_node(last, ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "discriminants",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(offset)])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


class OnRows(LucencyClassifier):
    """Converts rows of numbers to images of stripes.

    scikit-learn's checks pass rows, and do not run for estimators that do not accept them.
    """

    def fit(self, X: Any, y: Any, groups: Any = None) -> OnRows:
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        self.middle_, self.spread_ = X.mean(axis=0), X.std(axis=0) + 1e-9
        columns = self.n_features_in_
        super().fit(self._striped(X), y, groups)
        self.n_features_in_ = columns
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        if hasattr(self, "classifier_"):
            X = self._striped(validate_data(self, X, reset=False, dtype=np.float64))
        return super().predict_proba(X)

    def _striped(self, X: np.ndarray) -> np.ndarray:
        grey = np.clip(128 + 40 * (X - self.middle_) / self.spread_, 0, 255).astype(np.uint8)
        wide = np.repeat(grey, -(-SIDE // grey.shape[1]), axis=1)[:, :SIDE]
        return np.repeat(wide[:, None, :], SIDE, axis=1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@parametrize_with_checks([OnRows(size=16)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks(
    estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lucency.training.train.train", fake_training)
    check(estimator)


# -- its tools -------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> LucencyClassifier:
    """Return an estimator that trains instantly."""
    monkeypatch.setattr("lucency.training.train.train", fake_training)
    return LucencyClassifier(**FAST)


def test_cross_validation_with_patients(quick: LucencyClassifier) -> None:
    X, y = images(60)
    patients = np.repeat(np.arange(30), 2)
    scores = cross_val_score(quick, X, y, cv=GroupKFold(3), groups=patients)
    assert scores.min() > 0.8
    probabilities = cross_val_predict(quick, X, y, cv=3, method="predict_proba")
    assert probabilities.shape == (60, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_a_search_over_settings(quick: LucencyClassifier) -> None:
    X, y = images(40)
    grid = {"epochs": np.array([1, 2]), "effort": ["quick", "standard"]}
    found = GridSearchCV(quick, grid, cv=2).fit(X, y)
    assert found.best_score_ > 0.8
    assert found.best_estimator_.classifier_.spec.size == (16, 16)
    assert len(found.cv_results_["params"]) == 4


def test_calibration_and_pipelines(quick: LucencyClassifier) -> None:
    X, y = images(40)
    sharper = CalibratedClassifierCV(quick, cv=2).fit(X, y)
    assert sharper.score(X, y) > 0.8
    mirrored = make_pipeline(FunctionTransformer(lambda X: X[:, :, ::-1]), quick).fit(X, y)
    assert mirrored.score(X, y) > 0.8


# -- images and labels ---------------------------------------------------------------------------


def test_files_and_arrays_give_the_same_predictions(
    quick: LucencyClassifier, tmp_path: Path
) -> None:
    folder = draw_folder(tmp_path / "radiographs", 12)
    files = sorted(folder.rglob("*.png"))
    y = [file.parent.name for file in files]
    arrays = np.stack([read_image(file, (40, 40), False) for file in files])
    by_file = clone(quick).fit(files, y)
    by_array = clone(quick).fit(arrays, y)
    np.testing.assert_array_equal(by_file.predict_proba(files), by_array.predict_proba(arrays))
    texts = np.array([str(file) for file in files])
    np.testing.assert_array_equal(by_file.predict_proba(texts), by_file.predict_proba(files))
    assert by_array.n_features_in_ == 1600
    assert not hasattr(by_file, "n_features_in_")
    files[0].write_bytes(b"no image")
    with pytest.raises(InputError, match=r"patient0000_0.png cannot be read: "):
        by_file.predict(files)


def test_images_of_a_patient_stay_together(
    quick: LucencyClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Split, Split]] = []

    def recorded(train: Split, val: Split, config: Config) -> Classifier:
        seen.append((train, val))
        return fake_training(train, val, config)

    monkeypatch.setattr("lucency.training.train.train", recorded)
    X, y = images(60)
    patients = [f"patient {i // 3}" for i in range(60)]
    quick.fit(X, y, groups=patients)
    quick.fit(X, y)
    (train, val), (alone, _) = seen
    assert not {*train.groups} & {*val.groups}
    assert len(train) + len(val) == 60
    assert abs(len(val) - 9) <= 3
    assert {*val.labels} == {0, 1}
    assert len({*alone.groups}) == len(alone)
    np.testing.assert_array_equal(train.cache.read(train.rows), train.pixels(range(len(train))))


def test_labels_come_back_as_they_were_given(quick: LucencyClassifier) -> None:
    X, names = images(20)
    for y in (names == "light", np.where(names == "light", 7, -3), names.astype(object)):
        fitted = clone(quick).fit(X, y)
        np.testing.assert_array_equal(fitted.classes_, np.unique(y))
        assert (fitted.predict(X) == y).mean() > 0.8
        assert fitted.predict(X).dtype == np.asarray(y).dtype


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((4, 9, 9)), "uint8"),
        (np.zeros((4, 9), np.uint8), "uint8"),
        (np.zeros((4, 9, 9, 4), np.uint8), "uint8"),
        (np.zeros((0, 9, 9), np.uint8), "at least one image"),
        (np.zeros((5, 9, 9), np.uint8), "inconsistent"),
    ],
)
def test_invalid_images_are_rejected(quick: LucencyClassifier, X: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick.fit(X, [0, 0, 1, 1])


def test_classes_that_cannot_be_split_are_rejected(quick: LucencyClassifier) -> None:
    X, y = images(12)
    with pytest.raises(InputError, match=r"'light' has 6 sample\(s\), of too few groups"):
        quick.fit(X, y, groups=np.where(y == "light", "one patient", np.arange(12).astype(str)))
    with pytest.raises(InputError, match="two classes or more"):
        quick.fit(X, ["dark"] * 12)
    with pytest.raises(LucencyError, match="Did you mean 'val_fraction'"):
        quick.set_params(settings={"val_fracton": 0.2}).fit(X, y)


def spots(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw noise with a bright corner for each of three labels, some of them unknown."""
    random = np.random.default_rng(5)
    y = (random.random((count, 3)) < 0.4).astype(float)
    X = random.normal(80, 10, (count, 16, 16))
    for k, corner in enumerate((slice(0, 5), slice(6, 10), slice(11, 16))):
        X[:, corner, corner] += 90 * y[:, k, None, None]
    y[random.random((count, 3)) < 0.2] = np.nan
    return X.clip(0, 255).astype(np.uint8), y


def test_several_labels_are_learned_where_they_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[Split] = []

    def training(train: Split, val: Split, config: Config) -> Classifier:
        heard.extend([train, val])
        return fake_training(train, val, config)

    monkeypatch.setattr("lucency.training.train.train", training)
    (X, y), patients = spots(120), np.repeat(np.arange(60), 2)
    fitted = LucencyClassifier(**FAST).fit(X, y, groups=patients)
    train, val = heard
    assert not {*train.groups} & {*val.groups}
    for split in heard:
        assert split.outputs == ("0", "1", "2")
        rows = np.array(split.files, int)
        np.testing.assert_array_equal(split.targets, np.where(np.isnan(y[rows]), -1, y[rows]))
    decided, p = fitted.predict(X), fitted.predict_proba(X)
    assert (decided.shape, decided.dtype.kind, p.shape) == ((120, 3), "i", (120, 3))
    assert set(np.unique(decided)) == {0, 1}
    known = ~np.isnan(y)
    assert (decided == y)[known].mean() > 0.95
    assert fitted.score(X[known.all(axis=1)], y[known.all(axis=1)]) > 0.9  # all labels are right
    assert fitted.classes_.tolist() == [0, 1, 2]
    named = pd.DataFrame(y, columns=["effusion", "nodule", "device"])
    again = LucencyClassifier(**FAST).fit(X, named, groups=patients)
    assert again.classes_.tolist() == [*named]
    np.testing.assert_array_equal(again.predict(X), decided)


def test_labels_that_cannot_be_learned_are_rejected(quick: LucencyClassifier) -> None:
    X, y = spots(60)
    for wrong, message in (
        (np.where(np.isnan(y), 2, y), r"1 \(present\), 0 \(absent\) or nan"),
        (np.where(np.isnan(y), "x", "1"), "Received in row 0, column"),
        (y[:50], "inconsistent"),
        (np.where(np.arange(3) == 1, 0, y), "label '1' has too few samples"),
        (pd.DataFrame(y, columns=["a", "a", "b"]), "label 'a' has several columns"),
    ):
        with pytest.raises((ValueError, LucencyError), match=message) as caught:
            quick.fit(X, wrong)
        assert "\n" not in str(caught.value)
    with pytest.raises(LucencyError, match="--positive is for one class per image"):
        LucencyClassifier(**{**FAST, "settings": {"positive": "0"}}).fit(X, y)


# -- the training itself ---------------------------------------------------------------------------


def test_grades_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Split] = []

    def training(train: Split, val: Split, config: Config) -> Classifier:
        heard.append(train)
        return fake_training(train, val, config)

    monkeypatch.setattr("lucency.training.train.train", training)
    grades = ("none", "mild", "severe")
    labels = np.array(grades)[np.arange(60) % 3]
    X = np.random.default_rng(0).normal(60 + 60 * (np.arange(60) % 3), 5, (8, 8, 60)).T
    X = X.astype(np.uint8)
    estimator = LucencyClassifier(size=16, settings={"order": ",".join(grades)}).fit(X, labels)
    assert heard[0].classes == grades
    assert [heard[0].classes[k] for k in heard[0].labels] == [
        labels[int(file)] for file in heard[0].files
    ]
    assert estimator.classes_.tolist() == sorted(grades)
    assert np.mean(estimator.predict(X) == labels) > 0.9
    assert np.mean(estimator.classes_[estimator.predict_proba(X).argmax(axis=1)] == labels) > 0.9
    with pytest.raises(LucencyError, match="--order must name each class once"):
        LucencyClassifier(size=16, settings={"order": "none,mild"}).fit(X, labels)


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_it_can_be_trained_pickled_and_saved(tmp_path: Path) -> None:
    X, y = images(80)
    fitted = LucencyClassifier(**{**FAST, "epochs": 8}).fit(X, y)
    expected = fitted.predict_proba(X)
    assert fitted.score(X, y) > 0.8
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - as users of scikit-learn do
    np.testing.assert_allclose(again.predict_proba(X[:7]), expected[:7], atol=1e-6)
    fitted.classifier_.save(tmp_path / "kept")
    kept = Classifier.load(tmp_path / "kept")
    assert kept.classes == ("dark", "light")
    assert kept.fingerprint == fitted.classifier_.fingerprint


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_several_labels_can_be_trained() -> None:
    X, y = spots(80)
    settings = {"precision": "float32", "operating_point": "sensitivity>=0.9"}
    fitted = LucencyClassifier(**{**FAST, "epochs": 2, "settings": settings}).fit(X, y)
    p, spec = fitted.predict_proba(X[:9]), fitted.classifier_.spec
    assert spec.task == "multilabel"
    thresholds = [each["threshold"] for each in spec.labels]
    np.testing.assert_array_equal(fitted.predict(X[:9]), p >= np.array(thresholds))
    assert {each["rule"] for each in spec.labels} >= {parse(settings["operating_point"]).words}
