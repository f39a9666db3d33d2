"""What the probes come to, in plain sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from lucency.metrics import Estimate
from lucency.probes.odd import Odd
from lucency.probes.shift import Shift
from lucency.probes.shortcuts import Shortcut

_WORTH_SAYING = 0.7  # AUROC
_LEVELS = 3.0  # of 255


class Finding(NamedTuple):
    """A sentence and how much it matters.

    Attributes:
        level: ``alarm``, ``warning`` or ``note``.
        text: One plain sentence.
        probe: What found it.
    """

    level: Literal["alarm", "warning", "note"]
    text: str
    probe: str


_SENTENCES = {
    "file": (
        "alarm",
        "The file headers alone tell the classes apart ({}): a network can learn the encoder or "
        "the machine instead of the content, and a high score proves nothing before this is "
        "ruled out.",
    ),
    "marks": (
        "warning",
        "Bright or dark spots and edges near the border alone tell the classes apart ({}): look "
        "at burned-in letters, markers and masks there.",
    ),
    "border": (
        "warning",
        "The outermost tenth of the images alone tells the classes apart ({}): position, "
        "collimation or frames may betray the class.",
    ),
    "tone": (
        "warning",
        "Brightness and contrast alone tell the classes apart ({}): that can be disease, and it "
        "can be exposure.",
    ),
    "centre removed": (
        "warning",
        "With the middle of the images masked the classes can still be told apart ({}): some "
        "of the score may come from outside the part that matters.",
    ),
    "thumbnail": (
        "note",
        "Thumbnails of 8 x 8 pixels at equal tone tell the classes apart ({}): fine detail is "
        "not needed for that much.",
    ),
}


def findings(
    shortcuts: Sequence[Shortcut], name: Shortcut, moved: Shift | None, strange: Odd
) -> tuple[Finding, ...]:
    """Say what was found, alarms first."""
    found = [
        Finding(level, text.format(_said(each)), each.probe)  # type: ignore[arg-type]
        for each in shortcuts
        if each.flagged
        for level, text in [_SENTENCES[each.probe]]
    ]
    if name.auc.value >= _WORTH_SAYING:
        found.append(Finding(
            "note",
            f"File names tell the classes apart ({_said(name)}); the network never sees them.",
            "name",
        ))  # fmt: skip
    found += _moved(moved) if moved else []
    if strange.n:
        reasons = Counter(reason for _, reason, _ in strange.images).most_common(4)
        listed = ", ".join(f"{reason} ({n})" for reason, n in reasons)
        what = "1 image is" if strange.n == 1 else f"{strange.n:,} images are"
        found.append(Finding("note", f"{what} unlike the rest: {listed}. Look at them.", "odd"))
    order = ("alarm", "warning", "note")
    return tuple(sorted(found, key=lambda each: order.index(each.level)))


def _said(each: Shortcut) -> str:
    """Return the AUROC with its interval, on test where there is one, and what carries it."""
    text = f"AUROC {_interval(each.auc)} by cross-validation"
    if each.test and each.test.value == each.test.value:
        text += f", {each.test.value:.3f} on test"
    if each.features:
        text += f"; mainly {', '.join(name for name, _ in each.features)}"
    return text


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}, {estimate.low:.3f} to {estimate.high:.3f}"


def _moved(moved: Shift) -> list[Finding]:
    found = []
    apart = [(name, auc) for name, auc, flagged in moved.probes if flagged]
    if apart:
        name, auc = max(apart, key=lambda each: each[1].value)
        found.append(Finding(
            "warning",
            f"The test part differs from the training part: {name} alone tells them apart (AUROC "
            f"{_interval(auc)}), so figures on validation need not hold on test.",
            "shift",
        ))  # fmt: skip
    shares = [
        each
        for each in moved.prevalence
        if abs(each[3].value) >= 0.05 and (each[3].low > 0 or each[3].high < 0)
    ]
    if shares:
        label, train, test, _ = max(shares, key=lambda each: abs(each[3].value))
        found.append(Finding(
            "warning",
            f"The mix of classes differs: {label} is {train:.1%} of train and {test:.1%} of test. "
            "Predictive values and probabilities of one do not hold in the other.",
            "shift",
        ))  # fmt: skip
    tones = [each for each in moved.tones if each[1].low > 0 or each[1].high < 0]
    if tones and max(abs(each.value) for _, each in tones) >= _LEVELS:
        said = ", ".join(
            f"{name} by {each.value:+.0f} ({each.low:+.0f} to {each.high:+.0f})"
            for name, each in tones
        ).replace("-", "−")
        found.append(Finding(
            "warning",
            f"Test images are of another brightness than training images of the same class: "
            f"{said} of 255 grey levels. A network that leans on exposure will err there.",
            "shift",
        ))  # fmt: skip
    return found
