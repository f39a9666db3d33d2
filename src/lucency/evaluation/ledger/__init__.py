"""The ledger: every evaluation of a test set that was ever made here, one line each.

    images    which images a test set is, whatever their names
    look        the looks at one test set, and what they mean
    book        the file: found, locked, appended to, read

A test set is used up by looking: whoever tries often and keeps what tests best, keeps luck. The
ledger is a file of JSON lines that is only ever appended to. A test set is known by the content and
the classes of its images, so that renaming, moving or copying them hides no look. No file names
and nothing about patients are written.
"""

from __future__ import annotations

from lucency.evaluation.ledger.ledger_file import evaluations_of, ledger_path, record
from lucency.evaluation.ledger.test_evaluations import (
    LedgerEntries,
    LedgerEntry,
    What,
    expected_luck,
)
from lucency.evaluation.ledger.test_set import read_split, test_set_id

__all__ = [
    "LedgerEntries",
    "LedgerEntry",
    "What",
    "evaluations_of",
    "expected_luck",
    "ledger_path",
    "read_split",
    "record",
    "test_set_id",
]
