"""An ONNX file cut up before it is parsed: its numbers on one side, all else on the other.

Parsed objects take a hundred times the bytes of an empty message, so that a small file can take all
memory. What is not a number of an initializer is therefore bounded first, and only that is parsed.
The format is Protocol Buffers' wire format; the field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MOST_BYTES = 2**20  # of all that is not a number; our largest network has some 400,000
_MOST_PARTS = 50_000
_LONG = 1024  # bytes; shorter tensors stay, because shapes are computed from them

_GRAPH, _INITIALIZER, _DIMS, _NAME, _RAW = 7, 5, 1, 8, 9
# ir_version, producer, domain, model_version, doc, graph, opset_import, metadata
_OF_MODEL = {1, 2, 3, 4, 5, 6, _GRAPH, 8, 14}
# node, name, initializer, doc, input, output, value_info, metadata
_OF_GRAPH = {1, 2, _INITIALIZER, 10, 11, 12, 13, 16}
# dims, type, float, int32, int64, name, raw, double, uint64, doc, data_location (which must say
# "here"): no segment, no external data
_OF_TENSOR = {_DIMS, 2, 4, 5, 7, _NAME, _RAW, 10, 11, 12, 14}


class Cut(NamedTuple):
    """An ONNX file without the numbers of long initializers.

    Attributes:
        rest: The file without them, to be parsed.
        raw: By initializer, how many bytes of numbers were cut out.
    """

    rest: bytes
    raw: dict[str, int]


def cut(data: bytes) -> Cut:
    """Cut the numbers out of an ONNX file.

    Raises:
        ValueError: It is no ONNX file, holds what ours never hold (functions, training, sparse or
            quantized tensors, external data), or too much that is not a number.
    """
    view, raw = memoryview(data), dict[str, int]()
    parts: list[bytes] = []
    graphs = 0
    for number, whole, body in _fields(view, _OF_MODEL, "model"):
        if number != _GRAPH:
            parts.append(bytes(whole))
            continue
        graphs += 1
        graph = b"".join(_graph(body, raw))
        parts.append(_message(_GRAPH, graph))
    if graphs != 1:  # several would be merged
        raise ValueError(f"it has {graphs} graphs")
    rest = b"".join(parts)
    _check_rest(len(rest))
    return Cut(rest, raw)


def _graph(body: memoryview, raw: dict[str, int]) -> Iterator[bytes]:
    """Yield the fields of a graph, long initializers without their numbers."""
    size = 0
    for number, whole, inside in _fields(body, _OF_GRAPH, "graph"):
        part = _message(_INITIALIZER, _tensor(inside, raw)) if number == _INITIALIZER else whole
        size += len(part)
        _check_rest(size)
        yield bytes(part)


def _tensor(body: memoryview, raw: dict[str, int]) -> bytes:
    kept, name, numbers = [], "", []
    for number, whole, inside in _fields(body, _OF_TENSOR, "tensor"):
        if number == _NAME:
            name = bytes(inside).decode("utf-8")
        if number == _RAW:
            numbers.append(inside)
        if number != _RAW or len(inside) <= _LONG:
            kept.append(whole)
    if len(numbers) > 1 or name in raw:  # the last one would count, whatever was looked at
        raise ValueError(f"the tensor {name[:80]!r} is there twice")
    raw[name] = len(numbers[0]) if numbers else 0
    return b"".join(kept)


def _check_rest(size: int) -> None:
    if size > MOST_BYTES:
        raise ValueError(f"it holds more than {MOST_BYTES:,} bytes beside the weights")


def _fields(
    data: memoryview, known: set[int], what: str
) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Yield number, whole and content of each field; the content of a number is empty."""
    place, count = 0, 0
    while place < len(data):
        start = place
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        count += 1
        if number not in known or count > _MOST_PARTS:
            raise ValueError(f"a {what} has field {number}, or too many; ours have not")
        inside = place
        if kind == 0:
            _, place = _varint(data, place)
            inside = place
        elif kind == 2:
            length, inside = _varint(data, place)
            place = inside + length
        else:
            place += {1: 8, 5: 4}.get(kind, len(data) + 1)
            inside = place
        if place > len(data):
            raise ValueError(f"a {what} ends early or is no ONNX")
        yield number, data[start:place], data[inside:place]


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("it ends early or is no ONNX")


def _message(number: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + body
