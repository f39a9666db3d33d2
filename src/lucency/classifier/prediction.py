"""The output of a classifier: arrays for n images, and a prediction for one file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.calibration.conformal import Conformal, Kind, Threshold
from lucency.calibration.values import ValueRule
from lucency.classifier.activation_map import ActivationMap
from lucency.classifier.spec import Spec
from lucency.dataset.multilabel import NO_FINDING
from lucency.imaging.notes import Note, describe_notes
from lucency.task import CLASSES, Task, task_of

ABSTAIN: tuple[float, Kind] = (0.05, "class-conditional")  # the sets that make an image ambiguous


@dataclasses.dataclass(frozen=True)
class Outputs:
    """The outputs of the network for n images.

    Attributes:
        probabilities: (n, classes) float64, calibrated, rows sum to 1.
        ood_scores: (n,) float64, above 1 is out of distribution; ``None`` for a classifier without
            an OOD detector.
        maps: (n, h, w) float32, signed and in logits: the evidence at each position for or against
            the class in ``map_classes``; ``None`` if none were requested or there are none. The
            mean of a map is the logit (minus the mean logit of the other classes, if there are more
            than two classes), including the bias and before the temperature.
        map_classes: (n,) int64, class indices; ``None`` if there are no maps.
        embeddings: (n, d) float32, the input of the last layer; ``None`` if not computed.
    """

    probabilities: NDArray[np.float64]
    ood_scores: NDArray[np.float64] | None = None
    maps: NDArray[np.float32] | None = None
    map_classes: NDArray[np.int64] | None = None
    embeddings: NDArray[np.float32] | None = None


def concatenated(batches: Sequence[Outputs], count: int | None = None) -> Outputs:
    """Concatenate the outputs of several batches, up to ``count`` images, without embeddings."""
    probabilities = np.concatenate([batch.probabilities for batch in batches])[:count]
    others = [
        [values for batch in batches if (values := getattr(batch, name)) is not None]
        for name in ("ood_scores", "maps", "map_classes")
    ]
    return Outputs(
        probabilities, *(np.concatenate(each)[:count] if each else None for each in others)
    )


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one file.

    Attributes:
        file: The file as it was given.
        decision: A class name; empty if the classifier abstains.
        probabilities: Probability of each class, in the order of ``Classifier.classes``; empty
            if the file could not be read.
        reason: Why the classifier abstains: unreadable, out of distribution or ambiguous; empty if
            it does not.
        prediction_set: The classes that validation does not rule out; empty if there are no sets.
        ood_score: Above 1 is out of distribution.
        activation_map: The evidence at each position for and against a class, if requested and
            available.
        notes: Properties of a DICOM file that its reader should know, in words.
        cut: For grades, "from" which one on an image is positive, the "probability" of this one or
            a higher one, and whether that makes it "positive" (``None`` where the classifier
            abstains); ``None`` if no grade was chosen.
        labels: Of several labels, for each its "probability", whether it is "present" (``None``
            where validation leaves both possible) and the "prediction_set" of the two; ``None`` for
            other tasks. ``decision`` names those that are present.
        value: Of a number, its "name", what is "predicted", and the "interval" that is to contain
            it with a probability of "coverage" (``None`` where too few patients were held out);
            ``None`` for other tasks. ``decision`` is the predicted number as a text.
        patient: PatientID of a DICOM file, hashed with a key of this process, to tell which images
            belong together; empty where unknown or not needed. It is not in ``to_json``.
        study: StudyInstanceUID likewise.
        series: SeriesInstanceUID likewise.
        evidence: Of a unit of several images, such as a patient: the "class" that is answered; the
            "image" without which the answer would change most, and by how much its log odds would
            fall ("change", ``None`` for a single image); how many "images" could be read, and how
            many of them "agree" by themselves; the "lowest" and "highest" probability of the class
            among them. Of a number there is no class: the change is that of the number, the images
            whose own numbers lie in the interval of the unit agree (``None`` without intervals),
            and the lowest and highest are numbers. Of several labels it has "images", and under
            "labels" the same for each that reaches its threshold. ``None`` for an image.
    """

    file: str
    decision: str
    probabilities: tuple[float, ...]
    reason: str = ""
    prediction_set: tuple[str, ...] = ()
    ood_score: float | None = None
    activation_map: ActivationMap | None = None
    notes: tuple[str, ...] = ()
    cut: Mapping[str, Any] | None = None
    labels: Mapping[str, Mapping[str, Any]] | None = None
    value: Mapping[str, Any] | None = None
    patient: str = ""
    study: str = ""
    series: str = ""
    evidence: Mapping[str, Any] | None = None

    def with_notes(self, notes: Note) -> Prediction:
        """Return the prediction with the notes on its file."""
        return dataclasses.replace(self, notes=describe_notes(notes)) if notes else self

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return everything but the file name; every JSON output of a prediction has these keys.

        Args:
            classes: Class names, in the order of the probabilities.
        """
        document: dict[str, Any] = {
            "decision": self.decision or None,
            "probabilities": dict(zip(classes, self.probabilities, strict=False)) or None,
            "reason": self.reason or None,
            "prediction_set": list(self.prediction_set),
            "ood_score": self.ood_score,
            "notes": list(self.notes),
        }
        if self.value is not None:
            document["value"] = dict(self.value)
        if self.labels is not None:
            document["labels"] = {name: dict(each) for name, each in self.labels.items()}
        if self.cut is not None:
            document["cut"] = dict(self.cut)
        if self.evidence is not None:
            document["evidence"] = dict(self.evidence)
        if self.activation_map is not None:
            document["activation_map"] = self.activation_map.to_json()
        return document


def predictions(spec: Spec, outputs: Outputs, names: Sequence[str]) -> list[Prediction]:
    """Turn outputs into predictions, which abstain rather than guess; without maps.

    Args:
        spec: What decides: of a classifier, or for units its ``per_unit``.
        outputs: For n images or units.
        names: Of each.
    """
    if spec.labels:
        return _label_predictions(spec, outputs, names)
    if rule := spec.value_rule:
        return value_predictions(names, outputs.probabilities, rule, outputs.ood_scores)
    return _class_predictions(spec, outputs, names)


def _class_predictions(spec: Spec, outputs: Outputs, names: Sequence[str]) -> list[Prediction]:
    """Return predictions of one class each."""
    decisions = spec.decide(outputs.probabilities)
    given = spec.sets
    rule = given.deciding(*ABSTAIN) if given else None
    sets = rule.sets(outputs.probabilities) if rule else None
    made = [
        predicted(
            name,
            spec.classes,
            outputs.probabilities[i],
            int(decisions[i]),
            None if sets is None else sets[i],
            None if outputs.ood_scores is None else float(outputs.ood_scores[i]),
            task_of(spec.task),
        )
        for i, name in enumerate(names)
    ]
    return [dataclasses.replace(each, cut=at_cut(spec.cut, spec.classes, each)) for each in made]


def label_rules(labels: Sequence[Mapping[str, Any]]) -> list[Threshold | None]:
    """Return the rule of each label's prediction set, absent and present.

    Args:
        labels: ``Spec.labels``.

    Returns:
        ``None`` stands for a label that has none; the list is empty for other tasks.
    """
    return [Conformal.from_json(each["conformal"], 2).deciding(*ABSTAIN) for each in labels]


def _label_predictions(spec: Spec, outputs: Outputs, names: Sequence[str]) -> list[Prediction]:
    """Return predictions of several labels."""
    rules = label_rules(spec.labels)
    present = spec.decide(outputs.probabilities) == 1
    return [
        label_prediction(
            name,
            spec.classes,
            outputs.probabilities[i],
            present[i],
            rules,
            None if outputs.ood_scores is None else float(outputs.ood_scores[i]),
        )
        for i, name in enumerate(names)
    ]


def predicted(
    file: str,
    classes: tuple[str, ...],
    probabilities: NDArray[np.float64],
    decision: int,
    in_set: NDArray[np.bool_] | None,
    ood_score: float | None,
    task: Task = CLASSES,
) -> Prediction:
    """Turn numbers into a prediction that abstains rather than guesses.

    It abstains if the image is out of distribution, and if the prediction set is not the decided
    class alone; for grades, if it is not at most two neighbouring ones.

    Args:
        file: Name of the image.
        classes: Class names.
        probabilities: (classes,).
        decision: Index of the decided class.
        in_set: (classes,) which classes the prediction set contains; ``None`` without sets.
        ood_score: Above 1 is out of distribution; ``None`` without a detector.
        task: Of the classifier.
    """
    names = () if in_set is None else tuple(np.array(classes, object)[in_set])
    reason = _out_of_distribution(ood_score)
    if (
        not reason
        and in_set is not None
        and not task.is_clear(in_set[None], np.array([decision]))[0]
    ):
        between = f"{names[0]} to {names[-1]}" if len(names) > 1 and task.is_ordinal else ""
        shown = between or " or ".join(names)
        reason = f"ambiguous: {shown}" if names else "ambiguous: no class fits well"
        if len(names) == 1:
            reason = f"ambiguous: {classes[decision]} by {task.rule}, {names[0]} by validation"
    return Prediction(
        file=file,
        decision="" if reason else classes[decision],
        probabilities=tuple(map(float, probabilities)),
        reason=reason,
        prediction_set=names,
        ood_score=ood_score,
    )


def _out_of_distribution(score: float | None) -> str:
    """Return why an image with this OOD score has no answer; empty if it may have one."""
    if score is None or score <= 1:
        return ""
    return f"out of distribution: OOD score {score:.3g}, limit 1"


def at_cut(
    cut: Mapping[str, Any] | None, classes: tuple[str, ...], prediction: Prediction
) -> dict[str, Any] | None:
    """Return ``Prediction.cut`` of a prediction, if there is one.

    Args:
        cut: ``Spec.cut``.
        classes: The grades.
        prediction: With the probability of each.
    """
    if cut is None:
        return None
    probability = sum(prediction.probabilities[classes.index(cut["from"]) :])
    positive = probability >= cut["threshold"] if prediction.decision else None
    return {"from": cut["from"], "probability": probability, "positive": positive}


def number_text(value: float) -> str:
    """Return a number with four significant digits and without an exponent."""
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")


def value_predictions(
    files: Sequence[str],
    probabilities: NDArray[np.float64],
    rule: ValueRule,
    ood_scores: NDArray[np.float64] | None,
) -> list[Prediction]:
    """Turn the probabilities of bins into predicted numbers.

    They abstain if the image is out of distribution, or if the interval is wider than the
    tolerance.

    Args:
        files: n names of images.
        probabilities: (n, bins), rows sum to 1.
        rule: How they become numbers.
        ood_scores: (n,) above 1 is out of distribution; ``None`` without a detector.
    """
    predicted = rule.predicted(probabilities)
    intervals = rule.intervals(probabilities)
    clear = rule.is_clear(intervals, len(files))
    found = []
    for i, file in enumerate(files):
        ends = None if intervals is None else [float(end) for end in intervals[i]]
        score = None if ood_scores is None else float(ood_scores[i])
        reason = _out_of_distribution(score)
        if not reason and not clear[i]:
            between = " to ".join(map(number_text, ends)) if ends else "no interval"
            reason = f"ambiguous: {between}, wider than {number_text(rule.tolerance or 0)}"
        found.append(
            Prediction(
                file=file,
                decision="" if reason else number_text(float(predicted[i])),
                probabilities=tuple(map(float, probabilities[i])),
                reason=reason,
                ood_score=score,
                value={
                    "name": rule.name,
                    "predicted": float(predicted[i]),
                    "interval": ends,
                    "coverage": rule.coverage,
                },
            )
        )
    return found


def label_prediction(
    file: str,
    names: tuple[str, ...],
    probabilities: NDArray[np.float64],
    present: NDArray[np.bool_],
    rules: Sequence[Threshold | None],
    ood_score: float | None,
) -> Prediction:
    """Turn the probabilities of several labels into a prediction.

    It abstains if the image is out of distribution, and if no label is present and one may be.

    Args:
        file: Name of the image.
        names: Of the labels.
        probabilities: (labels,) that each is present.
        present: (labels,) whether each reaches its threshold.
        rules: Of the prediction set of each label; ``None`` where there is none.
        ood_score: Above 1 is out of distribution; ``None`` without a detector.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, p, is_present, rule in zip(names, probabilities, present, rules, strict=True):
        inside = [True, True] if rule is None else rule.sets(np.array([[1 - p, p]]))[0].tolist()
        clear = rule is None or inside == [not is_present, bool(is_present)]
        found[name] = {
            "probability": float(p),
            "present": bool(is_present) if clear else None,
            "prediction_set": [
                word for word, is_in in zip(("absent", "present"), inside, strict=True) if is_in
            ],
        }
    sure = [name for name, each in found.items() if each["present"]]
    unclear = [name for name, each in found.items() if each["present"] is None]
    reason = _out_of_distribution(ood_score)
    if not reason and unclear and not sure:
        reason = f"ambiguous: {', '.join(unclear)}"
    return Prediction(
        file=file,
        decision="" if reason else ", ".join(sure) or NO_FINDING,
        probabilities=tuple(map(float, probabilities)),
        reason=reason,
        ood_score=ood_score,
        labels=found,
    )
