"""Remove the weights of an ONNX file, and bound the size of the rest, before anything is parsed.

The protobuf library (7.36, upb) has no limit on the number of messages: an 8 MB file of 4,000,000
empty nodes takes 580 MiB when it is parsed. Everything but the weights is therefore bounded here,
by reading the wire format, and only the rest is parsed. The field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_BYTES = 2**20  # of everything but the weights; our largest network has about 400,000
_MAX_FIELDS = 50_000
_LONG = 1024  # bytes; shorter tensors are kept, because shapes are computed from them

_GRAPH, _INITIALIZER, _DIMS, _NAME, _RAW = 7, 5, 1, 8, 9
# ir_version, producer, domain, model_version, doc, graph, opset_import, metadata
_OF_MODEL = {1, 2, 3, 4, 5, 6, _GRAPH, 8, 14}
# node, name, initializer, doc, input, output, value_info, metadata
_OF_GRAPH = {1, 2, _INITIALIZER, 10, 11, 12, 13, 16}
# dims, type, float, int32, int64, name, raw, double, uint64, doc, data_location (which must be
# DEFAULT): no segment, no external data
_OF_TENSOR = {_DIMS, 2, 4, 5, 7, _NAME, _RAW, 10, 11, 12, 14}


class Stripped(NamedTuple):
    """An ONNX file without the data of long initializers.

    Attributes:
        rest: The file without it, small enough to be parsed.
        raw: By initializer, its number of bytes of raw data in the file.
    """

    rest: bytes
    raw: dict[str, int]


def strip_weights(data: bytes) -> Stripped:
    """Remove the data of long initializers from an ONNX file.

    Raises:
        ValueError: It is not an ONNX file, has fields that ours never have (functions, training,
            sparse or quantized tensors, external data), or is too large without the weights.
    """
    view, raw = memoryview(data), dict[str, int]()
    fields: list[bytes] = []
    graphs = 0
    for number, whole, body in _fields(view, _OF_MODEL, "model"):
        if number != _GRAPH:
            fields.append(bytes(whole))
            continue
        graphs += 1
        graph = b"".join(_graph(body, raw))
        fields.append(_message(_GRAPH, graph))
    if graphs != 1:  # a parser would merge several
        raise ValueError(f"it has {graphs} graphs")
    rest = b"".join(fields)
    _check_rest(len(rest))
    return Stripped(rest, raw)


def _graph(body: memoryview, raw: dict[str, int]) -> Iterator[bytes]:
    """Yield the fields of a graph, long initializers without their data."""
    size = 0
    for number, whole, content in _fields(body, _OF_GRAPH, "graph"):
        field = _message(_INITIALIZER, _tensor(content, raw)) if number == _INITIALIZER else whole
        size += len(field)
        _check_rest(size)
        yield bytes(field)


def _tensor(body: memoryview, raw: dict[str, int]) -> bytes:
    kept, name, raw_data = [], "", []
    for number, whole, content in _fields(body, _OF_TENSOR, "tensor"):
        if number == _NAME:
            name = bytes(content).decode("utf-8")
        if number == _RAW:
            raw_data.append(content)
        if number != _RAW or len(content) <= _LONG:
            kept.append(whole)
    if len(raw_data) > 1 or name in raw:  # a parser would use the last, whichever was checked
        raise ValueError(f"the tensor {name[:80]!r} occurs twice")
    raw[name] = len(raw_data[0]) if raw_data else 0
    return b"".join(kept)


def _check_rest(size: int) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes besides the weights")


def _fields(
    data: memoryview, known: set[int], what: str
) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield number, whole and content of each field; the content of a number is empty."""
    position, count = 0, 0
    while position < len(data):
        start = position
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        count += 1
        if number not in known or count > _MAX_FIELDS:
            raise ValueError(f"a {what} has the unknown field {number}, or too many fields")
        content = position
        if kind == 0:
            _, position = _varint(data, position)
            content = position
        elif kind == 2:
            length, content = _varint(data, position)
            position = content + length
        else:
            position += {1: 8, 5: 4}.get(kind, len(data) + 1)
            content = position
        if position > len(data):
            raise ValueError(f"a {what} is truncated, or it is not ONNX")
        yield number, data[start:position], data[content:position]


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("it is truncated or not ONNX")


def _message(number: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + body
