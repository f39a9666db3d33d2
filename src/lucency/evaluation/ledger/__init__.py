"""The ledger: a log of all test-set evaluations on this computer, one line each.

    test_set            identity of a test set, from the content of its images
    test_evaluations    the evaluations of one test set, and how much their best may owe to chance
    ledger_file         the file: path, lock, append, read

The more classifiers are evaluated on one test set, the more the best result owes to chance. The
ledger is a file of JSON lines, and lines are only appended. A test set is identified by the content
and the classes of its images, so renaming, moving or copying them hides no evaluation. The ledger
holds no file names and nothing about patients.
"""

from __future__ import annotations

from lucency.evaluation.ledger.ledger_file import evaluations_of, ledger_path, record
from lucency.evaluation.ledger.test_evaluations import (
    LedgerEntries,
    LedgerEntry,
    What,
    expected_chance_gain,
)
from lucency.evaluation.ledger.test_set import test_set_id

__all__ = [
    "LedgerEntries",
    "LedgerEntry",
    "What",
    "evaluations_of",
    "expected_chance_gain",
    "ledger_path",
    "record",
    "test_set_id",
]
