"""Recognise the names of split folders in any spelling: seg_train, TestImages, hold-out set 1."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import NamedTuple

_KINDS = {
    "train": ("train", "training", "trains", "trn"),
    "val": ("val", "vals", "valid", "validation", "validate", "validating", "dev", "devel",
        "development"),
    "test": ("test", "testing", "tests", "tst"),
    "eval": ("eval", "evals", "evaluation", "evaluate", "evaluating", "holdout", "heldout"),
    "pred": ("pred", "preds", "predict", "prediction", "predictions", "predicting", "inference",
        "unlabeled", "unlabelled", "submission"),
}  # fmt: skip
# Too short to be recognised inside a word.
_WHOLE = {"tr": "train", "ts": "test", "te": "test", "vl": "val"}
# Numbered, these are the parts of a data set: fold1, part_b, images_001.
_PARTS = ("fold", "kfold", "part", "portion", "split", "set", "subset", "batch", "chunk", "shard",
    "partition", "data", "dataset", "image", "img")  # fmt: skip
_NEUTRAL = ("and", "folder", "dir", "directory", "seg", "segmentation", "cls", "classification",
    "picture", "pic", "photo", "file", "sample", "frame", "raw", "final", "new", "all", "full",
    "original", "orig", "resized", "cropped", "cleaned", "clean", "processed", "preprocessed",
    "org", "the", "for", "copy", "extracted", "unzipped", "version", "small", "large", "mini",
    "jpg", "jpeg", "png", "rgb", "gray", "grey", "input", "labeled", "labelled", "kaggle",
)  # fmt: skip
_SHORT = ("my", "of", "to", "on", "ii", "iii", "iv")
_MEANING: dict[str, str] = {
    **{word: kind for kind, words in _KINDS.items() for word in words},
    **{word + plural: "part" for word in _PARTS for plural in ("", "s")},
    **{word + plural: "" for word in _NEUTRAL for plural in ("", "s")},
}
_ALONE: dict[str, str] = {**_MEANING, **_WHOLE, **dict.fromkeys(_SHORT, "")}
_HOLD_OUT = re.compile(r"(?<![a-z])(hold|held)[\W_]*out(?![a-z])", re.IGNORECASE)
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class Name(NamedTuple):
    """What the name of a folder says.

    Attributes:
        kind: ``train``, ``val``, ``test``, ``eval`` (validation or test), ``pred`` (images to be
            predicted), or empty.
        rest: Its words that say nothing of a split, in lower case.
        part: Whether it names a part of a data set without saying which, as ``fold 1`` does.
    """

    kind: str
    rest: tuple[str, ...]
    part: bool


def parse(name: str) -> Name:
    """Return what the name of a folder says.

    Words are separated by any sign, a digit or a capital letter, or not at all if all of them are
    known: ``test_set``, ``Train-Data``, ``TestImages``, ``valset2``.
    """
    meanings: set[str] = set()
    rest: list[str] = []
    for word in _words(name):
        if len(word) == 1:
            continue
        if word in _ALONE:
            meanings.add(_ALONE[word])
        else:
            rest.append(word)
    kind = _kind(meanings - {"part", ""})
    part = "part" in meanings and not meanings - {"part", ""} and not rest
    return Name(kind, tuple(rest), part)


def _words(name: str) -> Iterable[str]:
    name = _HOLD_OUT.sub(" holdout ", name)
    for run in re.findall(r"[^\W\d_]+", name):
        if whole := _known_words(run.lower()):
            yield from whole
            continue
        for piece in _CAMEL.findall(run) if run.isascii() else (run,):
            yield from _known_words(piece.lower()) or (piece.lower(),)


@functools.lru_cache(4096)
def _known_words(run: str) -> tuple[str, ...]:
    """Return the known words that a run of letters consists of; none if it does not."""
    if run in _ALONE:
        return (run,)
    # Real names are short; the limit bounds the search in names made to be slow.
    for end in range(len(run) - 3, 2, -1) if len(run) <= 64 else ():
        if run[:end] in _MEANING and (others := _known_words(run[end:])):
            return (run[:end], *others)
    return ()


def _kind(kinds: set[str]) -> str:
    """Return one kind for all words of a name; empty where they contradict each other."""
    if "pred" in kinds:
        return "pred"
    if "train" in kinds:
        return "train" if kinds <= {"train", "val"} else ""
    if len(kinds) > 1:  # test-dev
        return (
            "test" if kinds == {"test", "eval"} else "val" if kinds == {"val", "eval"} else "eval"
        )
    return next(iter(kinds), "")
