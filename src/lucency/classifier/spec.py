"""The values of ``classifier.json``, each checked before it is used."""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np

from lucency.calibration.conformal import Conformal
from lucency.calibration.units import SHARPEST, UnitRule
from lucency.calibration.values import ValueRule
from lucency.classifier.architectures import check_parameters, weight_count
from lucency.dataset.values import Bins
from lucency.errors import ClassifierError, ConfigError
from lucency.imaging.decoder.protocol import Request
from lucency.imaging.depths import EIGHT, KNOWN, dtype_of, is_deep
from lucency.metrics import FloatArray, IntArray, positive_index
from lucency.run_folder.files import CLASSIFIER, FORMAT
from lucency.task import CLASSIFICATION, Task, check_grades, task_of

_MAX_CLASSES = 10_000
_MAX_LENGTH = 1000  # characters of a name or a sentence
# Control characters, which a terminal executes, and surrogates, which cannot be printed.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """The values of ``classifier.json``.

    Attributes:
        classes: Class names in natural order; grades from the lowest to the highest.
        positive: For two classes, the one to be detected; else ``None``.
        task: Name of the task, see ``lucency.task``.
        cut: Of grades, from which one on an image is positive: "from", "threshold" (the smallest
            probability of this grade or a higher one at which it is), "rule" and "validation" (as
            ``validation_rates``); ``None`` for none.
        unit: How the images of a patient or another unit become one answer, as
            ``UnitRule.to_json`` writes it; ``None`` where only images have answers.
        labels: Of several labels, for each "temperature" and "bias" (which the weights contain),
            "threshold", "rule", "validation", "prevalence" (on the images that these were chosen
            on) and "conformal" (sets of absent and present); of units also "pooling" and
            "pooling_rule". Empty for other tasks, whose fields of these names it replaces.
        value: How probabilities become a number, as ``ValueRule.to_json`` writes it; ``None`` for
            other tasks.
        size: Height and width of the input in pixels.
        channels: Channels of the input: 1 (grey) or 3.
        depth: Bits of the training images: the largest number of so many is white in files of more
            than 8 bits; 1 for floats from 0 to 1. The input is float32 unless it is 8.
        architecture: Name of a network in ``lucency.models``.
        network_channels: Channels that the network takes; grey images are repeated to fit.
        parameters: Parameters of the architecture.
        temperature: Divisor of the logits.
        bias: Added to the logits after that, one value per class: it turns probabilities for
            equally weighted classes into those for ``class_prior``. Empty for zeros.
        threshold: Smallest probability at which ``positive`` is predicted; not used with more than
            two classes, where the most probable class is predicted.
        rule: How the threshold was chosen, in words.
        validation_rates: Sensitivity and specificity of the threshold on validation, if known.
        class_prior: Class shares that the probabilities assume; sum to 1.
        conformal: Thresholds of the prediction sets, as ``lucency.calibration.conformal`` writes
            them; ``None`` without prediction sets.
        explanation: Results of the tests of the activation maps: "method", "scale" (the value in
            logits at which the colour scale ends), "informative" and a "sentence"; ``None`` if they
            were not tested.
        fingerprint: sha256 of the list of training files.
        weights_origin: Where the initial weights come from, with their licence and checksum; empty
            if they were random.
        versions: Versions of the software that the classifier was trained with.
    """

    classes: tuple[str, ...]
    positive: str | None
    size: tuple[int, int]
    channels: int
    architecture: str
    network_channels: int
    parameters: Mapping[str, Any]
    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    threshold: float = 0.5
    rule: str = "the more probable class"
    validation_rates: Mapping[str, float] | None = None
    class_prior: tuple[float, ...] = ()
    conformal: Mapping[str, Any] | None = None
    explanation: Mapping[str, Any] | None = None
    fingerprint: str = ""
    weights_origin: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    depth: int = EIGHT
    task: str = CLASSIFICATION
    cut: Mapping[str, Any] | None = None
    unit: Mapping[str, Any] | None = None
    labels: tuple[Mapping[str, Any], ...] = ()
    value: Mapping[str, Any] | None = None

    @property
    def dtype(self) -> str:
        """Type of the input's pixels, which are 0 to 255: ``uint8``, or ``float32`` if deep."""
        return dtype_of(self.depth)

    def request(self, source: str | bytes) -> Request:
        """Return the request to decode an image as the network takes it."""
        deep = is_deep(self.depth)
        return Request(source, self.size, self.channels == 3, depth=self.depth, deep=deep)

    def display_request(self, source: str | bytes, size: tuple[int, int]) -> Request:
        """Return the request to decode an image for people, at a height and width."""
        return Request(source, size, self.channels == 3, depth=self.depth)

    @property
    def weight_count(self) -> int:
        """Number of weights of the described network."""
        shape = (*self.size, self.network_channels)
        return weight_count(self.architecture, len(self.classes), shape, self.parameters)

    @property
    def even(self) -> float:
        """Probability of ``positive`` at a logit of 0, where the loss weighs both classes equally.

        0.5 if the loss counted every image the same; with classes weighted, the share of
        ``positive`` in ``class_prior``.
        """
        k = self.classes.index(self.positive or self.classes[1])
        odds = (self.bias or (0.0, 0.0))[k] - (self.bias or (0.0, 0.0))[1 - k]
        return 1 / (1 + math.exp(-odds))

    @cached_property
    def unit_rule(self) -> UnitRule | None:
        """How the images of a patient or another unit become one answer, if they do."""
        return None if self.unit is None else UnitRule.from_json(self.unit, self.classes)

    @cached_property
    def value_rule(self) -> ValueRule | None:
        """How probabilities of bins become a number, where that is the answer."""
        return None if self.value is None else ValueRule.from_json(self.value, len(self.classes))

    @cached_property
    def sets(self) -> Conformal | None:
        """The prediction sets with guaranteed coverage, if they were calibrated."""
        given = self.conformal
        return None if given is None else Conformal.from_json(given, len(self.classes))

    @cached_property
    def per_unit(self) -> Spec | None:
        """What decides on the pooled probabilities of a unit, as this does on those of an image.

        ``None`` where only images have answers.
        """
        if (rule := self.unit_rule) is None:
            return None
        return dataclasses.replace(
            self,
            threshold=rule.threshold,
            rule=rule.rule,
            validation_rates=rule.validation,
            conformal=rule.conformal.to_json() if rule.conformal.thresholds else None,
            cut=rule.cut,
            labels=rule.labels,
            value=rule.value,
            unit=None,
        )

    def decide(self, probabilities: FloatArray) -> IntArray:
        """Return the index of the decided class for each row of probabilities, (n,).

        Of several labels, (n, labels): 1 for those that are present at their thresholds. Of a
        number, the bin that the predicted number lies in.
        """
        if rule := self.value_rule:
            return Bins(rule.edges).numbers(rule.predicted(probabilities))
        if self.labels:
            thresholds = np.array([each["threshold"] for each in self.labels])
            return (probabilities >= thresholds).astype(np.int64)
        positive = positive_index(self.classes, self.positive)
        return task_of(self.task).decide(probabilities, positive, self.threshold)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``classifier.json`` without the checksums of the other files."""
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "task": self.task,
            "positive": self.positive,
            "cut": self.cut and dict(self.cut),
            "unit": self.unit and dict(self.unit),
            "labels": [dict(each) for each in self.labels] or None,
            "value": self.value and dict(self.value),
            "input": {
                "height": self.size[0],
                "width": self.size[1],
                "channels": self.channels,
                "depth": self.depth,
            },
            "architecture": {
                "name": self.architecture,
                "channels": self.network_channels,
                "parameters": dict(self.parameters),
            },
            "temperature": self.temperature,
            "bias": list(self.bias or [0.0] * len(self.classes)),
            "operating_point": {
                "rule": self.rule,
                "threshold": self.threshold,
                "validation": self.validation_rates and dict(self.validation_rates),
            },
            "class_prior": list(self.class_prior or [1 / len(self.classes)] * len(self.classes)),
            "conformal": self.conformal and dict(self.conformal),
            "explanation": self.explanation and dict(self.explanation),
            "data": {"fingerprint": self.fingerprint},
            "weights_origin": self.weights_origin or None,
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Check the content of ``classifier.json`` and return it.

        Raises:
            ClassifierError: A field is missing, of a wrong type or out of range.
        """
        try:
            return cls(**_fields(data))
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise ClassifierError(
                f"{CLASSIFIER} is incomplete or has a wrong value ({type(error).__name__}: "
                f"{error}). Restore it from the training run, or train again."
            ) from error


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Spec``; raises KeyError, TypeError or ValueError."""
    classes = _classes(data["classes"])
    if data["positive"] is not None and (data["positive"] not in classes or len(classes) != 2):
        raise ValueError(f"positive must be one of two classes: {_shown(data['positive'])}")
    task = task_of(_text(data.get("task", CLASSIFICATION)))
    if task.is_ordinal:
        check_grades(classes)
    given, network = data["input"], data["architecture"]
    check_parameters(_text(network["name"]), _typed(network["parameters"], dict))
    if bool(network["parameters"].get("multilabel")) != task.is_multilabel:
        raise ValueError("the task is multilabel without a network for several labels, or reversed")
    channels = _one_of(given["channels"], (1, 3))
    point = data["operating_point"]
    return {
        "classes": classes,
        "positive": data["positive"],
        "task": task.name,
        "cut": _cut(data.get("cut"), classes[1:] if task.is_ordinal else ()),
        "unit": _unit(data.get("unit"), classes, task),
        "labels": _labels(data.get("labels"), len(classes) if task.is_multilabel else 0),
        "value": _value(data.get("value"), classes) if task.is_regression else None,
        "size": (_whole(given["height"], 2048), _whole(given["width"], 2048)),
        "channels": channels,
        "depth": _one_of(given.get("depth", EIGHT), KNOWN),
        "architecture": network["name"],
        "network_channels": _one_of(network["channels"], (channels, 3)),
        "parameters": network["parameters"],
        "temperature": _number(data["temperature"], 1e-3, 1e3),
        "bias": _bias(data.get("bias"), len(classes)),
        "threshold": _number(point["threshold"], 0, 1),
        "rule": _text(point["rule"]),
        "validation_rates": _rates(point.get("validation")),
        "class_prior": _class_prior(data.get("class_prior"), len(classes)),
        "conformal": _conformal(data.get("conformal"), len(classes)),
        "explanation": _explanation(data.get("explanation")),
        "fingerprint": _text(data["data"]["fingerprint"]),
        "weights_origin": _origin(data.get("weights_origin")),
        "versions": _versions(data["versions"]),
    }


def _classes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= _MAX_CLASSES:
        raise ValueError(f"classes must be 2 to {_MAX_CLASSES:,} different names")
    classes = tuple(_text(name) for name in value)
    if len(set(classes)) < len(classes) or "" in classes:
        raise ValueError(f"classes must be 2 to {_MAX_CLASSES:,} different names")
    return classes


def _conformal(value: Any, classes: int) -> Mapping[str, Any] | None:
    if value is None:
        return None
    Conformal.from_json(value, classes)
    return dict(value)


def _explanation(value: Any) -> Mapping[str, Any] | None:
    """Return the results of the tests of the maps, if there are any."""
    if value is None:
        return None
    if type(value["informative"]) is not bool:
        raise TypeError(
            f"informative must be true or false, received {_shown(value['informative'])}"
        )
    return {
        "method": _text(value["method"]),
        "scale": _number(value["scale"], 1e-6, 1e6),
        "informative": value["informative"],
        "sentence": _text(value["sentence"]),
    }


def _origin(value: Any) -> str:
    return "" if value is None else _text(value)


def _versions(value: Any) -> Mapping[str, str]:
    if len(_typed(value, dict)) > 100:
        raise ValueError("more than 100 versions")
    return {_text(name): _text(version) for name, version in value.items()}


def _rates(value: Any) -> Mapping[str, float] | None:
    """Return sensitivity and specificity, if they are known."""
    if value is None:
        return None
    return {name: _number(value[name], 0, 1) for name in ("sensitivity", "specificity")}


def _cut(value: Any, known: tuple[str, ...]) -> Mapping[str, Any] | None:
    """Return from which of the known grades on an image is positive, if that was chosen."""
    if value is None:
        return None
    if value["from"] not in known:
        raise ValueError(f"the cut must be one of the grades above the lowest: {_shown(value)}")
    return {
        "from": value["from"],
        "threshold": _number(value["threshold"], 0, 1),
        "rule": _text(value["rule"]),
        "validation": _rates(value.get("validation")),
    }


def _unit(value: Any, classes: tuple[str, ...], task: Task) -> Mapping[str, Any] | None:
    """Return how images become one answer, with labels or a number where images have them."""
    if value is None:
        return None
    UnitRule.from_json(value, classes)
    _labels(value.get("labels"), len(classes) if task.is_multilabel else 0)
    if task.is_regression:
        _value(value["value"], classes)
    elif "value" in value:
        raise ValueError("the unit has a number, and the task is another")
    return dict(value)


def _labels(value: Any, count: int) -> tuple[Mapping[str, Any], ...]:
    """Return the values of each label; ``count`` is 0 where images have one class."""
    if not count and value is None:
        return ()
    if not isinstance(value, list) or len(value) != count or not count:
        raise ValueError(f"labels must be a list of values for each of {count} labels")
    return tuple(_label(_typed(each, dict)) for each in value)


def _value(value: Any, classes: tuple[str, ...]) -> Mapping[str, Any]:
    """Return how probabilities of bins become a number."""
    if ValueRule.from_json(value, len(classes)).edges != Bins.of_names(classes).edges:
        raise ValueError("the edges of value are not those of the classes")
    return dict(value)


def _label(value: Any) -> Mapping[str, Any]:
    Conformal.from_json(value["conformal"], 2)
    pooling = {}
    if "pooling" in value:  # of units
        pooling = {
            "pooling": _number(value["pooling"], -SHARPEST, SHARPEST),
            "pooling_rule": _text(value["pooling_rule"]),
        }
    return {
        "temperature": _number(value["temperature"], 1e-3, 1e3),
        "bias": _number(value["bias"], -100, 100),
        "threshold": _number(value["threshold"], 0, 1),
        "rule": _text(value["rule"]),
        "validation": _rates(value["validation"]),
        "prevalence": _number(value["prevalence"], 0, 1),
        "conformal": dict(value["conformal"]),
        **pooling,
    }


def _class_prior(value: Any, classes: int) -> tuple[float, ...]:
    """Return the class shares; without them all classes are equally frequent."""
    if value is None:
        return (1 / classes,) * classes
    shares = tuple(_number(share, 0, 1) for share in value)
    if len(shares) != classes or abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
        raise ValueError(f"class_prior must be {classes} shares above 0 that sum to 1")
    return shares


def _bias(value: Any, classes: int) -> tuple[float, ...]:
    """Return the bias of each class; without one, zeros."""
    if value is None:
        return (0.0,) * classes
    bias = tuple(_number(each, -100, 100) for each in value)
    if len(bias) != classes:
        raise ValueError(f"bias must be {classes} numbers")
    return bias


def _shown(value: Any) -> str:
    """Return a value for an error message: on one line, at most 80 characters."""
    return reprlib.repr(value)[:80]


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, received {_shown(value)}")
    return value


def _text(value: Any) -> str:
    if len(_typed(value, str)) > _MAX_LENGTH or _UNPRINTABLE.search(value):
        raise ValueError(
            f"expected up to {_MAX_LENGTH} printable characters, received {_shown(value)}"
        )
    return str(value)


def _whole(value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"expected a whole number from 1 to {most}, received {_shown(value)}")
    return value


def _one_of(value: Any, choices: tuple[int, ...]) -> int:
    if type(value) is not int or value not in choices:
        raise ValueError(f"expected {' or '.join(map(str, choices))}, received {_shown(value)}")
    return value


def _number(value: Any, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"expected a number from {low:g} to {high:g}, received {_shown(value)}")
    return float(value)
