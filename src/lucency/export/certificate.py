"""An export against the classifier that it was made of: probabilities, decisions, time."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier
from lucency.export.formats import Run
from lucency.export.images import BATCH, Images
from lucency.progress import Progress

TIE = 1e-4  # this near the threshold, float32 arithmetic in another order may decide otherwise
_REPEATS, _REPEATS_OF_BATCH, _LONGEST = 25, 9, 6.0  # the last in seconds, of one measurement


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far answers may be from the classifier's.

    Attributes:
        max_abs_difference: Largest absolute difference of a probability.
        decision_agreement: Least share of images with the same decision, 0 to 1.
    """

    max_abs_difference: float
    decision_agreement: float


# Other runtimes add up float32 numbers in another order: 1e-7 to 1e-6 is what that makes.
FLOAT32 = Tolerance(1e-4, 1.0)
# Each of a dozen layers rounds to 256 steps; 0.005 to 0.05 is what that makes at the steepest part
# of the curve. With 0.1 a probability of 0.9 stays above 0.8, and one decision in 50 is less than
# the 95 % interval of the accuracy that a test of several hundred images gives.
INT8 = Tolerance(0.1, 0.98)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well answers agree.

    Attributes:
        n: Images that both answered.
        max_abs_difference: Largest absolute difference of a probability.
        mean_abs_difference: Mean over images and classes.
        differing: Images with another decision, ties left out.
        ties: Images on whose decision the classifier itself is within ``TIE``.
    """

    n: int
    max_abs_difference: float
    mean_abs_difference: float
    differing: int
    ties: int

    @property
    def decision_agreement(self) -> float:
        """Share of images with the same decision, a tie counting as the same."""
        return 1 - self.differing / self.n

    def within(self, tolerance: Tolerance) -> bool:
        """Tell whether it is good enough; of few images one may differ where any may."""
        may_differ = (1 - tolerance.decision_agreement) * self.n
        most = max(1.0, may_differ) if may_differ else 0.0
        close = self.max_abs_difference <= tolerance.max_abs_difference
        return close and self.differing <= most


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds for some images at once, the median of several, both measured in turns.

    Attributes:
        n: Images at once.
        repeats: Times measured.
        export_ms: By the exported file.
        classifier_ms: By the classifier on ONNX Runtime.
    """

    n: int
    repeats: int
    export_ms: float
    classifier_ms: float

    def to_json(self) -> dict[str, Any]:
        """Return all values, and how many times as long the exported file takes."""
        return dataclasses.asdict(self) | {"ratio": self.export_ms / self.classifier_ms}


def compared(classifier: Classifier, run: Run, images: Images, progress: Progress) -> Agreement:
    """Let the classifier and its export answer the same images."""
    largest, total, differing, ties, seen = 0.0, 0.0, 0, 0, 0
    with progress.task("Comparing answers", images.n, "images") as task:
        for pixels in images.batches():
            ours, theirs = classifier.predict_pixels(pixels), run(pixels).astype(np.float64)
            apart = np.abs(ours - theirs)
            # NaN is further off than anything, and compares as no difference at all.
            largest = max(largest, float(np.nan_to_num(apart, nan=np.inf).max()))
            total += float(apart.sum())
            tied = _margins(classifier, ours) <= TIE
            other = classifier.decide(ours) != classifier.decide(theirs)
            differing, ties = differing + int((other & ~tied).sum()), ties + int(tied.sum())
            seen += len(pixels)
            task.advance(len(pixels))
    mean = total / (seen * len(classifier.classes))
    return Agreement(seen, largest, mean, differing, ties)


def _margins(classifier: Classifier, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each row of probabilities is from another decision."""
    if classifier.positive is not None:
        column = probabilities[:, classifier.classes.index(classifier.positive)]
        return np.asarray(np.abs(column - classifier.threshold))
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2])


def timed(classifier: Classifier, run: Run, pixels: NDArray[np.uint8]) -> tuple[Latency, ...]:
    """Measure one image and a batch of 32, repeated from what there is.

    The classifier's gate takes no part: no export has one.
    """
    alone = Classifier(classifier.spec, {}, classifier.onnx)
    reference = alone if classifier.onnx else classifier
    batch = np.resize(pixels, (BATCH, *pixels.shape[1:]))
    parts = ((batch[:1], _REPEATS), (batch, _REPEATS_OF_BATCH))
    return tuple(_timed(run, reference.predict_pixels, *part) for part in parts)


def _timed(ours: Run, reference: Run, pixels: NDArray[np.uint8], most: int) -> Latency:
    seconds: dict[str, list[float]] = {"ours": [], "reference": []}
    started = time.perf_counter()
    for repeat in range(most + 1):
        for name, work in (("ours", ours), ("reference", reference)):
            taken = _seconds(lambda work=work: work(pixels))  # type: ignore[misc]
            if repeat:  # the first compiles
                seconds[name].append(taken)
        if repeat >= 3 and time.perf_counter() - started > _LONGEST:
            break
    medians = (1e3 * statistics.median(seconds[name]) for name in ("ours", "reference"))
    return Latency(len(pixels), len(seconds["ours"]), *medians)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
