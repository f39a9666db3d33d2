"""What ``classifier.json`` says, every value checked before it is believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from lucency.errors import ClassifierError

FORMAT = 1
JSON = "classifier.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """What ``classifier.json`` says.

    Attributes:
        classes: Class names in natural order.
        positive: For two classes, the one whose detection counts; else ``None``.
        size: Height and width of the input in pixels.
        channels: Channels of the input: 1 (grey) or 3.
        architecture: Name of a network in ``lucency.models``.
        network_channels: Channels that the network takes; grey pictures are repeated to fit.
        parameters: Parameters of the architecture.
        temperature: What the logits are divided by.
        threshold: Probability of ``positive`` from which on it is decided for; 0.5 of no meaning
            for more than two classes, where the most probable class is taken.
        rule: How the threshold was chosen, in words.
        chosen: Sensitivity and specificity that the threshold had on validation, where known.
        prior: Shares of the classes that the probabilities assume; sum to 1.
        conformal: Thresholds of the prediction sets, as ``lucency.conformal`` writes them; or none.
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
    fingerprint: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

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
        except (KeyError, TypeError, ValueError) as error:
            raise ClassifierError(
                f"{JSON} is not complete or has a wrong value ({type(error).__name__}: {error}). "
                "Restore it from the training run, or train again."
            ) from error


def _fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``Spec``; raises KeyError, TypeError or ValueError."""
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r}, this version reads {FORMAT}")
    classes = tuple(_typed(name, str) for name in data["classes"])
    if len(classes) < 2 or len(set(classes)) < len(classes) or len(classes) > 10_000:
        raise ValueError("classes must be 2 to 10,000 different names")
    if data["positive"] is not None and data["positive"] not in classes:
        raise ValueError(f"positive is none of the classes: {data['positive']!r}")
    given, network = data["input"], data["architecture"]
    if "weights" in network["parameters"]:
        raise ValueError("the architecture names weights of its own; ours are beside it")
    point = data["operating_point"]
    return {
        "classes": classes,
        "positive": data["positive"],
        "size": (_whole(given["height"], 2048), _whole(given["width"], 2048)),
        "channels": _whole(given["channels"], 3),
        "architecture": _typed(network["name"], str),
        "network_channels": _whole(network["channels"], 3),
        "parameters": _typed(network["parameters"], dict),
        "temperature": _number(data["temperature"], 1e-3, 1e3),
        "threshold": _number(point["threshold"], 0, 1),
        "rule": _typed(point["rule"], str),
        "chosen": _rates(point.get("validation")),
        "prior": _shares(data.get("prior"), len(classes)),
        "conformal": data.get("conformal") and _typed(data["conformal"], dict),
        "fingerprint": _typed(data["data"]["fingerprint"], str),
        "versions": _typed(data["versions"], dict),
    }


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


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, received {value!r}")
    return value


def _whole(value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"expected a whole number from 1 to {most}, received {value!r}")
    return value


def _number(value: Any, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"expected a number from {low:g} to {high:g}, received {value!r}")
    return float(value)
