"""Addresses of files on the web and on object storage, through fsspec (extra ``remote``).

``fsspec`` is only imported here, for an address.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lucency.errors import BackendError, DataError, LucencyError, RunError

_SCHEMES = frozenset(("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"))
_WORD = re.compile(r"\w{1,60}")  # of an error, as a service names it
# An address as an argument, also after it was taken for a path: "s3:/bucket/key".
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.+)")


def address_of(folder: str | Path) -> str:
    """Return the address that an argument stands for; empty for a path."""
    found = _ADDRESS.fullmatch(str(folder))
    return f"{found[1].lower()}://{found[2]}" if found else ""


def redacted(text: str) -> str:
    """Return an argument without what may be secret in an address: password, query and fragment.

    The address may follow an option, as in ``--run=ADDRESS``. Anything else stays as it is.
    """
    option, equals, value = text.partition("=") if text.startswith("-") else ("", "", text)
    if not (address := address_of(value)):
        return text
    parts = urlsplit(address)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return f"{option}{equals}{shown}"


def file_system(address: str, **options: Any) -> Any:
    """Return the ``fsspec`` file system of an address.

    Args:
        address: With its scheme.
        options: For the file system.

    Raises:
        DataError: Its scheme is not known.
        ImportError: A library is missing.
    """
    scheme = address.partition(":")[0]
    if scheme not in _SCHEMES or "::" in address:
        raise DataError(
            f"{redacted(address)}: expected a folder, a zip file, or an address that begins with "
            "https://, s3:// or gs://. Check the spelling, or download the data yourself."
        )
    import fsspec

    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        # Without these, fsspec ends a download after five minutes and ignores HTTPS_PROXY.
        timeout = ClientTimeout(total=None, sock_connect=30, sock_read=60)
        options["client_kwargs"] = {"timeout": timeout, "trust_env": True}
    return fsspec.filesystem(scheme, **options)


@contextlib.contextmanager
def explained(
    shown: str, missing: str, failed: str, kind: type[LucencyError] = DataError
) -> Iterator[None]:
    """Turn whatever a service raises into one line, without what may be secret.

    Args:
        shown: The address, redacted.
        missing: What to say where there is nothing.
        failed: What failed otherwise, before and after the reason in braces.
        kind: The error to raise in both cases.

    Raises:
        BackendError: A library is missing.
        RunError: The disk is full.
        LucencyError: Of that kind; or as it was raised inside.
    """
    try:
        yield
    except LucencyError:
        raise
    except ImportError as error:
        raise BackendError(
            f"{shown}: an address needs a library that is missing ({error.name or error}). "
            'Install it: pip install "lucency[remote]"'
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"{shown}: the disk is full. Free some space, or choose another folder with "
                "--cache DIR or LUCENCY_CACHE, and run again to resume."
            ) from error
        if is_missing(error):
            raise kind(f"{shown}: {missing}") from error
        raise kind(f"{shown}: {failed.format(_reason(error.__cause__ or error))}") from error


def is_missing(error: Exception) -> bool:
    """Tell whether an error of ``fsspec`` says that there is no such file or bucket.

    Over HTTP it is a ``FileNotFoundError`` whatever the reason, and only its cause tells.
    """
    cause = error.__cause__ or error
    return isinstance(cause, FileNotFoundError) or _status(cause) == 404


def _reason(error: BaseException) -> str:
    """Return the kind of an error and its codes; its text may repeat the whole address."""
    found = (type(error).__name__, _status(error), _response(error).get("Error", {}).get("Code"))
    words = [str(word) for word in found if word is not None]
    return " ".join(dict.fromkeys(word for word in words if _WORD.fullmatch(word)))


def _status(error: BaseException) -> int | None:
    """Return the status code of HTTP that is in an error of aiohttp, botocore or gcsfs."""
    found = getattr(error, "status", None)
    if found is None:
        found = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    if found is None and type(error).__module__.startswith("gcsfs"):
        found = getattr(error, "code", None)
    return found if isinstance(found, int) else None


def _response(error: BaseException) -> dict[str, Any]:
    found = getattr(error, "response", None)
    return found if isinstance(found, dict) else {}
