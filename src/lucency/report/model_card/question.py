"""One question of a checklist, and facts combined from several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from lucency.report.model_card.documents import Documents

# measured  the run can measure it: "filled", else "not done"
# known     the files of the run contain it: "filled", else "needs the author"
# partial   the files contain a part of it: "needs the author"
# author    no file contains it: "needs the author"
Kind = Literal["measured", "known", "partial", "author"]
Fact = Callable[[Documents], str | None]


class Question(NamedTuple):
    """An item of a checklist, its topic, who can answer it, and the fact that answers it."""

    item: str
    topic: str
    kind: Kind = "author"
    fact: Fact | None = None


def any_of(*facts: Fact) -> Fact:
    """Return a fact that joins those that are known; None if none is."""

    def joined(documents: Documents) -> str | None:
        return "; ".join(fact for each in facts if (fact := each(documents))) or None

    return joined


def all_of(*facts: Fact) -> Fact:
    """Return a fact that joins several; None unless all of them are known."""

    def joined(documents: Documents) -> str | None:
        known = [each(documents) for each in facts]
        return "; ".join(fact for fact in known if fact) if all(known) else None

    return joined
