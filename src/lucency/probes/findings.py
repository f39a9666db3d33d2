"""The results of the probes, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lucency.metrics import Estimate
from lucency.probes.outliers import Outliers
from lucency.probes.shift import Shift
from lucency.probes.shortcuts import Shortcut

_LEAST_AUROC = 0.7  # of file names
_LEAST_TONE = 3.0  # grey levels of 255


class Finding(NamedTuple):
    """A sentence and its severity.

    Attributes:
        level: ``alarm``, ``warning`` or ``note``.
        text: One plain sentence.
        probe: The probe that found it.
    """

    level: Literal["alarm", "warning", "note"]
    text: str
    probe: str


_SENTENCES = {
    "file": (
        "alarm",
        "The file headers alone separate the classes ({}): a network can learn the encoder or "
        "the machine instead of the content, and a high score proves nothing until this is "
        "ruled out.",
    ),
    "aspect": (
        "warning",
        "The scale of the axes alone separates the classes ({}): images of different shape are "
        "resized to one shape, and a network can learn how far each was squeezed instead of the "
        "content.",
    ),
    "marks": (
        "warning",
        "Bright or dark spots and edges near the border alone separate the classes ({}): check "
        "for burned-in letters, markers and masks there.",
    ),
    "border": (
        "warning",
        "The outermost tenth of the images alone separates the classes ({}): position, "
        "collimation or frames may reveal the class.",
    ),
    "tone": (
        "warning",
        "Brightness and contrast alone separate the classes ({}): the cause can be disease or "
        "exposure.",
    ),
    "centre removed": (
        "warning",
        "With the centre of the images masked, the classes can still be separated ({}): part of "
        "the score may come from outside the region that matters.",
    ),
    "thumbnail": (
        "note",
        "Standardised thumbnails of 8 x 8 pixels separate the classes ({}): this much needs no "
        "fine detail.",
    ),
}


def make_findings(
    shortcuts: Sequence[Shortcut], name: Shortcut, shift: Shift | None, outliers: Outliers
) -> tuple[Finding, ...]:
    """Return the results in sentences, alarms first."""
    found = [
        Finding(level, text.format(_described(each)), each.probe)  # type: ignore[arg-type]
        for each in shortcuts
        if each.flagged
        for level, text in [_SENTENCES[each.probe]]
    ]
    if name.auc.value >= _LEAST_AUROC:
        found.append(Finding(
            "note",
            f"File names separate the classes ({_described(name)}); the network never sees them.",
            "name",
        ))  # fmt: skip
    found += _shift_findings(shift) if shift else []
    if outliers.n:
        reasons = Counter(reason for _, reason, _ in outliers.images).most_common(4)
        listed = ", ".join(f"{reason} ({n})" for reason, n in reasons)
        what = "1 image is an outlier" if outliers.n == 1 else f"{outliers.n:,} images are outliers"
        found.append(Finding("note", f"{what}: {listed}. Check them.", "outliers"))
    order = ("alarm", "warning", "note")
    return tuple(sorted(found, key=lambda each: order.index(each.level)))


def sample_findings(used: int, n: int) -> tuple[Finding, ...]:
    """Return a note where only some of the images were probed."""
    if used == n:
        return ()
    return (
        Finding(
            "note",
            f"Shortcuts, shift and outliers are those of a sample of {used:,} of {n:,} images: "
            "whole patients, drawn at random from each class.",
            "sample",
        ),
    )


def _described(each: Shortcut) -> str:
    """Return the AUROC with its interval, on test where there is one, and the main features."""
    text = f"AUROC {_interval(each.auc)} by cross-validation"
    if each.test and each.test.value == each.test.value:
        text += f", {each.test.value:.3f} on test"
    if each.features:
        text += f"; mainly {', '.join(name for name, _ in each.features)}"
    return text


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}, {estimate.low:.3f} to {estimate.high:.3f}"


def _shift_findings(shift: Shift) -> list[Finding]:
    found = []
    flagged = [(name, auc) for name, auc, flag in shift.probes if flag]
    if flagged:
        name, auc = max(flagged, key=lambda each: each[1].value)
        found.append(Finding(
            "warning",
            f"The test split differs from the training split: {name} alone separates them (AUROC "
            f"{_interval(auc)}), so figures on validation may not hold on test.",
            "shift",
        ))  # fmt: skip
    shares = [
        each
        for each in shift.prevalence
        if abs(each[3].value) >= 0.05 and (each[3].low > 0 or each[3].high < 0)
    ]
    if shares:
        label, train, test, _ = max(shares, key=lambda each: abs(each[3].value))
        found.append(Finding(
            "warning",
            f"The prevalence differs: {label} is {train:.1%} of train and {test:.1%} of test. "
            "Predictive values and probabilities of one do not hold in the other.",
            "shift",
        ))  # fmt: skip
    tones = [each for each in shift.tones if each[1].low > 0 or each[1].high < 0]
    if tones and max(abs(each.value) for _, each in tones) >= _LEAST_TONE:
        differences = ", ".join(
            f"{name} by {each.value:+.0f} ({each.low:+.0f} to {each.high:+.0f})"
            for name, each in tones
        ).replace("-", "−")
        found.append(Finding(
            "warning",
            "Test images differ in brightness from training images of the same class: "
            f"{differences} of 255 grey levels. A network that relies on exposure will fail there.",
            "shift",
        ))  # fmt: skip
    return found
