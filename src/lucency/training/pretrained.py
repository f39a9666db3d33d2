"""Training on a pretrained backbone: a linear head alone, or the last stage too."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lucency.config import Config
from lucency.dataset import Folds, Split
from lucency.progress import Progress
from lucency.training.backbone import Backbone
from lucency.training.fine_tuned import FineTunedBackbone
from lucency.training.frozen import FrozenBackbone
from lucency.training.plan import Plan
from lucency.training.start import FineTuning, compare_fine_tuning


class Pretrained(NamedTuple):
    """A trained backbone.

    Attributes:
        backbone: Frozen or fine-tuned.
        compared: The figures of both, where they decided.
    """

    backbone: Backbone
    compared: FineTuning | None = None


def train_backbone(
    plan: Plan,
    splits: tuple[Split, Split, Folds | None],
    config: Config,
    progress: Progress,
    *,
    tuned: Plan | None = None,
    whole: Plan | None = None,
    checkpoints: Path | None = None,
) -> Pretrained:
    """Train a linear head on a frozen backbone, or fine-tune its last stage, as planned.

    Args:
        plan: Of what is trained.
        splits: As for ``Backbone``.
        config: The user's choices.
        progress: Called on every step.
        tuned: A plan of fine-tuning. Its result is returned where it is better than that of
            ``plan`` on the held-out images.
        whole: The plan of the training on all images, if ``splits`` are a sample: with the weights
            that classes have on the held-out images.
        checkpoints: Folder for checkpoints; ``None`` writes none.
    """
    fine_tuned = plan if plan.is_fine_tuned else tuned
    frozen = FrozenBackbone(plan, *splits, progress, keep_maps=fine_tuned is not None)
    if fine_tuned is None:
        return Pretrained(frozen)
    other = FineTunedBackbone(fine_tuned, frozen, config, progress, checkpoints)
    if tuned is None:
        return Pretrained(other)
    compared = compare_fine_tuning(frozen, other, whole or plan)
    return Pretrained(other if compared.is_better else frozen, compared)
