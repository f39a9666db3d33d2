"""The chest radiographs that benchmarks use, and any number of distinct copies of them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import ROOT
from benchmarks.results import Skipped

DATA = Path(os.environ.get("LUCENCY_DATA") or ROOT.parent / "shared" / "data")
NATIVE = DATA / "chest_xray_native"  # as the camera saved them, 1.4 megapixels
CHEST_XRAY = DATA / "chest_xray"  # all of them, 224 x 224 pixels
_START, _COMMENT = b"\xff\xd8", b"\xff\xfe"


def images(folder: Path, per_class: int | None = None) -> list[Path]:
    """Return the JPEG files in the class folders of a folder, at most ``per_class`` of each."""
    classes = [sorted(each.glob("*.jpeg")) for each in sorted(folder.glob("*/"))]
    files = [*itertools.chain.from_iterable(each[:per_class] for each in classes)]
    if not files:
        raise Skipped(
            f"no radiographs in {folder}. Set LUCENCY_DATA to a folder that contains "
            "chest_xray_native/<class>/*.jpeg."
        )
    return files


def whole_data_set(*, quick: bool, takes: str) -> Path:
    """Return the folder of all chest radiographs.

    Args:
        quick: Whether the benchmark should be quick, which it cannot be.
        takes: How long it takes, for the message.

    Raises:
        Skipped: ``quick`` is set, or there is no such folder.
    """
    if quick or not CHEST_XRAY.is_dir():
        raise Skipped(f"it needs the whole data set ($LUCENCY_DATA/chest_xray) and {takes}")
    return CHEST_XRAY


def copy_images(files: Sequence[Path], folder: Path, copies: int = 1) -> Path:
    """Write each image ``copies`` times into the folder of its class; return the whole folder.

    All copies have the same pixels, but different bytes and patients: identical files, and files of
    one patient, would end up in the same split.
    """
    for file, copy in itertools.product(files, range(copies)):
        # Two digits in front of the number keep different patients different.
        name = re.sub(r"(person|IM-)(?=\d)", rf"\g<1>{10 + copy}", file.name, count=1)
        text = f"copy {copy}".encode()
        comment = _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
        target = folder / file.parent.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_START + comment + file.read_bytes().removeprefix(_START))
    return folder
