"""Function ids: which functions share entries, and which do not."""

import functools
import gc
import textwrap

import pytest

import cachier
from cachier import _core, _names, core


def id_of(function, **options):
    return cachier.cachier(backend="memory", **options)(function)._function_id


def top_level(a, /, b=1, *rest, k, **more):
    return a


class Outer:
    class Inner:
        def method(self, x):
            return x

        @staticmethod
        def static(x):
            return x


def test_plain_functions():
    assert id_of(top_level) == f"cachier:{__name__}.top_level(a,b,*rest,k,**more)"
    assert (
        id_of(Outer.Inner.method, allow_non_static_methods=True)
        == f"cachier:{__name__}.Outer.Inner.method(x)"
    )
    assert id_of(Outer.Inner.static) == f"cachier:{__name__}.Outer.Inner.static(x)"
    assert id_of(top_level, key_prefix="team") == id_of(top_level).replace(
        "cachier:", "team:", 1
    )
    assert id_of(top_level, version="2") == id_of(top_level) + "@2"


def test_given_names():
    assert id_of(top_level, name="forecast") == "cachier:forecast"
    assert id_of(top_level, name="forecast", version="2") == "cachier:forecast@2"
    assert id_of(lambda x: x, name="a:b") == "cachier:a%3Ab"


def test_reordered_parameters_are_a_new_function():
    names = {"__name__": "shop"}
    exec("def f(a, b): pass", names)
    first = id_of(names["f"])
    exec("def f(b, a): pass", names)
    assert id_of(names["f"]) != first


def test_lambdas_are_told_by_their_code():
    one, same, other = (lambda x: x + 1), (lambda x: x + 1), (lambda x: x + 2)
    assert id_of(one) == id_of(same) != id_of(other)
    assert "#" in id_of(one)


def test_local_functions_are_told_by_plain_closure_values():
    def factory(value):
        def inner(x):
            return value

        return inner

    for one, other in [(1, 2), ("a", "b"), ((1, "a"), (1, "b")), (None, False)]:
        assert id_of(factory(one)) == id_of(factory(one)) != id_of(factory(other))
    assert id_of(factory([1])) == id_of(factory([1])) != id_of(factory([2]))
    assert id_of(factory(1)) != id_of(factory(1.0)) != id_of(factory(True))


class Opaque:
    """What has no key."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        raise TypeError("not to be taken apart")


def test_what_has_no_key_tells_functions_of_this_process_apart(cache_dir):
    def factory(kept):
        def inner(x):
            return kept.value + x

        return inner

    def cached(kept):
        with pytest.warns(cachier.CachierWarning, match="(?s)Opaque.*name="):
            return cachier.cachier(cache_dir=cache_dir)(factory(kept))

    one, two = Opaque(1), Opaque(2)
    assert [cached(one)(10), cached(two)(10)] == [11, 12]
    assert cached(one)._function_id == cached(one)._function_id
    seen = set()
    for _ in range(20):  # addresses are used again, what told them apart is not
        seen.add(cached(Opaque(3))._function_id)
    assert len(seen) == 20
    named = cachier.cachier(cache_dir=cache_dir, name="mine")(factory(one))
    assert named(10) == 11


def test_what_has_no_key_is_told_apart_in_other_processes(run_python, cache_dir):
    source = """
        import os, sys, threading, warnings, cachier
        warnings.simplefilter("ignore")
        def cached(lock):
            @cachier.cachier(cache_dir=sys.argv[1])
            def inner():
                lock
            return inner
        kept = threading.Lock()
        print(cached(kept)._function_id)
        sys.stdout.flush()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            print(cached(kept)._function_id)
        print(cached(threading.Lock())._function_id)
        sys.stdout.flush()
    """
    lines = [run_python(source, cache_dir).stdout.split() for _ in range(2)]
    assert [len(process) for process in lines] == [4, 4], lines
    # The child of a fork knows the objects of its parent.
    assert [len(set(process)) for process in lines] == [3, 3]
    assert not set(lines[0]) & set(lines[1])


def test_closures_over_functions_and_cached_functions():
    def factory(used):
        def inner(x):
            return used(x)

        return inner

    def plus(n):
        return lambda x: x + n

    assert id_of(factory(plus(1))) == id_of(factory(plus(1)))
    assert id_of(factory(plus(1))) != id_of(factory(plus(2)))
    cached = [cachier.cachier(backend="memory")(plus(n)) for n in (1, 1, 2)]
    one, same, other = (id_of(factory(function)) for function in cached)
    assert one == same != other


def test_functions_that_know_themselves(cache_dir):
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert cachier.cachier(cache_dir=cache_dir)(fib)(10) == 55


def test_wrappers_of_local_functions_are_told_by_their_closures_too(cache_dir):
    import functools

    def times(n):
        def decorate(function):
            @functools.wraps(function)
            def wrapper(*args, **kwds):
                return n * function(*args, **kwds)

            return wrapper

        return decorate

    def f(x):
        return x

    two, three = (cachier.cachier(cache_dir=cache_dir)(times(n)(f)) for n in (2, 3))
    assert [two(5), three(5), two(5), three(5)] == [10, 15, 10, 15]


def test_objects_without_names_are_refused(cache_dir):
    import operator

    with pytest.raises(TypeError, match='name="'):
        cachier.cachier(cache_dir=cache_dir)(operator.itemgetter(1))
    first = cachier.cachier(cache_dir=cache_dir, name="first")(operator.itemgetter(0))
    assert first("ab") == "a"


@pytest.mark.pickle
def test_closures_of_a_factory_do_not_share(cache_dir):
    def factory(n):
        @cachier.cachier(cache_dir=cache_dir)
        def inner(x):
            return n * x

        return inner

    two, three = factory(2), factory(3)
    assert [two(5), three(5), two(5), three(5)] == [10, 15, 10, 15]


def test_what_is_gone_leaves_its_number_to_nobody():
    """In memory a function never answers for another one, however short it lived."""
    decorator = cachier.cachier(backend="memory")

    def factory(answer):
        # Equal when decorated, so that neither code nor closure tells them apart.
        answers = []

        @decorator
        def inner(x):
            return answers[0]

        return inner, lambda: answers.append(answer)

    functions = []
    for answer in "abc":
        inner, set_answer = factory(answer)
        set_answer()
        assert inner(1) == answer
        functions.append(inner)
        if answer == "b":
            del functions[0]
            gc.collect()
    assert [inner(1) for inner in functions] == ["b", "c"]
    del functions, inner
    gc.collect()
    last, set_answer = factory("d")
    set_answer()
    assert last(1) == "d"


def test_the_digest_of_code_does_not_depend_on_the_process(run_python):
    source = """
        from cachier import _core
        def outer():
            names = {"a", "b", "c"}
            def inner(x, y=frozenset({1, 2})):
                return x in {"p", "q", "r"} and [n for n in names if n]
            return inner
        print(_core.code_digest((outer(),)), _core.code_digest((lambda: "text",)))
    """
    found = {run_python(source, env={"PYTHONHASHSEED": s}).stdout for s in "012"}
    assert len(found) == 1


def test_line_numbers_and_files_do_not_matter(run_python):
    source = (
        "from cachier import _core\n{}f = lambda x: x + 1\n"
        "print(_core.code_digest((f,)))"
    )
    one = run_python(source.format(""), name="one.py").stdout
    other = run_python(source.format("\n\n\n"), name="other.py").stdout
    assert one == other


SCRIPT = """
    import sys
    from cachier import cachier
    @cachier(cache_dir=sys.argv[1])
    def totals(path):
        print("runs")
        return path + "{}"
    print(totals("p"), totals._function_id)
"""


@pytest.mark.pickle
def test_scripts_keep_their_identity_and_do_not_share(run_python, cache_dir, tmp_path):
    first = run_python(SCRIPT.format(1), cache_dir, name="one.py").stdout
    again = run_python(SCRIPT.format(1), cache_dir, name="one.py").stdout
    other = run_python(SCRIPT.format(2), cache_dir, name="two.py").stdout
    where = f"cachier:{tmp_path.resolve()}/one.py.totals(path)"
    assert first == f"runs\np1 {where}\n"
    assert again == f"p1 {where}\n"
    assert other.startswith("runs\np2 ")


WRAPPED = """
    import functools, sys
    from cachier import cachier
    from lib import around
    @cachier(cache_dir=sys.argv[1])
    @WRAPPER
    def totals(path):
        return path + "{}"
    print(totals("p"), totals._function_id)
"""


@pytest.mark.pickle
@pytest.mark.parametrize("wrapper", ["around", "functools.lru_cache(None)"])
def test_wrapped_functions_of_scripts_do_not_share(
    run_python, cache_dir, tmp_path, wrapper
):
    (tmp_path / "lib.py").write_text(
        textwrap.dedent("""
            import functools
            def around(function):
                @functools.wraps(function)
                def wrapper(*args, **kwds):
                    return function(*args, **kwds)
                return wrapper
        """)
    )
    source = WRAPPED.replace("WRAPPER", wrapper)
    for n, name in enumerate(["one.py", "two.py"]):
        out = run_python(source.format(n), cache_dir, name=name).stdout
        where = f"cachier:{tmp_path.resolve()}/{name}.totals(path)"
        assert out == f"p{n} {where}\n"


@pytest.mark.pickle
def test_modules_run_as_programs(run_python, cache_dir, tmp_path):
    import subprocess
    import sys

    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "tool.py").write_text(textwrap.dedent(SCRIPT.format(1)))
    done = subprocess.run(
        [sys.executable, "-m", "pkg.tool", cache_dir],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("cachier:pkg.tool.totals(path)\n")


def test_code_without_a_file_is_told_by_its_code(tmp_path):
    import subprocess
    import sys

    def run(body, *, piped):
        source = (
            "import cachier\n@cachier.cachier(backend='memory')\n"
            f"def f(x): return {body}\nprint(f._function_id)"
        )
        return subprocess.run(
            [sys.executable, *(["-"] if piped else ["-c", source])],
            input=source if piped else None,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    for piped in (False, True):
        first = run("x + 1", piped=piped)
        assert first == run("x + 1", piped=piped) != run("x + 2", piped=piped)
        assert first.startswith("cachier:__main__.f#")


def test_code_digest_needs_code():
    with pytest.raises(TypeError):
        _core.code_digest((len,))


class TestPlainFunctions:
    """What most functions are: their ids are made in one step, and are the same."""

    @staticmethod
    def static(a, /, b, *rest, c, **more):
        pass

    @classmethod
    def with_class(cls, a):
        pass

    async def coroutine(a, b=1):
        pass

    @pytest.mark.parametrize(
        "naming", [{}, {"name": "ä"}, {"version": "2"}, {"key_prefix": "other/"}]
    )
    @pytest.mark.parametrize(
        "function",
        [static, with_class.__func__, coroutine, textwrap.dedent],
        ids=lambda function: getattr(function, "__name__", "static"),
    )
    def test_their_ids(self, function, naming):
        function = getattr(function, "__func__", function)
        parts = {"key_prefix": "cachier", "name": None, "version": None, **naming}
        plain = _core.plain_function_id(function, *parts.values())
        names = core._names_of(function.__code__)
        assert plain == _names.function_id(
            function, ",".join(names), shared=True, **parts
        )

    def test_what_needs_more(self):
        def local(a):
            pass

        @functools.wraps(textwrap.dedent)
        def wrapper(a):
            pass

        def generator(a):
            yield

        async def async_generator(a):
            yield

        def method(self, a):
            pass

        def shadowing(a, *, max_age):
            pass

        def of_the_program(a):
            pass

        def made(a):
            pass

        exec(compile("def typed(a): pass", "<stdin>", "exec"), names := {})
        for function in (wrapper, generator, async_generator, method, shadowing, made):
            function.__qualname__ = function.__name__
        of_the_program.__module__ = "__main__"
        made.__module__ = None
        others = [local, names["typed"], lambda: 1, functools.partial(local), len, 1]
        for other in (
            *(wrapper, generator, async_generator, method, shadowing),
            *(of_the_program, made, *others),
        ):
            assert _core.plain_function_id(other, "cachier", None, None) is None

    def test_names_without_an_encoding_are_refused(self):
        for naming in (
            ("\ud800", None, None),
            ("", "\ud800", None),
            ("", "a", "\ud800"),
        ):
            with pytest.raises(UnicodeEncodeError):
                _core.plain_function_id(textwrap.dedent, *naming)
