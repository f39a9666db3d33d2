"""What an answer carries besides the prediction, where asked for: map, picture, neighbours."""

from __future__ import annotations

import base64
import inspect
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import ActivationMap, Answers, Classifier
from lucency.classifier.maps import method_of, scale_of
from lucency.images import encode_png

LONGEST = 512  # pixels of the picture that is sent back
MOST_NEIGHBOURS = 16


class Asked(NamedTuple):
    """What a client wants to see of each picture.

    Attributes:
        map: The activation map.
        picture: The picture as the decoder saw it, small.
        neighbours: How many of the training pictures that are most like it.
    """

    map: bool = False
    picture: bool = False
    neighbours: int = 0


def answers(classifier: Classifier, pixels: NDArray[np.uint8], maps: bool) -> Answers:
    """Return what the network says, with maps where they are wanted and it has them."""
    # A classifier of a version without maps has no such argument.
    if maps and "maps" in inspect.signature(classifier.answer_pixels).parameters:
        said: Answers = getattr(classifier, "answer_pixels")(pixels, maps=True)  # noqa: B009
        return said
    return classifier.answer_pixels(pixels)


def row_of(said: Answers, i: int) -> dict[str, Any]:
    """Return what the extras need of one picture: its map, the map's class and its embedding."""
    found = {}
    for name in ("maps", "map_classes", "embeddings"):
        values = getattr(said, name, None)
        found[name] = None if values is None else values[i]
    return found


def map_json(classifier: Classifier, row: dict[str, Any]) -> dict[str, Any] | None:
    """Return ``{"class", "method", "scale", "values"}``, or ``None`` where there is no map."""
    if row["maps"] is None:
        return None
    spec = classifier.spec
    of = spec.classes[int(row["map_classes"])]
    return ActivationMap(of, method_of(spec), scale_of(spec), row["maps"]).to_json()


def neighbours_json(
    classifier: Classifier, row: dict[str, Any], count: int
) -> list[dict[str, Any]] | None:
    """Return the training pictures that are most like it; ``None`` where none were kept."""
    kept = getattr(classifier, "neighbours", None)
    if kept is None or row["embeddings"] is None:
        return None
    return [
        {
            "label": each.label,
            "distance": round(each.distance, 4),
            "picture": png_uri(each.picture),
        }
        for each in kept.nearest(row["embeddings"], count)
    ]


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width in which a picture is sent back, its proportions kept."""
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """Return pixels as a PNG file in a data URI."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()
