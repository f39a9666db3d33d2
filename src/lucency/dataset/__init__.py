"""From a folder of labelled images to training, validation and test splits without leaks.

    load              the whole algorithm: call the steps below in order
    scan              find the images of a folder, their classes and given splits
    beside            name what is not used, and find images without classes
    walk              list a folder, and recognise images by name or content
    links             follow symbolic links without loops
    frames            frames of a file as images of their own
    layout            which folders are splits and which are classes
    names             recognise the names of split folders in any spelling
    survey            estimate what a data set costs before it is decoded
    source            turn a zip file or an address into a folder
    several           join several folders to one data set
    archive           unpack zip files from untrusted sources
    remote            download from an address
    labels            read a CSV file of classes, patients and splits
    table             read the rows of a CSV file
    columns           recognise the columns of a labels file
    multilabel        several labels for each image: their states, names and strata
    values            read numbers, and cut their axis into bins
    locate            find the image that a row names
    cache             decode every image once, then read pixels by row
    cache_index       the index of the cache: facts of every file as columns
    groups            identify which images show the same patient
    units             identify which images have one answer, such as those of a study
    near_duplicates   find images that show the same although their bytes differ
    descriptors       small descriptors of images, for near_duplicates
    candidates        first stage of near_duplicates: descriptors, all against all
    nearest           the same among more than a million images, by an index
    registration      second stage of near_duplicates: register one image to another
    duplicates        match, join and compare duplicates, exact and near
    partition         check for leaks, then give every image its split
    leaks             the leak check: nothing of test may be in train or validation
    split             split by group, stratified by class
    folds             folds for cross-validation, by patient; folds.csv
    split_file        write and read split.csv
    audit             what was found, used and excluded, and why
    batches           batches of a split to train on and to predict
    sampling          evenly spaced samples
    phantoms          draw a synthetic data set
    entry             the record of one image

A step that adds information returns a copy of the entry.
"""

from __future__ import annotations

from lucency.dataset.audit import Audit
from lucency.dataset.entry import Entry, Excluded, NotUsed
from lucency.dataset.folds import Folds, read_folds, write_folds
from lucency.dataset.load import (
    Dataset,
    Source,
    Split,
    at_size,
    load_dataset,
    load_labelled,
    write_split,
)
from lucency.dataset.sampling import class_balanced, evenly
from lucency.dataset.split_file import read_split

__all__ = [
    "Audit",
    "Dataset",
    "Entry",
    "Excluded",
    "Folds",
    "NotUsed",
    "Source",
    "Split",
    "at_size",
    "class_balanced",
    "evenly",
    "load_dataset",
    "load_labelled",
    "read_folds",
    "read_split",
    "write_folds",
    "write_split",
]
