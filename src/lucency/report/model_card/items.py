"""Reporting checklists: each item filled from a run's files, or openly left to somebody."""

from __future__ import annotations

from typing import Literal, NamedTuple

from lucency.report.model_card.claim import CLAIM
from lucency.report.model_card.documents import Documents
from lucency.report.model_card.question import Question
from lucency.report.model_card.reforms import REFORMS
from lucency.report.model_card.tripod import TRIPOD

Status = Literal["filled", "needs the author", "not done"]

_LISTS = {"TRIPOD+AI": TRIPOD, "CLAIM 2024": CLAIM, "REFORMS": REFORMS}


class Item(NamedTuple):
    """One item of a checklist; the fact is plain text, "" where there is none.

    An item that needs the author may have a fact to begin with.
    """

    list: str
    section: str
    item: str
    topic: str
    status: Status
    fact: str


def checklist(documents: Documents) -> list[Item]:
    """Return all items of TRIPOD+AI, CLAIM and REFORMS, in their order.

    Args:
        documents: The files of a run; with a file missing its items are not filled.

    Returns:
        Items, "filled" only where a file of the run states the fact, "not done" where the run
        could have measured it and did not.
    """
    return [
        _answered(name, section, question, documents)
        for name, sections in _LISTS.items()
        for section, questions in sections.items()
        for question in questions
    ]


def _answered(name: str, section: str, question: Question, documents: Documents) -> Item:
    fact = question.fact(documents) if question.fact else None
    status: Status = "needs the author"
    if fact and question.kind in ("measured", "known"):
        status = "filled"
    elif question.kind == "measured":
        status = "not done"
    return Item(name, section, question.item, question.topic, status, fact or "")
