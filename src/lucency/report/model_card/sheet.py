"""``model_card.md`` after Mitchell et al. (2019), and ``checklist.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lucency.io import write_text
from lucency.report.model_card import facts, figures
from lucency.report.model_card.documents import Documents, escape, read_documents
from lucency.report.model_card.items import Item, checklist
from lucency.run_folder.files import CHECKLIST, MODEL_CARD

_AUTHOR = "*needs the author*"
_NOT_DONE = "*not done*"

# A line is its label, the fact, and what stands there where it is not known.
_Line = tuple[str, str | None, str]


def write_card(run: Path) -> None:
    """Write ``model_card.md`` and ``checklist.json`` into a run folder, from its other files.

    Args:
        run: The folder.

    Raises:
        RunError: It is no run folder, a file is damaged, or it cannot be written to.
    """
    documents = read_documents(run)
    items = checklist(documents)
    write_text(run / MODEL_CARD, model_card(documents, items))
    CHECKLIST.write(run, {"items": [item._asdict() for item in items]})


def model_card(documents: Documents, items: Sequence[Item]) -> str:
    """Return the model card with the checklists at its end, as Markdown.

    Args:
        documents: The files of a run.
        items: Its checklists.

    Returns:
        Text in which everything that comes from the data is escaped.
    """
    splits = [_HEAD]
    for title, lines in _sections(documents):
        splits.append(f"## {title}\n\n" + "".join(map(_written, lines)))
    names = dict.fromkeys(item.list for item in items)
    tables = (_table(name, [item for item in items if item.list == name]) for name in names)
    return "\n".join([*splits, *tables])


_HEAD = f"""\
# Model card

After Mitchell and others, *Model Cards for Model Reporting* (2019). Everything below was read from
the files of the run; what no file can tell is marked {_AUTHOR}, and what could have been measured
but was not is marked {_NOT_DONE}.

This classifier is for research. It is not a medical device.
"""


def _written(line: _Line) -> str:
    label, fact, otherwise = line
    return f"- **{label}:** {escape(fact) if fact else otherwise}\n"


def _sections(documents: Documents) -> Iterable[tuple[str, list[_Line]]]:
    """Yield the sections of Mitchell et al. (2019), section 4, in their order."""
    d = documents
    yield (
        "Model details",
        [
            ("Made by", None, _AUTHOR),
            ("Run", facts.identity(d), _AUTHOR),
            ("Network", facts.network(d), _AUTHOR),
            ("Input", facts.input_(d), _AUTHOR),
            ("Output", facts.output(d), _AUTHOR),
            ("Training", facts.training(d), _AUTHOR),
            ("Weights", facts.weights(d), _AUTHOR),
            ("Licence and contact", None, _AUTHOR),
        ],
    )
    yield (
        "Intended use",
        [
            ("Tells apart", facts.outcome(d), _AUTHOR),
            ("Meant for, and used by whom", None, _AUTHOR),
            ("Not meant for", None, _AUTHOR),
        ],
    )
    yield (
        "Factors",
        [
            ("Groups of people and conditions that matter", None, _AUTHOR),
            ("Figures by group", figures.subgroups(d), _NOT_DONE),
            ("Small changes of the images", figures.robustness(d), _NOT_DONE),
            ("Activation maps", figures.maps(d), _NOT_DONE),
        ],
    )
    yield (
        "Metrics",
        [
            ("Figures and intervals", figures.measures(d), _NOT_DONE),
            ("Compare with", figures.baseline(d), _NOT_DONE),
        ],
    )
    yield (
        "Evaluation data",
        [
            ("Images", facts.test_part(d), _NOT_DONE),
            ("Apart from training", facts.division(d), _AUTHOR),
            ("Looked at", figures.test_evaluations(d), "*not on record*"),
            ("Where they come from", None, _AUTHOR),
        ],
    )
    yield (
        "Training data",
        [
            ("Data", facts.source(d), _AUTHOR),
            ("Images", facts.training_part(d), _AUTHOR),
            ("Left out", facts.left_out(d), _AUTHOR),
            ("Class sizes", facts.weighting(d), _AUTHOR),
            ("Who labelled them, and how", None, _AUTHOR),
        ],
    )
    yield (
        "Quantitative analyses",
        [
            ("Test", figures.tested(d), _NOT_DONE),
            ("Validation (helped to choose)", figures.performance(d, "validation"), _NOT_DONE),
            ("Calibration", figures.calibration(d), _NOT_DONE),
            ("Mistakes", figures.failures(d), _NOT_DONE),
            ("Decision curve", figures.decision_curve(d), _NOT_DONE),
        ],
    )
    yield (
        "Ethical considerations",
        [
            ("Approval and consent", None, _AUTHOR),
            ("Harm that wrong answers can do", None, _AUTHOR),
        ],
    )
    yield (
        "Caveats and recommendations",
        [
            ("Shortcuts and shift", facts.findings(d), _NOT_DONE),
            ("Images unlike these", facts.abstaining(d), _NOT_DONE),
            ("Warnings of the run", facts.warnings(d), _NOT_DONE),
            ("Recommendations", None, _AUTHOR),
        ],
    )


def _table(name: str, items: Sequence[Item]) -> str:
    counts = Counter(item.status for item in items)
    summary = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    rows = "".join(
        f"| {item.section}: {item.item} | {item.topic} | {item.status} | {escape(item.fact)} |\n"
        for item in items
    )
    return (
        f"## {name}\n\n{len(items)} questions, topics in our own words: {summary}.\n\n"
        f"| item | topic | status | fact |\n|---|---|---|---|\n{rows}"
    )
