"""The state of a training run: together with the weights, it determines the next step."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Self

from numpy.typing import NDArray

from lucency.training.early_stopping import EarlyStopping

Arrays = list[NDArray[Any]]

_RECENT = 20  # steps; their mean loss shows whether training has exploded
_EXPLODED = 10  # times the loss of guessing


@dataclasses.dataclass(frozen=True, eq=False)
class Weights:
    """Copies of the variables that a step updates.

    Attributes:
        network: Weights, moving statistics and the state of dropout, in the network's order.
        optimizer: Step count, learning rate and moments, in the optimizer's order.
    """

    network: Arrays
    optimizer: Arrays

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in (*self.network, *self.optimizer))


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One row of the history; ``val_*`` are measured after the epoch, ``loss`` during it.

    ``loss`` includes class weights and label smoothing, ``val_loss`` only the class weights.
    ``seconds`` and ``images_per_second`` depend on the machine, all other values on the training
    alone.
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


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Training diverged; the epoch was restarted at half the learning rate."""

    epoch: int
    step: int
    reason: str


@dataclasses.dataclass
class TrainState:
    """The state of training between two steps.

    Attributes:
        early_stopping: Which epoch is the best so far.
        micro: Images per micro-batch.
        epoch: The current epoch, from 0.
        step: The next step of this epoch, from 0.
        sums: Sums of loss and accuracy over the steps of this epoch.
        recent: Losses of the last steps.
        seconds: Time spent on this epoch so far.
        history: The completed epochs.
        rate: Factor on the planned learning rate.
        divergences: Where and why training diverged.
        finished: Whether training is complete.
    """

    early_stopping: EarlyStopping
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

    def add(self, metrics: Mapping[str, float]) -> None:
        """Record a completed step with its loss and accuracy."""
        self.step += 1
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in metrics.items()}
        self.recent = [*self.recent, metrics["loss"]][-_RECENT:]

    def means(self) -> dict[str, float]:
        """Return mean loss and accuracy over the steps of this epoch; at least one is needed."""
        return {name: total / self.step for name, total in self.sums.items()}

    def divergence(self, classes: int) -> str:
        """Return why training has diverged, or an empty string if it has not.

        Args:
            classes: Number of classes; the loss of guessing is its logarithm.
        """
        if not math.isfinite(self.recent[-1]):
            return "the loss is not a number"
        mean = sum(self.recent) / len(self.recent)
        if len(self.recent) == _RECENT and mean > _EXPLODED * math.log(classes):
            return f"the loss has grown to {mean:.3g}, and guessing has {math.log(classes):.2g}"
        return ""

    def next_epoch(self, row: Epoch) -> None:
        """Complete the current epoch and move to the next."""
        self.history.append(row)
        self.epoch, self.step, self.sums, self.seconds = self.epoch + 1, 0, {}, 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON; every number is read back exactly."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the output of ``to_json``; raises TypeError or KeyError for anything else."""
        values = dict(data)
        values["early_stopping"] = EarlyStopping(**data["early_stopping"])
        values["history"] = [Epoch(**row) for row in data["history"]]
        values["divergences"] = [Divergence(**row) for row in data["divergences"]]
        return cls(**values)


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """A training run at one moment: everything that determines the rest of it.

    Attributes:
        state: How far it is.
        weights: The weights and optimizer variables that the next step starts from.
        best: Weights of the best epoch so far, in the network's order; ``None`` before there is
            one.
    """

    state: TrainState
    weights: Weights
    best: Arrays | None

    @classmethod
    def of(cls, state: TrainState, weights: Weights, best: Arrays | None) -> Self:
        """Copy the state, which will change; the arrays are copies already."""
        return cls(copy.deepcopy(state), weights, best)
