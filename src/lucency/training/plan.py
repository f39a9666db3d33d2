"""From configuration and data to a plan: every choice with its value and its reason.

Training follows the plan. It is made once, printed before anything runs, and saved with the run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lucency import backend
from lucency.augmentation import Augmentation
from lucency.calibration import operating_point
from lucency.calibration.values import ValueRule
from lucency.config import Config, plural_of_unit
from lucency.dataset import Folds, Split
from lucency.dataset.multilabel import check_config
from lucency.dataset.values import Bins, check_regression
from lucency.errors import BackendError, ConfigError
from lucency.imaging.depths import EIGHT, dtype_of, in_words
from lucency.probes.aspect import aspect_auroc
from lucency.task import (
    CLASSIFICATION,
    MULTILABEL,
    ORDINAL,
    REGRESSION,
    check_grades,
    counts_up,
    in_order,
    task_of,
)
from lucency.training import fine_tuning
from lucency.training.warm_start import settled, warm_start


@dataclasses.dataclass(frozen=True)
class Choice:
    """One decision in words: its name, its value, and the reason for it."""

    name: str
    value: str
    reason: str

    @property
    def words(self) -> str:
        """The decision in one line."""
        return f"{self.name}: {self.value} ({self.reason})"


Trained = Literal["all", "last stage", "last layer"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Every choice that training depends on.

    Attributes:
        positive: For two classes, the one to be detected; ``None`` for more.
        task: Name of the task, see ``lucency.task``.
        positive_from: Of grades, the lowest that counts as positive; empty for none.
        value: How probabilities of bins become a number, without the offset of the intervals.
        size: Height and width of the network's input in pixels.
        channels: Channels of the stored images: 1 (grey) or 3.
        depth: Bits of images of more than 8; the largest number of so many is white.
        architecture: Name of a network in ``lucency.models``.
        parameters: Its parameters other than classes and input shape.
        network_channels: Channels that the network takes; grey images are repeated to fit.
        weights_origin: Where the initial weights come from; empty if they are random.
        epochs: Largest number of passes over the training images.
        batch: Images per step.
        shards: Parts of each batch, which are computed on different devices.
        optimizer: ``adamw`` or ``adam``.
        learning_rate: Highest learning rate.
        schedule: ``cosine`` (after a warm-up) or ``halve every 10 epochs``.
        weight_decay: Decoupled weight decay per unit of learning rate.
        label_smoothing: Share of each label spread over all classes.
        class_weights: Weight of each class in the loss; their mean over the images is 1.
        augmentation: How training images are augmented.
        precision: Keras dtype policy of the network during training.
        monitor: Which epoch is kept: the ``last``, or the best on validation by ``accuracy`` or
            ``log_loss``.
        trained: What of the network is trained: ``all``, ``last stage`` (fine-tuned), or ``last
            layer`` (a regression on the features of a frozen network).
        patience: Epochs without a better value before training stops; 0 for never.
        choices: The same choices in words, with reasons.
    """

    recipe: str
    effort: str
    seed: int
    positive: str | None
    size: tuple[int, int]
    channels: int
    depth: int
    architecture: str
    parameters: Mapping[str, Any]
    network_channels: int
    epochs: int
    batch: int
    optimizer: str
    learning_rate: float
    schedule: str
    weight_decay: float
    label_smoothing: float
    class_weights: tuple[float, ...]
    augmentation: Augmentation
    precision: str
    monitor: str
    patience: int
    trained: Trained
    choices: tuple[Choice, ...]
    weights_origin: str = ""
    shards: int = 1
    task: str = CLASSIFICATION
    positive_from: str = ""
    value: ValueRule | None = None

    @property
    def is_fine_tuned(self) -> bool:
        """Whether the last stage of a pretrained network is trained, and the others are frozen."""
        return self.trained == "last stage"

    @property
    def dtype(self) -> str:
        """Type of stored pixels: ``uint8``, or ``float32`` if they have more than 8 bits."""
        return dtype_of(self.depth)


@dataclasses.dataclass(frozen=True)
class Level:
    """What an effort that is not a time stands for."""

    views: int  # training images shown in all epochs together
    max_epochs: int
    width: int
    blocks: tuple[int, ...]
    time: str


_STANDARD = Level(97_000, 200, 32, (1, 1, 2, 2), "a quarter of an hour on two processors")
LEVELS: Mapping[str, Level] = {
    "quick": Level(71_000, 150, 32, (1, 1, 2, 2), "minutes on two processors"),
    "standard": _STANDARD,
    "thorough": dataclasses.replace(_STANDARD, time=f"{_STANDARD.time} for each fold"),
}
_AUGMENTATION = Augmentation(
    flip_horizontal=True, rotation=10, zoom=0.15, stretch=0.1, shift=0.06,
    gamma=0.6, gain=0.3, offset=0.15, sharpness=1.5, rectangles=2,
)  # fmt: skip
_WIDE_STRETCH = 0.3
_ARTICLE_AUGMENTATION = Augmentation(flip_vertical=True, stretch=0.2, fill="nearest")

BALANCED_LABEL = "present above its share of the images, so that both sides weigh the same"
_NEAREST = "nearest training images"
_NEGATIVE_NAMES = ("normal", "negative", "healthy", "benign", "control", "none", "no", "clear", "0")


def make_plan(train: Split, config: Config) -> Plan:
    """Decide how to train on ``train`` under ``config``.

    Raises:
        ConfigError: Choices contradict each other or the data.
    """
    if config.seconds:
        raise ConfigError(
            f"A plan needs an effort of {', '.join(LEVELS)}. Received: {config.effort!r}. "
            "lucency.train measures what the time buys."
        )
    config = settled(config)
    # Before a backend is loaded:
    task = _task_name(train, config)
    if task == ORDINAL:
        check_grades(train.classes)
        if in_order(train.classes, config.order) != train.classes:
            raise ConfigError(
                f"The images were loaded in another order of the classes: "
                f"{', '.join(train.classes)}. Load them with order={config.order!r} too."
            )
    if task == MULTILABEL:
        return _multilabel_plan(train, config)
    if task == REGRESSION:
        return _regression_plan(train, config)
    positive = positive_class(train.classes, config.positive)
    decision = _decision(train, config)
    plan = _make_plan(train, config, positive, decision)
    choices = (*_task(train.classes, config), *plan.choices, *_unit(config, task))
    return dataclasses.replace(plan, task=task, positive_from=config.positive_from, choices=choices)


def _task_name(train: Split, config: Config) -> str:
    """Return the name of the task.

    Raises:
        ConfigError: Several labels are requested, and each image has one; or grades, and images
            have several.
    """
    if train.values is not None:
        return REGRESSION
    if config.task == REGRESSION:
        raise ConfigError("--task regression needs numbers, and these images have classes.")
    if train.targets is None and config.task == MULTILABEL:
        raise ConfigError(
            "--task multilabel needs several labels for each image, which folders cannot say. Give "
            "a CSV file with a column of 1 and 0 for each label, or with lists: --labels FILE"
        )
    if train.targets is not None and config.is_ordinal:
        raise ConfigError(
            "--task ordinal needs one grade for each image, and the labels file has several labels."
        )
    return MULTILABEL if train.targets is not None else ORDINAL if config.is_ordinal else (
        CLASSIFICATION
    )  # fmt: skip


def _multilabel_plan(train: Split, config: Config) -> Plan:
    """Plan the training of several labels.

    Raises:
        ConfigError: An option is for one class per image.
    """
    check_config(config)
    rule = operating_point.parse(config.operating_point)
    words = BALANCED_LABEL if rule.kind == "balanced" else rule.words
    decision = Choice("decision", f"for each label: {words}", "chosen on validation")
    plan = _make_plan(train, config, None, decision)
    names = train.label_names
    doubt = {
        "ignore": "uncertain labels are not learned from",
        "positive": "uncertain labels are learned as present",
        "negative": "uncertain labels are learned as absent",
        "soft": "uncertain labels are learned as 50 %",
    }[config.uncertain]
    task = Choice(
        "task", f"multilabel, {len(names)} labels: {', '.join(names)}",
        f"an image has any number of them; unknown ones do not count; {doubt}, and never evaluated",
    )  # fmt: skip
    return dataclasses.replace(
        plan, task=MULTILABEL,
        choices=(task, *_without_classes(plan), *_unit(config, MULTILABEL)),
        parameters={**plan.parameters, "multilabel": True},
    )  # fmt: skip


def _without_classes(plan: Plan) -> tuple[Choice, ...]:
    """Return the choices that remain where an image does not have one of several classes."""
    return tuple(each for each in plan.choices if each.name not in ("class weights", _NEAREST))


def _regression_plan(train: Split, config: Config) -> Plan:
    """Plan the training of a number.

    Raises:
        ConfigError: An option is for classes.
    """
    check_regression(config)
    words = "the mean of the predicted distribution, with an interval that is to contain 90 %"
    if config.tolerance is not None:
        words += f"; none where the interval is wider than {config.tolerance:g}"
    decision = Choice("decision", words, "the interval is widened until it holds on validation")
    plan = _make_plan(train, config, None, decision)
    task = Choice(
        "task", f"regression, {train.value_name} in {len(train.classes)} bins of about as many "
        f"images each, from {train.classes[0]} to {train.classes[-1]}",
        "a network that knows the order of the bins predicts a distribution, not only its mean",
    )  # fmt: skip
    return dataclasses.replace(
        plan, task=REGRESSION,
        choices=(task, *_without_classes(plan), *_unit(config, REGRESSION)),
        value=_value_rule(train, config),
    )  # fmt: skip


def _value_rule(train: Split, config: Config) -> ValueRule:
    """Return how probabilities of bins become a number, before calibration."""
    if train.values is None:
        raise ValueError("these images have classes, not numbers")
    bins = len(train.classes)
    sums = np.bincount(train.labels, train.values, minlength=bins)
    centres = sums / np.bincount(train.labels, minlength=bins)
    return ValueRule(
        name=train.value_name,
        edges=Bins.of_names(train.classes).edges,
        centres=tuple(map(float, centres)),
        mean=float(train.values.mean()),
        tolerance=config.tolerance,
    )


def _make_plan(train: Split, config: Config, positive: str | None, decision: Choice) -> Plan:
    if config.recipe == "article":
        if config.backbone:
            raise ConfigError(
                "--backbone belongs to --recipe default; the article has its own network."
            )
        return _article_plan(train, config, positive, decision)
    make = _pretrained_plan if config.frozen else _default_plan
    return make(train, config, positive, decision)


def _task(classes: tuple[str, ...], config: Config) -> list[Choice]:
    """Describe the task, unless its name says it all."""
    if config.is_ordinal:
        return [
            Choice(
                "task", f"ordinal, from {classes[0]} to {classes[-1]}",
                "requested; one score orders the images, and the network learns where the next "
                "grade begins",
            )
        ]  # fmt: skip
    if config.task == "auto" and counts_up(classes):
        return [
            Choice(
                "task", "classification",
                f"the classes {classes[0]} to {classes[-1]} count; if they are grades, train with "
                "--task ordinal, which knows their order",
            )
        ]  # fmt: skip
    return []


def _unit(config: Config, task: str) -> list[Choice]:
    """Describe what has one answer, if not only images have."""
    if config.answers == "image":
        return []
    of = task_of(task)
    return [
        Choice(
            "unit", config.answers,
            f"requested; {of.pooled} of all images of one {config.answers} are pooled, and "
            f"calibrated on held-out {plural_of_unit(config.answers)} with {of.calibrated} of its "
            "own",
        )
    ]  # fmt: skip


def plan_folds(pool: Split, folds: Folds, config: Config, reason: str = "") -> Plan:
    """Return the plan of the classifier: a network for each fold.

    Class weights, batch and epochs of each network follow from its own training images. A
    ``reason`` is that of ``folds=auto``.
    """
    plan = make_plan(pool, config)
    if plan.trained != "all":
        return _pretrained_folds(plan, folds, reason)
    sizes = np.bincount(folds.held_out, minlength=len(folds))
    epochs = np.array([default_epochs(config, len(pool) - int(n)) for n in sizes])
    choices = [
        dataclasses.replace(each, value=f"{_span(epochs)} for each network")
        if each.name == "epochs"
        else each
        for each in plan.choices
    ]
    choice = Choice(
        "folds",
        _described(folds),
        f"{_because(reason, len(folds))}one network is trained without each of them; the "
        "classifier averages their logits, and is calibrated and evaluated on the images that each "
        "has not seen",
    )
    parameters = {**plan.parameters, "members": len(folds)}
    return dataclasses.replace(plan, parameters=parameters, choices=(choice, *choices))


def _pretrained_folds(plan: Plan, folds: Folds, reason: str) -> Plan:
    trained = (
        "one head is trained without each of them; the classifier has the mean of all, and is "
        "calibrated and evaluated on the images that each has not seen"
        if plan.trained == "last layer"
        else "one network is fine-tuned without each of them, and the classifier on all; it is "
        "calibrated and evaluated on the images that each of the others has not seen"
    )
    reason = f"{reason}; {trained}" if reason else trained
    choice = Choice("folds", _described(folds), reason)
    return dataclasses.replace(plan, choices=(choice, *plan.choices))


def _described(folds: Folds) -> str:
    what = f"values of {folds.column}" if folds.column else "by patient, stratified by class"
    sizes = np.bincount(folds.held_out, minlength=len(folds))
    return f"{len(folds)}, {what}, each of {_span(sizes)} images"


def _because(reason: str, count: int) -> str:
    off = f"takes about {count} times as long as --folds 0"
    return f"{reason}; {off}; " if reason else ""


def _span(sizes: NDArray[np.int64]) -> str:
    low, high = int(sizes.min()), int(sizes.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def without_folds(plan: Plan, reason: str) -> Plan:
    """Return the plan with the reason why ``folds=auto`` made none; empty if it did not decide."""
    choice = Choice("folds", "none", reason)
    return dataclasses.replace(plan, choices=(choice, *plan.choices)) if reason else plan


def positive_class(classes: tuple[str, ...], requested: str = "auto") -> str | None:
    """Return the class to be detected, for two classes; ``None`` for more.

    Raises:
        ConfigError: ``requested`` is neither ``auto`` nor one of the classes.
    """
    if requested not in ("auto", *classes):
        raise ConfigError(
            f"--positive must be one of {', '.join(classes)}. Received: {requested!r}"
        )
    if len(classes) > 2:
        return None
    if requested != "auto":
        return requested
    first_is_negative = classes[0].lower() in _NEGATIVE_NAMES
    second_is_negative = classes[1].lower() in _NEGATIVE_NAMES
    return classes[0] if second_is_negative and not first_is_negative else classes[1]


def default_epochs(config: Config, images: int) -> int:
    """Return the number of epochs for so many training images, as set or as the effort has it."""
    if config.epochs:
        return config.epochs
    if config.recipe == "article":
        return 30
    level = LEVELS[config.effort]
    return int(np.clip(round(level.views / images), 3, level.max_epochs))


def _default_plan(train: Split, config: Config, positive: str | None, decision: Choice) -> Plan:
    effort = LEVELS[config.effort]
    network, choices = _network(train, config, effort)
    epochs, why_epochs = _epochs(train, config)
    batch, why_batch = _batch(train, config)
    larger = 1 if config.batch else config.shards  # times the usual batch
    rate = config.learning_rate or math.sqrt(larger) * _learning_rate(config)
    weights, why_weights = _class_weights(train, config)
    precision, why_precision = _precision(config)
    smoothing = 0.05 if config.label_smoothing is None else config.label_smoothing
    decay = 0.05 if config.weight_decay is None else config.weight_decay
    flip = config.flip is not False
    stretch, why_stretch = _stretch(train, config)
    augmentation = dataclasses.replace(_AUGMENTATION, flip_horizontal=flip, stretch=stretch)
    choices += [
        Choice("epochs", str(epochs), why_epochs),
        Choice("batch", str(batch), why_batch),
        Choice(
            "optimiser",
            f"AdamW, learning rate {rate:g}, weight decay {decay:g}",
            "warm-up over the first 5 % of the steps, then cosine decay to zero",
        ),
        Choice("label smoothing", f"{smoothing:g}", "keeps the network from being overconfident"),
        Choice("class weights", _shares(train.classes, weights), why_weights),
        Choice(
            "augmentation",
            f"{'flip, ' if flip else ''}rotation 10°, zoom 15 %, shift 6 %, sharpness, tone curve, "
            "up to 2 border rectangles; mirrored beyond its border",
            "exposure and text at the borders must not influence the decision; "
            "validation and test images are never augmented",
        ),
        Choice("stretch of each axis", f"{stretch:.0%}", why_stretch),
        Choice("precision", precision, why_precision),
        Choice(
            "weights kept",
            "of the last epoch",
            "the learning rate has decayed to zero, and choosing among epochs that validation "
            "can hardly tell apart would only make its figures too optimistic",
        ),
        decision,
        _neighbours(train, config),
    ]
    return Plan(
        recipe="default", effort=config.effort, seed=config.seed, positive=positive, **network,
        epochs=epochs, batch=batch, optimizer="adamw", learning_rate=rate, schedule="cosine",
        weight_decay=decay, label_smoothing=smoothing, class_weights=weights,
        augmentation=augmentation, precision=precision, monitor="last", patience=0, trained="all",
        choices=tuple(choices), shards=config.shards,
    )  # fmt: skip


def _batch(train: Split, config: Config) -> tuple[int, str]:
    """Return the number of images per step, a multiple of the shards, and why."""
    shards = config.shards
    if shards > 1 and backend.choose_backend() != "jax":
        raise BackendError(
            'shards needs JAX: set KERAS_BACKEND=jax, after pip install "lucency[jax]". Received: '
            f"{backend.choose_backend()}."
        )
    batch = min(config.batch or 32 * shards, len(train)) // shards * shards
    if not batch:
        raise ConfigError(
            f"shards must be at most the number of images per step, of which there are "
            f"{min(config.batch or len(train), len(train)):,}. Received: {shards}"
        )
    if shards == 1:
        return batch, "small batches generalise well and fit into any memory"
    why = f"{shards} shards of {batch // shards} images, computed on different devices"
    if config.batch:
        return batch, why
    return batch, f"{why}; the learning rate grows with the square root of their number"


def _learning_rate(config: Config) -> float:
    """Return the highest learning rate: lower where the weights are not random."""
    if config.backbone:
        return 2e-4 if config.weights != "none" or config.start_path else 3e-3
    return 1e-3 if config.start_path else 3e-3


def _pretrained_plan(train: Split, config: Config, positive: str | None, decision: Choice) -> Plan:
    size, channels = _stored(train)
    weights, why_weights = _class_weights(train, config)
    flip = config.flip is not False
    stretch, why_stretch = _stretch(train, config)
    trained, (why, how, seen) = _fine_tuning(train) if config.fine_tune else _linear_head()
    return Plan(
        recipe="default", effort=config.effort, seed=config.seed, positive=positive, size=size,
        channels=channels, depth=train.cache.depth, architecture="pretrained",
        parameters={"backbone": config.frozen, "weights": "imagenet"}, network_channels=3,
        class_weights=weights, precision="float32", monitor="last", patience=0, **trained,
        weights_origin=_origin(config.frozen, "imagenet"),
        augmentation=dataclasses.replace(_AUGMENTATION, flip_horizontal=flip, stretch=stretch),
        choices=(
            Choice("network", f"{config.frozen} with ImageNet weights", why),
            _input(train, 3),
            _depth(train, config),
            how,
            Choice("class weights", _shares(train.classes, weights), why_weights),
            Choice(
                "augmentation", f"as from scratch{'' if flip else ', without flips'}", seen
            ),
            Choice("stretch of each axis", f"{stretch:.0%}", why_stretch),
            decision,
            _neighbours(train, config),
        ),
    )  # fmt: skip


_How = tuple[dict[str, Any], tuple[str, Choice, str]]  # of a plan, and in words


def _linear_head() -> _How:
    plan = {
        "trained": "last layer", "epochs": 1, "batch": 32, "optimizer": "lbfgs",
        "learning_rate": 0.0, "schedule": "none", "weight_decay": 0.0, "label_smoothing": 0.0,
    }  # fmt: skip
    head = Choice(
        "head", "a penalised logistic regression on the features",
        "the penalty is chosen in cross-validation by patient",
    )  # fmt: skip
    seen = "each image is learned from once as it is and once augmented"
    return plan, ("frozen: not trained", head, seen)


def _fine_tuning(train: Split) -> _How:
    """Plan how the last stage is fine-tuned.

    Raises:
        ConfigError: There are too many images for its memory.
    """
    images, (size, _) = len(train), _stored(train)
    fine_tuning.check_memory(images, size)
    views = fine_tuning.views_of(images, size)
    epochs = fine_tuning.epochs_of(images, size)
    plan = {
        "trained": "last stage", "epochs": epochs, "batch": min(fine_tuning.BATCH, images),
        "optimizer": "adamw", "learning_rate": fine_tuning.RATE, "schedule": "cosine",
        "weight_decay": fine_tuning.DECAY, "label_smoothing": fine_tuning.SMOOTHING,
    }  # fmt: skip
    tuned = Choice(
        "fine-tuning", f"AdamW, learning rate {fine_tuning.RATE:g}, {epochs * views} passes",
        "little is trained, and does not need more",
    )  # fmt: skip
    noisy = sum(view < views for view in fine_tuning.NOISY)
    seen = f"{views} views of each image, one of them as it is, {noisy} with noise"
    return plan, ("its last stage is fine-tuned, the others are frozen", tuned, seen)


def _article_plan(train: Split, config: Config, positive: str | None, decision: Choice) -> Plan:
    size, channels = _stored(train)
    precision, why_precision = _precision(config)
    batch = min(config.batch or 100, len(train))
    epochs = default_epochs(config, len(train))
    rate = config.learning_rate or 1e-3
    weights, _ = _class_weights(
        train, dataclasses.replace(config, class_weighting=bool(config.class_weighting))
    )
    tutorial = "as in the tutorial"
    flip = bool(config.flip)
    return Plan(
        recipe="article", effort=config.effort, seed=config.seed, positive=positive, size=size,
        channels=channels, depth=train.cache.depth,
        architecture="article", parameters={}, network_channels=3,
        epochs=epochs, batch=batch,
        optimizer="adam", learning_rate=rate, schedule="halve every 10 epochs",
        weight_decay=config.weight_decay or 0.0, label_smoothing=config.label_smoothing or 0.0,
        class_weights=weights, precision=precision, monitor="accuracy", patience=5, trained="all",
        augmentation=dataclasses.replace(_ARTICLE_AUGMENTATION, flip_horizontal=flip),
        choices=(
            Choice("network", "three convolutions, two dense layers", tutorial),
            Choice("input", f"{size[0]} x {size[1]} x 3", tutorial),
            _depth(train, config),
            Choice("epochs", f"at most {epochs}", "stops 5 epochs after the best one"),
            Choice("batch", str(batch), tutorial),
            Choice("optimiser", f"Adam, learning rate {rate:g}, halved every 10 epochs", tutorial),
            Choice("augmentation", "zoom 20 %, vertical flip", f"{tutorial}; not in validation"),
            Choice("precision", precision, why_precision),
            Choice("best epoch", "highest accuracy on validation", tutorial),
            decision,
            _neighbours(train, config),
        ),
    )  # fmt: skip


def _decision(train: Split, config: Config) -> Choice:
    """Describe how probabilities become decisions.

    Raises:
        ConfigError: The rule is unknown, or there is no positive class.
    """
    rule = operating_point.parse(config.operating_point)
    if config.is_ordinal:
        return _grade_decision(train.classes, config, rule)
    if rule.kind != "balanced":
        if len(train.classes) > 2:
            raise ConfigError(
                f"--operating-point {config.operating_point} needs two classes, one of them "
                f"positive; there are {len(train.classes)}. Leave it out: the decision is then "
                "the most probable class."
            )
        return Choice("decision", rule.words, "requested; chosen on validation")
    return Choice(
        "decision",
        "the more probable class, both weighted as in training",
        "where validation is almost separable, the best threshold on it is hardly determined "
        "and is often a poor one on other data",
    )


def _grade_decision(classes: tuple[str, ...], config: Config, rule: operating_point.Rule) -> Choice:
    """Describe how probabilities of grades become decisions.

    Raises:
        ConfigError: There is a rule for a threshold, or a prevalence, and no grade that it is for;
            or that grade is not one of those above the lowest.
    """
    cut = config.positive_from
    if cut and cut not in classes[1:]:
        raise ConfigError(
            f"--positive-from must be one of the grades above the lowest: {', '.join(classes[1:])}."
            f" Received: {cut!r}"
        )
    if not cut and (rule.kind != "balanced" or config.prevalence is not None):
        option = "--prevalence" if rule.kind == "balanced" else "--operating-point"
        raise ConfigError(
            f"{option} needs a grade from which on an image is positive: add --positive-from "
            f"{classes[1]}, or another of {', '.join(classes[1:])}."
        )
    words = task_of(ORDINAL).decision
    if cut:
        words += f"; positive from {cut} on, {rule.words}"
    return Choice("decision", words, "the median has the least expected absolute error")


def _neighbours(train: Split, config: Config) -> Choice:
    kept = min(config.neighbours, len(train))
    if not kept:
        why = "a run folder contains no training images unless requested"
        return Choice(_NEAREST, "none kept", why)
    why = "requested, to compare new images with; they are part of the run folder"
    return Choice(_NEAREST, f"{kept:,} small images kept", why)


def _network(train: Split, config: Config, effort: Level) -> tuple[dict[str, Any], list[Choice]]:
    size, channels = _stored(train)
    start = warm_start(config)
    if start:
        start.check_channels(channels)
    if config.backbone:
        parameters: dict[str, Any] = {"backbone": config.backbone, "weights": config.weights}
        choice = Choice("network", f"{config.backbone}, weights {config.weights}", "requested")
        channels_in, name = 3, "pretrained"
    else:
        parameters = {"width": effort.width, "blocks": effort.blocks, "members": 1}
        parameters |= start.parameters if start else {}
        what = f"residual network, {sum(parameters['blocks'])} blocks, width {parameters['width']}"
        choice = Choice("network", what, f"fits --effort {config.effort}: {effort.time}")
        channels_in, name = channels, "default"
    network = {
        "size": size, "channels": channels, "depth": train.cache.depth,
        "architecture": name, "parameters": parameters,
        "network_channels": channels_in,
        "weights_origin": start.origin if start else _origin(config.backbone, config.weights),
    }  # fmt: skip
    if start:
        choice = dataclasses.replace(choice, reason="that of the earlier classifier")
        first = Choice("start", "an earlier classifier", f"requested: {config.start}")
        return network, [first, choice, _input(train, channels_in), _depth(train, config)]
    return network, [choice, _input(train, channels_in), _depth(train, config)]


def _input(train: Split, channels: int) -> Choice:
    size, stored = _stored(train)
    color = "the images are grey" if stored == 1 else "the images are in colour"
    return Choice(
        "input",
        f"{size[0]} x {size[1]} x {channels}",
        f"{color}; resized without keeping the aspect ratio, so that shape is no clue",
    )


def _origin(backbone: str, weights: str) -> str:
    if not backbone:
        return ""
    from lucency.models import weights_origin  # loads the backend

    return weights_origin(backbone, weights)


def _depth(train: Split, config: Config) -> Choice:
    depth = train.cache.depth
    if config.depth:
        return Choice("depth", in_words(depth), "requested")
    if depth == EIGHT:
        return Choice("depth", in_words(depth), "no image has more")
    why = "holds the largest value of all images; files of 8 bits keep their own white"
    return Choice("depth", in_words(depth), why)


def _stored(train: Split) -> tuple[tuple[int, int], int]:
    height, width, channels = train.cache.shape
    return (height, width), channels


def _epochs(train: Split, config: Config) -> tuple[int, str]:
    epochs = default_epochs(config, len(train))
    if config.epochs:
        return epochs, "requested"
    return (
        epochs,
        f"about {epochs * len(train):,} images in all epochs together for --effort {config.effort}",
    )


def _stretch(train: Split, config: Config) -> tuple[float, str]:
    """Vary the scale of the axes so widely that their ratio tells nothing, where it would."""
    auroc, relies = aspect_auroc(train.halves(), config.seed)
    if relies:
        return _WIDE_STRETCH, (
            f"the scale of the axes alone separates the classes (AUROC {auroc.value:.2f}), as the "
            "images are resized without keeping the aspect ratio; drawn at random, it tells nothing"
        )
    if math.isnan(auroc.value):
        return _AUGMENTATION.stretch, "too few images to tell whether the scale of the axes matters"
    return _AUGMENTATION.stretch, (
        f"the scale of the axes alone does not separate the classes (AUROC {auroc.value:.2f})"
    )


def _class_weights(train: Split, config: Config) -> tuple[tuple[float, ...], str]:
    counts = np.bincount(train.labels, minlength=len(train.classes))
    if config.class_weighting is False:
        return (1.0,) * len(counts), "switched off"
    if train.targets is not None or train.values is not None:
        return (1.0,) * len(counts), "every image counts the same"
    if config.is_ordinal and config.class_weighting is None:
        return (1.0,) * len(counts), (
            "every image counts the same, so that the probability of each grade is that of its "
            "share in train"
        )
    weights = len(train) / (len(counts) * counts)
    return tuple(map(float, weights)), "every class counts the same, however many images it has"


def _precision(config: Config) -> tuple[str, str]:
    if config.precision:
        return config.precision, "requested"
    if backend.has_fast_bfloat16():
        return "mixed_bfloat16", "this machine computes bfloat16 faster; weights stay float32"
    return "float32", "lower precision is not faster on this machine"


def _shares(classes: tuple[str, ...], weights: tuple[float, ...]) -> str:
    pairs = zip(classes, weights, strict=True)
    return ", ".join(f"{name} {weight:.2f}" for name, weight in pairs)
