"""How far a training run is: what the next step depends on beside the weights."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

from lucency.training.plan import Plan
from lucency.training.step import Arrays, Weights

_RECENT = 20  # steps whose mean loss tells whether training has exploded
_EXPLODED = 10  # times the loss of guessing


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One row of the history; ``val_*`` are measured after the epoch, ``loss`` during it.

    ``loss`` includes class weights and label smoothing, ``val_loss`` the class weights only.
    ``seconds`` and ``images_per_second`` tell of the machine, all else of the training.
    """

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_auroc: float
    seconds: float
    images_per_second: float


def learning_rate(plan: Plan, step: int, steps: int) -> float:
    """Return the learning rate of step ``step`` (from 0), ``steps`` being those of an epoch."""
    if plan.schedule != "cosine":
        return plan.learning_rate * float(0.5 ** (step // (10 * steps)))
    total = plan.epochs * steps
    warm = max(1, round(0.05 * total))
    if step < warm:
        return plan.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, total - warm)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


@dataclasses.dataclass
class Stopper:
    """Remembers the best epoch, and says when to stop.

    Attributes:
        monitor: ``log_loss`` (smaller is better), ``accuracy`` (larger is better), or ``last``
            (the latest of sound loss).
        patience: Epochs without a better value before stopping; 0 for never.
        best: The best value so far.
        best_epoch: The epoch that had it, from 0; -1 for none.
        epochs: How many have been seen.
    """

    monitor: str
    patience: int
    best: float = -math.inf
    best_epoch: int = -1
    epochs: int = 0

    def is_best(self, val_loss: float, val_accuracy: float) -> bool:
        """Take in one epoch's values; tell whether it is the best so far. NaN never is."""
        values = {"log_loss": -val_loss, "accuracy": val_accuracy, "last": self.epochs}
        value = values[self.monitor] if math.isfinite(val_loss) else math.nan
        self.epochs += 1
        if value > self.best:  # false for NaN
            self.best, self.best_epoch = value, self.epochs - 1
            return True
        return False

    @property
    def should_stop(self) -> bool:
        """Whether ``patience`` epochs have passed without a better value."""
        return self.patience > 0 and self.epochs - 1 - self.best_epoch >= self.patience


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Training diverged and was set back to the beginning of the epoch, at half the rate."""

    epoch: int
    step: int
    what: str


@dataclasses.dataclass
class TrainState:
    """Where training is, between two steps.

    Attributes:
        stopper: Which epoch is the best.
        micro: Images computed at once.
        epoch: The epoch under way, from 0.
        step: The next step in it, from 0.
        sums: Loss and accuracy of its steps so far, added up.
        recent: Losses of the last steps.
        seconds: Time spent on this epoch so far.
        history: The epochs that are over.
        rate: What the planned learning rate is multiplied by.
        setbacks: How often, where and why training had to go back.
        finished: Whether nothing is left to be trained.
    """

    stopper: Stopper
    micro: int
    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    recent: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    history: list[Epoch] = dataclasses.field(default_factory=list)
    rate: float = 1.0
    divergences: list[Divergence] = dataclasses.field(default_factory=list)
    finished: bool = False

    def add(self, seen: Mapping[str, float]) -> None:
        """Count a step as done."""
        self.step += 1
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in seen.items()}
        self.recent = [*self.recent, seen["loss"]][-_RECENT:]

    def means(self) -> dict[str, float]:
        """Return mean loss and accuracy of the epoch's steps so far; at least one."""
        return {name: total / self.step for name, total in self.sums.items()}

    def fault(self, classes: int) -> str:
        """Say why training cannot go on like this; empty where it can.

        Args:
            classes: How many there are; guessing among them has a loss of their logarithm.
        """
        if not math.isfinite(self.recent[-1]):
            return "the loss is not a number"
        mean = sum(self.recent) / len(self.recent)
        if len(self.recent) == _RECENT and mean > _EXPLODED * math.log(classes):
            return f"the loss has grown to {mean:.3g}, and guessing has {math.log(classes):.2g}"
        return ""

    def next_epoch(self, row: Epoch) -> None:
        """End the epoch under way."""
        self.history.append(row)
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON; its numbers come back exactly."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` gave; raises TypeError or KeyError for anything else."""
        given = dict(data)
        given["stopper"] = Stopper(**data["stopper"])
        given["history"] = [Epoch(**row) for row in data["history"]]
        given["divergences"] = [Divergence(**row) for row in data["divergences"]]
        return cls(**given)


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """All of a training run at one moment: with it, the rest is determined.

    Attributes:
        course: How far it is.
        weights: What the next step starts from.
        best: Weights of the best epoch so far, in the network's order; ``None`` before there is
            one.
    """

    state: TrainState
    weights: Weights
    best: Arrays | None

    @classmethod
    def of(cls, state: TrainState, weights: Weights, best: Arrays | None) -> Self:
        """Copy the course, which goes on to change; the arrays are copies already."""
        return cls(copy.deepcopy(state), weights, best)
