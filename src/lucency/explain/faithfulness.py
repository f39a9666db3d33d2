"""Do a classifier's maps show what it reacts to? Tests on validation images, and a verdict."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lucency.classifier import Classifier
from lucency.classifier.activation_map import method_of
from lucency.dataset import Split, evenly, over_classes
from lucency.errors import ClassifierError
from lucency.explain import deletion, occlusion
from lucency.explain.drawing import enlarged
from lucency.explain.randomisation import randomisation
from lucency.explain.sample import Sample, mean_of, owners
from lucency.explain.similarity import BORDER, border_shares, rank_correlations
from lucency.metrics import Estimate
from lucency.progress import SILENT, Progress

FORMAT = 1
MOST, _LEAST = 64, 32  # images that are tested; fewer where they are large
_PIXELS = 64 * 128**2
_OCCLUDED = 32  # of them, compared with occlusion
_SCALED = 256  # images that the scale is measured on
_PERCENTILE = 99
_STAGES = 4
_NO_MAPS = "The classifier gives no activation maps that could be tested. Train again."


class Faithfulness(NamedTuple):
    """What the tests came to.

    Attributes:
        document: The content of ``explanation.json``.
        summary: "method", "scale", "informative" and "sentence", for ``Spec.explanation``.
    """

    document: dict[str, Any]
    summary: dict[str, Any]


def faithfulness(
    classifier: Classifier,
    trained: Classifier,
    val: Split,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Faithfulness:
    """Test the activation maps of a classifier on validation images.

    Args:
        classifier: What will be used: the ONNX file where there is one.
        trained: The same with its Keras network, whose weights are shuffled and put right again.
        val: Validation; test images are for one look only.
        seed: Of random maps, pairs and shuffling.
        progress: Hears how far it is.

    Returns:
        Figures with intervals over patients, and the verdict: maps are informative where hiding
        what they mark moves the answer more than hiding the middle of the image (the interval of
        the difference is above 0) and where they change with the weights.

    Raises:
        ClassifierError: The classifier gives no maps.
    """
    with progress.task("Testing the maps", _STAGES, "tests") as task:
        scale = _scale(classifier, val)
        sample = _sample(classifier, val)
        task.advance()
        courses = deletion.courses(classifier.predict_pixels, sample, seed)
        task.advance()
        agreement = _agreement(classifier, sample)
        task.advance()
        shuffled = randomisation(trained, sample, seed)
        task.advance()
    border, uniform = _border(sample)
    beyond = deletion.beyond(courses, deletion.CENTRE, sample.owner)
    summary = {
        "method": method_of(classifier.spec),
        "scale": scale,
        "informative": bool(beyond.low > 0 and shuffled["changes"]),
        "sentence": sentence(beyond, bool(shuffled["changes"]), len(sample)),
    }
    document = {
        "format": FORMAT,
        **summary,
        "split": val.name,
        "n": len(sample),
        "groups": len(np.unique(sample.owner)),
        "height": sample.maps.shape[1],
        "width": sample.maps.shape[2],
        "deletion": deletion.to_json(courses, sample.owner),
        "randomisation": shuffled
        | {"of": sum(bool(x.weights) for x in trained.keras_model.layers)},
        "border": {"width": BORDER, "share": border.to_json(), "uniform": uniform},
        "occlusion": {"n": min(_OCCLUDED, len(sample)), "rank": agreement.to_json()},
    }
    return Faithfulness(document, summary)


def sentence(beyond: Estimate, changes: bool, n: int) -> str:
    """Say in a sentence how far the maps may be trusted.

    Args:
        beyond: How much more the map gains in deletion and insertion than the centre does.
        changes: Whether maps change when the weights are shuffled.
        n: Images that it was tested on.
    """
    by = f"{beyond.value:+.3f}".replace("-", "−")
    if not math.isnan(beyond.low):
        by += f", 95 % interval {beyond.low:+.3f} to {beyond.high:+.3f}".replace("-", "−")
    on = f"on {n} validation images"
    if not beyond.low > 0:
        return (
            f"Uninformative: {on}, hiding what the maps mark moved the answer no more than "
            f"hiding the middle of the image ({by}), so they must not be read as where the "
            "evidence is."
        )
    if not changes:
        return (
            f"Uninformative: {on}, the maps stayed much the same when the weights of the "
            "network were shuffled, so they do not show what it has learnt."
        )
    return (
        f"Informative: {on}, hiding what the maps mark moved the answer more than hiding the "
        f"middle of the image ({by}), and shuffled weights gave other maps; they show what this "
        "classifier reacts to, which need not be where the disease is."
    )


def _scale(classifier: Classifier, val: Split) -> float:
    """Return the 99th percentile of absolute values on validation."""
    said = classifier.infer(
        val.pixels(over_classes(val.labels, len(val.classes), _SCALED)), maps=True
    )
    if said.maps is None:
        raise ClassifierError(_NO_MAPS)
    return max(float(np.percentile(np.abs(said.maps), _PERCENTILE)), 1e-3)


def _sample(classifier: Classifier, val: Split) -> Sample:
    height, width = classifier.spec.size
    most = max(_LEAST, min(MOST, _PIXELS // (height * width)))
    places = over_classes(val.labels, len(val.classes), most)
    pixels = val.pixels(places)
    said = classifier.infer(pixels, maps=True)
    if said.maps is None or said.map_classes is None:
        raise ClassifierError(_NO_MAPS)
    owner = owners([val.groups[i] for i in places])
    decided = np.asarray(said.probabilities.argmax(axis=1), np.int64)
    return Sample(pixels, owner, decided, said.maps, said.map_classes)


def _agreement(classifier: Classifier, sample: Sample) -> Estimate:
    """Return the rank correlation of maps with occlusion, place by place."""
    few = evenly(len(sample), _OCCLUDED)
    pixels, size = sample.pixels[few], sample.pixels.shape[1:3]
    hiding = occlusion.occlusion_maps(
        classifier.predict_pixels, pixels, sample.map_classes[few], classifier.spec.temperature
    )
    ours = occlusion.at_places(np.stack([enlarged(each, size) for each in sample.maps[few]]))
    return mean_of(rank_correlations(ours, hiding), sample.owner[few])


def _border(sample: Sample) -> tuple[Estimate, float]:
    size = sample.pixels.shape[1:3]
    shares, uniform = border_shares(np.stack([enlarged(each, size) for each in sample.maps]))
    return mean_of(shares, sample.owner), uniform
