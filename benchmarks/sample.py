"""The images that are measured on, and as many different copies of them as wanted."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Skipped

_START, _COMMENT = b"\xff\xd8", b"\xff\xfe"


def images(folder: Path, per_class: int | None = None) -> list[Path]:
    """Return the JPEG files in the class folders of a folder, at most ``per_class`` of each."""
    classes = [sorted(each.glob("*.jpeg")) for each in sorted(folder.glob("*/"))]
    files = [*itertools.chain.from_iterable(each[:per_class] for each in classes)]
    if not files:
        raise Skipped(
            f"no radiographs in {folder}. Set LUCENCY_DATA to a folder that holds "
            "chest_xray_native/<class>/*.jpeg."
        )
    return files


def copy_images(files: Sequence[Path], folder: Path, copies: int = 1) -> Path:
    """Write each image ``copies`` times under its class; return the folder.

    Pixels are the same in every copy; bytes and patients are not, as identical files and files of
    one patient are treated as one by whoever divides the data.
    """
    for file, copy in itertools.product(files, range(copies)):
        # Two digits in front of the number keep the numbers of different patients different.
        name = re.sub(r"(person|IM-)(?=\d)", rf"\g<1>{10 + copy}", file.name, count=1)
        text = f"copy {copy}".encode()
        comment = _COMMENT + (len(text) + 2).to_bytes(2, "big") + text
        target = folder / file.parent.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_START + comment + file.read_bytes().removeprefix(_START))
    return folder
