"""Weight randomisation: a map that stays when the network forgets says nothing of the network.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps": layers are randomised one after the other,
from the answer down to the image. A variable's numbers are shuffled, so that their spread stays.
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

STEPS = 5  # how often more layers are randomised, from the last alone to all of them
DRAWS = 3  # shufflings of each, as one alone may hit upon a map like the true one
_BATCH = 32


def randomisation(trained: Classifier, sample: Sample, seed: int) -> dict[str, Any]:
    """Compare maps with those of networks whose layers were shuffled, and with other images'.

    Args:
        trained: A classifier with weights; its Keras network is shuffled and put right again.
        sample: Images with their maps.
        seed: Of the shuffling.

    Returns:
        "rows": how many "layers" of all were shuffled, with estimates of rank correlation ("rank")
        and structural similarity ("ssim") to the true maps; "pairs": the same between the maps of
        different images; "changes": whether maps of the wholly shuffled network are less like
        the true ones than those of different images are like each other.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(sample))
    others = sample.maps[np.roll(order, 1)[np.argsort(order)]]
    pairs = _alike(sample, [others])
    rows = [
        {"layers": layers, **_alike(sample, maps)}
        for layers, maps in _shuffled(trained, sample, random)
    ]
    changes = all(rows[-1][key]["value"] < pairs[key]["value"] for key in pairs)
    return {"rows": rows, "pairs": pairs, "changes": bool(changes)}


def _alike(sample: Sample, maps: list[NDArray[np.float32]]) -> dict[str, Any]:
    """Return how like the sample's maps others are, on average over these."""
    found = {
        name: np.mean([alike(sample.maps, each) for each in maps], axis=0)
        for name, alike in (("rank", rank_correlations), ("ssim", similarities))
    }
    return {name: mean_of(values, sample.owner).to_json() for name, values in found.items()}


def _shuffled(
    trained: Classifier, sample: Sample, random: np.random.Generator
) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
    """Yield how many layers are shuffled, from the answer on, and the maps of every shuffling."""
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
    """Return the maps that the network now gives, for the same classes as before."""
    padded = np.resize(np.arange(len(sample)), -(-len(sample) // _BATCH) * _BATCH)
    parts = [
        trained.calibrated_model.predict_on_batch(sample.pixels[part])
        for part in padded.reshape(-1, _BATCH)
    ]
    units = np.concatenate([np.asarray(part["activation_map"]) for part in parts])[: len(sample)]
    # Of more than two classes the map is still that of the class which was decided before.
    before = np.eye(len(trained.classes))[sample.decided]
    return signed(units, before, trained.spec)[0]
