"""Write ``model_card.md`` (Mitchell et al. 2019) and ``checklist.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from lucency.io import write_text
from lucency.report.model_card import facts, figures
from lucency.report.model_card.checklists import Item, checklist
from lucency.report.model_card.documents import Documents, at, escape, read_documents
from lucency.run_folder.files import CHECKLIST, MODEL_CARD

_AUTHOR = "*needs the author*"
_NOT_DONE = "*not done*"

# A label, the fact, and the text in its place if it is unknown.
_Line = tuple[str, str | None, str]


def write_model_card(run: Path) -> None:
    """Write ``model_card.md`` and ``checklist.json`` into a run folder, from its other files.

    REFORMS is one of the checklists where ``plan.json`` has the setting ``reforms``.

    Args:
        run: The folder.

    Raises:
        RunError: It is no run folder, a file is damaged, or it cannot be written to.
    """
    documents = read_documents(run)
    items = checklist(documents, reforms=at(documents.plan, "config", "reforms") is True)
    write_text(run / MODEL_CARD, model_card(documents, items))
    CHECKLIST.write(run, {"items": [item._asdict() for item in items]})


def model_card(documents: Documents, items: Sequence[Item]) -> str:
    """Return the model card with the checklists at its end, as Markdown.

    Args:
        documents: The files of a run.
        items: Its checklists.

    Returns:
        Text in which all text from the data is escaped.
    """
    sections = [_HEAD]
    for title, lines in _sections(documents):
        sections.append(f"## {title}\n\n" + "".join(map(_written, lines)))
    names = dict.fromkeys(item.list for item in items)
    tables = (_table(name, [item for item in items if item.list == name]) for name in names)
    return "\n".join([*sections, *tables])


_HEAD = f"""\
# Model card

After Mitchell and others, *Model Cards for Model Reporting* (2019). Everything below comes from the
files of the run. What no file contains is marked {_AUTHOR}; what could have been measured but was
not is marked {_NOT_DONE}.

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
            ("Developer", None, _AUTHOR),
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
            ("Classes", facts.outcome(d), _AUTHOR),
            ("Intended uses and users", None, _AUTHOR),
            ("Uses out of scope", None, _AUTHOR),
        ],
    )
    yield (
        "Factors",
        [
            ("Relevant groups and conditions", None, _AUTHOR),
            ("Figures by group", figures.subgroups(d), _NOT_DONE),
            ("Robustness to corruptions", figures.robustness(d), _NOT_DONE),
            ("Activation maps", figures.maps(d), _NOT_DONE),
        ],
    )
    yield (
        "Metrics",
        [
            ("Figures and intervals", figures.measures(d), _NOT_DONE),
            ("Baseline", figures.baseline(d), _NOT_DONE),
        ],
    )
    yield (
        "Evaluation data",
        [
            ("Images", facts.test_split(d), _NOT_DONE),
            ("Separation from training", facts.partition(d), _AUTHOR),
            ("Evaluations", figures.test_evaluations(d), "*not on record*"),
            ("Origin", None, _AUTHOR),
        ],
    )
    yield (
        "Training data",
        [
            ("Data", facts.source(d), _AUTHOR),
            ("Images", facts.training_splits(d), _AUTHOR),
            ("Excluded", facts.excluded(d), _AUTHOR),
            ("Class weights", facts.weighting(d), _AUTHOR),
            ("Labels: by whom, and how", None, _AUTHOR),
        ],
    )
    yield (
        "Quantitative analyses",
        [
            ("Test", figures.tested(d), _NOT_DONE),
            (*figures.selection(d), _NOT_DONE),
            ("Calibration", figures.calibration(d), _NOT_DONE),
            ("Mistakes", figures.mistakes(d), _NOT_DONE),
            ("Decision curve", figures.decision_curve(d), _NOT_DONE),
        ],
    )
    yield (
        "Ethical considerations",
        [
            ("Approval and consent", None, _AUTHOR),
            ("Possible harm of wrong predictions", None, _AUTHOR),
        ],
    )
    yield (
        "Caveats and recommendations",
        [
            ("Shortcuts and shift", facts.findings(d), _NOT_DONE),
            ("Out-of-distribution images", facts.abstention(d), _NOT_DONE),
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
        f"## {name}\n\n{len(items)} items, topics in our own words: {summary}.\n\n"
        f"| item | topic | status | fact |\n|---|---|---|---|\n{rows}"
    )
