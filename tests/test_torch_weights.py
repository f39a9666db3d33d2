"""Weight files of PyTorch are read exactly, and nothing that they contain is run."""

from __future__ import annotations

import copyreg
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lucency.io import torch_arrays

ORDERED = b"ccollections\nOrderedDict\n)R"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
FLOAT = b"ctorch\nFloatStorage\n"
START = b"".join(
    pickle.dumps(value, 2)
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001})
)


def plain(value: Any) -> bytes:
    """Return the opcodes that push a value, without those around a pickle."""
    return pickle.dumps(value, 2)[2:-1]


def storage(key: Any = "7", size: Any = 6, kind: bytes = FLOAT, device: Any = "cpu") -> bytes:
    head = b"(" + plain("storage") + kind
    return head + plain(key) + plain(device) + plain(size) + b"NtQ"


def tensor(
    store: bytes | None = None, offset: Any = 0, shape: Any = (2, 3), strides: Any = (3, 1)
) -> bytes:
    store = storage() if store is None else store
    described = store + plain(offset) + plain(shape) + plain(strides)
    return REBUILD + b"(" + described + b"\x89" + ORDERED + b"tR"


def state(**tensors: bytes) -> bytes:
    items = b"".join(plain(name) + value for name, value in tensors.items())
    return b"\x80\x02" + ORDERED + b"(" + items + b"u."


VALUES = np.arange(6, dtype="<f4")


def keys(*names: Any) -> bytes:
    return pickle.dumps(list(names), 2)


def stored(values: Any = VALUES, length: int | None = None) -> bytes:
    count = len(values) if length is None else length
    return count.to_bytes(8, "little", signed=True) + values.tobytes()


def whole(one: bytes | None = None, end: bytes | None = None) -> bytes:
    """Return a file with one tensor ``a``, described as given, and its storage."""
    return START + state(a=tensor() if one is None else one) + (end or keys("7") + stored())


def with_state(pickled: bytes) -> bytes:
    return START + pickled + keys("7") + stored()


def test_a_tensor_is_read() -> None:
    (name, array), *rest = torch_arrays(whole()).items()
    assert (name, rest) == ("a", [])
    np.testing.assert_array_equal(array, VALUES.reshape(2, 3))
    assert array.flags.c_contiguous
    assert array.flags.owndata


def test_strides_and_offsets_are_honoured() -> None:
    arrays = torch_arrays(
        START
        + state(
            turned=tensor(shape=(3, 2), strides=(1, 3)),
            second=tensor(offset=3, shape=(3,), strides=(1,)),
            spread=tensor(offset=1, shape=(2, 1), strides=(3, 99)),
        )
        + keys("7")
        + stored()
    )
    np.testing.assert_array_equal(arrays["turned"], VALUES.reshape(2, 3).T)
    np.testing.assert_array_equal(arrays["second"], VALUES[3:])
    np.testing.assert_array_equal(arrays["spread"], [[1], [4]])


def test_a_number_is_an_array_without_axes() -> None:
    one = tensor(storage(size=1, kind=b"ctorch\nLongStorage\n"), shape=(), strides=())
    array = torch_arrays(whole(one, keys("7") + stored(np.array([2**40], "<i8"))))["a"]
    assert (array.shape, array.dtype, int(array)) == ((), np.int64, 2**40)


def test_storages_are_in_the_order_of_their_list() -> None:
    first, second = tensor(storage("first")), tensor(storage("second"))
    data = START + state(a=first, b=second)
    arrays = torch_arrays(data + keys("second", "first") + stored(VALUES + 10) + stored())
    assert (arrays["a"].max(), arrays["b"].max()) == (5, 15)


def test_attributes_of_the_dictionary_are_dropped() -> None:
    pickled = state(a=tensor())[:-1] + b"}" + plain("_metadata") + plain({"": {"version": 1}})
    assert list(torch_arrays(with_state(pickled + b"sb."))) == ["a"]


RAN = "ran"  # the file that every command would create
RUN = plain(f"touch {RAN}")
CALL = b"(" + plain("touch") + plain(RAN) + b"l"
EVAL = plain(f"__import__('os').system('touch {RAN}')")
MAP = b"cbuiltins\nmap\ncos\nsystem\n(" + RUN + b"l\x86R"
INNER = b"cos\nsystem\n" + RUN + b"\x85R."

# Each runs a command when pickle loads it.
COMMANDS: dict[str, bytes] = {
    "os.system by REDUCE": b"cos\nsystem\n" + RUN + b"\x85R",
    "posix.system": b"cposix\nsystem\n" + RUN + b"\x85R",
    "os.system by INST": b"(" + RUN + b"ios\nsystem\n",
    "os.system by OBJ": b"(cos\nsystem\n" + RUN + b"o",
    "os.system by STACK_GLOBAL": plain("os") + plain("system") + b"\x93" + RUN + b"\x85R",
    "os.system by EXT1": b"\x82\xf0" + RUN + b"\x85R",
    "os.system by EXT2": b"\x83\xf0\x00" + RUN + b"\x85R",
    "os.system by EXT4": b"\x84\xf0\x00\x00\x00" + RUN + b"\x85R",
    "bytes of a map by NEWOBJ": b"cbuiltins\nbytes\n" + MAP + b"\x85\x81",
    "bytes of a map by NEWOBJ_EX": b"cbuiltins\nbytes\n" + MAP + b"\x85}\x92",
    "subprocess.call": b"csubprocess\ncall\n" + CALL + b"\x85R",
    "builtins.eval": b"cbuiltins\neval\n" + EVAL + b"\x85R",
    "eval by its name in Python 2": b"c__builtin__\neval\n" + EVAL + b"\x85R",
    "builtins.exec": b"cbuiltins\nexec\n" + EVAL + b"\x85R",
    "an attribute of a module": (
        b"cbuiltins\ngetattr\ncbuiltins\n__import__\n" + plain("os") + b"\x85R"
        + plain("system") + b"\x86R" + RUN + b"\x85R"
    ),
    "open": b"cbuiltins\nopen\n" + plain(RAN) + plain("w") + b"\x86R",
    "os.mkdir": b"cos\nmkdir\n" + plain(RAN) + b"\x85R",
    "pathlib": b"\x80\x04" + plain("pathlib") + plain("Path.touch") + b"\x93"
    b"cpathlib\nPath\n" + plain(RAN) + b"\x85R\x85R",
    "a list of a map": b"cbuiltins\nlist\n" + MAP + b"\x85R",
    "a function with a state": (
        b"cfunctools\npartial\ncbuiltins\nlen\n\x85R(cos\nsystem\n" + RUN + b"\x85}Ntb)R"
    ),
    "a pickle in the pickle": (
        b"cpickle\nloads\nB" + len(INNER).to_bytes(4, "little") + INNER + b"\x85R"
    ),
    "a module that runs when it is imported": b"chostile\nvalue\n",
    "a module named by INST": b"(ihostile\nvalue\n",
}  # fmt: skip


def value_of_a(opcodes: bytes) -> bytes:
    return with_state(b"\x80\x02" + ORDERED + plain("a") + opcodes + b"s.")


def name_of_a_tensor(opcodes: bytes) -> bytes:
    return with_state(b"\x80\x02" + ORDERED + opcodes + tensor() + b"s.")


def argument_of_a_tensor(opcodes: bytes) -> bytes:
    return value_of_a(REBUILD + b"(" + storage() + opcodes + b"tR")


def attributes(opcodes: bytes) -> bytes:
    return with_state(state(a=tensor())[:-1] + opcodes + b"b.")


def before(opcodes: bytes) -> bytes:
    return b"\x80\x02" + opcodes + b"." + whole()


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "value": value_of_a,
    "name": name_of_a_tensor,
    "argument": argument_of_a_tensor,
    "attributes": attributes,
    "persistent": lambda opcodes: value_of_a(tensor(opcodes + b"Q")),
    "start": before,
}
BOMB = b"()q\x00" + 500 * b"h\x00h\x00\x86q\x00" + b"t"  # tuples of up to 2**500 leaves
NAN = np.array([0, 1, np.nan, 3, 4, 5], "<f4")
HUGE = 2**62

FAULTS: dict[str, bytes] = {
    "empty": b"",
    "no pickle": b"PK\x03\x04" + bytes(100),
    "text": b"import os\nos.system('touch ran')\n",
    "zeros": bytes(10_000),
    "the magic number alone": START[:15],
    "another magic number": pickle.dumps(1, 2) + whole()[15:],
    "the magic number as a float": pickle.dumps(float(0x1950A86A20F9469CFC6C), 2) + whole()[15:],
    "true as the version": START[:15] + pickle.dumps(True, 2) + whole()[21:],
    "another version": START[:15] + pickle.dumps(1002, 2) + whole()[21:],
    "big-endian": START[:21] + pickle.dumps({"little_endian": False}, 2) + whole()[len(START):],
    "sizes that are no dictionary": START[:21] + pickle.dumps([], 2) + whole()[len(START):],
    "no tensors": with_state(b"\x80\x02" + ORDERED + b"."),
    "a list of tensors": with_state(b"\x80\x02](" + tensor() + b"e."),
    "a tensor alone": with_state(b"\x80\x02" + tensor() + b"."),
    "a number as a tensor": value_of_a(b"K\x01"),
    "text as a tensor": value_of_a(plain("x")),
    "a storage as a tensor": value_of_a(storage()),
    "a dictionary of dictionaries": value_of_a(ORDERED),
    "an unknown name": value_of_a(b"ctorch\nnn\n"),
    "the loader of PyTorch": value_of_a(b"ctorch.serialization\nload\n" + plain("x") + b"\x85R"),
    "an array of objects": value_of_a(b"cnumpy.core.multiarray\n_reconstruct\n"),
    "a name with a space": value_of_a(b"ccollections OrderedDict\n\n)R"),
    "a name of two lines only": START + b"\x80\x02ccollections\n",
    "a storage that is called": value_of_a(FLOAT + b")R"),
    "a dictionary made of pairs": value_of_a(b"ccollections\nOrderedDict\n](K\x01K\x02\x86e\x85R"),
    "a number that is called": value_of_a(b"K\x01)R"),
    "a call without a tuple": value_of_a(REBUILD + b"]R"),
    "a tensor of no arguments": value_of_a(REBUILD + b")R"),
    "a tensor of seven arguments": value_of_a(tensor()[:-2] + b"NtR"),
    "hooks": value_of_a(tensor()[: -2 - len(ORDERED)] + b"](K\x01e" + b"tR"),
    "a key of a number": name_of_a_tensor(b"K\x01"),
    "a key of bytes": name_of_a_tensor(b"C\x01a"),
    "a key of a tuple": name_of_a_tensor(b")"),
    "a key that repeats itself": name_of_a_tensor(BOMB),
    "a key that is named twice": with_state(
        b"\x80\x02" + ORDERED + b"(" + 2 * (plain("a") + tensor()) + b"u."
    ),
    "a key of a megabyte": name_of_a_tensor(plain("a" * 2**20)),
    "a key of no characters of Unicode": name_of_a_tensor(b"X\x01\x00\x00\x00\xff"),
    "a key without a value": with_state(b"\x80\x02" + ORDERED + b"(" + plain("a") + b"u."),
    "items of a list": value_of_a(b"](K\x01K\x02u"),
    "elements of a dictionary": value_of_a(b"}(K\x01e"),
    "a state of a list": value_of_a(b"]}b"),
    "a state that is no dictionary": attributes(b"](K\x01e"),
    "a state with its slots": attributes(b"N}\x86"),
    "a memo that repeats itself": value_of_a(BOMB),
    "a shape that repeats itself": argument_of_a_tensor(
        b"K\x00" + BOMB + b"\x85" + plain((1,)) + b"\x89" + ORDERED
    ),
    "a storage that repeats itself": value_of_a(tensor(BOMB + b"Q")),
    "a dictionary that contains itself": value_of_a(b"}q\x01" + plain("a") + b"h\x01s"),
    "100,000 tuples in each other": value_of_a(b")" + 100_000 * b"\x85"),
    "100,000 lists in each other": value_of_a(100_000 * b"](" + 100_000 * b"e"),
    "100,000 marks": value_of_a(100_000 * b"("),
    "a million opcodes": with_state(b"\x80\x02" + 1_000_001 * b"N" + b"."),
    "a memo that was never put": value_of_a(b"h\x63"),
    "a memo of nothing": with_state(b"\x80\x02q\x00."),
    "an empty stack": with_state(b"\x80\x02R."),
    "a tuple of nothing": with_state(b"\x80\x02\x87."),
    "a mark that is missing": with_state(b"\x80\x02t."),
    "a mark that is left": with_state(b"\x80\x02(" + state(a=tensor())[2:]),
    "two objects": with_state(b"\x80\x02N" + state(a=tensor())[2:]),
    "no end": START + state(a=tensor())[:-1],
    "an unknown opcode": value_of_a(b"\xff"),
    "a duplicate by DUP": value_of_a(b"N2\x86"),
    "a frame": with_state(b"\x80\x04\x95" + HUGE.to_bytes(8, "little") + state(a=tensor())[2:]),
    "bytes of 2**62": value_of_a(b"\x8e" + HUGE.to_bytes(8, "little")),
    "text of 4 GiB": value_of_a(b"X\xff\xff\xff\xff"),
    "a number of 2 GiB": value_of_a(b"\x8b\xff\xff\xff\x7f"),
    "a number of negative length": value_of_a(b"\x8b\xff\xff\xff\xff"),
    "a number of 100,000 digits": value_of_a(b"L" + 100_000 * b"9" + b"L\n"),
    "a buffer outside of the pickle": value_of_a(b"\x97"),
    "a persistent identifier of text": value_of_a(tensor(b"P7\n")),
    "a persistent identifier of a number": value_of_a(tensor(b"K\x07Q")),
    "a persistent identifier of four": value_of_a(tensor(storage()[:-7] + b"tQ")),
    "a persistent identifier of a list": value_of_a(tensor(storage()[:-2] + b"lQ")),
    "a persistent module": value_of_a(tensor(storage().replace(b"storage", b"module_"))),
    "a view of a storage": value_of_a(tensor(storage()[:-3] + b")tQ")),
    "a storage of another type": value_of_a(tensor(storage(kind=b"ctorch\nHalfStorage\n"))),
    "a storage of a type in text": value_of_a(tensor(storage(kind=plain("FloatStorage")))),
    "a dictionary as the type": value_of_a(tensor(storage(kind=b"ccollections\nOrderedDict\n"))),
    "a key of a storage that is a number": value_of_a(tensor(storage(key=7))),
    "a device that is a number": value_of_a(tensor(storage(device=0))),
    "a storage of a negative length": value_of_a(tensor(storage(size=-6))),
    "a storage of nothing": value_of_a(tensor(storage(size=0), shape=(), strides=())),
    "a storage of 2**62 numbers": value_of_a(tensor(storage(size=HUGE))),
    "a storage of a true length": value_of_a(tensor(storage(size=True), shape=(), strides=())),
    "a storage of a broken length": value_of_a(tensor(storage(size=6.0))),
    "a tensor of no storage": value_of_a(tensor(plain("7"))),
    "a storage with two lengths": START + state(
        a=tensor(), b=tensor(storage(size=5), shape=(5,), strides=(1,))
    ) + keys("7") + stored(),
    "a storage with two types": START + state(
        a=tensor(), b=tensor(storage(kind=b"ctorch\nLongStorage\n"))
    ) + keys("7") + stored(),
    "an offset beyond the end": whole(tensor(offset=1)),
    "a negative offset": whole(tensor(offset=-1)),
    "an offset of 2**62": whole(tensor(offset=HUGE)),
    "a broken offset": whole(tensor(offset=0.5)),
    "a true offset": whole(tensor(offset=True, shape=(1,), strides=(1,))),
    "a negative side": whole(tensor(shape=(-2, -3))),
    "an empty side": whole(tensor(shape=(0, 3))),
    "a side too many": whole(tensor(shape=(2, 4))),
    "sides whose product overflows": whole(tensor(shape=(2**32, 2**32), strides=(0, 0))),
    "a side of 2**62": whole(tensor(shape=(HUGE, 1))),
    "a side in text": whole(tensor(shape=("2", 3))),
    "a shape of a list": whole(tensor(shape=[2, 3])),
    "a negative stride": whole(tensor(offset=5, strides=(-3, -1))),
    "a stride beyond the end": whole(tensor(strides=(4, 1))),
    "a stride that overflows": whole(tensor(strides=(2**63, 1))),
    "a stride of 2**61, 0 in bytes": whole(tensor(strides=(2**62, 1))),
    "more sides than strides": whole(tensor(strides=(1,))),
    "more strides than sides": whole(tensor(shape=(6,))),
    "nine axes": whole(tensor(shape=(1,) * 9, strides=(1,) * 9)),
    "a gigabyte from one number": whole(tensor(shape=(2**14, 2**14), strides=(0, 0))),
    "a thousand copies of one storage": START + state(
        **{f"a{i}": tensor(storage(size=10_000), shape=(10_000,), strides=(1,)) for i in range(999)}
    ) + keys("7") + stored(np.zeros(10_000, "<f4")),
    "keys that are no list": whole(end=pickle.dumps("7", 2) + stored()),
    "no keys": whole(end=keys() + stored()),
    "a key too many": whole(end=keys("7", "8") + 2 * stored()),
    "the same key twice": whole(end=keys("7", "7") + 2 * stored()),
    "another key": whole(end=keys("8") + stored()),
    "a key in the list that is a number": whole(end=keys(7) + stored()),
    "a list in the list": whole(end=keys(["7"]) + stored()),
    "keys that repeat themselves": whole(end=b"\x80\x02](" + BOMB + b"h\x00e." + stored()),
    "no storage": whole(end=keys("7")),
    "another length": whole(end=keys("7") + stored(length=5)),
    "a negative length": whole(end=keys("7") + stored(length=-6)),
    "a length of 2**62": whole(end=keys("7") + stored(length=HUGE)),
    "a storage that ends early": whole()[:-1],
    "a byte too many": whole() + b"\x00",
    "a second file behind it": whole() + whole(),
    "a value that is not finite": whole(end=keys("7") + stored(NAN)),
}  # fmt: skip
WATCHED = ("compile", "exec", "import", "open", "os.", "pickle.", "socket.", "subprocess.")
seen: list[str] | None = None


def watch(event: str, _: Any) -> None:
    if seen is not None and event.startswith(WATCHED):
        seen.append(event)


sys.addaudithook(watch)  # for ever, and silent outside of ``watched``


@contextmanager
def watched() -> Iterator[list[str]]:
    """Return a list of all that the interpreter is asked to open, import, compile and run."""
    global seen  # noqa: PLW0603
    torch_arrays(whole())  # imports what it needs
    seen = found = []
    try:
        yield found
    finally:
        seen = None


@pytest.fixture(autouse=True)
def hostile_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("hostile.py").write_text(f"open({RAN!r}, 'w').close()\nclass value: pass\n")
    copyreg.add_extension("os", "system", 0xF0)
    yield
    copyreg.remove_extension("os", "system", 0xF0)
    sys.modules.pop("hostile", None)


@pytest.mark.parametrize("name", COMMANDS)
def test_pickle_runs_the_command(name: str) -> None:
    """Without this, commands that could not run would pass the test below."""
    made = pickle.loads(b"\x80\x02" + COMMANDS[name] + b".")  # noqa: S301
    if hasattr(made, "close"):
        made.close()
    assert Path(RAN).exists()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_is_run(name: str, place: str) -> None:
    check_rejected(PLACES[place](COMMANDS[name]))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_rejected(name: str) -> None:
    check_rejected(FAULTS[name])


def check_rejected(data: bytes) -> None:
    with watched() as events, pytest.raises(ValueError, match=r".+") as caught:
        torch_arrays(data)
    assert not events
    assert not Path(RAN).exists()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_file_that_ends_anywhere_is_rejected() -> None:
    data = whole()
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r".+"):
            torch_arrays(data[:length])


def test_any_other_byte_anywhere_gives_an_array_or_a_value_error() -> None:
    data, rejected = whole(), 0
    changed = [
        data[:position] + bytes([byte]) + data[position + 1 :]
        for position in range(len(data))
        for byte in (0, 0x2E, 0x52, 0x63, 0xFF, data[position] ^ 1)
    ]
    with watched() as events:
        for each in changed:
            try:
                arrays = torch_arrays(each)
            except ValueError:
                rejected += 1
            else:
                assert all(array.nbytes <= len(data) for array in arrays.values())
    assert rejected > len(changed) / 2
    assert not events


def test_the_watch_sees_a_command() -> None:
    with watched() as events:
        pickle.loads(b"\x80\x02" + COMMANDS["os.system by REDUCE"] + b".")  # noqa: S301
    assert "os.system" in events
