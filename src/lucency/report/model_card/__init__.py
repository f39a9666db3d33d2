"""The model card and the reporting checklists of a run.

    documents     read the JSON files of a run; a missing file is empty
    facts         facts about the run and its data, one sentence each; None if unknown
    figures       the same for measurements on test and validation images
    question      one question of a checklist
    tripod        the questions of TRIPOD+AI
    claim         the questions of CLAIM
    reforms       the questions of REFORMS
    checklists    their items: filled, "needs the author" or "not done"
    markdown      write ``model_card.md`` and ``checklist.json``

Nothing is computed here: every sentence comes from a file of the run.
"""

from __future__ import annotations

from lucency.report.model_card.checklists import Item, checklist
from lucency.report.model_card.documents import Documents, read_documents
from lucency.report.model_card.markdown import model_card, write_model_card

__all__ = ["Documents", "Item", "checklist", "model_card", "read_documents", "write_model_card"]
