"""The training loop: epochs, the choice of the best one, and the handling of faults."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lucency import backend, metrics, models, signals
from lucency.calibration import scaling
from lucency.dataset import Split
from lucency.dataset.batches import pixel_batches, steps_per_epoch, training_batches
from lucency.errors import BackendError, LucencyError, RunError
from lucency.progress import Progress
from lucency.signals import Interrupted
from lucency.task import task_of
from lucency.training.checkpoints import Checkpoints
from lucency.training.early_stopping import EarlyStopping
from lucency.training.ordinal import OneScore
from lucency.training.plan import Plan
from lucency.training.schedule import learning_rate
from lucency.training.state import Arrays, Divergence, Epoch, Snapshot, TrainState
from lucency.training.step import Stepper

keras = models.keras

_MAX_DIVERGENCES = 3


class _Diverged(Exception):  # noqa: N818 - a state of training, not a programming error
    """Training has diverged; the text says how that shows."""


class Trainer:
    """Trains a network; another process can resume the training at any step.

    The result depends only on the plan and the data: not on when checkpoints were written, nor on
    whether training was interrupted.

    Args:
        stepper: The network and its optimizer.
        plan: How to train.
        splits: Train and validation.
        checkpoints: Where snapshots are written, if anywhere.
        progress: Called on every step and every fault.
    """

    def __init__(
        self,
        stepper: Stepper,
        plan: Plan,
        splits: tuple[Split, Split],
        checkpoints: Checkpoints | None,
        progress: Progress,
    ) -> None:
        self._stepper, self._plan, self._progress = stepper, plan, progress
        self._train, self._val = splits
        self._checkpoints = checkpoints
        self._steps = steps_per_epoch(self._train, plan.batch)
        self.state = TrainState(EarlyStopping(plan.monitor, plan.patience), stepper.micro)
        self.best: Arrays | None = None
        self._epoch_start: Snapshot  # the snapshot at the start of the current epoch
        self._start_written = False  # whether that is among the checkpoints

    def run(self, on_epoch: Callable[[Epoch], None] | None) -> None:
        """Train to the end, from the newest checkpoint if there is one.

        Args:
            on_epoch: Called with each row of the history, including rows from before a resume.

        Raises:
            Interrupted: A signal asked to stop; the state of training has been saved.
            RunError: Training diverged before the first epoch was complete.
            BackendError: There is not enough memory for one image.
        """
        self._start()
        for row in self.state.history:
            if on_epoch:
                on_epoch(row)
        traced = self._checkpoints.traced() if self._checkpoints else contextlib.nullcontext()
        with signals.deferred(), traced:
            try:
                while not self.state.finished:
                    self._next_epoch(on_epoch)
            except Interrupted:
                self._write(self._snapshot())
                raise
            except Exception as error:
                if isinstance(error, LucencyError) or not backend.is_out_of_memory(error):
                    raise
                if self._checkpoints:
                    self._checkpoints.note_crash()
                raise BackendError(
                    "Out of memory, and this process cannot continue. Run the same command again: "
                    "it resumes with fewer images per micro-batch. Or use a smaller batch: "
                    "--set batch=N"
                ) from error

    def _start(self) -> None:
        """Resume from the newest checkpoint, or start with the first epoch."""
        stored = self._checkpoints
        found = stored and stored.latest()
        if not (stored and found):
            self._mark_epoch_start()
            return
        self._restore(found)
        self._epoch_start = (self.state.step and stored.start_of(self.state.epoch)) or found
        self._start_written = True
        where = f"epoch {self.state.epoch + 1}, step {self.state.step + 1}"
        where = "the end of training" if self.state.finished else where
        self._progress.note(f"Resuming from the checkpoint at {where}.")
        if stored.crashed():
            # On a processor, backends often crash when memory runs out instead of raising an error.
            self._progress.warn("The last process crashed in compiled code.")
            self._shrink()

    def _next_epoch(self, on_epoch: Callable[[Epoch], None] | None) -> None:
        """Run one epoch and validate it, or recover from the fault that stopped it."""
        try:
            row = self._epoch()
        except _Diverged as fault:
            then = partial(self._restart_epoch, str(fault))
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            then = partial(self._shrink)
        else:
            then = partial(self._end_epoch, row, on_epoch)
        then()  # outside of the handler, where the error no longer holds the memory that ran out

    def _end_epoch(self, row: Epoch, on_epoch: Callable[[Epoch], None] | None) -> None:
        self.state.next_epoch(row)
        if self.state.early_stopping.is_best(row.val_loss, row.val_accuracy):
            self.best = [*map(np.asarray, self._stepper.network.get_weights())]
        stopped = self.state.early_stopping.should_stop
        self.state.finished = stopped or self.state.epoch == self._plan.epochs
        self._mark_epoch_start()
        if on_epoch:
            on_epoch(row)

    def _epoch(self) -> Epoch:
        """Run the remaining steps of an epoch and validate it."""
        plan, state = self._plan, self.state
        before, start = state.seconds, time.perf_counter()
        self._train_steps()
        train_seconds = before + time.perf_counter() - start
        validation = self._validate()
        if not np.isfinite(validation["val_loss"]):
            raise _Diverged("the loss on validation is not a number")
        means = state.means()
        return Epoch(
            epoch=state.epoch + 1,
            learning_rate=self._rate((state.epoch + 1) * self._steps - 1),
            loss=means["loss"],
            accuracy=means["accuracy"],
            **validation,
            seconds=before + time.perf_counter() - start,
            images_per_second=self._steps * plan.batch / train_seconds,
        )

    def _train_steps(self) -> None:
        plan, state = self._plan, self.state
        name, total = f"Epoch {state.epoch + 1}/{plan.epochs}", self._steps * plan.batch
        batches = training_batches(
            self._train, plan.batch, plan.augmentation, plan.seed, state.epoch, state.step
        )
        with self._progress.task(name, total, "images") as task:
            if state.step:
                task.advance(state.step * plan.batch, **state.means())
            last = time.perf_counter()
            for batch in batches:
                rate = self._rate(state.epoch * self._steps + state.step)
                state.add(self._stepper.train(batch, rate))
                state.seconds += (step_seconds := time.perf_counter() - last)
                if not self._stepper.is_compiled:
                    self._stepper.is_compiled = True
                    self._progress.note(f"Compiled and ran the first step in {step_seconds:.1f} s.")
                last = time.perf_counter()
                # The loss of several labels is the mean of that of each, which has two values.
                guesses = 2 if self._train.targets is not None else len(self._train.classes)
                if reason := state.divergence(guesses):
                    raise _Diverged(reason)
                task.advance(plan.batch, **state.means())
                signals.check()
                if self._checkpoints and state.step < self._steps and self._checkpoints.due():
                    self._write(self._snapshot())

    def _validate(self) -> dict[str, float]:
        """Return loss (class-weighted), accuracy and AUROC on validation."""
        split = self._val
        logits = logits_of_split(self._stepper.eval_model, split, self._stepper.micro)
        if split.targets is not None:
            p = special.expit(logits)
            return {
                "val_loss": float(metrics.label_losses(split.targets, p).mean()),
                "val_accuracy": metrics.label_accuracy(split.targets, p),
                "val_auroc": metrics.mean_auroc(split.targets, p),
            }
        probabilities = scaling.probabilities(logits)
        weights = np.asarray(self._plan.class_weights)[split.labels]
        return {
            "val_loss": metrics.log_loss(split.labels, probabilities, weights),
            "val_accuracy": float(np.mean(probabilities.argmax(axis=1) == split.labels)),
            "val_auroc": metrics.macro_auroc(split.labels, probabilities),
        }

    def _rate(self, step: int) -> float:
        return self.state.rate * learning_rate(self._plan, step, self._steps)

    def _restart_epoch(self, reason: str) -> None:
        """Restart the epoch at half the learning rate; end training after three restarts."""
        divergence = Divergence(self.state.epoch + 1, self.state.step, reason)
        self._restore(self._epoch_start)
        state = self.state
        state.divergences.append(divergence)
        words = f"Training diverged in epoch {divergence.epoch}, step {divergence.step}: {reason}."
        if len(state.divergences) > _MAX_DIVERGENCES:
            state.finished = True
            if self.best is None:
                raise RunError(
                    f"{words} It did so {len(state.divergences)} times, before the first epoch was "
                    "complete. Use a lower rate: "
                    f"--set learning_rate={self._plan.learning_rate / 10:g}"
                )
            self._progress.warn(
                f"{words} Training ends here, with the weights of epoch "
                f"{state.early_stopping.best_epoch + 1}."
            )
        else:
            state.rate /= 2
            self._progress.warn(
                f"{words} Restarting the epoch at {state.rate:g} times the planned rate "
                f"(restart {len(state.divergences)} of at most {_MAX_DIVERGENCES})."
            )
        self._mark_epoch_start(write=True)

    def _shrink(self) -> None:
        """Restart the epoch with half as many images per micro-batch."""
        self._stepper.shrink()
        self._restore(self._epoch_start)
        self.state.micro = self._stepper.micro
        self._progress.warn(
            "Memory seems to have run out: images are now computed "
            f"{self._stepper.micro} at a time, and each step still uses {self._plan.batch}. "
            "Restarting the epoch."
        )
        self._mark_epoch_start(write=True)

    def _restore(self, snapshot: Snapshot) -> None:
        """Return to a snapshot; a micro-batch that was made smaller stays small."""
        self.state, self.best = copy.deepcopy(snapshot.state), snapshot.best
        while self._stepper.micro > self.state.micro:
            self._stepper.shrink()
        self.state.micro = self._stepper.micro
        try:
            self._stepper.restore(snapshot.weights)
        except ValueError as error:
            raise RunError(
                f"The checkpoint does not fit this version of Keras ({error}). Use the versions "
                "that it was written with, or start over with --no-resume."
            ) from error

    def _snapshot(self) -> Snapshot:
        return Snapshot.of(self.state, self._stepper.capture(), self.best)

    def _mark_epoch_start(self, *, write: bool = False) -> None:
        """Keep a snapshot that the epoch can be restarted from; write it where one is due."""
        self._epoch_start, self._start_written = self._snapshot(), False
        write |= self.state.finished or not self.state.epoch
        if write or (self._checkpoints and self._checkpoints.due()):
            self._write(self._epoch_start)

    def _write(self, snapshot: Snapshot) -> None:
        """Write a checkpoint; one within an epoch needs that of the epoch's start beside it."""
        if self._checkpoints is None:
            return
        if not self._start_written:
            self._start_written = True
            self._checkpoints.write(self._epoch_start)
        if snapshot is not self._epoch_start:
            self._checkpoints.write(snapshot)


def build_network(plan: Plan, classes: int) -> Any:
    """Build the network of the plan in its precision, with random weights."""
    keras.config.set_dtype_policy(plan.precision)
    try:
        shape = (*plan.size, plan.network_channels)
        network = models.build(plan.architecture, classes, shape, plan.parameters)
        if task_of(plan.task).is_ordered:
            network.get_layer("logits").kernel.constraint = OneScore()
        return network
    finally:
        keras.config.set_dtype_policy("float32")


def logits_of_split(model: Any, split: Split, batch: int) -> NDArray[np.float64]:
    """Return the logits of a split's images, (n, 1) or (n, classes), in its order.

    Raises:
        Interrupted: A signal that was deferred asks to stop.
    """
    batches = []
    for pixels in pixel_batches(split, batch):
        batches.append(np.asarray(model.predict_on_batch(pixels)))
        signals.check()
    return np.concatenate(batches)[: len(split)].astype(np.float64)
