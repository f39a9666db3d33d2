"""The results that commands print; text from the data is printed unchanged, without markup."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lucency.cli.console import terminal
from lucency.cli.console.progress import duration

if TYPE_CHECKING:
    from pathlib import Path

    from lucency.comparison import Comparison, Difference, LabelPair
    from lucency.evaluation import CrossValidation, Evaluation
    from lucency.metrics import Estimate
    from lucency.pipeline.check import Check
    from lucency.pipeline.train import Run
    from lucency.verify import Verification

_HEADLINES = {
    "quadratic_kappa": "Quadratic weighted kappa",
    "within_one": "Within one grade",
    "mean_absolute_error": "Mean absolute error",
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score",
    "log_loss": "Log loss",
}
_NAMES = {**_HEADLINES, "average_precision": "Average precision"}  # of figures of folds, too
_PERCENT = ("sensitivity", "specificity", "accuracy", "balanced_accuracy", "within_one")
_PAIRS = 5  # leaking pairs to show


def show_run(run: Run) -> None:
    """Print the figures of a training run, its warnings, and the next steps."""
    console = terminal.console()
    if run.folds:
        show_evaluation(run.validation, _title(run.validation, "out of fold"))
        console.print(_spread(run.folds), markup=False)
    if run.test or not run.folds:
        show_evaluation(run.headline, _title(run.headline, "test" if run.test else "validation"))
    if run.test is None:
        console.print(
            "There is no test split: these figures come from images that were used for choices."
        )
    for line in run.data.audit.warnings:
        console.print(f"! {line}", style="yellow", markup=False)
    console.print(f"\nDone in {duration(run.seconds['total'])}. Open the report:", markup=False)
    console.print(f"  {run.report}", style="bold", markup=False, soft_wrap=True)
    console.print("Use the classifier:", markup=False)
    console.print(f"  lucency predict {run.shown} IMAGE ...", markup=False, soft_wrap=True)


def _spread(found: CrossValidation) -> str:
    """Return the spread over the folds in one line."""
    parts = []
    for key, each in found.spread.items():
        form = "{:.1%}" if key in _PERCENT else "{:.3f}"
        mean, sd = form.format(each["mean"]), form.format(each["sd"])
        parts.append(f"{_NAMES[key]} {mean} (sd {sd})")
    by = f" by {found.column}" if found.column else ""
    return f"Mean over {len(found.folds)} folds{by}: {', '.join(parts)}."


def show_evaluation(evaluation: Evaluation, title: str) -> None:
    """Print the headline figures of an evaluation with their 95 % intervals."""
    console = terminal.console()
    console.print(f"\n{title}", style="bold", markup=False)
    console.print(_table("", evaluation.metrics))
    if at_cut := (evaluation.grades or {}).get("positive"):
        threshold = at_cut.operating_point["threshold"]
        title = f"{at_cut.positive}, from a probability of {threshold:.3g}"
        console.print()
        console.print(_table(title, at_cut.metrics))
    if patients := evaluation.per_patient:
        title = f"One answer for each of {patients.n:,} patients"
        console.print()
        console.print(_table(title, patients.metrics))
    if evaluation.labels:
        console.print(_labels(evaluation.labels))
        return
    baseline = evaluation.baseline
    console.print(
        f"\nBaseline: always predicting {baseline['class']} has an accuracy of "
        f"{baseline['accuracy']:.1%}.",
        markup=False,
    )


def _labels(found: Mapping[str, Evaluation]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    keys = ("auroc", "sensitivity", "specificity")
    for name in ("\nlabel", "images", *(_HEADLINES[key] for key in keys)):
        table.add_column(Text(name), justify="left" if name == "\nlabel" else "right")
    for name, each in found.items():
        values = (_figures(key, each.metrics[key])[0] for key in keys)
        present = f"{each.per_class[name]['n']:,} of {each.n:,}"
        table.add_row(Text(terminal.visible(name)), present, *values)
    return table


def _label_pairs(found: Mapping[str, LabelPair]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    keys = ("sensitivity", "specificity")
    titles = ("images", "AUROC", "95 % interval", "p", *(_HEADLINES[key] for key in keys))
    for name in ("\nlabel", *titles):
        table.add_column(Text(name), justify="left" if name == "\nlabel" else "right")
    for name, each in found.items():
        auroc = _figures("auroc", each.differences["auroc"], "+")
        values = (_figures(key, each.differences[key], "+")[0] for key in keys)
        p = "" if math.isnan(each.p) else f"{each.p:.2g}"
        present = f"{each.present:,} of {each.n:,}"
        table.add_row(Text(terminal.visible(name)), present, *auroc, p, *values)
    return table


def show_check(check: Check) -> None:
    """Print the counts, the leak check and the findings of a check, and the page to open."""
    audit, console = check.audit, terminal.console()
    console.print(f"\n{check.data.audit.balance}", markup=False)
    of_labels = {
        split: {name: present for name, (present, _) in found.items()}
        for split, found in audit.get("labels", {}).items()
    }
    _show_counts(of_labels or audit["counts"], console)
    status, pairs = audit["leaks"]["status"], audit["leaks"]["pairs"]
    style = {"failed": "bold red", "passed": "green"}.get(status, "yellow")
    console.print(f"\nLeak check: {status}", style=style, markup=False)
    for pair in pairs[:_PAIRS]:
        console.print(f"  {pair['first']} = {pair['second']} ({pair['kind']})", markup=False)
    if len(pairs) > _PAIRS:
        console.print(f"  and {len(pairs) - _PAIRS:,} more", markup=False)
    for line in audit["warnings"]:
        console.print(f"! {line}", style="yellow", markup=False)
    for finding in audit["findings"]:
        alarm = finding["level"] == "alarm"
        mark, style = ("!", "yellow") if finding["level"] == "warning" else ("-", "")
        console.print(
            f"{'!!' if alarm else mark} {finding['text']}",
            style="red" if alarm else style, markup=False,
        )  # fmt: skip
    for line in audit["notes"]:
        console.print(f"- {line}", markup=False)
    console.print("\nOpen the page:", markup=False)
    console.print(f"  {check.page}", style="bold", markup=False, soft_wrap=True)


def show_comparison(found: Comparison) -> None:
    """Print the figures of every system, their differences and the verdict."""
    console = terminal.console()
    of_images = found.groups and found.unit == "image"
    people = f" of {found.groups:,} patients" if of_images else ""
    means = f", means over {len(found.classes)} labels" if found.systems[0].labels else ""
    title = f"\nOn {found.n:,} {found.split} {found.unit}s{people}{means}"
    console.print(title, style="bold", markup=False)
    for system in found.systems:
        console.print(_table(system.name, {k: v.estimate for k, v in system.metrics.items()}))
        if len(system.runs) > 1:
            spread = system.metrics["auroc"]
            console.print(
                f"AUROC over {len(system.runs)} seeds: {min(spread.per_run):.3f} to "
                f"{max(spread.per_run):.3f} (sd {spread.sd:.3f})\n",
                markup=False,
            )
    for pair in found.pairs:
        title = f"{pair.second} minus {pair.first}"
        console.print(_table(title, pair.differences, signed=True))
        if pair.labels:
            console.print(_label_pairs(pair.labels))
    for line in found.warnings:
        console.print(f"! {line}", style="yellow", markup=False)
    for line in found.conclusions:
        console.print(line, style="bold", markup=False)


def show_verification(done: Verification, page: Path | None = None) -> None:
    """Print every check of a run, and the page if it was drawn again."""
    console = terminal.console()
    for check in done.checks:
        word, style = ("passed", "green") if check.passed else ("FAILED", "bold red")
        console.print(f"{word}  ", style=style, end="", markup=False)
        console.print(f"{check.name}: {check.detail}", markup=False)
    wrong = sum(not check.passed for check in done.checks)
    console.print(
        f"\n{wrong} of {len(done.checks)} checks failed. Do not rely on this run."
        if wrong
        else f"\nAll {len(done.checks)} checks passed.",
        style="bold", markup=False,
    )  # fmt: skip
    if page is not None:
        console.print("Drew the report:", markup=False)
        console.print(f"  {page}", style="bold", markup=False, soft_wrap=True)


def show_export(folder: Path, certificate: Mapping[str, Any]) -> None:
    """Print how an export differs from its classifier, and its folder."""
    console, agreement = terminal.console(), certificate["agreement"]
    console.print(
        f"\nCompared on {agreement['n']:,} validation images: probabilities differ by at most "
        f"{agreement['max_abs_difference']:.2g}; {agreement['decision_agreement']:.2%} of the "
        "decisions agree.",
        markup=False,
    )
    for each in certificate["latency"]:
        console.print(
            f"Batch of {each['n']}: {each['export_ms']:.3g} ms, "
            f"{each['ratio']:.2f} times the time of the classifier.",
            markup=False,
        )
    console.print(f"{certificate['bytes'] / 1e6:.2f} MB, with a certificate:", markup=False)
    console.print(f"  {folder}", style="bold", markup=False, soft_wrap=True)


def _show_counts(counts: Mapping[str, Mapping[str, int]], console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    classes = list(next(iter(counts.values())))
    table.add_column("")
    for name in classes:
        table.add_column(Text(terminal.visible(name)), justify="right")
    for split, of_class in counts.items():
        table.add_row(split, *(f"{of_class[name]:,}" for name in classes))
    console.print(table)


def _table(
    title: str, figures: Mapping[str, Estimate | Difference], *, signed: bool = False
) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(Text(terminal.visible(title)))
    for name, justify in (("value", "right"), ("95 % interval", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    sign = "+" if signed else ""
    for key, name in _HEADLINES.items():
        if key in figures:
            table.add_row(name, *_figures(key, figures[key], sign))
    return table


def _title(evaluation: Evaluation, split: str) -> str:
    patients = f" of {evaluation.groups:,} patients" if evaluation.groups else ""
    positive = f", positive class {evaluation.positive}" if evaluation.positive else ""
    return f"{split.capitalize()}: {evaluation.n:,} images{patients}{positive}"


def _figures(key: str, estimate: Estimate | Difference, sign: str = "") -> tuple[str, str]:
    form = f"{{:{sign}.1%}}" if key in _PERCENT else f"{{:{sign}.3f}}"
    if math.isnan(estimate.value):
        return "undefined", ""
    if math.isnan(estimate.low):
        return form.format(estimate.value), "undefined: too few errors"
    return form.format(estimate.value), f"{form} to {form}".format(estimate.low, estimate.high)
