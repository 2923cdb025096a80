"""Arguments find their parameters as in Python's own calls, cache on or off."""

import functools
import inspect
import itertools

import pytest

import cachier
from cachier import _core


def no_parameters():
    return ()


def positional(a, b, c):
    return a, b, c


def defaults(a, b=2, c=3):
    return a, b, c


def positional_only(a, b=2, /, c=3):
    return a, b, c


def keyword_only(a, *, k, m=4):
    return a, k, m


def surplus(a, *rest):
    return a, rest


def extra(a, **more):
    return a, sorted(more.items())


def everything(a, b=2, /, c=3, *rest, k, m=5, **more):
    return a, b, c, rest, k, m, sorted(more.items())


def twelve(a, b, c, d, e, f, g, h, i, j, k, m, n=1, o=2, p=3, q=4, r=5, s=6):
    return a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, q, r, s


FUNCTIONS = [
    no_parameters,
    positional,
    defaults,
    positional_only,
    keyword_only,
    surplus,
    extra,
    everything,
    twelve,
]

POSITIONALS = [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), tuple(range(12))]
KEYWORDS = [
    {},
    {"a": 1},
    {"b": 2},
    {"c": 3},
    {"k": 4},
    {"k": 4, "m": 5},
    {"a": 1, "b": 2, "c": 3},
    {"c": 3, "k": 1},
    {"unknown": 1},
    {"k": 1, "z": 1, "y": 2},
    {"k": 1, "y": 2, "z": 1},
]
CALLS = list(itertools.product(POSITIONALS, KEYWORDS))


def outcome(function, args, kwds):
    try:
        return function(*args, **kwds)
    except TypeError as error:
        return str(error)


@pytest.mark.memory
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_results_and_refusals_are_the_functions_own(function):
    cached = cachier.cachier(backend="memory")(function)
    for args, kwds in CALLS:
        expected = outcome(function, args, kwds)
        for _ in range(2):
            assert outcome(cached, args, kwds) == expected
        skipped = {**kwds, "cachier__skip_cache": True}
        assert outcome(cached, args, skipped) == expected
    cachier.disable_caching()
    for args, kwds in CALLS:
        assert outcome(cached, args, kwds) == outcome(function, args, kwds)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_calls_that_mean_the_same_have_the_same_key(function):
    cached = cachier.cachier(backend="memory")(function)
    signature = inspect.signature(function)
    keys = {}
    for args, kwds in CALLS:
        try:
            bound = signature.bind(*args, **kwds)
        except TypeError:
            with pytest.raises(TypeError):
                _core.call_key(cached, *args, **kwds)
            continue
        bound.apply_defaults()
        meaning = repr(
            [
                sorted(value.items()) if isinstance(value, dict) else value
                for value in bound.arguments.values()
            ]
        )
        key = _core.call_key(cached, *args, **kwds)
        assert keys.setdefault(meaning, key) == key
    assert len(set(keys.values())) == len(keys)


def test_names_that_are_not_interned():
    cached = cachier.cachier(backend="memory")(everything)
    name = "".join(["k"] * 1) + ""
    kwds = {bytes(name, "ascii").decode(): 1, "".join(["max", "_age"]): None}
    assert cached(1, **kwds) == everything(1, k=1)


def test_keywords_in_any_order_are_one_key(make, recorded):
    @make()
    def f(p, /, a, b=2, *, k=3):
        recorded.append(1)
        return p, a, b, k

    assert f(0, 1) == f(0, a=1) == f(0, k=3, b=2, a=1) == f(0, 1, k=3) == (0, 1, 2, 3)
    assert recorded == [1]
    assert f(0, b=1, a=2) == (0, 2, 1, 3)
    for wrong in ({"p": 0, "a": 1}, {"a": 1, "x": 2}, {"b": 1}):
        with pytest.raises(TypeError):
            f(0, **wrong)
    with pytest.raises(TypeError):
        f(0, 1, a=1)


def test_defaults_are_those_of_the_moment():
    def f(x=1):
        return x

    cached = cachier.cachier(backend="memory")(f)
    assert cached() == 1
    f.__defaults__ = (2,)
    assert cached() == 2
    assert cached() == 2


def test_keyword_only_defaults_are_those_of_the_moment():
    def f(*, x=1):
        return x

    cached = cachier.cachier(backend="memory")(f)
    assert cached() == 1
    f.__kwdefaults__["x"] = 2
    assert cached() == 2
    del f.__kwdefaults__["x"]
    with pytest.raises(TypeError, match="missing 1 required keyword-only"):
        cached()


class TestMethods:
    class Shop:
        def __init__(self, name):
            self.name = name

        @cachier.cachier(backend="memory", allow_non_static_methods=True)
        def price(self, item, tax=0):
            return object()

        @staticmethod
        @cachier.cachier(backend="memory")
        def static(x):
            return object()

        @classmethod
        @cachier.cachier(backend="memory")
        def of_class(cls, x):
            return object()

    class Branch(Shop):
        pass

    def test_instances_share(self):
        one, other = self.Shop("a"), self.Shop("b")
        first = one.price("tea")
        assert other.price("tea") is first
        assert one.price(item="tea", tax=0) is first
        assert self.Shop.price(one, "tea") is first
        assert one.price("tea", 1) is not first

    def test_methods_are_first_class(self):
        one = self.Shop("a")
        bound = one.price
        assert bound("x") is one.price("x")
        assert list(map(bound, ["x", "x"])) == [bound("x")] * 2
        assert bound == one.price
        assert hash(bound) == hash(one.price)
        assert bound != self.Shop("b").price
        assert bound.__self__ is one
        assert bound.__func__ is self.Shop.price
        assert str(inspect.signature(bound)) == "(item, tax=0)"
        assert bound.__name__ == "price"

    def test_static_and_class_methods(self):
        assert self.Shop.static(1) is self.Shop("a").static(1)
        assert self.Shop.of_class(1) is self.Shop("a").of_class(1)
        assert self.Shop.of_class(1) is not self.Branch.of_class(1)

    def test_precache_on_a_bound_method_binds_the_instance(self):
        one = self.Shop("a")
        assert one.price.precache_value("milk", value_to_cache=7) == 7
        assert one.price("milk") == 7
        assert self.Shop("b").price("milk", tax=0) == 7

    def test_management_through_an_instance(self):
        one = self.Shop("a")
        first = one.price("bread")
        assert one.price.clear_cache() is None
        assert one.price("bread") is not first

    def test_refusals_name_the_method(self):
        with pytest.raises(TypeError, match="item"):
            self.Shop("a").price()
        with pytest.raises(TypeError):
            self.Shop.price()

    def test_methods_of_two_classes_do_not_share(self, make):
        class A:
            @make(allow_non_static_methods=True)
            def f(self):
                return "A"

        class B:
            @make(allow_non_static_methods=True)
            def f(self):
                return "B"

        assert (A().f(), B().f()) == ("A", "B")
        assert (A().f(), B().f()) == ("A", "B")


def test_a_first_parameter_named_self_needs_leave():
    def method(self, x):
        return x

    with pytest.raises(TypeError) as caught:
        cachier.cachier(backend="memory")(method)
    assert "instance method" in str(caught.value)
    assert "allow_non_static_methods" in str(caught.value)
    assert cachier.cachier(backend="memory", allow_non_static_methods=True)(method)(
        None, 3
    )
    cachier.set_global_params(allow_non_static_methods=True)
    assert cachier.cachier(backend="memory")(method)(None, 3)
    with pytest.raises(TypeError):
        cachier.cachier(backend="memory", allow_non_static_methods=False)(method)


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_the_decorators_of_methods_stand_above(kind):
    with pytest.raises(TypeError, match=f"write @{kind.__name__} above"):
        cachier.cachier(backend="memory")(kind(lambda x: x))


class TestPartial:
    def test_it_shares_the_cache_of_its_function(self, make, recorded):
        def f(a, b, c=3):
            recorded.append((a, b, c))
            return a, b, c

        decorator = make()
        whole = decorator(f)
        part = decorator(functools.partial(f, 1, c=5))
        assert part(2) == (1, 2, 5)
        assert whole(1, 2, 5) == (1, 2, 5)
        assert recorded.count == 1

    def test_keywords_of_the_call_win(self, make):
        def f(a, b=2):
            return a, b

        part = make()(functools.partial(f, b=5))
        assert part(1) == (1, 5)
        assert part(1, b=7) == (1, 7)
        assert part(1, b=7) == (1, 7)
        nested = make()(functools.partial(functools.partial(f, 1), b=9))
        assert nested() == (1, 9)

    def test_its_refusals_are_its_own(self, make):
        def f(a):
            return a

        part = make()(functools.partial(f, 1))
        assert outcome(part, (2,), {}) == outcome(functools.partial(f, 1), (2,), {})


class TestOtherCallables:
    def test_bound_methods_are_told_by_their_object(self, make):
        class Adder:
            def __init__(self, n):
                self.n = n

            def add(self, x):
                return self.n + x

        decorator = make()
        one, two = decorator(Adder(1).add), decorator(Adder(2).add)
        assert (one(10), two(10), one(x=10)) == (11, 12, 11)

    def test_bound_methods_of_builtin_types_too(self, make):
        # One decorator, for it is what shares in memory.
        decorate = make()
        one, other = decorate("abc".find), decorate("xab".find)
        assert [one("a"), other("a"), one("a"), other("a")] == [0, 1, 0, 1]

    def test_callable_objects(self, make):
        class Adder:
            def __init__(self, n):
                self.n = n

            def __call__(self, x):
                return self.n + x

        decorator = make()
        one, two = decorator(Adder(1)), decorator(Adder(2))
        assert (one(10), two(10), one(10)) == (11, 12, 11)

    def test_builtin_functions(self, make):
        cached = make()(divmod)
        assert cached(7, 2) == (3, 1)
        assert cached(7, 2) == (3, 1)
        with pytest.raises(TypeError):
            cached(1)

    def test_functions_under_other_decorators(self, make, recorded):
        def twice(function):
            @functools.wraps(function)
            def wrapper(*args, **kwds):
                return 2 * function(*args, **kwds)

            return wrapper

        @make()
        @twice
        def f(x, y=1):
            recorded.append(x)
            return x + y

        assert f(1) == f(x=1) == f(1, 1) == f(1, y=1) == 4
        assert recorded.count == 1
        assert str(inspect.signature(f)) == "(x, y=1)"

    def test_wrappers_that_take_more_are_cached(self, make, recorded):
        def shouts(function):
            @functools.wraps(function)
            def wrapper(*args, loud=False, **kwds):
                result = function(*args, **kwds)
                return result.upper() if loud else result

            return wrapper

        @make()
        @shouts
        def f(x, y="b"):
            recorded.append(x)
            return x + y

        assert f("a") == f(x="a") == f("a", "b", loud=False) == "ab"
        assert recorded.count == 1
        assert f("a", loud=True) == f("a", y="b", loud=True) == "AB"
        assert recorded.count == 2

    def test_wrappers_that_take_anything_more_are_cached(self, make, recorded):
        def counts(function):
            @functools.wraps(function)
            def wrapper(*args, **kwds):
                recorded.append(args)
                return function(args[0]), args[1:], kwds.get("more")

            return wrapper

        @make(allow_non_static_methods=True)
        @counts
        def f(self):
            return 1

        @make()
        @counts
        def g(x):
            return x

        for _ in range(2):
            assert g(1) == (1, (), None)
            assert g(1, 2) == (1, (2,), None)
            assert g(1, more=2) == (1, (), 2)
        assert recorded.count == 3
        # Instances share, whichever way the call is bound.
        assert f("one", 2) == f("other", 2) == (1, (2,), None)
        assert recorded.count == 4

    def test_defaults_of_a_wrapper_are_those_that_count(self, make):
        def nine(function):
            @functools.wraps(function)
            def wrapper(*args, y=9, **kwds):
                return function(*args, y=y, **kwds)

            return wrapper

        @make()
        @nine
        def f(x, y=2):
            return x, y

        assert [f(1), f(1, y=2), f(1, y=9)] == [(1, 9), (1, 2), (1, 9)]

    def test_wrappers_of_methods(self, make, recorded):
        def counts(function):
            @functools.wraps(function)
            def wrapper(self, x=5, *args, **kwds):
                recorded.append(x)
                return function(self, x, *args, **kwds.get("more", {}))

            return wrapper

        seen = []

        def hash_func(args, kwds):
            seen.append(kwds)
            return str(kwds)

        class Thing:
            def method(self, x=1, y=2):
                return x, y

            plain = make(allow_non_static_methods=True)(counts(method))
            hashed = make(allow_non_static_methods=True, hash_func=hash_func, name="h")(
                counts(method)
            )

        one, other = Thing(), Thing()
        # The wrapper's default is the one that counts.
        assert one.plain() == other.plain(5) == one.plain(x=5, y=2) == (5, 2)
        assert one.plain(1) == (1, 2)
        assert recorded == [5, 1]
        assert one.plain(5, more={"y": 7}) == other.plain(5, more={"y": 7}) == (5, 7)
        assert one.plain(5, more={"y": 8}) == (5, 8)
        assert recorded == [5, 1, 5, 5]
        assert one.hashed(1, 3) == (1, 3)
        assert seen == [{"x": 1, "y": 3}]

    def test_wrappers_with_an_order_of_their_own(self, make):
        def swaps(function):
            @functools.wraps(function)
            def wrapper(b, a):
                return function(a, b)

            return wrapper

        @make()
        @swaps
        def f(a, b):
            return a, b

        assert [f(1, 2), f(b=2, a=1), f(2, 1)] == [(2, 1), (1, 2), (1, 2)]

    def test_other_decorators_above(self, make):
        @functools.lru_cache
        @make()
        def f(x):
            return [x]

        assert f(1) is f(1)

    def test_wrappers_that_add_arguments(self, make):
        def adds(function):
            @functools.wraps(function)
            def wrapper(*args):
                return function("added", *args)

            return wrapper

        @make()
        @adds
        def f(added, x):
            return added, x

        assert f(1) == ("added", 1)
        assert f(2) == ("added", 2)


@pytest.mark.parametrize("thing", [3, None, "text", object()])
def test_only_callables_can_be_cached(thing):
    with pytest.raises(TypeError, match="can be called"):
        cachier.cachier(backend="memory")(thing)


def test_generators_are_refused():
    def generator():
        yield 1

    async def async_generator():
        yield 1

    for function in (generator, async_generator, functools.partial(generator)):
        with pytest.raises(TypeError, match="generator"):
            cachier.cachier(backend="memory")(function)


def test_parameters_named_like_options_are_warned_of():
    with pytest.warns(cachier.CachierWarning, match="max_age"):

        @cachier.cachier(backend="memory")
        def f(x, max_age=3):
            return x, max_age

    assert f(1, 5) == (1, 5)
    assert f(1, max_age=None) == (1, 3)
