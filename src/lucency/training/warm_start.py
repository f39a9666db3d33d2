"""A warm start: an earlier classifier is fine-tuned, also for other classes.

The network is that of the earlier classifier, and all of it is trained, at a lower learning rate.
Its last layer is kept where the classes are the same. Of a classifier that averages several
networks, such as those of folds, each new network starts from one.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from lucency.classifier import Spec
from lucency.classifier.stored_files import StoredWeights, read_document
from lucency.config import ENSEMBLE, Config, Start
from lucency.dataset import Dataset
from lucency.dataset.split_file import read_split
from lucency.errors import ConfigError, LeakError, nearest
from lucency.io import arrays_of, read_bytes, why
from lucency.progress import Progress
from lucency.run_folder.files import CLASSIFIER, SPLIT, WEIGHTS
from lucency.task import CLASSIFICATION, MULTILABEL
from lucency.training.ensemble import HEAD, Weights, join, members_of, split

_STEM = "stem_conv/kernel"  # (3, 3, channels, width)


@dataclasses.dataclass(frozen=True)
class WarmStart:
    """The network that training starts from.

    Attributes:
        path: A run folder, or a file of weights of the default network.
        spec: What the run says of its classifier; ``None`` for a file.
        sha256: Of the weights.
        channels: Of the images that it was trained on: 1 (grey) or 3.
        read: Returns its weights by the name of their variable.
    """

    path: Path
    spec: Spec | None
    sha256: str
    channels: int
    read: Callable[[], Weights]

    @property
    def backbone(self) -> str:
        """Name of its pretrained architecture; empty if it is the default network."""
        if self.spec is None or self.spec.architecture != "pretrained":
            return ""
        return str(self.spec.parameters.get("backbone", "MobileNetV2"))

    @property
    def has_backbone(self) -> bool:
        """Whether it is an ensemble with a pretrained network, which is not trained."""
        return self.spec is not None and self.spec.architecture == ENSEMBLE

    @property
    def side(self) -> int | None:
        """Side of the images that it was trained on, if it is known."""
        if self.spec is None:
            return None
        return self.spec.size[0] // int(self.spec.parameters.get("downsampling", 1))

    @property
    def parameters(self) -> dict[str, Any]:
        """Width and blocks of the default network, where they are known."""
        known = self.spec.parameters if self.spec else {}
        return {name: known[name] for name in ("width", "blocks") if name in known}

    @property
    def origin(self) -> str:
        """Where the weights come from, without the name of a file, which may be private."""
        before = self.spec.weights_origin if self.spec else ""
        of = "an earlier classifier" if self.spec else "a file"
        return f"weights of {of}, sha256 {self.sha256}" + (f"; before: {before}" if before else "")

    def check_channels(self, channels: int) -> None:
        """Raise ``ConfigError`` if it was trained on grey images and these are in colour, etc."""
        if self.channels != channels:
            kinds = {1: "grey", 3: "in colour"}
            raise ConfigError(
                f"--start {self.path} was trained on images that are {kinds[self.channels]}, and "
                f"these are {kinds[channels]}. Start from a classifier of such images, or from "
                "scratch."
            )

    def assign(
        self, network: Any, classes: tuple[str, ...], seed: int, task: str = CLASSIFICATION
    ) -> None:
        """Give the weights to a network that was built as the plan says.

        Args:
            network: The network; where the classes differ, its last layer stays as it is. So it
                does where an image has one class, and had several labels, or the reverse.
            classes: What it tells apart.
            seed: Determines which of several networks it starts from.
            task: What it is trained for.

        Raises:
            ConfigError: The weights do not fit the network.
        """
        same = self.spec is not None and self.spec.classes == classes and not self.has_backbone
        if self.spec and MULTILABEL in {task, self.spec.task}:
            same = same and task == self.spec.task
        variables = {each.path: each for each in network.weights}
        try:
            own = split(self.read(), head=not self.has_backbone)
            members = members_of([*variables])
            chosen = [own[(seed + k) % len(own)] for k in range(members)]
            values = join(chosen) if members > 1 else chosen[0]
            kept = [path for path in variables if same or not path.startswith(HEAD)]
            for path in kept:
                _check(values, path, tuple(variables[path].shape))
        except ValueError as error:
            raise _unfit(self.path, error) from error
        for path in kept:
            variables[path].assign(values[path])


def warm_start(config: Config) -> WarmStart | None:
    """Return the network that a configuration starts from; ``None`` where it names none.

    Raises:
        ConfigError: The path does not exist, or is neither a run folder nor a file of weights; or
            the network of the run cannot be fine-tuned.
        ClassifierError: A file of the run is damaged.
    """
    if not config.start_path:
        return None
    path = Path(config.start_path)
    return _of_run(path) if (path / CLASSIFIER).is_file() else _of_file(path)


def settled(config: Config) -> Config:
    """Return the configuration with the size of images and the backbone of its warm start.

    Raises:
        ConfigError: They contradict other choices.
    """
    start = warm_start(config)
    if start is None:
        return config
    if config.backbone not in ("", start.backbone):
        raise ConfigError(
            f"--backbone {config.backbone} is not the network of --start {start.path}. Leave out "
            "one of them."
        )
    weights = "none" if start.backbone else config.weights
    return dataclasses.replace(
        config, size=config.size or start.side, backbone=start.backbone, weights=weights
    )


def check_unseen(config: Config, data: Dataset, progress: Progress) -> None:
    """Make sure that the earlier classifier has not learned from images that are held out now.

    Images are compared by content; where some are the same, by patient too.

    Raises:
        LeakError: It has, and ``on_leak`` is not ``ignore``.
    """
    start = warm_start(config)
    if start is None:
        return
    known = start.spec is not None and SPLIT.is_in(start.path)
    if not known or (start.spec and start.spec.weights_origin):
        progress.warn(
            f"Not all images that --start {start.path} has learned from are known. If any of them "
            "is held out here, the figures are too optimistic."
        )
    if not known:
        return
    held_out, leaks = _leaks(start.path, data)
    if not leaks:
        return
    message = (
        f"--start {start.path} has learned from {len(leaks):,} of the {held_out:,} images that are "
        f"held out here, or from other images of their patients. The first: {leaks[0]}. Keep its "
        f"splits (--split-file {start.path / SPLIT} --folds 0), or start from scratch."
    )
    if config.on_leak != "ignore":
        raise LeakError(message, data)
    progress.warn(f"{message} The figures are invalid.")


def _leaks(run: Path, data: Dataset) -> tuple[int, list[str]]:
    """Return how many images are held out, and those that a run has learned from."""
    learned = [each for each in read_split(run / SPLIT) if each.split == "train"]
    known = {each.sha256 for each in learned}
    same = any(each.sha256 in known for each in data.entries)
    patients = {each.group for each in learned if each.group} if same else set()
    splits = ("train", "val", "test") if data.folds else ("val", "test")
    held_out = [each for each in data.entries if each.split in splits]
    seen = (each for each in held_out if each.sha256 in known or each.group in patients)
    return len(held_out), [each.file for each in seen]


def _of_run(folder: Path) -> WarmStart:
    document = read_document(folder)
    spec = Spec.from_json(document)
    if spec.architecture == "article":
        raise ConfigError(
            f"--start {folder} has the network of --recipe article, which cannot be fine-tuned. "
            "Start from a run of the default recipe."
        )
    stored = StoredWeights(folder, document.get("weights"), spec.weight_count)
    return WarmStart(folder, spec, stored.sha256, spec.channels, stored.read)


def _of_file(file: Path) -> WarmStart:
    known = get_args(Start)
    if file.suffix != ".safetensors":
        raise ConfigError(
            f"--start must be {', '.join(known)}, a run folder or a .safetensors file. Received: "
            f"{str(file)!r}.{nearest(str(file), known)}"
        )
    try:
        data = read_bytes(file, WEIGHTS.largest, follow=True)
        weights = arrays_of(data)
        for network in split(weights):
            if _STEM not in network or network[_STEM].ndim != 4:
                raise ValueError(f"it has no {_STEM}")
            channels = int(network[_STEM].shape[2])
            if channels not in (1, 3):
                raise ValueError(f"its images have {channels} channels")
        for name, array in weights.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name[:80]!r} has values that are not finite")
    except (OSError, ValueError) as error:
        raise _unfit(file, error) from error
    return WarmStart(file, None, hashlib.sha256(data).hexdigest(), channels, lambda: weights)


def _check(values: Weights, path: str, shape: tuple[int, ...]) -> None:
    found = values.get(path)
    if found is None or found.shape != shape:
        got = "missing" if found is None else f"of shape {found.shape}"
        raise ValueError(f"{path!r} is {got}, expected {shape}")


def _unfit(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"--start {path} does not hold the weights of the default network ({why(error)}). Give a "
        f"run folder of the default recipe, or its {WEIGHTS}."
    )
