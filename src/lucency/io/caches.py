"""The cache folder, and what is removed from it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from lucency.io.home import home

_MOST_ENTRIES = 8
_KEPT = 7 * 24 * 3600  # seconds after the last use, in which an entry is never removed


def default_cache() -> Path:
    """Return ``$LUCENCY_CACHE``, else ``lucency`` in ``$XDG_CACHE_HOME`` or in ``~/.cache``.

    Raises:
        RunError: There is no home folder, and none can be made in its place.
    """
    if chosen := os.environ.get("LUCENCY_CACHE"):
        return Path(chosen)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification requires that relative paths are ignored.
    return (base if base.is_absolute() else home() / ".cache") / "lucency"


def prune(base: Path) -> None:
    """Remove folders that were not used for a week, but keep the eight used last.

    Args:
        base: Its folders are entries; those whose name begins with a dot are of an attempt that has
            not ended, and are not among the eight. The time of the last use is that of the folder.
    """
    old = time.time() - _KEPT
    ages = {each: each.stat().st_mtime for each in base.iterdir() if each.is_dir()}
    entries = sorted((x for x in ages if not x.name.startswith(".")), key=ages.__getitem__)
    for each in [*entries[:-_MOST_ENTRIES], *(x for x in ages if x.name.startswith("."))]:
        if ages[each] < old:
            shutil.rmtree(each, ignore_errors=True)
