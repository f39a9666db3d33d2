"""The epochs: what is computed in each, whose weights are kept, and what is done about faults."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucency import backend, metrics, models, signals
from lucency.calibration import temperature
from lucency.dataset import Split
from lucency.dataset.batches import pixel_batches, steps_per_epoch, training_batches
from lucency.errors import BackendError, LucencyError, RunError
from lucency.progress import Progress
from lucency.signals import Interrupted
from lucency.training.checkpoints import Checkpoints
from lucency.training.fused_layers import fused
from lucency.training.plan import Plan
from lucency.training.state import Divergence, Epoch, Snapshot, Stopper, TrainState, learning_rate
from lucency.training.step import Arrays, Stepper

keras = models.keras

_MOST_DIVERGENCES = 3


class _Diverged(Exception):  # noqa: N818 - says what training has done
    """Training cannot go on from here; the text says why."""


class Trainer:
    """Trains a network, and can be gone on with by another process at any step.

    What it comes to depends on the plan and the data alone: not on when checkpoints were written,
    nor on whether it was done in one piece.

    Args:
        stepper: The network and its optimiser.
        plan: How to train.
        parts: Train and validation.
        checkpoints: Where snapshots go, if they are to be kept.
        progress: Hears of every step and fault.
    """

    def __init__(
        self,
        stepper: Stepper,
        plan: Plan,
        parts: tuple[Split, Split],
        checkpoints: Checkpoints | None,
        progress: Progress,
    ) -> None:
        self._stepper, self._plan, self._progress = stepper, plan, progress
        self._train, self._val = parts
        self._checkpoints = checkpoints
        self._judge = eval_model(stepper.network, plan.channels)
        self._steps = steps_per_epoch(self._train, plan.batch)
        self.state = TrainState(Stopper(plan.monitor, plan.patience), stepper.micro)
        self.best: Arrays | None = None
        self._compiled = False
        self._epoch_start: Snapshot  # the beginning of the epoch under way

    def run(self, on_epoch: Callable[[Epoch], None] | None) -> None:
        """Train until nothing is left, from the newest checkpoint where there is one.

        Args:
            on_epoch: Called with each row of the history, also of epochs that were over before.

        Raises:
            Interrupted: A signal asked to stop; where training is has been saved.
            RunError: Training diverged before there was any sound epoch.
            BackendError: There is not enough memory for one image.
        """
        self._begin()
        for row in self.state.history:
            if on_epoch:
                on_epoch(row)
        watched = self._checkpoints.watched() if self._checkpoints else contextlib.nullcontext()
        with signals.held(), watched:
            try:
                while not self.state.finished:
                    self._resume(on_epoch)
            except Interrupted:
                self._write(self._snapshot())
                raise
            except Exception as error:
                if isinstance(error, LucencyError) or not backend.is_out_of_memory(error):
                    raise
                if self._checkpoints:
                    self._checkpoints.note_crash()
                raise BackendError(
                    "Out of memory, and this process cannot go on. The same command does, with "
                    "fewer images computed at once; or give a smaller batch: --set batch=N"
                ) from error

    def _begin(self) -> None:
        """Go on from the newest checkpoint, or begin."""
        kept = self._checkpoints
        found = kept and kept.latest()
        if not (kept and found):
            self._mark_epoch_start()
            return
        self._set(found)
        self._epoch_start = (self.state.step and kept.beginning_of(self.state.epoch)) or found
        where = f"epoch {self.state.epoch + 1}, step {self.state.step + 1}"
        where = "the end of training" if self.state.finished else where
        self._progress.note(f"Going on from the checkpoint at {where}.")
        if kept.crashed():
            # Backends on processors often die of a lack of memory instead of saying so.
            self._progress.warn("The last process crashed in compiled code.")
            self._shrink()

    def _resume(self, on_epoch: Callable[[Epoch], None] | None) -> None:
        """Train and judge one epoch, or mend what stands in its way."""
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
        then()  # here, where an error no longer holds on to the memory that ran out

    def _end_epoch(self, row: Epoch, on_epoch: Callable[[Epoch], None] | None) -> None:
        self.state.next_epoch(row)
        if self.state.stopper.is_best(row.val_loss, row.val_accuracy):
            self.best = self._stepper.network.get_weights()
        enough = self.state.stopper.should_stop
        self.state.finished = enough or self.state.epoch == self._plan.epochs
        self._mark_epoch_start()
        if on_epoch:
            on_epoch(row)

    def _epoch(self) -> Epoch:
        """Run what is left of an epoch and judge it."""
        plan, state = self._plan, self.state
        before, start = state.seconds, time.perf_counter()
        self._train_steps()
        took = before + time.perf_counter() - start
        judged = self._judged()
        if not np.isfinite(judged["val_loss"]):
            raise _Diverged("the loss on validation is not a number")
        seen = state.means()
        return Epoch(
            epoch=state.epoch + 1,
            learning_rate=self._rate((state.epoch + 1) * self._steps - 1),
            loss=seen["loss"],
            accuracy=seen["accuracy"],
            **judged,
            seconds=before + time.perf_counter() - start,
            images_per_second=self._steps * plan.batch / took,
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
                state.seconds += (took := time.perf_counter() - last)
                if not self._compiled:
                    self._compiled = True
                    self._progress.note(f"Compiled, and one step made, in {took:.1f} s.")
                last = time.perf_counter()
                if fault := state.fault(len(self._train.classes)):
                    raise _Diverged(fault)
                task.advance(plan.batch, **state.means())
                signals.check()
                if self._checkpoints and state.step < self._steps and self._checkpoints.due():
                    self._write(self._snapshot())

    def _judged(self) -> dict[str, float]:
        """Return loss (class-weighted), accuracy and AUROC on validation."""
        split = self._val
        logits = logits_of_split(self._judge, split, self._stepper.micro)
        probabilities = temperature.probabilities(logits, 1.0)
        weights = np.asarray(self._plan.class_weights)[split.labels]
        return {
            "val_loss": metrics.log_loss(split.labels, probabilities, weights),
            "val_accuracy": float(np.mean(probabilities.argmax(axis=1) == split.labels)),
            "val_auroc": metrics.macro_auroc(split.labels, probabilities),
        }

    def _rate(self, step: int) -> float:
        return self.state.rate * learning_rate(self._plan, step, self._steps)

    def _restart_epoch(self, fault: str) -> None:
        """Begin the epoch again at half the rate; after the third time, end training."""
        where = Divergence(self.state.epoch + 1, self.state.step, fault)
        self._set(self._epoch_start)
        state = self.state
        state.divergences.append(where)
        words = f"Training diverged in epoch {where.epoch}, step {where.step}: {fault}."
        if len(state.divergences) > _MOST_DIVERGENCES:
            state.finished = True
            if self.best is None:
                raise RunError(
                    f"{words} It did so {len(state.divergences)} times, before any epoch was over. "
                    f"Give a lower rate: --set learning_rate={self._plan.learning_rate / 10:g}"
                )
            self._progress.warn(
                f"{words} Training ends here, with the weights of epoch "
                f"{state.stopper.best_epoch + 1}."
            )
        else:
            state.rate /= 2
            self._progress.warn(
                f"{words} Back to the beginning of the epoch, at {state.rate:g} times the rate "
                f"({len(state.divergences)} of at most {_MOST_DIVERGENCES} times)."
            )
        self._mark_epoch_start()

    def _shrink(self) -> None:
        """Begin the epoch again, with half as many images computed at once."""
        self._stepper.shrink()
        self._set(self._epoch_start)
        self.state.micro = self._stepper.micro
        self._progress.warn(
            "Out of memory, or so it seems: images are now computed "
            f"{self._stepper.micro} at a time, and a step is still taken for {self._plan.batch}. "
            "The epoch begins again."
        )
        self._mark_epoch_start()

    def _set(self, snapshot: Snapshot) -> None:
        """Go to where a snapshot was taken; a micro-batch that was made smaller stays so."""
        self.state, self.best = copy.deepcopy(snapshot.state), snapshot.best
        while self._stepper.micro > self.state.micro:
            self._stepper.shrink()
        self.state.micro = self._stepper.micro
        try:
            self._stepper.restore(snapshot.weights)
        except ValueError as error:
            raise RunError(
                f"The checkpoint does not fit this version of Keras ({error}). Use the versions "
                "that it was written with, or begin anew with --no-resume."
            ) from error

    def _snapshot(self) -> Snapshot:
        return Snapshot.of(self.state, self._stepper.capture(), self.best)

    def _mark_epoch_start(self) -> None:
        """Keep where training is, to come back to from anywhere in the epoch that begins."""
        self._epoch_start = self._snapshot()
        self._write(self._epoch_start)

    def _write(self, snapshot: Snapshot) -> None:
        if self._checkpoints:
            self._checkpoints.write(snapshot)


def build_network(plan: Plan, classes: int) -> Any:
    """Build the network of the plan in its precision, with random weights."""
    keras.config.set_dtype_policy(plan.precision)
    try:
        shape = (*plan.size, plan.network_channels)
        return models.build(plan.architecture, classes, shape, plan.parameters)
    finally:
        keras.config.set_dtype_policy("float32")


def eval_model(network: Any, channels: int) -> Any:
    """Wrap the network for unvaried pixels; it shares its weights and answers with logits."""
    height, width = network.input_shape[1:3]
    pixels = keras.Input((height, width, channels), dtype="uint8")
    return keras.Model(pixels, fused(network, channels)(keras.ops.cast(pixels, "float32")))


def logits_of_split(judge: Any, split: Split, batch: int) -> NDArray[np.float64]:
    """Return what ``judge`` says of a split, (n, 1) or (n, classes), in its order.

    Raises:
        Interrupted: A signal that was held asks to stop.
    """
    parts = []
    for pixels in pixel_batches(split, batch):
        parts.append(np.asarray(judge.predict_on_batch(pixels)))
        signals.check()
    return np.concatenate(parts)[: len(split)].astype(np.float64)
