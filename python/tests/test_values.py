"""Values: what the local store gives back is what a pickle round trip would give."""

import array
import collections
import contextlib
import dataclasses
import datetime
import decimal
import enum
import fractions
import gc
import math
import pathlib
import pickle
import random
import re
import struct
import types
import uuid
import zoneinfo

import pytest
from conftest import short_repr

from cachier import _core

CBOR, PICKLE = 1, 2


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    y: list


Pair = collections.namedtuple("Pair", "a b")


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Plain:
    def __init__(self, a):
        self.a = a

    def __eq__(self, other):
        return type(other) is Plain and other.a == self.a

    __hash__ = None


def shared():
    inner = [1]
    return [inner, inner]


def cyclic():
    outer = [1]
    outer.append(outer)
    return outer


def deep(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


SIMPLE = [
    None,
    True,
    False,
    0,
    -1,
    23,
    24,
    255,
    256,
    2**31,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    -(2**63),
    -(2**63) - 1,
    -(2**64),
    -(2**64) - 1,
    10**100,
    -(10**100),
    0.0,
    -0.0,
    1.5,
    1e300,
    5e-324,
    math.inf,
    -math.inf,
    1 + 2j,
    complex(-0.0, math.inf),
    "",
    "text",
    "é€𝄞",
    "\ud800 lone",
    "nul \0",
    b"",
    b"\x00\xff",
    bytearray(b"abc"),
    [],
    (),
    {},
    set(),
    frozenset(),
    [1, [2, [3]]],
    (1, (2, ())),
    ((), ()),
    {"b": 1, "a": 2},
    {1: "int", "1": "str", (1, 2): "tuple", None: 0, frozenset({1}): 1},
    {1, "a", (2, 3)},
    frozenset({1, frozenset({2})}),
    [{"k": [1, 2.0, "x", None, True]}] * 1,
    deep(99),
]
PICKLED = [
    Text("a"),
    Number(3),
    [Number(3)],
    Color.RED,
    Point(1, [2]),
    Pair(1, 2),
    Plain(1),
    collections.OrderedDict(b=1, a=2),
    collections.defaultdict(int, a=1),
    collections.Counter("aab"),
    collections.deque([1, 2], maxlen=5),
    types.SimpleNamespace(a=1),
    datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
    datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
    datetime.datetime(2024, 10, 27, 2, fold=1, tzinfo=zoneinfo.ZoneInfo("UTC")),
    datetime.date(2024, 1, 2),
    datetime.time(1, 2),
    datetime.timedelta(1, 2, 3),
    decimal.Decimal("1.50"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=5),
    pathlib.Path("/tmp/x"),
    range(1, 5, 2),
    slice(1, 2),
    array.array("d", [1.0, 2.0]),
    re.compile("a+", re.IGNORECASE),
    int,
    len,
    Plain,
    ...,
    ValueError("x", 1),
    shared(),
    deep(101),
]


def same(one, other):
    """Equal, of the same types all the way down, bit for bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        return one == other and same(sorted(map(repr, one)), sorted(map(repr, other)))
    if isinstance(one, BaseException):
        return same(one.args, other.args)
    return one == other


def round_trip(value):
    codec, data = _core.encode_value(value)
    return codec, _core.decode_value(codec, data)


@pytest.mark.parametrize("value", SIMPLE, ids=short_repr)
def test_builtin_values_are_cbor(value):
    codec, back = round_trip(value)
    assert codec == CBOR
    assert same(back, pickle.loads(pickle.dumps(value)))


@pytest.mark.parametrize("value", PICKLED, ids=short_repr)
def test_everything_else_is_pickled(value):
    codec, back = round_trip(value)
    assert codec == PICKLE
    assert same(back, pickle.loads(pickle.dumps(value)))


def test_what_is_shared_stays_shared():
    _, back = round_trip(shared())
    assert back[0] is back[1]
    _, back = round_trip(cyclic())
    assert back[1] is back
    both = [(inner := (1, [2])), inner]
    _, back = round_trip(both)
    assert back[0] is back[1]


def test_nan_keeps_its_bits():
    odd = struct.unpack(">d", bytes.fromhex("7ff8000000001234"))[0]
    _, back = round_trip(odd)
    assert struct.pack(">d", back).hex() == "7ff8000000001234"
    _, back = round_trip(-math.nan)
    assert math.copysign(1, back) == math.copysign(1, -math.nan)


def _random_value(source, depth=0):
    kind = source.randrange(14 if depth < 4 else 8)
    if kind == 0:
        return source.choice([None, True, False])
    if kind == 1:
        return source.randrange(-(2**70), 2**70)
    if kind == 2:
        return source.uniform(-1e10, 1e10)
    if kind == 3:
        return "".join(chr(source.choice([65, 233, 8364, 119070])) for _ in range(5))
    if kind == 4:
        return source.randbytes(source.randrange(30))
    if kind == 5:
        return source.randrange(-300, 300)
    if kind == 6:
        return bytearray(source.randbytes(3))
    if kind == 7:
        return complex(source.random(), source.random())
    items = [_random_value(source, depth + 1) for _ in range(source.randrange(5))]
    hashable = [source.randrange(100) for _ in items]
    return [
        lambda: items,
        lambda: tuple(items),
        lambda: dict(zip(hashable, items, strict=True)),
        lambda: set(hashable),
        lambda: frozenset(hashable),
        lambda: [Number(1), *items],
    ][kind - 8]()


@pytest.mark.parametrize("seed", range(20))
def test_random_values(seed):
    source = random.Random(seed)
    for _ in range(100):
        value = _random_value(source)
        _, back = round_trip(value)
        assert same(back, pickle.loads(pickle.dumps(value)))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "18",
        "01 01",
        "9f",
        "82 01",
        "a2 01 01 01 02",  # a key twice
        "a1 80 01",  # a list as a key
        "d9 0102 82 01 01",  # an item of a set twice
        "d9 ffff 01",  # a tag of nobody
        "f7",
        "e0",
        "61 ff",
        "d9 cac5 81 fb 0000000000000000",
        "d9 cac0 01",
        "c2 01",
        "1b",
        "9b ffffffffffffffff",
        "5b ffffffffffffffff",
        "81" * 600 + "01",
    ],
)
def test_bytes_that_are_no_value_are_an_error(data):
    with pytest.raises((ValueError, TypeError)):
        _core.decode_value(CBOR, bytes.fromhex(data))


@pytest.mark.parametrize("seed", range(10))
def test_damaged_bytes_are_an_error_or_a_value(seed):
    source = random.Random(seed)
    for _ in range(200):
        codec, data = _core.encode_value([_random_value(source), {"k": "v"}, (1, 2)])
        if codec != CBOR:
            continue
        damaged = bytearray(data)
        for _ in range(source.randrange(1, 4)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        with contextlib.suppress(ValueError, TypeError, MemoryError):
            _core.decode_value(CBOR, damaged[: source.randrange(len(damaged) + 1)])


@pytest.mark.parametrize("data", ["01", "80", "8180", "82 41 80 40", "8141ff"])
def test_bytes_that_are_no_pickle_are_an_error(data):
    with pytest.raises((ValueError, TypeError, pickle.UnpicklingError, EOFError)):
        _core.decode_value(PICKLE, bytes.fromhex(data))


class TestFinalizersThatChangeWhatIsWritten:
    """They run when the collector does, which may be in the middle of writing."""

    @staticmethod
    def encoded(value, change):
        class Garbage:
            def __init__(self):
                self.itself = self

            def __del__(self):
                change(value)

        threshold = gc.get_threshold()
        gc.collect()
        gc.disable()
        try:
            Garbage()
            gc.set_threshold(1)
            gc.enable()
            return _core.encode_value(value)
        finally:
            gc.set_threshold(*threshold)
            gc.enable()

    @pytest.mark.parametrize(
        "change",
        [
            lambda value: value.update(c=3, d=4),
            lambda value: value.pop("b"),
            lambda value: value.clear(),
            lambda value: value.update(a=1, b=[2]),
        ],
    )
    def test_of_a_dict(self, change):
        _core.decode_value(*self.encoded({"a": {1}, "b": [{2}]}, change))

    def test_of_a_dict_while_a_key_is_written(self):
        value = {frozenset([1]): [b"x" * 100], 2: 3}
        _core.decode_value(*self.encoded(value, lambda value: value.clear()))

    @pytest.mark.parametrize(
        "change",
        [
            lambda value: value.update({5, 6}),
            lambda value: value.pop(),
            lambda value: value.clear(),
        ],
    )
    def test_of_a_set(self, change):
        value = {frozenset([1]), frozenset([2]), frozenset([3])}
        _core.decode_value(*self.encoded(value, change))

    def test_of_a_list_that_holds_what_is_written(self):
        value = [{"a": {1}, "b": [b"x" * 100], "c": [{2}]}]
        _core.decode_value(*self.encoded(value, lambda value: value.clear()))


def test_a_value_of_a_described_type_is_not_readable():
    assert _core.decode_value(CBOR, b"\x01", 0) == 1
    for codec, data in ((CBOR, b"\x01"), _core.encode_value(object)):
        with pytest.raises(ValueError, match="described"):
            _core.decode_value(codec, data, 5)


def test_values_that_cpp_writes():
    assert _core.decode_value(
        CBOR, bytes.fromhex("d9cac6871907e802181d17183b183a07")
    ) == datetime.datetime(2024, 2, 29, 23, 59, 58, 7)
    back = _core.decode_value(
        CBOR, bytes.fromhex("d9cac6881907e802181d17183b183a07d9caca8100")
    )
    assert back == datetime.datetime(
        2024, 2, 29, 23, 59, 58, 7, tzinfo=datetime.timezone.utc
    )
    assert _core.decode_value(
        CBOR, bytes.fromhex("d9cac7831907e802181d")
    ) == datetime.date(2024, 2, 29)
    assert _core.decode_value(
        CBOR, bytes.fromhex("d9cac983020005")
    ) == datetime.timedelta(days=2, microseconds=5)
    assert _core.decode_value(
        CBOR, bytes.fromhex("d9cacc682f7573722f6c6962")
    ) == pathlib.Path("/usr/lib")


class TestNumPy:
    np = pytest.importorskip("numpy")

    @pytest.mark.parametrize("size", [0, 1, 10, 1000, 100_000])
    def test_arrays(self, size):
        np = self.np
        value = np.arange(size, dtype="f8")
        codec, back = round_trip(value)
        assert codec == PICKLE
        np.testing.assert_array_equal(back, value)
        assert back.dtype == value.dtype
        assert back.flags.writeable

    def test_arrays_are_the_callers_own(self):
        np = self.np
        codec, data = _core.encode_value(np.zeros(1000))
        _core.decode_value(codec, data)[:] = 1
        assert not _core.decode_value(codec, data).any()

    def test_buffers_are_aligned(self):
        np = self.np
        for size in (600, 601, 1000, 70_000):
            marked = np.full(size, 0xAB, dtype="u1")
            _, data = _core.encode_value({"a": marked, "b": marked.copy()})
            first = data.find(b"\xab" * size)
            second = data.find(b"\xab" * size, first + size)
            assert first % 64 == 0
            assert second % 64 == 0

    def test_orders_and_views(self):
        np = self.np
        for value in (
            np.asfortranarray(np.arange(2000.0).reshape(40, 50)),
            np.arange(4000.0)[::2],
            np.arange(2000.0).reshape(40, 50).T,
        ):
            _, back = round_trip(value)
            np.testing.assert_array_equal(back, value)

    def test_read_only_stays_read_only(self):
        np = self.np
        value = np.arange(1000)
        value.flags.writeable = False
        _, back = round_trip(value)
        assert not back.flags.writeable


class Bad:
    def __reduce__(self):
        raise RuntimeError("will not")


def test_what_does_not_pickle_says_so():
    with pytest.raises(RuntimeError, match="will not"):
        _core.encode_value(Bad())
    with pytest.raises((AttributeError, pickle.PicklingError)):
        _core.encode_value(lambda: 1)
