"""Keys that a function of the user's makes."""

import pytest

import cachier


@pytest.fixture
def seen():
    return []


def test_what_it_is_called_with(make, seen):
    def hash_func(args, kwds):
        seen.append((args, list(kwds.items())))
        return 1

    @make(hash_func=hash_func)
    def f(z, a=2, *rest, k=4, **more):
        return 1

    f(1, 2, 3, 4, y=5)
    assert seen == [
        (
            (),
            [
                ("__varargs_0__", 3),
                ("__varargs_1__", 4),
                ("a", 2),
                ("k", 4),
                ("y", 5),
                ("z", 1),
            ],
        )
    ]
    f(z=1)
    assert seen[-1] == ((), [("a", 2), ("k", 4), ("z", 1)])


def test_self_is_left_out_and_cls_is_in(make, seen):
    def hash_func(args, kwds):
        seen.append(sorted(kwds))
        return 1

    class Shop:
        @make(hash_func=hash_func, allow_non_static_methods=True)
        def method(self, x):
            return x

        @classmethod
        @make(hash_func=hash_func)
        def of_class(cls, x):
            return x

    Shop().method(1)
    Shop.of_class(1)
    assert seen == [["x"], ["cls", "x"]]


def test_it_makes_the_key(make, recorded):
    @make(hash_func=lambda args, kwds: kwds["x"] % 2)
    def f(x, session=None):
        recorded.append(x)
        return x

    assert [f(1), f(3), f(2), f(4, session=object())] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    "made", ["text", 1, (1, "a"), frozenset({1}), b"bytes", 1.5, None]
)
def test_it_may_return_any_hashable(make, recorded, made):
    @make(hash_func=lambda args, kwds: made)
    def f(x):
        recorded.append(x)
        return x

    f(1)
    f(2)
    assert recorded.count == 1


def test_what_it_returns_without_a_key_is_refused(make):
    @make(hash_func=lambda args, kwds: object())
    def f(x):
        return x

    with pytest.raises(TypeError, match="hash_func"):
        f(1)


def test_what_it_raises_reaches_the_caller(make):
    def hash_func(args, kwds):
        raise LookupError("of its own")

    @make(hash_func=hash_func)
    def f(x):
        return x

    with pytest.raises(LookupError, match="of its own"):
        f(1)


def test_the_old_name_warns_and_wins(recorded):
    with pytest.warns(DeprecationWarning, match="hash_params will be removed"):
        decorator = cachier.cachier(
            hash_func=lambda args, kwds: kwds["x"],
            hash_params=lambda args, kwds: 1,
            backend="memory",
        )

    @decorator
    def f(x):
        recorded.append(x)
        return x

    f(1)
    f(2)
    assert recorded.count == 1


def test_a_global_one(recorded):
    cachier.set_global_params(hash_func=lambda args, kwds: 1)

    @cachier.cachier(backend="memory")
    def f(x):
        recorded.append(x)
        return x

    f(1)
    f(2)
    assert recorded.count == 1


def test_by_position():
    @cachier.cachier(lambda args, kwds: 1, None, "memory")
    def f(x):
        return x

    assert [f(1), f(2)] == [1, 1]


def test_not_callable():
    with pytest.raises(TypeError, match="hash_func must be callable"):
        cachier.cachier(hash_func=3)


def test_a_keyword_named_like_a_positional_only_parameter(make, seen):
    def hash_func(args, kwds):
        seen.append(kwds)
        return tuple(kwds.items())

    @make(hash_func=hash_func)
    def f(x, /, **more):
        return x, more

    assert f(1, x=2) == (1, {"x": 2})
    assert f(3, x=2) == (3, {"x": 2})
    assert seen[-1] == {"__kwargs_x__": 2, "x": 3}
