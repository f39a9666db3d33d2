"""One question of a checklist, and facts made of several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from lucency.report.model_card.documents import Documents

# measured  a run can measure it: filled, or else not done
# known     files can tell it: filled, or else the author must
# begun     files tell a part of it, the author the rest
# author    no file can tell it
Kind = Literal["measured", "known", "begun", "author"]
Fact = Callable[[Documents], str | None]


class Question(NamedTuple):
    """What a checklist asks, who can answer it, and the fact that does."""

    item: str
    topic: str
    kind: Kind = "author"
    fact: Fact | None = None


def any_of(*splits: Fact) -> Fact:
    """Return a fact made of those parts that are known; None if none is."""

    def joined(documents: Documents) -> str | None:
        return "; ".join(fact for part in splits if (fact := part(documents))) or None

    return joined


def all_of(*splits: Fact) -> Fact:
    """Return a fact made of several; None unless all of them are known."""

    def joined(documents: Documents) -> str | None:
        known = [part(documents) for part in splits]
        return "; ".join(fact for fact in known if fact) if all(known) else None

    return joined
