"""An export compared with its classifier: probabilities, decisions, time."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier
from lucency.export.answers import Answers
from lucency.export.formats import Predict
from lucency.export.images import BATCH, Images
from lucency.imaging.decoder.pool import Pixels
from lucency.progress import Progress

TIE = 1e-4  # this close to the threshold, the order of float32 additions may change the decision
_REPEATS, _REPEATS_OF_BATCH = 25, 9
_MAX_SECONDS = 6.0  # of one measurement


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The largest permitted difference from the classifier.

    Attributes:
        max_abs_difference: Largest absolute difference of a probability.
        decision_agreement: Smallest share of images with the same decision, 0 to 1.
    """

    max_abs_difference: float
    decision_agreement: float


# Other runtimes add float32 numbers in another order, which gives differences of 1e-7 to 1e-6.
FLOAT32 = Tolerance(1e-4, 1.0)
# Each of a dozen layers rounds to 256 steps, which gives differences of 0.005 to 0.05 where the
# sigmoid is steepest. With 0.1 a probability of 0.9 stays above 0.8, and one decision in 50 is less
# than the 95 % interval of an accuracy measured on several hundred images.
INT8 = Tolerance(0.1, 0.98)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well predictions agree.

    Attributes:
        n: Number of images.
        max_abs_difference: Largest absolute difference of a probability.
        mean_abs_difference: Mean over images and classes.
        differing: Images with another decision, ties excluded.
        ties: Images whose probability is within ``TIE`` of another decision.
    """

    n: int
    max_abs_difference: float
    mean_abs_difference: float
    differing: int
    ties: int

    @property
    def decision_agreement(self) -> float:
        """Share of images with the same decision; ties count as the same."""
        return 1 - self.differing / self.n

    def within(self, tolerance: Tolerance) -> bool:
        """Return whether it is within the tolerance.

        If the tolerance permits differing decisions at all, it permits one of few images.
        """
        permitted = (1 - tolerance.decision_agreement) * self.n
        limit = max(1.0, permitted) if permitted else 0.0
        close = self.max_abs_difference <= tolerance.max_abs_difference
        return close and self.differing <= limit


@dataclasses.dataclass(frozen=True)
class Latency:
    """Median time for one batch of the export and of the classifier, measured alternately.

    Attributes:
        n: Images per batch.
        repeats: Number of measurements.
        export_ms: Milliseconds of the exported file.
        classifier_ms: Milliseconds of the classifier on ONNX Runtime.
    """

    n: int
    repeats: int
    export_ms: float
    classifier_ms: float

    def to_json(self) -> dict[str, Any]:
        """Return all values, and the time of the exported file relative to the classifier's."""
        return dataclasses.asdict(self) | {"ratio": self.export_ms / self.classifier_ms}


def compare(
    classifier: Classifier,
    predict: Predict,
    images: Images,
    progress: Progress,
    answers: Answers | None = None,
) -> Agreement:
    """Compare the predictions of the classifier and its export for the same images.

    Args:
        classifier: The classifier.
        predict: Predicts with its export.
        images: The images.
        progress: Called on every batch.
        answers: What else to compare, if the export has it.
    """
    largest, total, differing, ties, n = 0.0, 0.0, 0, 0, 0
    with progress.task("Comparing predictions", images.n, "images") as task:
        for pixels in images.batches():
            ours, theirs = classifier.predict_pixels(pixels), predict(pixels).astype(np.float64)
            if answers:
                answers.add(pixels, ours)
            difference = np.abs(ours - theirs)
            # Comparisons with NaN are false; it counts as the largest difference.
            largest = max(largest, float(np.nan_to_num(difference, nan=np.inf).max()))
            total += float(difference.sum())
            tied = _margins(classifier, ours) <= TIE
            other = ~classifier.decides_alike(ours, theirs)
            differing, ties = differing + int((other & ~tied).sum()), ties + int(tied.sum())
            n += len(pixels)
            task.advance(len(pixels))
    mean = total / (n * len(classifier.classes))
    return Agreement(n, largest, mean, differing, ties)


def _margins(classifier: Classifier, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each row of probabilities from another decision."""
    if classifier.spec.labels:
        thresholds = [each["threshold"] for each in classifier.spec.labels]
        return np.asarray(np.abs(probabilities - thresholds).min(axis=1))
    if classifier.positive is not None:
        column = probabilities[:, classifier.classes.index(classifier.positive)]
        return np.asarray(np.abs(column - classifier.threshold))
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def measure_latency(
    classifier: Classifier, predict: Predict, pixels: Pixels
) -> tuple[Latency, ...]:
    """Measure one image and a batch of 32, repeating images where there are fewer.

    The classifier runs without its OOD detector, because no export has one.
    """
    without_detector = Classifier(classifier.spec, {}, classifier.onnx)
    reference = without_detector if classifier.onnx else classifier
    batch = np.resize(pixels, (BATCH, *pixels.shape[1:]))
    settings = ((batch[:1], _REPEATS), (batch, _REPEATS_OF_BATCH))
    return tuple(_latency(predict, reference.predict_pixels, *each) for each in settings)


def _latency(export: Predict, classifier: Predict, pixels: Pixels, repeats: int) -> Latency:
    seconds: dict[str, list[float]] = {"export": [], "classifier": []}
    started = time.perf_counter()
    for repeat in range(repeats + 1):
        for name, predict in (("export", export), ("classifier", classifier)):
            taken = _seconds(lambda predict=predict: predict(pixels))  # type: ignore[misc]
            if repeat:  # the first one compiles
                seconds[name].append(taken)
        if repeat >= 3 and time.perf_counter() - started > _MAX_SECONDS:
            break
    medians = (1e3 * statistics.median(seconds[name]) for name in ("export", "classifier"))
    return Latency(len(pixels), len(seconds["export"]), *medians)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
