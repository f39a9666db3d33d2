"""Tensors of the Open Inference Protocol: in JSON, or as bytes behind it.

The bytes are the protocol's extension "binary_tensor_data": the body is JSON of the length that a
header states, then the raw bytes of the tensors in their order.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lucency.imaging.decoder.pool import Pixels
from lucency.serve.inference.errors import RequestError

DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
HEAD_LENGTH = "inference-header-content-length"
_MAX_JSON = 8 * 2**20  # bytes; parsed numbers take many times the size of their text
# Counted before parsing, which no other thread can interrupt: 2 million numbers take 0.2 s, and a
# list takes 64 bytes. A tensor of pixels is nested in 8 lists and objects at most.
_MAX_VALUES, _MAX_LISTS, _MAX_DEPTH = 2_000_000, 300_000, 16
_MAX_NAME = 200  # characters
_NESTING = np.zeros(256, np.int8)
_NESTING[[ord("["), ord("{")]], _NESTING[[ord("]"), ord("}")]] = 1, -1


class Tensor(NamedTuple):
    """One tensor of a request.

    Attributes:
        name: As sent.
        datatype: As sent.
        shape: Integers from 0.
        data: Values from the JSON, or the bytes behind it.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any


class Request(NamedTuple):
    """An inference request.

    Attributes:
        id: Returned with the response; ``None`` if there was none.
        inputs: The tensors.
        outputs: Names of the requested outputs, and whether as bytes; all outputs if empty.
        binary: Whether outputs that are not named are returned as bytes.
    """

    id: str | None
    inputs: tuple[Tensor, ...]
    outputs: dict[str, bool]
    binary: bool


def read_request(body: bytes, head_length: str | None) -> Request:
    """Parse a request.

    Raises:
        RequestError: The body is not an inference request.
    """
    length = len(body)
    if head_length is not None:
        if not (head_length.isascii() and head_length.isdigit() and len(head_length) < 12):
            raise _bad("Inference-Header-Content-Length is not a number")
        length = int(head_length)
    if length > len(body) or length > _MAX_JSON:
        raise _bad(f"its JSON may have up to {_MAX_JSON:,} bytes, all of them in the body")
    _check_structure(body[:length])
    try:
        document = json.loads(body[:length], parse_constant=_reject_constant)
        return _request(document, memoryview(body)[length:])
    except RequestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _bad("it is not the JSON of an inference request") from error


def _check_structure(text: bytes) -> None:
    """Reject what would take long to parse, by counting signs; those inside strings count too."""
    if text.count(b",") > _MAX_VALUES:
        raise _bad(f"its JSON may have up to {_MAX_VALUES:,} values; send tensors as bytes")
    opened = text.count(b"[") + text.count(b"{")
    if opened > _MAX_LISTS:
        raise _bad(f"its JSON may have up to {_MAX_LISTS:,} lists; send tensors flat, or as bytes")
    nesting = _NESTING[np.frombuffer(text, np.uint8)]
    if np.cumsum(nesting[nesting != 0], dtype=np.int64).max(initial=0) > _MAX_DEPTH:
        raise _bad(f"its JSON may be nested {_MAX_DEPTH} deep")


def _request(document: Any, raw: memoryview) -> Request:
    inputs, place = [], 0
    for each in document["inputs"]:
        shape = each["shape"]
        if not all(type(side) is int and 0 <= side < 2**31 for side in shape) or len(shape) > 8:
            raise _bad("a shape may hold only integers from 0")
        size = each.get("parameters", {}).get("binary_data_size")
        data = each.get("data") if size is None else bytes(raw[place : place + _size(size)])
        place += 0 if size is None else _size(size)
        inputs.append(Tensor(_text(each["name"]), _text(each["datatype"]), tuple(shape), data))
    if place != len(raw):
        raise _bad("the bytes behind the JSON are not as many as it states")
    parameters = document.get("parameters", {})
    binary = bool(parameters.get("binary_data_output", False))
    outputs = {
        _text(each["name"]): bool(each.get("parameters", {}).get("binary_data", binary))
        for each in document.get("outputs", [])
    }
    given = document.get("id")
    return Request(None if given is None else _text(given), tuple(inputs), outputs, binary)


def pixels_of(tensor: Tensor, shape: tuple[int, int, int], dtype: str, most: int) -> Pixels:
    """Return a tensor of pixels as an array.

    Args:
        tensor: Of the datatype of ``dtype``.
        shape: Height, width and channels.
        dtype: ``uint8``, or ``float32`` for a classifier of images of more than 8 bits.
        most: The limit of images.

    Raises:
        RequestError: It has another type or shape, or values that are not numbers from 0 to 255,
            for ``uint8`` integers.
    """
    datatype = DATATYPES[dtype]
    if tensor.datatype != datatype or tensor.shape[1:] != shape:
        raise _bad(f"pixels must be {datatype} of shape [n, {', '.join(map(str, shape))}]")
    if not 1 <= tensor.shape[0] <= most:
        raise _bad(f"1 to {most} images may be sent at once")
    if isinstance(tensor.data, bytes):
        wide = np.frombuffer(tensor.data, "<f4" if dtype == "float32" else dtype)
    else:
        wide = np.asarray(tensor.data)  # ValueError where rows differ in length
    kinds = "if" if dtype == "float32" else "iu"
    # A comparison with NaN is false.
    if wide.dtype.kind not in kinds or not ((wide >= 0) & (wide <= 255)).all():
        raise _bad(f"pixels must be {'numbers' if 'f' in kinds else 'integers'} from 0 to 255")
    found = wide.astype(dtype, copy=False)
    if found.size != math.prod(tensor.shape):
        raise _bad("the number of pixels is not that of the shape")
    return found.reshape(tensor.shape)


def files_of(tensor: Tensor, most: int) -> list[bytes]:
    """Return the files in a tensor, which are in base64 if they are in JSON.

    Raises:
        RequestError: The tensor has another type or shape, or its files cannot be decoded.
    """
    if tensor.datatype != "BYTES" or len(tensor.shape) != 1:
        raise _bad("images must be BYTES of shape [n]")
    if not 1 <= tensor.shape[0] <= most:
        raise _bad(f"1 to {most} images may be sent at once")
    if isinstance(tensor.data, bytes):
        files = _split(tensor.data, tensor.shape[0])
    else:
        try:
            files = [base64.b64decode(each, validate=True) for each in tensor.data]
        except (binascii.Error, TypeError, ValueError) as error:
            raise _bad("images in JSON must be in base64") from error
    if len(files) != tensor.shape[0]:
        raise _bad("the number of images is not that of the shape")
    return files


def response(
    document: dict[str, Any], outputs: Sequence[tuple[str, Any, bool]]
) -> tuple[bytes, dict[str, str]]:
    """Return the body of a response and its headers.

    Args:
        document: All but the outputs.
        outputs: Name, values (float32, or a list of strings), and whether as bytes.
    """
    listed: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, values, binary in outputs:
        text = isinstance(values, list)
        shape = [len(values)] if text else [*values.shape]
        found: dict[str, Any] = {"name": name, "shape": shape}
        found["datatype"] = "BYTES" if text else "FP32"
        if binary:
            data = b"".join(map(_with_length, values)) if text else values.astype("<f4").tobytes()
            raw.append(data)
            listed.append(found | {"parameters": {"binary_data_size": len(data)}})
        else:
            flat = values if text else [float(str(x)) for x in values.ravel()]
            listed.append(found | {"data": flat})
    head = json.dumps(document | {"outputs": listed}, ensure_ascii=False, allow_nan=False).encode()
    if not raw:
        return head, {"content-type": "application/json"}
    kind = {"content-type": "application/octet-stream", HEAD_LENGTH: str(len(head))}
    return head + b"".join(raw), kind


def _with_length(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _split(data: bytes, count: int) -> list[bytes]:
    """Split concatenated byte strings, each with its length in front; stop where there are more."""
    files: list[bytes] = []
    place = 0
    while place < len(data) and len(files) <= count:
        if place + 4 > len(data):
            raise _bad("an image is truncated")
        (length,) = struct.unpack_from("<I", data, place)
        files.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    if place > len(data):
        raise _bad("an image is truncated")
    return files


def _text(value: Any) -> str:
    """Return a name or an id that can be sent back: no halves of characters, none unprintable."""
    if not isinstance(value, str) or len(value) > _MAX_NAME or not value.isprintable():
        raise _bad(f"ids and names must be printable strings of up to {_MAX_NAME} characters")
    return value


def _size(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise _bad("binary_data_size must be an integer from 0")
    return value


def _reject_constant(text: str) -> float:
    raise ValueError(text)


def _bad(why: str) -> RequestError:
    return RequestError("bad_request", f"The request cannot be understood: {why}.")
