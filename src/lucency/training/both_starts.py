"""Networks from scratch and a pretrained backbone in one classifier: the mean of their logits.

They make different mistakes: the backbone knows millions of photographs, the networks from scratch
only these images. Both are calibrated on held-out images first, so that neither counts for more
because it is more confident. The networks from scratch see each image averaged down to their size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency.calibration import scaling
from lucency.classifier import Classifier, Outputs
from lucency.config import Config
from lucency.dataset import Dataset, Split
from lucency.models import keras
from lucency.progress import Progress
from lucency.training.backbone import Backbone
from lucency.training.ensemble import HEAD, join
from lucency.training.fit import spec_of
from lucency.training.folds import record_folds
from lucency.training.linear_head import Head
from lucency.training.plan import Choice, Plan
from lucency.training.trainer import logits_of_split

Floats = NDArray[np.float64]


def join_starts(
    networks: Sequence[Classifier],
    backbone: Backbone,
    data: Dataset,
    plan: Plan,
    config: Config,
    progress: Progress,
) -> tuple[Classifier, Outputs | None]:
    """Return the calibrated classifier, and with folds its out-of-fold outputs.

    Args:
        networks: Trained from scratch, one for each fold or one without; not calibrated.
        backbone: Trained on the whole of ``data``.
        data: The images at the size of the backbone.
        plan: From ``plan_of_both``.
        config: The user's choices.
        progress: Warned if the images do not reach the rule of the operating point.
    """
    members = int(plan.parameters["members"])
    alone = [network.weights for network in networks]
    weights = join(alone) if members == len(alone) else dict(alone[0])
    own = Head(*(weights.pop(f"{HEAD}{name}").astype(np.float64) for name in ("kernel", "bias")))
    logits = _held_out_logits(networks, data, plan)
    of_classes = np.asarray(plan.class_weights)[data.held_out.labels]
    parts = [
        _calibrated(head, found, of_classes, data.held_out, plan.seed)
        for head, found in ((own, logits), (backbone.head, backbone.logits[0]))
    ]
    weights |= {k: v for k, v in backbone.weights.items() if not k.startswith(HEAD)}
    weights[f"{HEAD}kernel"] = np.concatenate([h.kernel / 2 for h, _ in parts]).astype(np.float32)
    weights[f"{HEAD}bias"] = np.mean([h.bias for h, _ in parts], axis=0).astype(np.float32)
    made = Classifier(spec_of(plan, data.train.outputs), weights)
    held = np.mean([found for _, found in parts], axis=0)
    if data.folds is None:
        first = networks[0]
        made.history, made.best_epoch, made.training = (
            first.history, first.best_epoch, first.training,
        )  # fmt: skip
    else:
        record_folds(made, networks, data.folds)
    return backbone.finish(made, held, plan, config, progress)


def plan_of_both(plan: Plan, other: Plan) -> Plan:
    """Return the plan of the ensemble.

    Args:
        plan: Of the training from scratch; with folds, that of all of them.
        other: Of the backbone, whose images are larger by an even factor.
    """
    of_scratch = ("width", "blocks", "members", "multilabel")
    known = {name: plan.parameters[name] for name in of_scratch if name in plan.parameters}
    factor = other.size[0] // plan.size[0]
    height, width = other.size
    sees = f"the networks from scratch see it at {plan.size[0]} x {plan.size[1]}"
    backbone = other.parameters["backbone"]
    how, trained = (
        ("frozen", f"a linear head is trained on the features of {backbone}")
        if other.trained == "last layer"
        else ("its last stage fine-tuned", f"the last stage of {backbone} is fine-tuned")
    )
    head = f"{trained}; the logits of both are calibrated and averaged"

    def described(each: Choice) -> Choice:
        if each.name == "network":
            return Choice(
                each.name, f"{each.value}, and {backbone}, {how}", f"{each.reason}; {head}"
            )
        if each.name == "input":
            return Choice(
                each.name, f"{height} x {width} x {plan.channels}", f"{each.reason}; {sees}"
            )
        return each

    choices = map(described, plan.choices)
    return dataclasses.replace(
        plan, size=other.size, architecture="ensemble", choices=tuple(choices),
        parameters={**known, "backbone": backbone, "downsampling": factor},
        weights_origin=other.weights_origin,
    )  # fmt: skip


def size_beside(side: int) -> int:
    """Return the side of the backbone's images beside a network of this side: 224, or near it.

    It is 2 or 4 times as large, so that an average over whole pixels makes one of the other.
    """
    return side * (4 if side < 96 else 2)


def _calibrated(
    head: Head, logits: Floats, weights: Floats, held_out: Split, seed: int
) -> tuple[Head, Floats]:
    """Return a last layer and its logits, scaled so that they are calibrated."""
    if held_out.targets is not None:
        of = scaling.fit_labels(logits, held_out.targets, groups=held_out.groups, seed=seed)
        return Head(head.kernel / of.temperature, (head.bias + of.bias) / of.temperature), of(
            logits
        )
    fitted = scaling.fit(
        logits, held_out.labels, weights / weights.mean(), groups=held_out.groups, seed=seed
    )
    bias = (head.bias + np.asarray(fitted.bias)) / fitted.temperature
    return Head(head.kernel / fitted.temperature, bias), fitted(logits)


def _held_out_logits(networks: Sequence[Classifier], data: Dataset, plan: Plan) -> Floats:
    """Return the logits (n, units) of held-out images, each by the network that is new to it."""
    factor, held_out = int(plan.parameters["downsampling"]), data.held_out
    if data.folds is None:
        return _logits(networks[0], held_out, factor, plan)
    fold = data.folds.held_out
    places = [np.flatnonzero(fold == k) for k in range(len(networks))]
    found = [
        _logits(network, held_out.subset("val", own), factor, plan)
        for network, own in zip(networks, places, strict=True)
    ]
    return np.concatenate(found)[np.argsort(np.concatenate(places))]


def _logits(network: Classifier, split: Split, factor: int, plan: Plan) -> Floats:
    pixels = keras.Input(split.cache.shape, dtype=plan.dtype)
    model: Any = network.keras_model
    ends = keras.Model(model.inputs, model.get_layer("logits").output)
    return logits_of_split(
        keras.Model(pixels, ends(downsampled(pixels, factor))), split, plan.batch
    )


def downsampled(pixels: Any, factor: int) -> Any:
    """Return images (n, height, width, channels) averaged over squares of ``factor`` pixels."""
    return keras.ops.average_pool(keras.ops.cast(pixels, "float32"), factor)
