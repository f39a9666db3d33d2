"""Reporting checklists: each item filled from the files of a run, or left to the author."""

from __future__ import annotations

from typing import Literal, NamedTuple

from lucency.report.model_card.claim import CLAIM
from lucency.report.model_card.documents import Documents
from lucency.report.model_card.question import Question
from lucency.report.model_card.reforms import REFORMS
from lucency.report.model_card.tripod import TRIPOD

Status = Literal["filled", "needs the author", "not done"]

_LISTS = {"TRIPOD+AI": TRIPOD, "CLAIM 2024": CLAIM}


class Item(NamedTuple):
    """One item of a checklist; the fact is plain text, "" where there is none.

    An item that needs the author may have a fact to start from.
    """

    list: str
    section: str
    item: str
    topic: str
    status: Status
    fact: str


def checklist(documents: Documents, reforms: bool = False) -> list[Item]:
    """Return all items of TRIPOD+AI and CLAIM, in their order.

    Args:
        documents: The files of a run; items that need a missing file are not filled.
        reforms: Whether to add REFORMS, the checklist for machine learning in any science.

    Returns:
        Items, "filled" only where a file of the run contains the fact, "not done" where the run
        could have measured it and did not.
    """
    lists = _LISTS | ({"REFORMS": REFORMS} if reforms else {})
    return [
        _item(name, section, question, documents)
        for name, sections in lists.items()
        for section, questions in sections.items()
        for question in questions
    ]


def _item(name: str, section: str, question: Question, documents: Documents) -> Item:
    fact = question.fact(documents) if question.fact else None
    status: Status = "needs the author"
    if fact and question.kind in ("measured", "known"):
        status = "filled"
    elif question.kind == "measured":
        status = "not done"
    return Item(name, section, question.item, question.topic, status, fact or "")
