"""What is sent instead of a prediction, in one form: ``{"error": ..., "code": ...}``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

# Codes with their status and meaning; the documentation lists the same.
CODES: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "the request cannot be understood"),
    "unauthorized": (401, "the token is missing or wrong"),
    "cross_origin": (403, "a page of another origin sent the request"),
    "not_local": (403, "without a token, only this computer may do this"),
    "not_found": (404, "there is nothing at this address"),
    "method_not_allowed": (405, "the address takes another method"),
    "request_timeout": (408, "the request did not arrive in time"),
    "reload_running": (409, "the classifier is being reloaded already"),
    "content_too_large": (413, "the body is larger than the limit"),
    "unknown_host": (421, "the service does not have this host name"),
    "not_an_image": (422, "the file cannot be read as an image"),
    "invalid_classifier": (422, "the new classifier cannot be used; the previous one stays"),
    "busy": (429, "more images are waiting than can be processed in time"),
    "headers_too_large": (431, "request line and headers are longer than the limit"),
    "internal_error": (500, "an error in the service; its log names the place"),
    "not_ready": (503, "the service is starting or shutting down"),
    "decoder_lost": (503, "the decoding process was lost; trying again may help"),
    "too_many_connections": (503, "the limit of connections is reached"),
    "deadline_exceeded": (504, "the deadline passed before the response was ready"),
}
_TEMPORARY = frozenset({"busy", "not_ready", "decoder_lost", "too_many_connections"})


class RequestError(Exception):
    """A request, or one of its images, that gets no prediction.

    Args:
        code: One of ``CODES``.
        message: One line for people; without anything that the client sent.
        wait: Seconds after which it is worth trying again.
    """

    def __init__(self, code: str, message: str, wait: float = 1.0) -> None:
        super().__init__(message)
        self.code = code
        self.status = CODES[code][0]
        self.message = message
        self.wait = wait

    def to_json(self) -> dict[str, str]:
        """Return ``{"error", "code"}``."""
        return {"error": self.message, "code": self.code}

    @property
    def body(self) -> bytes:
        """The body of the response."""
        return json.dumps(self.to_json(), ensure_ascii=False).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the body."""
        found = {"content-type": "application/json", "cache-control": "no-store"}
        if self.code in _TEMPORARY:
            found["retry-after"] = str(max(1, math.ceil(self.wait)))
        if self.code == "unauthorized":
            # Browsers ask for it: any user name, and the token as the password.
            found["www-authenticate"] = 'Basic realm="Lucency", charset="UTF-8"'
        return found
