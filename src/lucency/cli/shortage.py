"""One line where the machine lacks memory, threads, open files or disk space.

Most such errors are reported where they arise. This is for the rest: a shortage can strike at any
line, also while a library is being loaded.
"""

from __future__ import annotations

import errno

_REMEDIES = {
    errno.ENOMEM: "There is not enough memory. Free memory, or raise its limit (ulimit -v)",
    errno.EAGAIN: "No more threads or processes can be started. Raise the limit (ulimit -u)",
    errno.EMFILE: "Too many files are open. Raise the limit (ulimit -n)",
    errno.ENFILE: "Too many files are open on this computer. Close other programs",
    errno.ENOSPC: "The disk is full. Free some space, or set TMPDIR to another folder",
    errno.EDQUOT: "The disk quota is used up. Free some space, or set TMPDIR to another folder",
    errno.EFBIG: "A file would be larger than allowed. Raise the limit (ulimit -f)",
    errno.EROFS: "A file system is read-only. Set TMPDIR to a folder that can be written",
}
# What libraries say instead of giving a number.
_TEXTS = {
    "can't start new thread": errno.EAGAIN,
    "failed to map segment": errno.ENOMEM,
    "annot allocate memory": errno.ENOMEM,
    "bad_alloc": errno.ENOMEM,
    "Failed to allocate memory": errno.ENOMEM,
    "No usable temporary directory": errno.ENOSPC,
}


def shortage_of(error: BaseException) -> str:
    """Return what the machine lacked and what to do about it; empty for another kind of error.

    Args:
        error: As raised; of an error that was raised from another, that one counts as well.
    """
    reason: BaseException | None = error
    while reason is not None:
        if number := _number(reason):
            return f"{_REMEDIES[number]} and run again. {_what(reason)}".strip()
        reason = reason.__cause__
    return ""


def _number(error: BaseException) -> int:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return error.errno
    text = str(error)
    return next((number for part, number in _TEXTS.items() if part in text), 0)


def _what(error: BaseException) -> str:
    file = getattr(error, "filename", None)
    return f"Received: {error}" if isinstance(error, OSError) and file else ""
