"""Numbers: error beside the baseline, agreement, quantiles, intervals, the largest errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from lucency import plots
from lucency.config import PATIENT
from lucency.metrics import decimals
from lucency.report.drawings import Figure, estimate, figure
from lucency.report.files import Json, Run, number
from lucency.report.images import Album
from lucency.report.wording import UNDEFINED, Name, figure_text, interval_text, isolated, plural

NAMES = {
    "mean_absolute_error": Name("Mean absolute error"),
    "root_mean_squared_error": Name("Root mean squared error"),
    "r2": Name("R²"),
    "mean_error": Name("Bias: predicted − true"),
    "agreement_low": Name("Limit of agreement, lower"),
    "agreement_high": Name("Limit of agreement, upper"),
    "pearson": Name("Pearson correlation"),
    "concordance": Name("Lin's concordance"),
    "pinball_loss": Name("Pinball loss"),
    "interval_coverage": Name("Coverage of the intervals", share=True),
    "interval_width": Name("Width of the intervals"),
    "answered": Name("Answered", share=True),
}
GLOSSARY = {
    **dict.fromkeys(
        ("mean_absolute_error", "root_mean_squared_error", "r2"), "mean-absolute-error"
    ),
    **dict.fromkeys(
        ("mean_error", "agreement_low", "agreement_high", "concordance"), "bland-altman"
    ),
    **dict.fromkeys(
        ("pinball_loss", "interval_coverage", "interval_width"), "prediction-intervals"
    ),
}  # fmt: skip
_WITHOUT_UNIT = ("r2", "pearson", "concordance")
_DRAWN = 12  # subgroups in the drawing
_WORST = 10
_FEW = 30  # images below which fewer digits are shown


@dataclass(frozen=True)
class LargeError:
    """An image with its true and its predicted number."""

    file: str
    true: str
    predicted: str
    error: str
    image: str | None


def of_number(value: float | None, like: float, n: int = 1000) -> str:
    """Return a number in its unit, with as many decimals as one of three digits has.

    Args:
        value: The number, or None.
        like: The largest of the numbers that it stands beside.
        n: Images behind it; below 30, two digits are shown.
    """
    if value is None:
        return UNDEFINED
    places = decimals(like, 3 if n >= _FEW else 2)
    return f"{value:z.{places}f}".replace("-", "−")


def text_of(key: str, entry: Mapping[str, Any] | None, n: int) -> str:
    """Return a figure with its interval, in the unit of the number where it has one."""
    if key in _WITHOUT_UNIT or NAMES[key].share:
        return figure_text(entry, n, share=NAMES[key].share)
    value, ends = _parts(entry, n)
    return f"{value} ({ends})" if ends else value if value != UNDEFINED else f"{value} undefined"


def _parts(entry: Mapping[str, Any] | None, n: int) -> tuple[str, str]:
    """Return value and interval as text."""
    value, low, high = (number((entry or {}).get(key)) for key in ("value", "low", "high"))
    like = max((abs(x) for x in (value, low, high) if x is not None), default=0.0)
    if low is None or high is None:
        return of_number(value, like, n), ""
    dash = " to " if low < 0 else "–"
    return of_number(value, like, n), dash.join(of_number(x, like, n) for x in (low, high))


def headline(key: str, run: Run) -> tuple[str, str, Markup]:
    """Return value, interval and baseline of a figure of the first screen."""
    split = run.split
    entry, n = split["metrics"].get(key), int(split["n"])
    if key == "interval_coverage":
        promised = f"promised: {100 * float(split['values']['coverage']):.3g}{plots.THIN}%"
        width, _ = _parts(split["metrics"].get("interval_width"), n)
        text = figure_text(entry, n, share=True).partition(" (")[0]
        shown = UNDEFINED if text.endswith("undefined") else text
        mean = "" if width == UNDEFINED else f"; mean width {width}"
        return shown, interval_text(entry, n, share=True), Markup("{}{}").format(promised, mean)
    always = Markup("always the mean: {}").format(_trivial(key, split))
    if key in _WITHOUT_UNIT:
        value = figure_text(entry, n, share=False).partition(" (")[0]
        shown = UNDEFINED if value.endswith("undefined") else value
        return shown, interval_text(entry, n, share=False), always
    return *_parts(entry, n), always


HEADLINES = ("mean_absolute_error", "root_mean_squared_error", "r2", "interval_coverage")


def _trivial(key: str, split: Json) -> str:
    """Return what always answering the mean of the training numbers scores."""
    found = number(split["baseline"].get(key))
    if found is None:
        return UNDEFINED
    return (
        of_number(found, found) if key not in _WITHOUT_UNIT else f"{found:z.2f}".replace("-", "−")
    )


def sentences(run: Run) -> list[Markup]:
    """Return what the error is on average, beside that of the mean, and how answers agree."""
    split, name = run.split, isolated(str(run.split["values"]["name"]))
    n, groups, error = int(split["n"]), split.get("groups"), split["metrics"]["mean_absolute_error"]
    value, low, high = (number(error.get(key)) for key in ("value", "low", "high"))
    ends = max(x for x in (value, high, 0.0) if x is not None)
    interval = (
        ""
        if low is None or high is None
        else f", 95{plots.THIN}% {of_number(low, ends, n)} to {of_number(high, ends, n)}"
    )
    people = f" of {plural(int(groups), 'patient')}" if groups and run.unit != PATIENT else ""
    lead = Markup(
        "Predicts {} to within {} on average (MAE {}{}, n = {}{}); always answering the mean gives "
        "{}."
    ).format(
        name,
        of_number(value, value or 0.0, 10),
        of_number(value, ends, n),
        interval,
        plural(n, run.unit, run.units),
        people,
        _trivial("mean_absolute_error", split),
    )
    return [lead, Markup("{}").format(agreement_text(split))]


def agreement_text(split: Json) -> str:
    """Return bias and limits of agreement in a sentence."""
    n, metrics = int(split["n"]), split["metrics"]
    ends = [number(metrics[key]["value"]) for key in ("agreement_low", "agreement_high")]
    bias = number(metrics["mean_error"]["value"])
    if bias is None or None in ends:
        return "There are too few answers for limits of agreement."
    like = max(abs(x or 0.0) for x in ends)
    low, high = (of_number(x, like, n) for x in ends)
    side = "above" if bias > 0 else "below"
    return (
        f"Predictions lie {of_number(abs(bias), like, n)} {side} the truth on average, and about "
        f"95{plots.THIN}% of them differ from it by {low} to {high}."
    )


def contents(run: Run, album: Album) -> dict[str, Any]:
    """Return what the sections on numbers show."""
    split = run.split
    found, n = split["values"], int(split["n"])
    return {
        "number": plots.visible(str(found["name"])),
        "value_plots": agreement(run),
        "agreement_text": agreement_text(split),
        "value_errors": largest_errors(run, album),
        "value_calibration": _quantiles(run),
        "coverage_text": coverage(split)[0],
        "thirds": [_third(row) for row in found["thirds"]],
        "value_selective": _selective(run),
        "selective": split["selective"],
        "value_subgroups": _subgroups(run),
        "metrics": _rows(run),
        "methods": _methods(split),
        "always": of_number(number(split["baseline"]["value"]), split["baseline"]["value"], n),
        "rule": split["operating_point"]["rule"],
    }


def agreement(run: Run) -> list[Figure]:
    """Draw predicted over true numbers and their differences, of each split."""
    drawn = []
    for split_name, split in run.splits.items():
        points, name = split["values"]["points"], str(split["values"]["name"])
        of, metrics = split_name.capitalize(), split["metrics"]
        shown = len(points["true"])
        note = f" {shown:,} of {int(split['n']):,} {run.units}." if shown < split["n"] else ""
        drawn += [
            figure(
                plots.predicted_values(
                    points["true"], points["predicted"],
                    title=f"Predicted and true {name}, {split_name}", name=name, unit=run.unit,
                ),
                f"{of}: predicted and true",
                f"On the dotted line, the prediction is right.{note}",
                "mean-absolute-error",
            ),
            figure(
                plots.agreement(
                    points["true"], points["predicted"],
                    title=f"Bland-Altman plot, {split_name}", name=name,
                    bias=estimate(metrics["mean_error"]),
                    limits=(
                        estimate(metrics["agreement_low"]), estimate(metrics["agreement_high"])
                    ),
                ),
                f"{of}: agreement",
                "A slope or a funnel means that the error depends on the number.",
                "bland-altman",
            ),
        ]  # fmt: skip
    return drawn


def _quantiles(run: Run) -> list[Figure]:
    """Draw the share of true numbers below each predicted quantile, of each split."""
    return [
        figure(
            plots.quantile_calibration(
                [(row["level"], estimate(row["below"])) for row in split["values"]["quantiles"]],
                title=f"Calibration of the quantiles, {name}",
            ),
            f"Quantiles, {name}",
            "Below the predicted quantile of 0.9 should lie 90 of 100 true numbers.",
            "prediction-intervals",
        )
        for name, split in run.splits.items()
    ]  # fmt: skip


def coverage(split: Json) -> tuple[str, bool | None]:
    """Return the coverage of the intervals beside the promise, and whether it is too low."""
    entry, n = split["metrics"].get("interval_coverage"), int(split["n"])
    promised = float(split["values"]["coverage"])
    high = number((entry or {}).get("high"))
    if high is None:
        return "too few held-out patients for prediction intervals", None
    share = f"{100 * promised:.3g}{plots.THIN}%"
    text = f"intervals promised {share}; they hold {figure_text(entry, n, share=True)}"
    return text, high < promised


def _third(row: Json) -> list[str]:
    like, n = max(abs(float(row["low"])), abs(float(row["high"]))), int(row["n"])
    metrics = row["metrics"]
    return [
        f"{of_number(row['low'], like)} to {of_number(row['high'], like)}",
        f"{n:,}",
        *(text_of(key, metrics[key], n) for key in _OF_THIRDS),
    ]


_OF_THIRDS = ("mean_absolute_error", "mean_error", "interval_coverage")
_OF_GROUPS = ("mean_absolute_error", "mean_error", "r2")


def _selective(run: Run) -> dict[str, Any]:
    """Return how many images get an answer, and their error."""
    split, found = run.split, run.split["selective"]
    counted, n = found["abstention"], int(split["n"])
    tolerance = number(split["values"].get("tolerance"))
    drawing = plots.error_coverage(
        found["risk_coverage"], title=f"Error over the share answered, {run.split_name}",
        name=str(split["values"]["name"]), split=run.split_name,
    )  # fmt: skip
    caption = (
        "The error of the images with the narrowest intervals. Useful intervals make the line rise "
        "to the right."
    )
    kept = int(counted["predicted"])
    keys = ("mean_absolute_error", "root_mean_squared_error")
    return {
        "figure": figure(drawing, "Error over the share answered", caption, "risk-coverage"),
        "answered": f"{kept:,} ({plots.percent(kept / max(n, 1), n)})",
        "outside": f"{int(counted['out_of_distribution']):,}",
        "wide": f"{int(counted['ambiguous']):,}",
        "tolerance": None if tolerance is None else f"{tolerance:.6g}",
        "rows": [
            [NAMES[key].title, text_of(key, counted["metrics"][key], max(kept, 1)),
             text_of(key, split["metrics"][key], n)]
            for key in keys
        ],
    }  # fmt: skip


def _subgroups(run: Run) -> dict[str, Any] | None:
    """Return the error of each subgroup: heads, rows and a drawing; None without any."""
    split = run.split
    entries = split.get("subgroups")
    if not entries:
        return None
    drawn = [
        (f"{each['value']} (n = {each['n']:,})", estimate(each["metrics"]["mean_absolute_error"]))
        for each in entries[:_DRAWN]
    ]
    drawing = plots.value_forest(
        drawn, title="Errors of subgroups with 95 % intervals", name=str(split["values"]["name"]),
        whole=number(split["metrics"]["mean_absolute_error"]["value"]),
    )  # fmt: skip
    caption = "An interval that does not reach the dotted line hints at a group that differs."
    return {
        "heads": ["Group", "Images", "Patients", *(NAMES[key].title for key in _OF_GROUPS)],
        "rows": [
            [
                Markup("{}: {}").format(isolated(str(x["attribute"])), isolated(str(x["value"]))),
                f"{x['n']:,}",
                UNDEFINED if x.get("groups") is None else f"{x['groups']:,}",
                *(text_of(key, x["metrics"][key], int(x["n"])) for key in _OF_GROUPS),
            ]
            for x in entries
        ],
        "figure": figure(drawing, "Subgroups beside all images", caption, "subgroups"),
    }


def _rows(run: Run) -> list[dict[str, Any]]:
    """Return every figure of every split with its interval and baseline."""
    return [
        {
            "title": name.title,
            "page": GLOSSARY.get(key, ""),
            "texts": [
                *(text_of(key, x["metrics"].get(key), int(x["n"])) for x in run.splits.values()),
                _trivial(key, run.split) if key in run.split["baseline"] else "",
            ],
        }
        for key, name in NAMES.items()
        if any(split["metrics"].get(key) for split in run.splits.values())
    ]


def _methods(split: Json) -> list[tuple[str, str]]:
    """Return each method of an interval with the figures whose intervals it gives."""
    found: dict[str, list[str]] = {}
    for key, entry in split["metrics"].items():
        if number(entry.get("low")) is not None:
            found.setdefault(str(entry["method"]), []).append(NAMES[key].title)
    return [(method, ", ".join(titles)) for method, titles in found.items()]


def largest_errors(run: Run, album: Album) -> list[LargeError] | None:
    """Return the images with the largest errors; None without predictions of that split."""
    found = run.predictions_of(run.split_name)
    if found is None or found.values is None or found.predicted is None:
        return None
    errors = found.predicted - found.values
    order = np.lexsort((np.array(found.files, object), -abs(errors)))[:_WORST]
    like = float(np.abs(found.values).max())
    return [
        LargeError(
            found.files[i],
            of_number(float(found.values[i]), like),
            of_number(float(found.predicted[i]), like),
            ("+" if errors[i] > 0 else "") + of_number(float(errors[i]), like),
            album.image("mistake", found.files[i]),
        )
        for i in order
    ]


def warnings(split: Json) -> list[str]:
    """Return what a reader must know: no better than the mean, or less coverage than promised."""
    found = []
    high = number(split["metrics"]["mean_absolute_error"].get("high"))
    mean = number(split["baseline"]["mean_absolute_error"])
    if high is not None and mean is not None and high >= mean:
        found.append(
            "Its error is not shown to be smaller than that of always answering the mean: the "
            f"interval reaches up to {of_number(high, high)}, and the mean gives "
            f"{of_number(mean, high)}."
        )
    text, low = coverage(split)
    if low:
        found.append(f"Prediction {text}: less often than promised.")
    return found
