"""Weight randomisation: maps that do not depend on the weights do not explain the network.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps": layers are randomised one after the other,
from the output to the input. The values of a variable are shuffled, so their distribution stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.classifier import Classifier
from lucency.classifier.activation_map import signed
from lucency.explain.sample import Sample, mean_of
from lucency.explain.similarity import rank_correlations, similarities

STEPS = 5  # from the last layer alone to all layers
DRAWS = 3  # shuffles per step, because a single one may give a similar map by chance
_BATCH = 32


def randomisation(trained: Classifier, sample: Sample, seed: int) -> dict[str, Any]:
    """Compare maps with those of shuffled networks, and with those of other images.

    Args:
        trained: A classifier with weights; its Keras network is shuffled and then restored.
        sample: Images with their maps.
        seed: Of the shuffling.

    Returns:
        "rows": the number of shuffled "layers", with estimates of rank correlation ("rank") and
        structural similarity ("ssim") to the true maps; "pairs": the same between maps of
        different images; "changes": whether maps of the fully shuffled network are less similar to
        the true ones than maps of different images are to each other.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(sample))
    others = sample.maps[np.roll(order, 1)[np.argsort(order)]]
    pairs = _similarity(sample, [others])
    rows = [
        {"layers": layers, **_similarity(sample, maps)}
        for layers, maps in _shuffled(trained, sample, random)
    ]
    changes = all(rows[-1][key]["value"] < pairs[key]["value"] for key in pairs)
    return {"rows": rows, "pairs": pairs, "changes": bool(changes)}


def _similarity(sample: Sample, maps: list[NDArray[np.float32]]) -> dict[str, Any]:
    """Return the mean similarity of other maps to those of the sample."""
    found = {
        name: np.mean([measure(sample.maps, each) for each in maps], axis=0)
        for name, measure in (("rank", rank_correlations), ("ssim", similarities))
    }
    return {name: mean_of(values, sample.cluster).to_json() for name, values in found.items()}


def _shuffled(
    trained: Classifier, sample: Sample, random: np.random.Generator
) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
    """Yield the number of shuffled layers, from the output on, and the maps of each shuffle."""
    layers = [layer for layer in reversed(trained.keras_model.layers) if layer.weights]
    kept = [(variable, np.array(variable)) for variable in trained.keras_model.weights]
    try:
        for count in np.unique(np.linspace(1, len(layers), STEPS).round().astype(int)):
            chosen = {variable.path for layer in layers[:count] for variable in layer.weights}
            maps = []
            for _ in range(DRAWS):
                for variable, values in kept:
                    if variable.path in chosen:
                        variable.assign(random.permuted(values.ravel()).reshape(values.shape))
                maps.append(_maps(trained, sample))
            yield int(count), maps
    finally:
        for variable, values in kept:
            variable.assign(values)


def _maps(trained: Classifier, sample: Sample) -> NDArray[np.float32]:
    """Return the current maps of the network, for the same classes as before."""
    size = min(_BATCH, len(sample))
    padded = np.resize(np.arange(len(sample)), -(-len(sample) // size) * size)
    batches = [
        trained.calibrated_model.predict_on_batch(sample.pixels[batch])
        for batch in padded.reshape(-1, size)
    ]
    units = np.concatenate([np.asarray(batch["activation_map"]) for batch in batches])[
        : len(sample)
    ]
    # With more than two classes, the map stays that of the class decided before.
    before = np.eye(len(trained.classes))[sample.decided]
    return signed(units, before, trained.spec)[0]
