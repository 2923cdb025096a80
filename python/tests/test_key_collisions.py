"""Keys of objects that look alike: what differs is never one key."""

import array
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import functools
import importlib.util
import pathlib
import re
import subprocess
import sys
import textwrap
import time
import types
import typing
import zoneinfo

import pytest
from conftest import short_repr

from cachier import _core, cachier


def key(value):
    return _core.encode_key(value).hex()


SCRIPT = """
    import enum, sys
    from cachier import _core

    def run(): return {0}

    class Color(enum.Enum):
        RED = {0}

    class Plain:
        def value(self): return {0}

    if __name__ == "__main__":
        for value in (run, Color, Plain(), Plain, Color.RED):
            print(_core.encode_key(value).hex())
"""


def test_scripts_do_not_share_what_they_define(run_python, tmp_path):
    one = run_python(SCRIPT.format(1), name="one.py").stdout.split()
    again = run_python(SCRIPT.format(1), name="one.py").stdout.split()
    other = run_python(SCRIPT.format(2), name="two.py").stdout.split()
    assert len(one) == 5
    assert one == again
    assert set(one).isdisjoint(other)
    # An edit of the file is no new function: names tell, as in function ids.
    edited = run_python(SCRIPT.format(2), name="one.py").stdout.split()
    assert edited[:4] == one[:4]
    assert edited[4] != one[4]
    where = f"{tmp_path.resolve()}/one.py.run".encode()
    assert where in bytes.fromhex(one[0])


def test_children_name_the_parents_program_alike(run_python):
    source = """
        import multiprocessing
        from cachier import _core

        class Plain:
            pass

        def run(value):
            return _core.encode_key([value, Plain, run]).hex()

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                assert pool.apply(run, (Plain(),)) == run(Plain())
            print("same")
    """
    assert run_python(source).stdout == "same\n"


def test_programs_run_as_modules_go_by_that_name(tmp_path):
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tool.py").write_text(textwrap.dedent(SCRIPT.format(1)))
    done = subprocess.run(
        [sys.executable, "-m", "pkg.tool"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert bytes.fromhex(done.stdout.split()[0]).endswith(b"pkg.tool.run")


def _without_file(source):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    ("source", "one", "other"),
    [
        ("class C:\n  limit = {}\nx = C()", 1, 2),
        ("class C:\n  limit = {}\nx = C", 1, 2),
        ("class C:\n  def f(self): return {}\nx = C()", 1, 2),
        ("class C:\n  f = property(lambda self: 0, lambda self, v: {})\nx=C()", 1, 2),
        ("class C:\n  @classmethod\n  def f(cls): return {}\nx=C()", 1, 2),
        ("class C({}): pass\nx = C()", "list", "dict"),
        ("class B:\n  n = {}\nclass C(B): pass\nx = C()", 1, 2),
        ("class M(type):\n  n = {}\nclass C(metaclass=M): pass\nx = C()", 1, 2),
        ("import enum\nx = enum.Enum('C', {}).A", "{'A': 1}", "{'A': 2}"),
        ("import enum\nx = enum.Enum('C', {}).A", "['A']", "['A', 'B']"),
        ("import enum\nx = enum.IntFlag('C', {})(3)", "['A', 'B']", "['A', 'D']"),
        (
            "import dataclasses as d\n@d.dataclass\nclass C:\n  a: int = {}\nx = C(5)",
            1,
            2,
        ),
        ("import collections as c\nx = c.namedtuple('C', 'a', defaults=[{}])", 1, 2),
        (
            "import typing as t\nclass C(t.NamedTuple):\n  a: int = {}\nx = C(5)",
            1,
            2,
        ),
        ("import abc\nclass C(abc.ABC):\n  n = {}\nx = C()", 1, 2),
        ("import typing\nclass C(typing.Protocol):\n  n = {}\nx = C", 1, 2),
        ("import typing\nx = typing.TypeVar('T', bound={})", "int", "str"),
        ("import functools\n@functools.lru_cache\ndef x(): return {}", 1, 2),
        ("def x(): return {}", 1, 2),
        ("def make(n):\n  def x(): return n\n  return x\nx = make({})", 1, 2),
        ("def x(): pass\nx.limit = {}", 1, 2),
    ],
)
def test_what_has_no_file_is_told_by_what_makes_it(source, one, other):
    end = "\nfrom cachier import _core\nprint(_core.encode_key(x).hex())"
    first = _without_file(source.format(one) + end)
    assert first == _without_file(source.format(one) + end)
    assert first != _without_file(source.format(other) + end)


def test_standard_input_is_no_file(tmp_path):
    def run(limit):
        source = f"""
            from cachier import _core
            class Plain:
                limit = {limit}
            print(_core.encode_key(Plain()).hex())
        """
        return subprocess.run(
            [sys.executable, "-"],
            input=textwrap.dedent(source),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert run(1) == run(1) != run(2)


def _local_classes(value):
    class Base:
        limit = value

    class Local(Base):
        def run(self):
            return super().__repr__(), Local

    class Refers:
        partner = Local
        lock = __import__("threading").Lock()

        @functools.cached_property
        def slow(self):
            return value

    class Members(enum.Enum):
        A = value
        B = object()

    @dataclasses.dataclass(frozen=True)
    class Data:
        x: int
        y: typing.Optional["Data"] = None
        default = value

    class Slots:
        __slots__ = ("a",)
        n = value

    Local.partner = Refers
    slots = Slots()
    slots.a = 1
    return [Local, Local(), Refers(), Members.A, Members.B, Data(1), slots, Data]


def test_local_classes_are_told_by_what_makes_them():
    one, again, other = _local_classes(1), _local_classes(1), _local_classes(2)
    assert [key(v) for v in one] == [key(v) for v in again]
    keys = [key(v) for v in one] + [key(v) for v in other]
    assert len(set(keys)) == len(keys)


def test_local_models_of_pydantic():
    pydantic = pytest.importorskip("pydantic")

    def make(limit, mode):
        class Model(pydantic.BaseModel):
            x: int = limit

            @pydantic.field_validator("x", mode=mode)
            @classmethod
            def check(cls, value):
                return value

        return Model(x=1)

    one = key(make(1, "after"))
    assert one == key(make(1, "after"))
    assert len({one, key(make(2, "after")), key(make(1, "before"))}) == 3


def test_use_of_a_local_class_does_not_change_its_key():
    value = _local_classes(1)[6]
    before = key(value)
    copy.copy(value)  # leaves a cache in the class
    assert key(value) == before


def test_a_name_that_leads_elsewhere_is_not_enough():
    impostor = type("Fraction", (), {"__module__": "fractions", "n": 1})
    other = type("Fraction", (), {"__module__": "fractions", "n": 2})
    keys = {key(__import__("fractions").Fraction), key(impostor), key(other)}
    assert len(keys) == 3
    assert key(impostor()) != key(other())


def test_classes_without_a_name_that_refer_to_each_other_are_bounded():
    one, other = type("One", (), {}), type("Other", (), {})
    for _ in range(40):
        refers = {"a": one, "b": other}
        one, other = type("One", (), refers), type("Other", (), refers)
    with pytest.raises(TypeError, match=r"too many classes|nests more than"):
        key(one())


def test_recursive_local_functions_have_keys():
    def make(step):
        def down(n):
            return n and down(n - step)

        return down

    assert key(make(1)) == key(make(1)) != key(make(2))


def _module(name, source):
    module = types.ModuleType(name)
    exec(textwrap.dedent(source), vars(module))
    return module


def test_names_from_reductions_keep_their_module(monkeypatch):
    source = """
        import functools, typing
        @functools.lru_cache
        def run(x): pass
        T = typing.TypeVar("T")
    """
    one, other = _module("one_of_two", source), _module("other_of_two", source)
    monkeypatch.setitem(sys.modules, "one_of_two", one)
    monkeypatch.setitem(sys.modules, "other_of_two", other)
    assert key(one.run) != key(other.run)
    assert key(one.T) != key(other.T)
    assert b"one_of_two.run" in bytes.fromhex(key(one.run))


def test_lru_caches_and_cached_functions_without_a_name():
    def make(n, decorate):
        @decorate
        def run():
            return n

        return run

    for decorate in (functools.lru_cache, cachier(backend="memory")):
        one, again, other = (make(n, decorate) for n in (1, 1, 2))
        assert key(one) == key(again) != key(other)


@cachier(backend="memory")
def cached(x):
    return x


class WithCached:
    @cachier(backend="memory", allow_non_static_methods=True)
    def run(self):
        return 1


def test_cached_functions_are_told_by_name():
    assert bytes.fromhex(key(cached)).endswith(f"{__name__}.cached".encode())


def _typevar(bound):
    return typing.TypeVar("Free", bound=bound)


def _new_type(base):
    return typing.NewType("Free", base)


def test_types_for_checkers_without_a_name():
    assert key(_typevar(int)) == key(_typevar(int)) != key(_typevar(str))
    assert key(_new_type(int)) == key(_new_type(int)) != key(_new_type(str))


def test_a_reduction_to_a_name_that_leads_nowhere_is_refused():
    class Named:
        def __reduce__(self):
            return "nowhere"

    with pytest.raises(TypeError, match="nowhere"):
        key(Named())


@dataclasses.dataclass
class Derived:
    x: int
    scale: dataclasses.InitVar[int] = 1

    def __post_init__(self, scale):
        self.result = self.x * scale


@dataclasses.dataclass
class Table(dict):
    name: str = ""


@dataclasses.dataclass
class Rows(list):
    name: str = ""


@dataclasses.dataclass
class Failure(Exception):
    code: int = 0


class Slot:
    __slots__ = ("hidden",)


@dataclasses.dataclass
class OverSlot(Slot):
    x: int = 0


@dataclasses.dataclass(init=False)
class Unset:
    x: int = dataclasses.field(init=False)


@dataclasses.dataclass
class Slim:
    __slots__ = ("x",)
    x: int


def test_dataclasses_with_more_than_fields():
    assert key(Derived(2, 3)) == key(Derived(2, 3)) != key(Derived(2, 4))
    one, other = Table(), Table()
    other["a"] = 1
    assert key(one) != key(other)
    one, other = Rows(), Rows()
    other.append(1)
    assert key(one) != key(other)
    one, other = OverSlot(), OverSlot()
    other.hidden = 1
    assert key(one) != key(other)
    one, other = Failure(), Failure()
    other.args = (1,)
    assert key(one) != key(other)
    assert key(Unset()) == key(Unset())
    assert key(Slim(1)) == key(Slim(1)) != key(Slim(2))
    assert bytes.fromhex(key(Slim(1))).startswith(b"\xd9\xca\xd2")


def _wrapped(n):
    def wrapper(self):
        return n

    wrapper.__name__ = "run"
    return wrapper


class Methods:
    first = _wrapped(1)
    second = _wrapped(2)

    def run(self):
        return 0

    def __hidden(self):
        return 1

    def hidden(self):
        return self.__hidden

    third = cachier(backend="memory", allow_non_static_methods=True)(_wrapped(3))
    fourth = cachier(backend="memory", allow_non_static_methods=True)(_wrapped(4))

    @classmethod
    def make(cls):
        return cls()


def test_bound_methods_are_told_by_their_function():
    one = Methods()
    bound = [one.run, one.first, one.second, one.hidden(), one.hidden, Methods.make]
    bound += [one.third, one.fourth]
    assert len({key(method) for method in bound}) == len(bound)
    again = [one.run, one.first, one.second, one.hidden(), one.hidden, Methods.make]
    again += [one.third, one.fourth]
    assert [key(method) for method in bound] == [key(method) for method in again]


class Noted(str):
    __slots__ = ("note",)

    def __new__(cls, text, note):
        self = super().__new__(cls, text)
        self.note = note
        return self

    def __reduce__(self):
        return Noted, (str(self), self.note)


class Unit(float):
    def __new__(cls, value, unit):
        self = super().__new__(cls, value)
        self.__dict__["unit"] = unit
        return self

    def __getnewargs__(self):
        return float(self), self.__dict__["unit"]

    def __getstate__(self):
        return None


class Crooked(collections.namedtuple("Crooked", "x y")):
    @property
    def x(self):
        return 0


class Twice(tuple):
    __slots__ = ()
    _fields = ("a", "a")


class Day(datetime.date):
    pass


class Amount(decimal.Decimal):
    pass


class Place(type(pathlib.Path())):
    pass


class Timer(datetime.datetime):
    __slots__ = ("label",)


def _with(value, **attributes):
    for name, attribute in attributes.items():
        setattr(value, name, attribute)
    return value


def _struct_time(zone):
    return time.struct_time((2024, 1, 1, 0, 0, 0, 0, 1, 0), {"tm_zone": zone})


class Alias(collections.OrderedDict):
    pass


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Noted("a", 1), Noted("a", 2)),
        (Unit(1, "m"), Unit(1, "s")),
        (Crooked(1, 2), Crooked(3, 2)),
        (Twice((1, 2)), Twice((2, 1))),
        (_with(Day(2024, 1, 1), n=1), _with(Day(2024, 1, 1), n=2)),
        (_with(Amount(1), n=1), _with(Amount(1), n=2)),
        (_with(Place("a"), n=1), _with(Place("a"), n=2)),
        (_with(Timer(2024, 1, 1), label=1), _with(Timer(2024, 1, 1), label=2)),
        (_with(functools.partial(len), n=1), _with(functools.partial(len), n=2)),
        (_struct_time("UTC"), _struct_time("CET")),
        (_with(Alias(), n=1), _with(Alias(), n=2)),
        (_with(KeyError(1), n=1), _with(KeyError(1), n=2)),
        (memoryview(b"ab"), memoryview(b"ab").cast("b")),
        (memoryview(b"ab"), memoryview(bytearray(b"ab"))),
        (memoryview(b"ab"), b"ab"),
        (array.array("i", [1]), array.array("I", [1])),
        (types.MappingProxyType({1: 2}), types.MappingProxyType({1: 3})),
        (typing.List[int], typing.List[str]),  # noqa: UP006
        (list[int], typing.List[int]),  # noqa: UP006
        (int | None, str | None),
        (typing.Literal["a"], typing.Literal["b"]),
        ({1: 2}.keys(), {2: 2}.keys()),
        ({1: 2}.keys(), {1: 2}.values()),
        ({1: 2}.items(), {1: 3}.items()),
    ],
    ids=lambda v: type(v).__name__,
)
def test_alike_and_not_the_same(one, other):
    assert key(one) != key(other)
    assert key(one) == key(one)


def test_where_exceptions_are_caught_is_part_of_the_code():
    def one(x):
        try:
            x()
        except OSError:
            return 1

    code = one.__code__
    if not hasattr(code, "co_exceptiontable"):
        pytest.skip("it is in the code itself, in this Python")
    assert key_of_code(code) != key_of_code(code.replace(co_exceptiontable=b""))


def key_of_code(code):
    return key(types.FunctionType(code, {}))


def test_executed_functions_go_by_their_code():
    names = sys.modules[__name__].__dict__
    keys = set()
    for body in "12":
        exec(f"def executed(): return {body}", names)
        keys.add(key(names.pop("executed")))
        exec(f"def executed(): return {body}", names)
        keys.add(key(names["executed"]))
        del names["executed"]
    assert len(keys) == 2


def test_modules_are_told_by_what_an_import_gives(tmp_path):
    assert key(re) != key(copy)
    keys = []
    for text in "12":
        path = tmp_path / f"plugin{text}.py"
        path.write_text(f"x = {text}")
        spec = importlib.util.spec_from_file_location("plugin", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        with pytest.raises(TypeError, match="plugin"):
            keys.append(key(module))
    assert not keys


def test_zones_of_a_file_are_refused():
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    file = None
    for root in zoneinfo.TZPATH:
        if (pathlib.Path(root) / "Asia/Tokyo").exists():
            file = pathlib.Path(root) / "Asia/Tokyo"
    if file is None:
        pytest.skip("no time zones on this system")
    with file.open("rb") as stream:
        impostor = zoneinfo.ZoneInfo.from_file(stream, key="Europe/Berlin")
    assert key(zone)
    with pytest.raises(Exception, match="file"):
        key(impostor)


def test_memoryviews_of_pointers_are_refused():
    import ctypes

    view = memoryview((ctypes.py_object * 1)(1))
    with pytest.raises(TypeError, match="pointers"):
        key(view)


ORDERLESS = """
    import enum, dataclasses, pathlib, functools
    from cachier import _core

    class Flag(enum.Flag):
        A = 1; B = 2; C = 4

    @dataclasses.dataclass(frozen=True)
    class Data:
        names: frozenset

    def make():
        class Local:
            names = {"a", "b", "c"}
            def run(self): return {"x", "y", "z"}
            @property
            def both(self): return Local
        class Other(Local):
            me = Local
        return Local, Other()

    print(_core.encode_key([
        {Data(frozenset("abc")), Data(frozenset("xyz")), len, int, make},
        {pathlib.Path("a"), pathlib.Path("b")}, Flag.A | Flag.C, set(make()),
        {"a": {"b", "c"}}, functools.partial(len, x={"p", "q"}),
    ]).hex())
"""


def test_keys_of_objects_do_not_depend_on_the_process(run_python):
    keys = {
        run_python(ORDERLESS, env={"PYTHONHASHSEED": seed}).stdout for seed in "0123"
    }
    assert len(keys) == 1


COMMON = [
    pathlib.PurePosixPath("a"),
    zoneinfo.ZoneInfo("UTC"),
    re.compile("a"),
    re.compile(b"a", re.DOTALL),
    collections.Counter("ab"),
    collections.ChainMap({1: 2}),
    collections.UserDict(a=1),
    collections.deque([1], 3),
    collections.defaultdict(list, a=[1]),
    types.SimpleNamespace(a=1),
    types.MappingProxyType({"a": 1}),
    memoryview(b"a"),
    array.array("d", [1.0]),
    range(3),
    slice(1, None),
    typing.Optional[int],  # noqa: UP045
    typing.Callable[[int], str],
    typing.Any,
    dict[str, int],
    functools.partial(int, base=2),
    ValueError("a"),
    OSError(2, "no", "file"),
    "text".upper,
    str.upper,
    datetime.datetime.now,
    [].append,
    type(None),
    type(...),
    {}.keys().__class__,
    decimal.Context(prec=3),
    Methods().run,
    WithCached.run,
    WithCached().run,
]


@pytest.mark.parametrize("value", COMMON, ids=short_repr)
def test_common_things_have_keys(value):
    assert key(value) == key(value)


class TestNumPy:
    np = pytest.importorskip("numpy")

    def test_dtypes_as_arguments(self):
        np = self.np
        dtypes = [
            np.dtype("<f8"),
            np.dtype(">f8"),
            np.dtype("f8", metadata={"unit": "m"}),
            np.dtype(("f8", (2,))),
            np.dtype("V16"),
            np.dtype([("a", "u1"), ("b", "f8")]),
            np.dtype([("a", "u1"), ("b", ">f8")]),
            np.dtype([("a", "u1"), ("b", "f8")], align=True),
            np.dtype([(("title", "a"), "u1"), ("b", "f8")]),
        ]
        keys = [key(dtype) for dtype in dtypes]
        assert len(set(keys)) == len(keys)

    def test_subclasses_are_not_their_bases(self):
        np = self.np
        keys = set()
        for note in (1, 2):
            array = np.zeros(2).view(Annotated)
            array.note = note
            keys.add(key(array))
            scalar = Meters(1.0)
            scalar.note = note
            keys.add(key(scalar))
        assert len(keys | {key(np.zeros(2)), key(np.float64(1.0))}) == 6

    def test_dtypes_of_others(self):
        np = self.np
        if not hasattr(np, "dtypes") or not hasattr(np.dtypes, "StringDType"):
            pytest.skip("this NumPy has none")
        one = np.array(["a"], dtype=np.dtypes.StringDType())
        other = np.array(["a"], dtype=np.dtypes.StringDType(na_object=None))
        assert key(one) == key(one.copy()) != key(other)

    def test_mapped_arrays(self, tmp_path):
        np = self.np
        mapped = np.memmap(tmp_path / "a", dtype="u1", mode="w+", shape=(4,))
        before = key(mapped)
        assert key(mapped) == before
        mapped[0] = 1
        assert key(mapped) != before

    def test_functions(self):
        np = self.np
        functions = [np.add, np.multiply, np.sum, np.linalg.norm, np.frompyfunc]
        keys = [key(function) for function in functions]
        assert len(set(keys)) == len(keys)
        with pytest.raises(TypeError, match="hex"):
            key(np.frompyfunc(hex, 1, 1))


def test_dicts_whose_items_hide_what_they_hold():
    class Masked(dict):
        def items(self):
            return [(name, "***") for name in self]

    class Empty(collections.OrderedDict):
        def items(self):
            return []

    assert key(Masked(pw="a")) == key(Masked(pw="a")) != key(Masked(pw="b"))
    assert key(Empty(pw="a")) == key(Empty(pw="a")) != key(Empty(pw="b"))
    assert key(Empty()) != key(Empty(pw="a"))


if TestNumPy.np:

    class Annotated(TestNumPy.np.ndarray):
        note = 0

    class Meters(TestNumPy.np.float64):
        pass
