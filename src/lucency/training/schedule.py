"""The learning rate of each training step."""

from __future__ import annotations

import math

from lucency.training.plan import Plan


def learning_rate(plan: Plan, step: int, steps: int) -> float:
    """Return the planned learning rate of one step.

    Args:
        plan: With the schedule and the highest rate.
        step: The step, counted from 0 over all epochs.
        steps: Steps per epoch.
    """
    if plan.schedule != "cosine":
        return plan.learning_rate * float(0.5 ** (step // (10 * steps)))
    total = plan.epochs * steps
    warm_up = max(1, round(0.05 * total))
    if step < warm_up:
        return plan.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, total - warm_up)
    return plan.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
