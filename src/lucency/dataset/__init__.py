"""From a folder of labelled pictures to train, validation and test, honestly divided.

scan -> decode -> groups (patients) -> leaks -> split -> audit
"""

from __future__ import annotations

from lucency.dataset.audit import Audit
from lucency.dataset.entry import Entry, Excluded
from lucency.dataset.load import Dataset, Split, load_dataset, load_labelled, write_split

__all__ = [
    "Audit",
    "Dataset",
    "Entry",
    "Excluded",
    "Split",
    "load_dataset",
    "load_labelled",
    "write_split",
]
