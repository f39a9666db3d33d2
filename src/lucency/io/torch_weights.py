"""Named arrays in weight files of PyTorch, read without running anything that they contain.

Such a file is a row of pickles: a magic number, a format version, the sizes of C types, the named
tensors, the keys of their storages; then the storages, each with its length. Loading a pickle can
run any code. Here an interpreter of our own knows 30 of its 68 opcodes and four names, builds only
numbers, text, tuples, lists and dictionaries, and imports and calls nothing.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle, then the version
_VERSION = 1001
_MOST_OPCODES = 1_000_000  # 300 tensors have some 11,000
_MOST_ARRAYS = 20_000
_MOST_AXES = 8
_LARGEST = 2**40  # of a side, a stride, an offset and a length, in elements
_LONGEST_TEXT = 256
_STORAGES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_DICTIONARY, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"


@dataclass(frozen=True)
class _Name:
    """A name that a pickle asks for; it stands for itself and is never looked up."""

    text: str


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str
    size: int  # elements


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int  # of the first element
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def torch_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dict that ``torch.save`` wrote before version 1.6, by name.

    Args:
        data: The file.

    Returns:
        C-contiguous copies in the order of the file: float32 with finite values, and int64.

    Raises:
        ValueError: It is no such file, is damaged, has an object of another kind, or has tensors
            that take more memory than the file.
    """
    file = io.BytesIO(data)
    _check_start(file)
    tensors = _tensors(_unpickled(file))
    storages = _storages(file, data, tensors)
    if sum(_bytes_of(tensor) for tensor in tensors.values()) > len(data):
        raise ValueError("its tensors take more memory than the file")
    return {name: _array(name, t, storages[t.storage.key]) for name, t in tensors.items()}


def _check_start(file: BinaryIO) -> None:
    """Read the three pickles before the tensors."""
    if not _is(_unpickled(file), _MAGIC) or not _is(_unpickled(file), _VERSION):
        raise ValueError("it does not begin like a weight file of PyTorch before 1.6")
    sizes = _unpickled(file)
    if type(sizes) is not dict or sizes.get("little_endian") is not True:
        raise ValueError("its numbers are not stored little-endian")


def _is(value: Any, number: int) -> bool:
    return type(value) is int and value == number


def _tensors(state: Any) -> dict[str, _Tensor]:
    """Return a state dict whose every value is a tensor inside its storage."""
    if type(state) is not dict or not 1 <= len(state) <= _MOST_ARRAYS:
        raise ValueError(f"it is no dictionary of 1 to {_MOST_ARRAYS:,} tensors")
    for name, value in state.items():
        if type(value) is not _Tensor:
            raise ValueError(f"{name[:80]!r} is no tensor")
    return state


def _storages(
    file: BinaryIO, data: bytes, tensors: Mapping[str, _Tensor]
) -> dict[str, NDArray[Any]]:
    """Return the storages as views of the file, which must end after the last one."""
    import numpy as np

    described = _described(tensors)
    keys = _unpickled(file)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ValueError("it has no list of storages")
    if len(keys) != len(described) or set(keys) != set(described):
        raise ValueError("its list of storages is not that of its tensors")
    found, start = {}, file.tell()
    for key in keys:
        storage = described[key]
        length = int.from_bytes(data[start : start + 8], "little", signed=True)
        end = start + 8 + storage.size * int(storage.dtype[2:])
        if length != storage.size or end > len(data):
            raise ValueError(f"the storage {key[:20]!r} is not where its length leaves it")
        found[key] = np.frombuffer(data, storage.dtype, storage.size, start + 8)
        start = end
    if start != len(data):
        raise ValueError(f"its storages end at {start:,} of its {len(data):,} bytes")
    return found


def _described(tensors: Mapping[str, _Tensor]) -> dict[str, _Storage]:
    """Return the storages of tensors by key; two tensors must not describe one differently."""
    found: dict[str, _Storage] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        if found.setdefault(storage.key, storage) != storage:
            raise ValueError(f"the storage {storage.key[:20]!r} has two descriptions")
    return found


def _bytes_of(tensor: _Tensor) -> int:
    return tensor.size * int(tensor.storage.dtype[2:])


def _array(name: str, tensor: _Tensor, storage: NDArray[Any]) -> NDArray[Any]:
    """Copy a tensor out of its storage; ``_tensor`` has checked that it lies inside."""
    import numpy as np

    view = np.lib.stride_tricks.as_strided(
        storage[tensor.offset :],
        tensor.shape,
        [stride * storage.itemsize for stride in tensor.strides],
        writeable=False,
    )
    if view.dtype.kind == "f" and not np.isfinite(view).all():
        raise ValueError(f"{name[:80]!r} has values that are not finite")
    return np.array(view, order="C", copy=True)


def _unpickled(file: BinaryIO) -> Any:
    """Interpret one pickle, and leave the file after it."""
    machine = _Machine()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        run = _OPCODES.get(opcode.name)
        if run is None:
            raise ValueError(f"the pickle opcode {opcode.name} is not permitted")
        if count == _MOST_OPCODES:
            raise ValueError(f"a pickle has more than {_MOST_OPCODES:,} opcodes")
        run(machine, argument)
    if len(machine.stack) != 1 or machine.marked:
        raise ValueError("a pickle does not end with one object")
    return machine.stack[0]


@dataclass
class _Machine:
    """The state of the interpreter.

    Values are never compared, hashed or printed before their type is checked: a few bytes can
    describe a tuple that repeats itself 2**1000 times, and every such step would run for ever.
    """

    stack: list[Any] = field(default_factory=list)
    marked: list[list[Any]] = field(default_factory=list)  # the stacks below the marks
    memo: dict[int, Any] = field(default_factory=dict)

    def skip(self, _: Any) -> None:
        pass

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("a pickle takes more objects than it has")
        return self.stack.pop()

    def top(self, kind: type, opcode: str) -> Any:
        """Return the last object, which must be of a type, and leave it on the stack."""
        value = self.pop()
        if type(value) is not kind:
            raise ValueError(f"a pickle has {opcode} without a {kind.__name__}")
        self.push(value)
        return value

    def mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """Return the objects after the last mark."""
        if not self.marked:
            raise ValueError("a pickle takes objects after a mark that it has not")
        items, self.stack = self.stack, self.marked.pop()
        return items

    def text(self, value: str) -> None:
        if len(value) > _LONGEST_TEXT:
            raise ValueError(f"a text has more than {_LONGEST_TEXT} characters")
        self.push(value)

    def name(self, text: str) -> None:
        if text not in (_DICTIONARY, _TENSOR, *_STORAGES):
            raise ValueError(f"it asks for {text[:80]!r}, which is not permitted")
        self.push(_Name(text))

    def put(self, index: int) -> None:
        value = self.pop()
        self.memo[index] = value
        self.push(value)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("a pickle takes an object that it has not memoised")
        self.push(self.memo[index])

    def short_tuple(self, length: int) -> None:
        self.push(tuple([self.pop() for _ in range(length)][::-1]))

    def append(self, items: list[Any]) -> None:
        self.top(list, "APPENDS").extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values to a dictionary; each key is text, and new."""
        into = self.top(dict, "SETITEMS")
        if len(items) % 2:
            raise ValueError("a dictionary has a key without a value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str or key in into:
                raise ValueError("a dictionary has a key that is not text, or is named twice")
            into[key] = value

    def reduce(self, _: Any) -> None:
        """Make what a call would return: an empty dictionary or a tensor."""
        arguments, called = self.pop(), self.pop()
        if type(called) is not _Name or type(arguments) is not tuple:
            raise ValueError("a pickle calls something that is no function")
        if called.text == _DICTIONARY and not arguments:
            self.push({})
        elif called.text == _TENSOR:
            self.push(_tensor(arguments))
        else:
            raise ValueError(f"it calls {called.text!r}, which is not permitted")

    def build(self, _: Any) -> None:
        """Drop the attributes of a dictionary: PyTorch gives it the versions of its modules."""
        self.top(dict, "BUILD")
        self.pop()
        self.top(dict, "BUILD")

    def persistent(self, _: Any) -> None:
        self.push(_storage(self.pop()))


def _storage(found: Any) -> _Storage:
    """Validate a persistent identifier: "storage", type, key, device, length and no view."""
    if type(found) is not tuple or [type(x) for x in found[:6]] != _OF_STORAGE or found[6:]:
        raise ValueError("a persistent identifier describes no storage")
    word, kind, key, _, size, _ = found
    if word != "storage" or kind.text not in _STORAGES or not 1 <= size < _LARGEST:
        raise ValueError("a persistent identifier describes no storage of float32 or int64")
    return _Storage(_STORAGES[kind.text], key, size)


_OF_STORAGE = [str, _Name, str, str, int, type(None)]


def _tensor(arguments: tuple[Any, ...]) -> _Tensor:
    """Validate the arguments of ``_rebuild_tensor_v2``; the last two concern gradients."""
    if [type(x) for x in arguments[:6]] != _OF_TENSOR or arguments[6:]:
        raise ValueError("a tensor is not described by a storage, offset, shape and strides")
    storage, offset, shape, strides, _, _ = arguments
    if len(shape) != len(strides) or len(shape) > _MOST_AXES:
        raise ValueError(f"a tensor has no shape and strides of at most {_MOST_AXES} axes")
    if not all(type(x) is int and 0 <= x < _LARGEST for x in (offset, *shape, *strides)):
        raise ValueError("a tensor has an impossible offset, shape or stride")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if 0 in shape or last >= storage.size:
        raise ValueError("a tensor is empty or does not lie in its storage")
    return _Tensor(storage, offset, shape, strides)


_OF_TENSOR = [_Storage, int, tuple, tuple, bool, dict]


_OPCODES: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.skip,
    "STOP": _Machine.skip,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "BININT": _Machine.push,
    "BININT1": _Machine.push,
    "BININT2": _Machine.push,
    "LONG1": _Machine.push,
    "BINUNICODE": _Machine.text,
    "GLOBAL": _Machine.name,
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.pop_mark())),
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.pop_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": lambda machine, _: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_mark()),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "BINPERSID": _Machine.persistent,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
