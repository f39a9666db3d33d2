"""One answer for several images: three poolings on a frozen backbone.

Images have the class of their unit, whatever they show themselves. A linear head on the features of
EfficientNet-Lite0 learns from that, in five folds by unit, and gives each image probabilities that
it has not learned from. Every pooling is fitted on four folds and measured on the fifth, with three
seeds of the folds:

    mean                 mean of the logits, temperature and bias
    sharpness R          log-sum-exp pooling of the logits, temperature and bias
    chosen               what ``calibration.units.fit`` makes of the four folds
    gated attention      over the features (Ilse et al. 2018), instead of the linear head; its
                         penalty is chosen on the next fold, its temperature and bias as above

    chest, two classes   NORMAL and PNEUMONIA: patients with 2 to 8 radiographs
    chest, three classes the same patients: normal, bacterial, viral
    knees                a patient has osteoarthritis (grade 2 or above) where one of both knees has
    tiles                of 2 to 8 satellite tiles, drawn for each unit, one shows a river, or none
    phantoms             of 2 to 8 synthetic radiographs, one shows a nodule, or none

In the last two, one image alone has the finding. A difference is the mean over the seeds; its
interval is over units, for these folds and heads.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Figure, Skipped
from benchmarks.sample_images import DATA
from lucency import metrics
from lucency.calibration import scaling, units
from lucency.calibration.units import first_of, images_of, numbered, pooled_logits
from lucency.metrics import FloatArray, IntArray, influences
from lucency.metrics.influences import Linear
from lucency.training.linear_head import Examples, cross_fit

SEEDS, SIDE = 3, 160
MEAN, CHOSEN, ATTENTION = "mean", "chosen", "gated attention"
PHANTOMS, FEWEST, MOST = 1800, 2, 8  # images drawn; images of a unit
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
_HIDDEN, _COORDINATES = 32, 64


class Units(NamedTuple):
    """Images of units: features (n, d), classes (n,) of their units, and units (n,)."""

    features: NDArray[np.float32]
    labels: IntArray
    unit: IntArray

    @property
    def truth(self) -> IntArray:
        """The class of each unit."""
        return self.labels[first_of(self.unit)]


def measure(files: Sequence[Path], *, quick: bool) -> list[Figure]:  # noqa: ARG001
    if quick or not (DATA / "proof").is_dir():
        raise Skipped("it needs $LUCENCY_DATA, and half an hour")
    return [figure for name, read in SETS.items() for figure in _figures(name, read())]


def _figures(name: str, data: Units) -> Iterator[Figure]:
    classes, truth = int(data.labels.max()) + 1, data.truth
    found: dict[str, list[FloatArray]] = {}
    chosen: list[float] = []
    for seed in range(SEEDS):
        folds = metrics.group_folds(truth, np.arange(len(truth)), classes, seed)
        if folds is None:
            raise ValueError(f"{name} has too few units")
        for pooling, p in _pooled(data, folds, classes, chosen).items():
            found.setdefault(pooling, []).append(p)
        print(f"  {name}: seed {seed} of {SEEDS}", flush=True)
    yield Figure(f"{name}: images in a unit", "", np.bincount(data.unit).tolist(), len(truth))
    yield Figure(f"{name}: share of units, class 1", "", [float((truth == 1).mean())], len(truth))
    yield Figure(f"{name}: sharpness chosen", "", chosen, len(truth))
    for figure, linear in FIGURES.items():
        each = {pooling: [linear(truth, p) for p in many] for pooling, many in found.items()}
        for pooling, many in each.items():
            yield Figure(f"{name}, {pooling}: {figure}", "", [x.value for x in many], len(truth))
        others = [(pooling, MEAN) for pooling in each if pooling != MEAN]
        for pooling, beside in [*others, (ATTENTION, CHOSEN)]:
            pairs = [*zip(each[pooling], each[beside], strict=True)]
            mean = Linear(
                float(np.mean([a.value - b.value for a, b in pairs])),
                np.mean([a.influence - b.influence for a, b in pairs], axis=0),
            )
            interval = metrics.linearised(mean.value, mean, np.arange(len(truth)), "plain")
            values = [interval.low, interval.value, interval.high]
            if not mean.influence.any():  # the same answers
                values = [mean.value]
            label = f"{name}, {pooling}: {figure}, difference from {beside} with its 95 % interval"
            yield Figure(label, "", values, len(truth))


def _macro_auroc(truth: IntArray, p: FloatArray) -> Linear:
    """Return the mean of the areas of each class against the others."""
    each = [influences.of_auroc(truth == k, p[:, k]) for k in range(p.shape[1])]
    return Linear(
        float(np.mean([x.value for x in each])), np.mean([x.influence for x in each], axis=0)
    )


FIGURES: dict[str, Callable[[IntArray, FloatArray], Linear]] = {
    "log loss": lambda y, p: influences.of_mean(-np.log(p[np.arange(len(y)), y])),
    "AUROC": _macro_auroc,
    "accuracy": lambda y, p: influences.of_mean((p.argmax(axis=1) == y).astype(float)),
}


# -- poolings --------------------------------------------------------------------------------------


def _pooled(
    data: Units, folds: IntArray, classes: int, chosen: list[float]
) -> dict[str, FloatArray]:
    """Return the probabilities (units, classes) of each pooling, out of fold."""
    examples = Examples(data.features[None], data.labels, np.ones(classes))
    _, logits = cross_fit(examples, folds[data.unit])
    attention = _attention(data, folds, classes)
    found: dict[str, FloatArray] = {}
    for k in range(int(folds.max()) + 1):
        rest, held = folds != k, folds == k
        of_rest = rest[data.unit]
        fitted = scaling.fit(
            logits[0][of_rest], data.labels[of_rest], groups=[*map(str, data.unit[of_rest])]
        )
        p = scaling.probabilities(fitted(logits[0]))
        for r in (0.0, *units.SHARPNESS):
            z = pooled_logits(p, data.unit, r)
            _put(found, MEAN if r == 0 else f"sharpness {r:g}", _scaled(z, data, rest), held)
        prior = np.bincount(data.truth[rest], minlength=classes) / rest.sum()
        names = [str(each) for each in data.unit[of_rest]]
        rule = units.fit(p[of_rest], data.labels[of_rest], names, prior)
        chosen.append(rule.pooling)
        _put(found, CHOSEN, rule.probabilities(p, data.unit), held)
        _put(found, ATTENTION, _scaled(attention, data, rest), held)
    return found


def _put(found: dict[str, FloatArray], name: str, p: FloatArray, held: NDArray[np.bool_]) -> None:
    found.setdefault(name, np.zeros(p.shape))[held] = p[held]


def _scaled(z: FloatArray, data: Units, rest: NDArray[np.bool_]) -> FloatArray:
    """Return probabilities of all units, with the scaling of some."""
    own = [*map(str, np.flatnonzero(rest))]
    return scaling.probabilities(scaling.fit(z[rest], data.truth[rest], groups=own)(z))


def _attention(data: Units, folds: IntArray, classes: int) -> FloatArray:
    """Return the logits of gated attention for each unit, by the network that is new to it."""
    bags, count = _Bags.of(data), int(folds.max()) + 1
    logits = np.zeros((len(folds), 1 if classes == 2 else classes))
    for k in range(count):
        held, next_one = folds == k, folds == (k + 1) % count
        inner, losses = ~held & ~next_one, []
        for penalty in _PENALTIES:
            z = bags.logits(bags.fit(data.truth, inner, classes, penalty))[next_one]
            p = scaling.probabilities(z)
            losses.append(metrics.log_loss(data.truth[next_one], p))
        best = _PENALTIES[int(np.argmin(losses))]
        logits[held] = bags.logits(bags.fit(data.truth, ~held, classes, best))[held]
    return logits


class _Bags(NamedTuple):
    """Features in their principal coordinates, (units, most images, d), and which are images."""

    x: NDArray[np.float32]
    is_image: NDArray[np.bool_]

    @classmethod
    def of(cls, data: Units) -> _Bags:
        flat = data.features.astype(np.float64)
        flat = (flat - flat.mean(axis=0)) / np.sqrt(flat.var(axis=0) + flat.var(axis=0).mean())
        _, _, axes = np.linalg.svd(flat, full_matrices=False)
        flat = flat @ axes[:_COORDINATES].T
        flat /= flat.std()
        most = int(np.bincount(data.unit).max())
        x = np.zeros((int(data.unit.max()) + 1, most, flat.shape[1]), np.float32)
        is_image = np.zeros(x.shape[:2], bool)
        for k, own in enumerate(images_of(data.unit)):
            x[k, : len(own)], is_image[k, : len(own)] = flat[own], True
        return cls(x, is_image)

    def logits(self, weights: Any) -> FloatArray:
        """Return the logits (units, 1 or classes)."""
        return np.asarray(_gated(weights, self.x, self.is_image), np.float64)

    def fit(self, truth: IntArray, rows: NDArray[np.bool_], classes: int, penalty: float) -> Any:
        """Return the weights that have the smallest penalised log loss on some units."""
        import jax
        from jax import numpy as jnp
        from scipy import optimize

        random, d = np.random.default_rng(0), self.x.shape[2]
        shapes = _shapes(d, classes)
        start = {name: np.zeros(shape) for name, shape in shapes.items()}
        for name in "vu":  # with the other weights at 0, it begins as the mean of the features
            start[name] = random.normal(size=shapes[name]) / np.sqrt(d)
        flat = np.concatenate([each.ravel() for each in start.values()])
        targets = jnp.asarray(np.eye(classes)[truth], jnp.float32)
        weights = jnp.asarray(rows / rows.sum(), jnp.float32)

        def loss(values: NDArray[Any]) -> tuple[float, FloatArray]:
            given = jnp.asarray(values, jnp.float32)
            found = _graded()(given, self.x, self.is_image, targets, weights, penalty)
            value, gradient = jax.device_get(found)
            return float(value), np.asarray(gradient, np.float64)

        found = optimize.minimize(
            loss, flat, jac=True, method="L-BFGS-B", options={"maxiter": 200}
        ).x
        return _whole(jnp.asarray(found, jnp.float32), d, classes)


def _shapes(d: int, classes: int) -> dict[str, tuple[int, ...]]:
    outputs = 1 if classes == 2 else classes
    hidden = {"v": (d, _HIDDEN), "u": (d, _HIDDEN), "w": (_HIDDEN, 1)}
    return {**hidden, "c": (d, outputs), "b": (outputs,)}


def _whole(flat: Any, d: int, classes: int) -> dict[str, Any]:
    found, place = {}, 0
    for name, shape in _shapes(d, classes).items():
        size = int(np.prod(shape))
        found[name] = flat[place : place + size].reshape(shape)
        place += size
    return found


@functools.cache
def _graded() -> Any:
    """Return a function for the penalised log loss and its gradient."""
    import jax
    from jax import numpy as jnp

    def loss(flat: Any, x: Any, is_image: Any, targets: Any, weights: Any, penalty: float) -> Any:
        whole = _whole(flat, x.shape[2], targets.shape[1])
        z = _gated(whole, x, is_image)
        z = jnp.concatenate([jnp.zeros_like(z), z], axis=1) if z.shape[1] == 1 else z
        size = sum((whole[name] ** 2).sum() for name in "vuwc")
        return -(weights[:, None] * targets * jax.nn.log_softmax(z)).sum() + penalty * size

    return jax.jit(jax.value_and_grad(loss))


def _gated(weights: Any, x: Any, is_image: Any) -> Any:
    """Return the logits of units: a dense layer over the mean that gated attention weighs."""
    import jax
    from jax import numpy as jnp

    gate = jnp.tanh(x @ weights["v"]) * jax.nn.sigmoid(x @ weights["u"])
    scores = jnp.where(is_image, (gate @ weights["w"])[..., 0], -jnp.inf)
    attention = jax.nn.softmax(scores, axis=1)
    return (attention[..., None] * x).sum(axis=1) @ weights["c"] + weights["b"]


# -- data ------------------------------------------------------------------------------------------


def _features(files: Sequence[Path]) -> NDArray[np.float32]:
    """Return the features of images (n, d): the mean of the last map of EfficientNet-Lite0."""
    from lucency import models
    from lucency.imaging.image import read_image

    shape = (SIDE, SIDE, 3)
    network = models.pretrained(2, shape, backbone="EfficientNetLite0", weights="imagenet")
    body = models.keras.Model(network.input, network.get_layer("pooled").output)
    found = []
    for place in range(0, len(files), 32):
        some = [read_image(file, shape[:2], True) for file in files[place : place + 32]]
        found.append(np.asarray(body.predict_on_batch(np.stack(some).astype(np.float32))))
    return np.concatenate(found)


def _units(files: Sequence[Path], labels: Sequence[int], names: Sequence[str]) -> Units:
    return Units(_features(files), np.array(labels, np.int64), numbered(names)[1])


@functools.cache
def _radiographs() -> tuple[list[Path], NDArray[np.float32], IntArray]:
    """Return those of patients with 2 to 8 of them: files, features, patients."""
    from lucency.dataset.groups import find_groups

    folder = DATA / "chest_xray"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    keys = np.array(find_groups([str(file.relative_to(folder)) for file in files]).keys)
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    rows = np.flatnonzero((counts >= FEWEST) & (counts <= MOST))
    rows = np.flatnonzero(np.isin(place, rows))
    some = [files[i] for i in rows]
    return some, _features(some), numbered(keys[rows].tolist())[1]


def _chest(of: Callable[[Path], int]) -> Units:
    files, features, patient = _radiographs()
    return Units(features, np.array([of(file) for file in files], np.int64), patient)


def _disease(file: Path) -> int:
    return 0 if file.parent.name == "NORMAL" else 1 + ("virus" in file.name)


def _knees() -> Units:
    folder = DATA / "proof" / "knee_kl"
    with (folder / "labels.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    ill = {row["patient"] for row in rows if int(row["kl_grade"]) >= 2}
    patients = [row["patient"] for row in rows]
    files = [folder / row["file"] for row in rows]
    return _units(files, [int(patient in ill) for patient in patients], patients)


def _tiles() -> Units:
    folder = DATA / "proof" / "eurosat"
    files = sorted(path for path in folder.rglob("*.jp*g"))
    return _drawn(files, np.array([file.parent.name == "River" for file in files]))


def _phantoms() -> Units:
    from lucency.dataset.phantoms import LABELS, draw_findings

    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "drawn"
        draw_findings(folder, images=PHANTOMS)
        with (folder / LABELS).open(newline="") as file:
            rows = [*csv.DictReader(file)]
        shown = np.array([row["nodule"] == "1" for row in rows])
        return _drawn([folder / row["file"] for row in rows], shown)


def _drawn(files: Sequence[Path], shown: NDArray[np.bool_]) -> Units:
    """Distribute images over units of 2 to 8: in every other one, one image shows the finding."""
    random = np.random.default_rng(0)
    with_it, without = ([*random.permutation(np.flatnonzero(x))] for x in (shown, ~shown))
    chosen: list[int] = []
    labels: list[int] = []
    names: list[str] = []
    for number in range(len(files)):
        size, label = int(random.integers(FEWEST, MOST + 1)), number % 2
        if len(with_it) < label or len(without) < size:
            break
        own = [with_it.pop() for _ in range(label)]
        own += [without.pop() for _ in range(size - label)]
        chosen += own
        labels += size * [label]
        names += size * [str(number)]
    return _units([files[i] for i in chosen], labels, names)


SETS: dict[str, Callable[[], Units]] = {
    "chest, two classes": lambda: _chest(lambda file: min(1, _disease(file))),
    "chest, three classes": lambda: _chest(_disease),
    "knees": _knees,
    "tiles": _tiles,
    "phantoms": _phantoms,
}
