"""What is answered instead of a prediction, in one form: ``{"error": ..., "code": ...}``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

# Codes and what they mean; the documentation lists the same.
CODES: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "what was sent cannot be understood"),
    "no_token": (401, "the token is missing or wrong"),
    "foreign_origin": (403, "a page of another origin asked"),
    "not_local": (403, "only this computer may ask for it, as there is no token"),
    "not_found": (404, "there is nothing at this address"),
    "wrong_method": (405, "the address takes another method"),
    "too_slow": (408, "the request did not arrive in time"),
    "reload_running": (409, "the classifier is being loaded already"),
    "too_large": (413, "the body is larger than is accepted"),
    "unknown_host": (421, "the service does not go by that name"),
    "not_an_image": (422, "the file cannot be read as an image"),
    "refused_classifier": (422, "the new classifier is refused; the old one goes on"),
    "busy": (429, "more is waiting than can be answered in time"),
    "large_head": (431, "the request line and headers are longer than is accepted"),
    "internal": (500, "a fault in the service; it is in its log"),
    "not_ready": (503, "the service is starting or ending"),
    "decoder_lost": (503, "the process that decodes was lost; once more may help"),
    "too_many_connections": (503, "all connections are taken"),
    "late": (504, "the deadline passed before the answer was there"),
}
_WAIT = frozenset({"busy", "not_ready", "decoder_lost", "too_many_connections"})


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
        """The same as the body of an answer."""
        return json.dumps(self.to_json(), ensure_ascii=False).encode()

    @property
    def headers(self) -> dict[str, str]:
        """Headers that belong to it."""
        found = {"content-type": "application/json", "cache-control": "no-store"}
        if self.code in _WAIT:
            found["retry-after"] = str(max(1, math.ceil(self.wait)))
        if self.code == "no_token":
            # Browsers ask for it: any name, and the token as the password.
            found["www-authenticate"] = 'Basic realm="Lucency", charset="UTF-8"'
        return found
