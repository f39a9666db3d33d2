"""The results that commands print; text from the data is printed unchanged, without markup."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from lucency.cli.console import terminal
from lucency.cli.console.progress import duration
from lucency.config import PATIENT, plural_of_unit

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
    "root_mean_squared_error": "Root mean squared error",
    "r2": "R2",
    "concordance": "Lin's concordance",
    "mean_error": "Bias",
    "agreement_low": "Lower limit of agreement",
    "agreement_high": "Upper limit of agreement",
    "interval_coverage": "Coverage of the intervals",
    "interval_width": "Width of the intervals",
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score",
    "log_loss": "Log loss",
}
_NAMES = {**_HEADLINES, "average_precision": "Average precision"}  # of figures of folds, too
_PERCENT = (
    *("sensitivity", "specificity", "accuracy", "balanced_accuracy", "within_one"),
    "interval_coverage",
)
# In the unit of a number.
_IN_UNIT = (
    *("mean_absolute_error", "root_mean_squared_error", "mean_error"),
    *("agreement_low", "agreement_high", "interval_width"),
)
_PAIRS = 5  # leaking pairs to show
_COLUMNS = 8  # classes beside each other in a table of counts; of more, each has a row


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
        form = _form(key, found.spread, each["mean"])
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
    if of_units := evaluation.per_unit:
        title = f"One answer for each of {of_units.n:,} {plural_of_unit(of_units.unit or '')}"
        console.print()
        console.print(_table(title, of_units.metrics))
        if of_units.labels:
            console.print(_labels(of_units.labels, of_units.unit or ""))
    if evaluation.labels:
        console.print(_labels(evaluation.labels))
        return
    baseline = evaluation.baseline
    if evaluation.values:
        console.print(_of_values(evaluation), markup=False)
        return
    console.print(
        f"\nBaseline: always predicting {baseline['class']} has an accuracy of "
        f"{baseline['accuracy']:.1%}.",
        markup=False,
    )


def _of_values(found: Evaluation) -> str:
    """Return what the error means beside that of the mean, and how many images are answered."""
    values, baseline = found.values or {}, found.baseline
    error, mean = found.metrics["mean_absolute_error"].value, baseline["mean_absolute_error"]
    form = _form("mean_absolute_error", found.metrics, error)
    lines = [
        f"\nPredicts {values['name']} to within {form.format(error)} on average. Baseline: always "
        f"answering the mean of the training numbers is wrong by {form.format(mean)}."
    ]
    if values["offset"] is None:
        lines.append("There are no prediction intervals: too few patients were held out.")
    if (widest := values["tolerance"]) is not None:
        kept = [
            f"{each.selective['abstention']['predicted']:,} of {each.n:,} "
            f"{plural_of_unit(each.unit or 'image')}"
            for each in (found, found.per_unit)
            if each
        ]
        lines.append(f"Answered, with an interval of at most {widest:.6g}: {', '.join(kept)}.")
    return "\n".join(lines)


def _labels(found: Mapping[str, Evaluation], unit: str = "image") -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    keys = ("auroc", "sensitivity", "specificity")
    for name in ("\nlabel", plural_of_unit(unit), *(_HEADLINES[key] for key in keys)):
        table.add_column(Text(name), justify="left" if name == "\nlabel" else "right")
    for name, each in found.items():
        values = (_figures(key, each.metrics[key])[0] for key in keys)
        present = f"{each.per_class[name]['n']:,} of {each.n:,}"
        table.add_row(Text(terminal.visible(name)), present, *values)
    return table


def _label_pairs(found: Mapping[str, LabelPair], unit: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    keys = ("sensitivity", "specificity")
    titles = (
        plural_of_unit(unit),
        "AUROC",
        "95 % interval",
        "p",
        *(_HEADLINES[key] for key in keys),
    )
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
    of_patients = found.groups and found.unit != PATIENT
    people = f" of {found.groups:,} patients" if of_patients else ""
    means = f", means over {len(found.classes)} labels" if found.systems[0].labels else ""
    title = f"\nOn {found.n:,} {found.split} {plural_of_unit(found.unit)}{people}{means}"
    console.print(title, style="bold", markup=False)
    for system in found.systems:
        console.print(_table(system.name, {k: v.estimate for k, v in system.metrics.items()}))
        if len(system.runs) > 1:
            key = "auroc" if "auroc" in system.metrics else "mean_absolute_error"
            spread, name = system.metrics[key], _HEADLINES[key]
            form = _form(key, system.metrics, spread.estimate.value)
            least, most, sd = map(
                form.format, (min(spread.per_run), max(spread.per_run), spread.sd)
            )
            console.print(
                f"{name} over {len(system.runs)} seeds: {least} to {most} (sd {sd})\n", markup=False
            )
    for pair in found.pairs:
        title = f"{pair.second} minus {pair.first}"
        console.print(_table(title, pair.differences, signed=True))
        if pair.labels:
            console.print(_label_pairs(pair.labels, found.unit))
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
    if len(classes) > _COLUMNS:  # as bins of a number
        for split in counts:
            table.add_column(split, justify="right")
        for name in classes:
            cells = (f"{of_class[name]:,}" for of_class in counts.values())
            table.add_row(Text(terminal.visible(name)), *cells)
        console.print(table)
        return
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
            form = _form(key, figures, _largest(figures[key]), sign)
            table.add_row(name, *_texts(figures[key], form))
    return table


def _title(evaluation: Evaluation, split: str) -> str:
    patients = f" of {evaluation.groups:,} patients" if evaluation.groups else ""
    positive = f", positive class {evaluation.positive}" if evaluation.positive else ""
    return f"{split.capitalize()}: {evaluation.n:,} images{patients}{positive}"


def _form(key: str, beside: Collection[str], like: float, sign: str = "") -> str:
    """Return how a figure is written.

    Args:
        key: Its name.
        beside: Names of the figures beside it; numbers have R2.
        like: The largest of the numbers that it stands beside.
        sign: "+" where it is a difference.
    """
    if key in _IN_UNIT and "r2" in beside:
        from lucency.metrics import decimals

        return f"{{:{sign}z.{decimals(like)}f}}"
    return f"{{:{sign}.1%}}" if key in _PERCENT else f"{{:{sign}.3f}}"


def _largest(estimate: Estimate | Difference) -> float:
    ends = (abs(x) for x in (estimate.value, estimate.low, estimate.high))
    return max((x for x in ends if math.isfinite(x)), default=0.0)


def _figures(key: str, estimate: Estimate | Difference, sign: str = "") -> tuple[str, str]:
    return _texts(estimate, _form(key, (), 0.0, sign))


def _texts(estimate: Estimate | Difference, form: str) -> tuple[str, str]:
    if math.isnan(estimate.value):
        return "undefined", ""
    if math.isnan(estimate.low):
        return form.format(estimate.value), "undefined: too few errors"
    return form.format(estimate.value), f"{form} to {form}".format(estimate.low, estimate.high)
