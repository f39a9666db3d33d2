"""What a run's files say of the classifier, as sheets that readers of studies ask for.

    documents    read the JSON files of a run; a missing one is empty
    facts        one measured fact, one plain sentence; None where it is not known
    figures      the same for what was measured on test and validation images
    question     one question of a checklist
    tripod       what TRIPOD+AI asks
    claim        what CLAIM asks
    reforms      what REFORMS asks
    items        their items: filled, "needs the author" or "not done"
    sheet        ``model_card.md`` and ``checklist.json``

Nothing is computed and nothing is made up: a sentence stands here only if a file says it.
"""

from __future__ import annotations

from lucency.report.model_card.documents import Documents, read_documents
from lucency.report.model_card.items import Item, checklist
from lucency.report.model_card.sheet import model_card, write_card

__all__ = ["Documents", "Item", "checklist", "model_card", "read_documents", "write_card"]
