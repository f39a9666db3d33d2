"""Write explanations as a folder: a self-contained page, and an overlay of each image."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lucency.classifier import Classifier
from lucency.classifier.activation_map import is_binary, trust_of
from lucency.errors import RunError
from lucency.explain.drawing import grey_of, overlay, with_legend
from lucency.explain.explanations import Explanation
from lucency.explain.occlusion import METHOD
from lucency.imaging.image import encode_png, png_uri
from lucency.io import built_folder, write_bytes, write_text
from lucency.plots.html import draw

PAGE = "explained.html"
PAGES = Path(__file__).parent / "pages"


def free_folder(name: str) -> Path:
    """Return ``explained/NAME-N`` with the first free number."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "run"
    for number in range(1, 1_000_000):
        folder = Path("explained") / f"{stem}-{number}"
        if not folder.exists():
            return folder
    raise RunError("All folder names in explained/ are taken. Give a new folder with --out.")


def write_explanations(
    classifier: Classifier, name: str, found: Sequence[Explanation], out: Path
) -> dict[str, Path]:
    """Write ``explained.html`` and an overlay of each image into a new folder.

    Args:
        classifier: Made the predictions.
        name: Of its run.
        found: The explanations.
        out: The folder; it must not exist.

    Returns:
        File -> overlay, for each file that could be read.

    Raises:
        RunError: The folder exists, or cannot be written.
    """
    check_new(out)
    overlays: dict[str, Path] = {}
    cards = []
    with built_folder(out) as partial:
        for number, each in enumerate(found, start=1):
            if each.image is None:
                continue
            card = _card(classifier, each)
            target = f"{number:03d}-{_safe(each.prediction.file)}.png"
            write_bytes(partial / target, card.pop("legend"))
            overlays[each.prediction.file] = out / target
            cards.append(card)
        write_text(partial / PAGE, _drawn(classifier, name, found, cards))
    return overlays


def check_new(out: Path) -> None:
    """Check that a folder does not exist yet.

    Raises:
        RunError: It exists.
    """
    if out.exists() or out.is_symlink():
        raise RunError(f"The folder exists already: {out}. Give a new one with --out.")


def _drawn(
    classifier: Classifier, name: str, found: Sequence[Explanation], cards: list[dict[str, Any]]
) -> str:
    maps = [each.prediction.activation_map for each in found]
    known = next((each for each in maps if each is not None), None)
    informative, sentence = trust_of(classifier.spec)
    plus, minus = (_probability(classifier, logit) for logit in (2, -2))
    ordinal = classifier.task.is_ordered
    text = sentence.partition(": ")[2] or sentence
    return draw(
        PAGES,
        PAGE,
        name=name,
        cards=cards,
        bad=[each.prediction for each in found if each.image is None],
        classes=classifier.classes,
        method=known.method if known else "",
        occluded=bool(known and known.method == METHOD),
        scale=f"{known.scale:.2g}" if known else "",
        plus=f"{100 * plus:.0f}",
        minus=f"{100 * minus:.0f}",
        of=known.of if known and (is_binary(classifier.spec) or ordinal) else None,
        ordinal=ordinal,
        informative=informative,
        sentence=text[:1].upper() + text[1:],
        grid=" x ".join(map(str, known.values.shape)) if known else "",
    )


def _card(classifier: Classifier, each: Explanation) -> dict[str, Any]:
    """Return the values that the page shows for an image, and its overlay with a legend."""
    prediction, image = each.prediction, each.image
    found = prediction.activation_map
    if found is None or image is None:
        raise ValueError("there is no map to show")
    drawn = overlay(image, found.values, found.scale)
    informative, _ = trust_of(classifier.spec)
    doubtful = informative is False and found.method != METHOD
    return {
        "file": Path(prediction.file).name,
        "folder": str(Path(prediction.file).parent),
        "decision": prediction.decision,
        "reason": prediction.reason,
        "bars": [
            {"name": name, "share": f"{100 * p:.1f}", "width": round(100 * p)}
            for name, p in zip(classifier.classes, prediction.probabilities, strict=True)
        ],
        "image": png_uri(encode_png(grey_of(image)[..., None])),
        "overlay": png_uri(drawn),
        "size": f"{each.size[1]:,} x {each.size[0]:,}",
        "of": found.of,
        "mean": f"{found.values.mean():+.2f}".replace("-", "−"),
        "least": f"{found.values.min():+.2f}".replace("-", "−"),
        "most": f"{found.values.max():+.2f}".replace("-", "−"),
        "doubtful": doubtful,
        "notes": prediction.notes,
        "legend": with_legend(drawn, found.scale, found.of, _note(informative, doubtful)),
    }


def _note(informative: bool | None, doubtful: bool) -> str:
    if doubtful:
        return "uninformative: does not show where the evidence is"
    return "" if informative else "not tested"


def _safe(file: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(file).stem)[:60].strip("-") or "image"


def _probability(classifier: Classifier, logit: float) -> float:
    """Return the probability of the positive of two classes at a logit."""
    even = classifier.spec.even
    odds = logit / classifier.spec.temperature + math.log(even / (1 - even))
    return 1 / (1 + math.exp(-odds))
