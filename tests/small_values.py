"""Predictions of numbers and run folders with them, made without training."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from lucency.calibration.conformal import Conformal
from lucency.calibration.units import UnitRule
from lucency.calibration.values import ValueRule, fit
from lucency.classifier import Classifier, Spec
from lucency.dataset import Entry
from lucency.dataset.split_file import write_entries
from lucency.dataset.values import Bins
from lucency.evaluation import (
    Predictions,
    evaluate_predictions,
    write_evaluation,
    write_predictions,
)
from lucency.metrics import FloatArray
from small_runs import spec_of, write_plan

EDGES = tuple(float(x) for x in range(0, 105, 10))
BINS = Bins(EDGES)
RULE = ValueRule(
    "age", EDGES, tuple(x + 5.0 for x in EDGES[:-1]), mean=48.0, offset=2.0, tolerance=None
)

UNIT_RULE = replace(RULE, offset=4.0)


def draw_values(
    seed: int, patients: int = 60, each: int = 2, split: str = "test", noise: float = 6.0,
    rule: ValueRule = RULE,
) -> Predictions:  # fmt: skip
    """Draw numbers from 0 to 100, and a distribution over the bins of a rule around each."""
    bins = Bins(rule.edges)
    truths, random = np.random.default_rng(7), np.random.default_rng([1, seed])
    true = np.clip(
        50 + 20 * truths.normal(size=(patients, 1)) + 4 * truths.normal(size=(patients, each)),
        0.5, 99.5,
    ).ravel().round(1)  # fmt: skip
    drawn = np.repeat(random.normal(size=patients), each) + random.normal(size=len(true))
    widths = noise * (0.7 + true / 100)
    centre = (true + widths * drawn / np.sqrt(2))[:, None]
    p = np.diff(stats.norm.cdf(np.array(rule.edges), centre, widths[:, None]), axis=1) + 1e-9
    p = p / p.sum(axis=1, keepdims=True)
    predicted = rule.predicted(p)
    return Predictions(
        split=split,
        classes=bins.names,
        files=tuple(f"{split}/{i}.png" for i in range(len(true))),
        groups=tuple(f"{split}-{i // each}" for i in range(len(true))),
        labels=bins.numbers(true),
        decisions=bins.numbers(predicted),
        probabilities=p,
        ood_scores=np.where(np.arange(len(true)) % 40 == 0, 1.5, 0.5),
        values=true,
        predicted=predicted,
    )


def fitted(tolerance: float | None = None, **drawn: Any) -> ValueRule:
    """Return a rule with an offset from held-out numbers."""
    held = draw_values(99, split="val", **drawn)
    values: FloatArray = np.asarray(held.values)
    rule = fit(replace(RULE, offset=None), held.probabilities, values, held.groups)
    return replace(rule, tolerance=tolerance)


def value_spec(rule: ValueRule = RULE, **changed: Any) -> Spec:
    """Return the spec of a classifier of numbers."""
    return replace(
        spec_of(Bins(rule.edges).names), task="regression", value=rule.to_json(),
        rule="the mean of the predicted distribution", **changed,
    )  # fmt: skip


def value_unit_spec(rule: ValueRule = UNIT_RULE) -> Spec:
    """Return the description of a classifier of numbers with an answer for each patient."""
    bias = tuple(np.linspace(-0.2, 0.2, len(rule.centres)))
    of_units = UnitRule("", 0.7, bias, 0.5, "r", None, Conformal(()), value=rule.to_json())
    return replace(value_spec(), unit=of_units.to_json())


def classifier_of(rule: ValueRule = RULE, seed: int = 0) -> Classifier:
    """Return a classifier of numbers with random weights."""
    spec = value_spec(rule)
    weights = {"w": np.random.default_rng(seed).integers(0, 256, spec.weight_count, np.uint8)}
    return Classifier(spec, weights)


def write_value_run(run: Path, found: Predictions, rule: ValueRule = RULE, **plan: Any) -> Path:
    """Write a run folder with these predictions, its evaluation and its split."""
    classifier = classifier_of(rule, zlib.crc32(run.name.encode()))
    classifier.save(run)
    write_predictions(run / "predictions.csv", [found])
    write_plan(run, **plan)
    write_evaluation(run / "evaluation.json", test=evaluate_predictions(classifier, found))
    values = [] if found.values is None else found.values.tolist()
    rows = zip(found.files, found.labels, found.groups, values, strict=True)
    split = "train" if found.split == "out_of_fold" else found.split
    entries = [
        Entry(file, found.classes[k], split, group, f"{i:064x}", value=value)
        for i, (file, k, group, value) in enumerate(rows)
    ]
    write_entries(entries, run / "split.csv")
    return run
