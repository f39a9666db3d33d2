"""Which epoch is the best so far, and when training stops."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass
class EarlyStopping:
    """Keeps track of the best epoch and decides when to stop.

    Attributes:
        monitor: ``log_loss`` (smaller is better), ``accuracy`` (larger is better), or ``last``
            (the latest epoch whose loss is finite).
        patience: Epochs without a better value before training stops; 0 for never.
        best: The best value so far.
        best_epoch: The epoch with that value, from 0; -1 before there is one.
        epochs: Number of epochs so far.
    """

    monitor: str
    patience: int
    best: float = -math.inf
    best_epoch: int = -1
    epochs: int = 0

    def is_best(self, val_loss: float, val_accuracy: float) -> bool:
        """Record the values of one epoch and return whether it is the best so far. NaN never is."""
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
