"""Cross-validation: the figures of each fold, their spread, and those of all images."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lucency.report import values
from lucency.report.files import Json, Run, number
from lucency.report.wording import UNDEFINED, figure_text, name_of, plural, rounded


def cross_validation(run: Run) -> dict[str, Any] | None:
    """Return heads and rows of the table of folds; None for a run without folds."""
    found = run.evaluation.get("cross_validation")
    if not found:
        return None
    folds, spread, column = found["folds"], found["spread"], str(found["column"])
    n = int(found["n"])
    return {
        "heads": [column or "Fold", "Images", "Patients", *(_title(key, spread) for key in spread)],
        "kinds": "hnn" + "n" * len(spread),
        "rows": [
            *(_row(str(fold["fold"]), fold, list(spread)) for fold in folds),
            ["Mean of the folds", "", "", *_texts(spread, "mean", n)],
            ["Standard deviation", "", "", *_texts(spread, "sd", n)],
            _row("All images, out of fold", found, list(spread)),
        ],
        "next": _next(found),
        "column": column,
        "sentence": _sentence(found, list(spread)),
        "gist": f"{plural(len(folds), 'fold')}{f' by {column}' if column else ''}, "
        f"each of {plural(n, 'image')} held out once",
    }


def _sentence(found: Json, figures: list[str]) -> str:
    """Return the figures of all images in one sentence, to stand beside those of test."""
    people = f" of {plural(int(found['groups']), 'patient')}" if found["groups"] else ""
    _, _, _, *texts = _row("", found, figures)
    named = (f"{_title(x, figures)} {text}" for x, text in zip(figures, texts, strict=True))
    return f"Out of fold, on {plural(int(found['n']), 'image')}{people}: {', '.join(named)}."


def _row(name: str, found: Json, figures: list[str]) -> list[str]:
    n = int(found["n"])
    texts = [_text(x, figures, found["metrics"][x], n) for x in figures]
    return [
        name,
        f"{n:,}",
        UNDEFINED if found["groups"] is None else f"{found['groups']:,}",
        *texts,
    ]


def _texts(spread: Json, key: str, n: int) -> list[str]:
    values = ((name, number(each[key])) for name, each in spread.items())
    return [
        UNDEFINED if value is None else _text(name, spread, {"value": value}, n)
        for name, value in values
    ]


def _next(found: Json) -> list[list[str]]:
    """Return the prediction interval of each figure for another value of the column."""
    ends = (
        (name, number(x["low"]), number(x["high"])) for name, x in (found["next"] or {}).items()
    )
    return [
        [
            _title(name, found["next"]),
            " to ".join(_end(name, found["next"], end, found["n"]) for end in (low, high)),
        ]
        for name, low, high in ends
        if low is not None and high is not None
    ]


def _of_values(figures: Collection[str]) -> bool:
    """Return whether figures are of numbers; only these have R2."""
    return "r2" in figures


def _title(key: str, figures: Collection[str]) -> str:
    return values.NAMES[key].title if _of_values(figures) else name_of(key).title


def _text(key: str, figures: Collection[str], entry: Json, n: int) -> str:
    if _of_values(figures):
        return values.text_of(key, entry, n)
    return figure_text(entry, n, share=name_of(key).share)


def _end(key: str, figures: Collection[str], end: float, n: int) -> str:
    """Return an end of a prediction interval."""
    if _of_values(figures):
        return values.text_of(key, {"value": end}, n)
    return rounded(end, n, share=name_of(key).share, end=True)
