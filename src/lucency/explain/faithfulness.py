"""Test whether the activation maps of a classifier are faithful, on validation images."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier
from lucency.classifier.activation_map import method_of
from lucency.dataset import Split, class_balanced, evenly
from lucency.errors import ClassifierError
from lucency.explain import deletion, occlusion
from lucency.explain.drawing import enlarged
from lucency.explain.randomisation import randomisation
from lucency.explain.sample import Sample, mean_of
from lucency.explain.similarity import BORDER, border_shares, rank_correlations
from lucency.metrics import Estimate, cluster_numbers
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import FORMAT

MOST, _LEAST = 64, 32  # tested images; fewer where they are large
_PIXELS = 64 * 128**2
_OCCLUDED = 32  # of these, compared with occlusion
_FEW = 12  # and where they are large; also under randomised weights
_SCALED = 256  # images for the scale
_PERCENTILE = 99
_STAGES = 4
_IMAGES = "validation images"
_NO_MAPS = "The classifier has no activation maps to test. Train again."


class Faithfulness(NamedTuple):
    """The results of the tests.

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
        classifier: As it will be used: with the ONNX file where there is one.
        trained: The same with its Keras network, whose weights are shuffled and then restored.
        val: Validation images, or those of all folds; test images must not be used here.
        seed: Of random maps, pairs and shuffling.
        progress: Reports the progress.

    Returns:
        Figures with intervals over patients. Maps are informative if hiding what they mark changes
        the output more than hiding the image centre (the interval of the difference is above 0)
        and if they depend on the weights.

    Raises:
        ClassifierError: The classifier has no maps.
    """
    with progress.task("Testing the maps", _STAGES, "tests") as task:
        scale = _scale(classifier, val)
        sample = _sample(classifier, val)
        task.advance()
        hiding_curves = deletion.hiding_curves(classifier.predict_pixels, sample, seed)
        task.advance()
        agreement = _agreement(classifier, sample)
        task.advance()
        shuffled = randomisation(trained, sample.subset(_few(sample, MOST)), seed)
        task.advance()
    border, uniform = _border(sample)
    gain_over = deletion.gain_over(hiding_curves, deletion.CENTRE, sample.cluster)
    summary = {
        "method": method_of(classifier.spec),
        "scale": scale,
        "informative": bool(gain_over.low > 0 and shuffled["changes"]),
        "sentence": sentence(
            gain_over,
            bool(shuffled["changes"]),
            len(sample),
            "images of the folds" if val.name == "train" else _IMAGES,
        ),
    }
    document = {
        "format": FORMAT,
        **summary,
        "split": val.name,
        "n": len(sample),
        "groups": len(np.unique(sample.cluster)),
        "height": sample.maps.shape[1],
        "width": sample.maps.shape[2],
        "deletion": deletion.to_json(hiding_curves, sample.cluster),
        "randomisation": shuffled
        | {"of": sum(bool(x.weights) for x in trained.keras_model.layers)},
        "border": {"width": BORDER, "share": border.to_json(), "uniform": uniform},
        "occlusion": {"n": len(_few(sample, _OCCLUDED)), "rank": agreement.to_json()},
    }
    return Faithfulness(document, summary)


def sentence(gain_over: Estimate, changes: bool, n: int, images: str = _IMAGES) -> str:
    """Return the result as a sentence.

    Args:
        gain_over: Gain of the map over that of the image centre.
        changes: Whether maps change when the weights are shuffled.
        n: Number of tested images.
        images: What these are.
    """
    by = f"{gain_over.value:+.3f}".replace("-", "−")
    if not math.isnan(gain_over.low):
        by += f", 95 % interval {gain_over.low:+.3f} to {gain_over.high:+.3f}".replace("-", "−")
    on = f"on {n} {images}"
    if not gain_over.low > 0:
        return (
            f"Uninformative: {on}, hiding what the maps mark changed the output no more than "
            f"hiding the image centre ({by}), so the maps do not show where the evidence is."
        )
    if not changes:
        return (
            f"Uninformative: {on}, the maps hardly changed when the weights of the network were "
            "shuffled, so they do not show what it has learnt."
        )
    return (
        f"Informative: {on}, hiding what the maps mark changed the output more than hiding the "
        f"image centre ({by}), and shuffled weights gave other maps. The maps show what this "
        "classifier reacts to, which need not be where the disease is."
    )


def _scale(classifier: Classifier, val: Split) -> float:
    """Return the 99th percentile of absolute values on validation."""
    outputs = classifier.infer(
        val.pixels(class_balanced(val.labels, len(val.classes), _SCALED)), maps=True
    )
    if outputs.maps is None:
        raise ClassifierError(_NO_MAPS)
    return max(float(np.percentile(np.abs(outputs.maps), _PERCENTILE)), 1e-3)


def _sample(classifier: Classifier, val: Split) -> Sample:
    height, width = classifier.spec.size
    most = max(_LEAST, min(MOST, _PIXELS // (height * width)))
    places = class_balanced(val.labels, len(val.classes), most)
    pixels = val.pixels(places)
    outputs = classifier.infer(pixels, maps=True)
    if outputs.maps is None or outputs.map_classes is None:
        raise ClassifierError(_NO_MAPS)
    cluster = cluster_numbers([val.groups[i] for i in places])
    decided = classifier.task.evidence_side(outputs.probabilities)
    return Sample(pixels, cluster, decided, outputs.maps, outputs.map_classes)


def _agreement(classifier: Classifier, sample: Sample) -> Estimate:
    """Return the rank correlation of the maps with occlusion maps."""
    few = sample.subset(_few(sample, _OCCLUDED))
    hiding = occlusion.occlusion_maps(
        classifier.predict_pixels, few.pixels, few.map_classes, classifier.spec.temperature,
        several=classifier.task.is_multilabel,
    )  # fmt: skip
    size = few.pixels.shape[1:3]
    ours = occlusion.patch_means(np.stack([enlarged(each, size) for each in few.maps]))
    return mean_of(rank_correlations(ours, hiding), few.cluster)


def _few(sample: Sample, most: int) -> NDArray[np.int64]:
    """Return the images of a test that needs dozens of predictions of each."""
    height, width = sample.pixels.shape[1:3]
    return evenly(len(sample), _FEW if _LEAST * height * width >= _PIXELS else most)


def _border(sample: Sample) -> tuple[Estimate, float]:
    size = sample.pixels.shape[1:3]
    shares, uniform = border_shares(np.stack([enlarged(each, size) for each in sample.maps]))
    return mean_of(shares, sample.cluster), uniform
