"""The files in a form (multipart/form-data, RFC 7578) whose body is in memory already.

Names of fields and files are not kept, so that they can be neither logged nor trusted.
"""

from __future__ import annotations

import logging
import math

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header

from lucency.serve.inference.errors import RequestError

_FORM = "multipart/form-data"
_MAX_FIELDS = 16
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it would log what clients send


def is_form(content_type: str) -> bool:
    """Return whether a body of this type is a form with files."""
    return content_type.lstrip().lower().startswith("multipart/")


def files_in(body: bytes, content_type: str, max_files: int) -> list[bytes]:
    """Return the contents of the files in a form, in their order.

    Args:
        body: The body of the request.
        content_type: The header of that name.
        max_files: How many files the form may hold.

    Raises:
        RequestError: The body is not such a form, or holds no file, or too many.
    """
    kind, options = parse_options_header(content_type[:1000])
    boundary = options.get(b"boundary")
    if kind != _FORM.encode() or not boundary:
        raise _malformed(f"expected {_FORM} with a boundary")
    form = _Form(max_files)
    config = {"MAX_MEMORY_FILE_SIZE": math.inf}  # nothing is written to disk
    try:
        parser = FormParser(_FORM, form.add, form.add, form.end, boundary, config=config)
        parser.write(body)
    except FormParserError as error:
        raise _malformed("its parts are not as RFC 7578 describes") from error
    if not form.complete:
        raise _malformed("its end is missing")
    if not form.files:
        raise RequestError("bad_request", f"The form holds no file; expected 1 to {max_files}.")
    return form.files


class _Form:
    """Collects the files of a form as the parser finds them."""

    def __init__(self, max_files: int) -> None:
        self.files: list[bytes] = []
        self.complete = False
        self._fields, self._max_files = 0, max_files

    def add(self, part: File | Field) -> None:
        if isinstance(part, File):
            part.file_object.seek(0)
            self.files.append(part.file_object.read())
        else:
            self._fields += 1
        if len(self.files) > self._max_files or self._fields > _MAX_FIELDS:
            limits = f"At most {self._max_files} files and {_MAX_FIELDS} other fields"
            raise RequestError("content_too_large", f"{limits} may be sent at once.")

    def end(self) -> None:
        self.complete = True


def _malformed(why: str) -> RequestError:
    return RequestError("bad_request", f"The form cannot be read: {why}.")
