"""What ``classifier.json`` says, every value checked before it is believed."""

from __future__ import annotations

import dataclasses
import re
import reprlib
from collections.abc import Mapping
from typing import Any, Self

from lucency.calibration.conformal import Conformal
from lucency.classifier.architectures import checked_parameters, weight_count
from lucency.errors import ClassifierError

FORMAT = 1
JSON = "classifier.json"
_MOST_CLASSES = 10_000
_LONGEST = 1000  # characters of a name or a sentence
# Control characters, which a terminal obeys, and halves of characters, which cannot be printed.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What ``classifier.json`` says.

    Attributes:
        classes: Class names in natural order.
        positive: For two classes, the one whose detection counts; else ``None``.
        size: Height and width of the input in pixels.
        channels: Channels of the input: 1 (grey) or 3.
        architecture: Name of a network in ``lucency.models``.
        network_channels: Channels that the network takes; grey images are repeated to fit.
        parameters: Parameters of the architecture.
        temperature: What the logits are divided by.
        threshold: Probability of ``positive`` from which on it is decided for; 0.5 of no meaning
            for more than two classes, where the most probable class is taken.
        rule: How the threshold was chosen, in words.
        chosen: Sensitivity and specificity that the threshold had on validation, where known.
        prior: Shares of the classes that the probabilities assume; sum to 1.
        conformal: Thresholds of the prediction sets, as ``lucency.calibration.conformal`` writes them; or none.
        explanation: What tests of the activation maps came to: "method", "scale" (the value in
            logits at which colours are full), "informative" and a "sentence" for people; ``None``
            where they were not tested.
        fingerprint: sha256 of the training data's list of files.
        versions: Versions of what made the classifier.
    """

    classes: tuple[str, ...]
    positive: str | None
    size: tuple[int, int]
    channels: int
    architecture: str
    network_channels: int
    parameters: Mapping[str, Any]
    temperature: float = 1.0
    threshold: float = 0.5
    rule: str = "the more probable class"
    chosen: Mapping[str, float] | None = None
    prior: tuple[float, ...] = ()
    conformal: Mapping[str, Any] | None = None
    explanation: Mapping[str, Any] | None = None
    fingerprint: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def weight_count(self) -> int:
        """How many numbers the weights of the described network are."""
        shape = (*self.size, self.network_channels)
        return weight_count(self.architecture, len(self.classes), shape, self.parameters)

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``classifier.json`` holds, without the files' checksums."""
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "positive": self.positive,
            "input": {"height": self.size[0], "width": self.size[1], "channels": self.channels},
            "architecture": {
                "name": self.architecture,
                "channels": self.network_channels,
                "parameters": dict(self.parameters),
            },
            "temperature": self.temperature,
            "operating_point": {
                "rule": self.rule,
                "threshold": self.threshold,
                "validation": self.chosen and dict(self.chosen),
            },
            "prior": list(self.prior or [1 / len(self.classes)] * len(self.classes)),
            "conformal": self.conformal and dict(self.conformal),
            "explanation": self.explanation and dict(self.explanation),
            "data": {"fingerprint": self.fingerprint},
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Check the object that ``classifier.json`` holds and return the specification.

        Raises:
            ClassifierError: A field is missing, of a wrong type or out of range.
        """
        try:
            return cls(**_fields(data))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ClassifierError(
                f"{JSON} is not complete or has a wrong value ({type(error).__name__}: {error}). "
                "Restore it from the training run, or train again."
            ) from error


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Spec``; raises KeyError, TypeError or ValueError."""
    _check_format(data["format"])
    classes = _classes(data["classes"])
    if data["positive"] is not None and (data["positive"] not in classes or len(classes) != 2):
        raise ValueError(f"positive is none of the classes, of two: {_shown(data['positive'])}")
    given, network = data["input"], data["architecture"]
    checked_parameters(_text(network["name"]), _typed(network["parameters"], dict))
    channels = _one_of(given["channels"], (1, 3))
    point = data["operating_point"]
    return {
        "classes": classes,
        "positive": data["positive"],
        "size": (_whole(given["height"], 2048), _whole(given["width"], 2048)),
        "channels": channels,
        "architecture": network["name"],
        "network_channels": _one_of(network["channels"], (channels, 3)),
        "parameters": network["parameters"],
        "temperature": _number(data["temperature"], 1e-3, 1e3),
        "threshold": _number(point["threshold"], 0, 1),
        "rule": _text(point["rule"]),
        "chosen": _rates(point.get("validation")),
        "prior": _shares(data.get("prior"), len(classes)),
        "conformal": _conformal(data.get("conformal"), len(classes)),
        "explanation": _explanation(data.get("explanation")),
        "fingerprint": _text(data["data"]["fingerprint"]),
        "versions": _versions(data["versions"]),
    }


def _check_format(found: Any) -> None:
    if type(found) is int and found > FORMAT:
        raise ValueError(
            f"format {_shown(found)}, which a later version of Lucency made; this one reads "
            f"{FORMAT}: update Lucency"
        )
    if type(found) is not int or found != FORMAT:
        raise ValueError(f"format {_shown(found)}, this version reads {FORMAT}")


def _classes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 2 <= len(value) <= _MOST_CLASSES:
        raise ValueError(f"classes must be 2 to {_MOST_CLASSES:,} different names")
    classes = tuple(_text(name) for name in value)
    if len(set(classes)) < len(classes) or "" in classes:
        raise ValueError(f"classes must be 2 to {_MOST_CLASSES:,} different names")
    return classes


def _conformal(value: Any, classes: int) -> Mapping[str, Any] | None:
    if value is None:
        return None
    Conformal.from_json(value, classes)
    return dict(value)


def _explanation(value: Any) -> Mapping[str, Any] | None:
    """Return what is known of the maps; older classifiers have nothing."""
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


def _versions(value: Any) -> Mapping[str, str]:
    if len(_typed(value, dict)) > 100:
        raise ValueError("more than 100 versions")
    return {_text(name): _text(version) for name, version in value.items()}


def _rates(value: Any) -> Mapping[str, float] | None:
    """Return sensitivity and specificity; older classifiers do not have them."""
    if value is None:
        return None
    return {name: _number(value[name], 0, 1) for name in ("sensitivity", "specificity")}


def _shares(value: Any, classes: int) -> tuple[float, ...]:
    """Return the class shares; classifiers without them take all classes as equally frequent."""
    if value is None:
        return (1 / classes,) * classes
    shares = tuple(_number(share, 0, 1) for share in value)
    if len(shares) != classes or abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
        raise ValueError(f"prior must be {classes} shares above 0 that sum to 1")
    return shares


def _shown(value: Any) -> str:
    """Return a value as an error shows it: in one line, never longer than that."""
    return reprlib.repr(value)[:80]


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, received {_shown(value)}")
    return value


def _text(value: Any) -> str:
    if len(_typed(value, str)) > _LONGEST or _UNPRINTABLE.search(value):
        raise ValueError(
            f"expected up to {_LONGEST} characters that can be printed, received {_shown(value)}"
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
