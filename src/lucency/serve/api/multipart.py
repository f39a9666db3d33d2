"""The files in a form (multipart/form-data, RFC 7578), whose body is in memory already.

Names of fields and files are not looked at, so that they can be neither logged nor believed.
"""

from __future__ import annotations

import re

from lucency.serve.inference.errors import RequestError

_BOUNDARY = re.compile(r'(?i)^\s*multipart/form-data\s*;(?:.*;)?\s*boundary=("?)([^";\s]{1,70})\1')
_FILE = re.compile(rb"(?i)(?:^|\r\n)content-disposition:[^\r\n]*;\s*filename\*?\s*=")
_MOST_FIELDS = 16
_LONGEST_HEAD = 8 * 2**10  # bytes of the headers of one part


def is_form(content_type: str) -> bool:
    """Tell whether a body of this type is a form with files."""
    return content_type.lstrip().lower().startswith("multipart/")


def files_in(body: bytes, content_type: str, most: int) -> list[bytes]:
    """Return the contents of the files in a form, in their order.

    Args:
        body: The body of the request.
        content_type: The header of that name.
        most: How many files may be in it.

    Raises:
        Refused: It is no such form, or holds no file, or too many.
    """
    found = _BOUNDARY.match(content_type[:1000])
    if not found:
        raise _malformed("multipart/form-data with a boundary of up to 70 characters was expected")
    delimiter = b"\r\n--" + found[2].encode("latin-1", "replace")
    # One more than can be accepted: the rest need not be cut up.
    parts = (b"\r\n" + body).split(delimiter, most + _MOST_FIELDS + 2)[1:]
    files: list[bytes] = []
    fields = 0
    for part in parts:
        if part.startswith(b"--"):
            return _counted(files, most)
        head, content = _cut(part)
        if _FILE.search(head):
            files.append(content)
        else:
            fields += 1
        if len(files) > most or fields > _MOST_FIELDS:
            raise RequestError("too_large", f"At most {most} files may be sent at once.")
    raise _malformed("it has no end")


def _cut(part: bytes) -> tuple[bytes, bytes]:
    """Return headers and content of what follows a delimiter."""
    end = part.find(b"\r\n\r\n", 0, _LONGEST_HEAD)
    if end < 0 or part[: part.find(b"\r\n")].strip(b" \t"):
        raise _malformed("a part has no headers")
    return part[:end], part[end + 4 :]


def _counted(files: list[bytes], most: int) -> list[bytes]:
    if not files:
        raise RequestError("bad_request", f"The form holds no file; 1 to {most} were expected.")
    return files


def _malformed(why: str) -> RequestError:
    return RequestError("bad_request", f"The form cannot be read: {why}.")
