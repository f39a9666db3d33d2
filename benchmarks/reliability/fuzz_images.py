"""A hundred thousand mutated PNG, JPEG and DICOM files, and as many of the other formats.

Each gives pixels or a reason.

It prints its progress. A file that crashes a decoder, or keeps it busy beyond the deadline, is kept
in the folder and named. It costs one image, and should be reported to the decoder's authors.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from benchmarks.command import resident
from benchmarks.reliability.format_mutations import format_seeds
from benchmarks.reliability.image_mutations import mutated, seeds
from benchmarks.trial import Trial
from lucency.imaging.decoder.pool import Decoded, DecoderPool, Request
from lucency.imaging.headers import MOST_PIXELS

_MANY, _FEW = 100_000, 1_500  # of PNG, JPEG and DICOM, and of all others together
_DEADLINE = 10.0  # seconds; these files have 0.01 megapixels, or up to 50 if the header is wrong
_SIZES = ((24, 20), (64, 64), (7, 90))
_STEPS = 20  # lines of progress
# One mutation in so many must get so far; the pixels of a BMP or PGM file cannot be wrong.
_LEAST = {"decoded": 20, "rejected by the decoder": 2_000}


def trials(folder: Path, quick: bool) -> list[Trial]:
    count, others = _FEW if quick else _MANY, format_seeds()
    found = _fuzzed(folder, "PNG, JPEG and DICOM", seeds(), count)
    for kind, valid in others.items():
        found += _fuzzed(folder, kind, valid, count // len(others))[:1]
    return [*found, _repeated([*seeds(), *chain(*others.values())], count)]


def _fuzzed(folder: Path, kind: str, valid: list[bytes], count: int) -> list[Trial]:
    """Decode mutations of some files; return what became of them, and of the memory."""
    start = time.perf_counter()
    outcomes: Counter[str] = Counter()
    failures, memory = [], []
    with DecoderPool(deadline=_DEADLINE) as pool:
        for number, decoded in enumerate(pool.map(_requests(valid, count))):
            failures += [f"mutation {number}: {what}" for what in _faults(decoded, number)]
            outcome = _outcome(decoded)
            outcomes[outcome] += 1
            if outcome in ("crashed", "took too long"):
                _keep(folder, mutated(valid, number), number, outcome)
            if (number + 1) % (count // _STEPS) == 0:
                memory.append(resident())
                _report(number + 1, count, outcomes, time.perf_counter() - start)
        lost = pool.lost
    seconds = time.perf_counter() - start
    notes = ", ".join(f"{n:,} {outcome}" for outcome, n in outcomes.most_common())
    for outcome in ("decoded", "rejected by the decoder"):
        if outcomes[outcome] < count // _LEAST[outcome]:
            failures.append(f"too few mutations were {outcome}: {outcomes[outcome]:,}")
    return [
        Trial(
            f"mutated {kind} files: pixels of the correct shape, or a reason in one line",
            count,
            failures,
            f"{notes}; {lost} decoders replaced",
            seconds,
        ),
        _flat(memory, count),
    ]


def _requests(valid: list[bytes], count: int) -> Iterator[Request]:
    return (_request(valid, number) for number in range(count))


def _request(valid: list[bytes], number: int) -> Request:
    size = None if number % 10 == 9 else _SIZES[number % len(_SIZES)]
    deep = number % 7 == 3
    data = mutated(valid, number)
    return Request(data, size, number % 2 == 1, depth=12 if deep else 0, deep=deep)


def _faults(decoded: Decoded, number: int) -> list[str]:
    """Return what is wrong with a result, whatever the outcome."""
    faults = []
    if decoded.pixels is not None:
        size = decoded.size if number % 10 == 9 else _SIZES[number % len(_SIZES)]
        if decoded.pixels.shape != (*size, 3 if number % 2 else 1) or decoded.reason:
            faults.append(f"pixels of shape {decoded.pixels.shape} instead of {size}")
    elif not decoded.reason or not decoded.reason.isprintable() or len(decoded.reason) > 1000:
        faults.append(f"no reason in one line: {decoded.reason!r}")
    if decoded.size[0] * decoded.size[1] > MOST_PIXELS:
        faults.append(f"more pixels than allowed: {decoded.size}")
    return faults


def _outcome(decoded: Decoded) -> str:
    if decoded.pixels is not None:
        return "decoded"
    if not decoded.transient:
        return f"rejected by the {'decoder' if decoded.size[0] else 'header'}"
    if "took longer" in decoded.reason:
        return "took too long"
    return "short of memory" if "memory to" in decoded.reason else "crashed"


def _keep(folder: Path, data: bytes, number: int, outcome: str) -> None:
    path = folder / f"{outcome.replace(' ', '-')}-{number}"
    path.write_bytes(data)
    print(f"    {outcome}: mutation {number}, {len(data):,} bytes, kept as {path}", flush=True)


def _report(done: int, count: int, outcomes: Counter[str], seconds: float) -> None:
    figures = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(outcomes.items()))
    print(f"    {done:,} of {count:,} in {seconds:.0f} s: {figures}", flush=True)


def _flat(memory: list[float], count: int) -> Trial:
    """Compare the memory after a quarter with that at the end."""
    quarter = memory[len(memory) // 4]
    grown = max(memory[-3:]) - quarter
    # Images of up to 50 megapixels come and go, if a mutated header says so.
    failures = [f"from {quarter:.0f} to {max(memory[-3:]):.0f} MiB"] if grown > 150 else []
    return Trial("the memory of the main process stays flat", count, failures, f"{grown:+.0f} MiB")


def _repeated(valid: list[bytes], count: int) -> Trial:
    """Decode again in another order, in other processes: the results must be equal."""
    numbers = range(0, count, count // 200)

    def digests(order: list[int]) -> dict[int, bytes]:
        with DecoderPool(2, deadline=_DEADLINE) as pool:
            decoded = pool.map(_request(valid, number) for number in order)
            return {number: _digest(each) for number, each in zip(order, decoded, strict=True)}

    first, second = digests([*numbers]), digests([*reversed(numbers)])
    changed = [number for number in first if first[number] != second[number]]
    failures = [f"mutation {number} had another result" for number in changed]
    return Trial("the same bytes give the same result", len(first), failures)


def _digest(decoded: Decoded) -> bytes:
    pixels = b"" if decoded.pixels is None else decoded.pixels.tobytes()
    return hashlib.sha256(pixels + repr(decoded[1:]).encode()).digest()
