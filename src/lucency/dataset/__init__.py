"""From a folder of labelled images to train, validation and test, honestly divided.

    entry         one image, from scan to split
    walk          list a folder, follow no links
    labels        read a CSV of classes and patients
    scan          find images, their classes and parts
    store         decode once, read by position afterwards
    memory        images that are in memory already
    groups        tell which images show one patient
    candidates    images alike enough to be compared closely
    align         lay one image over another
    copies        images that show the same though their bytes differ
    same          who matches whom, who contradicts whom
    leaks         the check: nothing of test may be elsewhere
    cut           choose patients with every class's share
    split         decide who trains, validates and tests
    spread        a few places that stand for many
    split_file    write split.csv, and take it back
    divide        patients, leaks and cut in order
    remarks       what DICOM files say of themselves
    audit         what was found, used, left out
    load          the way through all of these

A step that learns more of an image returns a copy of its entry.
"""

from __future__ import annotations

from lucency.dataset.audit import Audit
from lucency.dataset.entry import Entry, Excluded
from lucency.dataset.load import Dataset, Split, load_dataset, load_labelled, write_split
from lucency.dataset.sampling import evenly, over_classes

__all__ = [
    "Audit",
    "Dataset",
    "Entry",
    "Excluded",
    "Split",
    "evenly",
    "load_dataset",
    "load_labelled",
    "over_classes",
    "write_split",
]
