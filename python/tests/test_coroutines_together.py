"""Coroutine functions: many callers at once, and callers that go away."""

import asyncio
import importlib.util
import os
import subprocess
import sys
import textwrap
import threading
from datetime import timedelta

import pytest

import cachier

pytestmark = pytest.mark.asyncio

LONG = timedelta(days=1)
MANY = 1000
SOON = 60


@pytest.fixture(params=["asyncio", "asyncio debug", "uvloop", "anyio"])
def run(request):
    """What runs a coroutine function in a new loop."""
    name = request.param
    if name.startswith("asyncio"):
        return lambda main: asyncio.run(main(), debug=name != "asyncio")
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    module = importlib.import_module(name)
    if name == "uvloop":
        return lambda main: module.run(main())
    return module.run


class Gate:
    """A function whose computations wait to be let through, in whatever loop."""

    def __init__(self, decorate, *, name="gate"):
        self.runs = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        #: What a computation does once it is let through.
        self.then = lambda: "result"

        async def gate(x):
            self.runs.append(x)
            self.entered.release()
            while not self.open.is_set():
                await asyncio.sleep(0.001)
            return self.then()

        self.call = decorate(gate)

    async def has_entered(self):
        while not self.entered.acquire(blocking=False):
            await asyncio.sleep(0.001)

    async def others_wait(self, tasks):
        """Until those that do not compute are all waiting."""
        del tasks
        for _ in range(20):
            await asyncio.sleep(0.001)


@pytest.fixture
def gate(make):
    return Gate(make(name="gate"))


def test_a_thousand_tasks_on_one_key_run_it_once(gate, run):
    async def main():
        tasks = [asyncio.create_task(gate.call(1)) for _ in range(MANY)]
        await gate.has_entered()
        gate.open.set()
        assert set(await asyncio.gather(*tasks)) == {"result"}

    run(main)
    assert gate.runs == [1]


def test_a_thousand_tasks_share_one_failure(gate, run):
    def fail():
        raise LookupError("no")

    gate.then = fail

    async def main():
        tasks = [asyncio.create_task(gate.call(1)) for _ in range(MANY)]
        await gate.has_entered()
        await gate.others_wait(tasks)
        gate.open.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in done} == {LookupError}

    run(main)
    # Those who came too late to wait for the first have one of their own.
    assert len(gate.runs) < 10


def test_many_keys_at_once(gate, run):
    gate.open.set()

    async def main():
        await asyncio.gather(*(gate.call(x % 50) for x in range(MANY)))

    run(main)
    assert sorted(gate.runs) == list(range(50))


def test_loops_in_threads_run_it_once(gate):
    results = []

    async def main():
        results.extend(await asyncio.gather(*(gate.call(1) for _ in range(100))))

    threads = [threading.Thread(target=asyncio.run, args=[main()]) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.entered.acquire()
    gate.open.set()
    for thread in threads:
        thread.join()
    assert results == ["result"] * 800
    assert gate.runs == [1]


def test_plain_and_coroutine_functions_wait_for_each_other(cache_dir):
    """Of one id: whichever comes first computes."""
    decorate = cachier.cachier(cache_dir=cache_dir, name="shared")
    gate = Gate(decorate)
    runs = []
    entered, release = threading.Event(), threading.Event()

    def plain(x):
        runs.append(x)
        entered.set()
        release.wait(SOON)
        return "plain"

    plain = decorate(plain)

    def in_thread(results):
        results.append(plain(1))

    async def main():
        task = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        results = []
        thread = threading.Thread(target=in_thread, args=[results])
        thread.start()
        gate.open.set()
        await task
        await asyncio.to_thread(thread.join)
        assert results == ["result"]
        assert runs == []

        gate.call.clear_cache()
        thread = threading.Thread(target=in_thread, args=[results])
        thread.start()
        await asyncio.to_thread(entered.wait)
        task = asyncio.create_task(gate.call(1))
        await gate.others_wait([task])
        assert not task.done()
        release.set()
        assert await task == "plain"
        await asyncio.to_thread(thread.join)
        assert gate.runs == [1]

    asyncio.run(main())


def test_cancelling_one_who_waits_disturbs_nobody(gate, run):
    async def main():
        owner = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        waiting = [asyncio.create_task(gate.call(1)) for _ in range(20)]
        await gate.others_wait(waiting)
        for task in waiting[::2]:
            task.cancel()
        done = await asyncio.gather(*waiting[::2], return_exceptions=True)
        assert {type(one) for one in done} == {asyncio.CancelledError}
        gate.open.set()
        assert await owner == "result"
        assert set(await asyncio.gather(*waiting[1::2])) == {"result"}

    run(main)
    assert gate.runs == [1]


def test_cancelling_the_owner_lets_another_compute(gate, run):
    async def main():
        owner = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        waiting = [asyncio.create_task(gate.call(1)) for _ in range(20)]
        await gate.others_wait(waiting)
        owner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await owner
        await gate.has_entered()
        gate.open.set()
        results = await asyncio.wait_for(asyncio.gather(*waiting), SOON)
        assert set(results) == {"result"}

    run(main)
    assert gate.runs == [1, 1]


def test_cancelling_at_any_moment_leaves_no_claim(make, run):
    """However far the call is, the next one computes or finds, and does not hang."""

    @make(name="any_moment")
    async def f(x):
        await asyncio.sleep(0)
        return x

    async def main():
        for steps in range(40):
            task = asyncio.create_task(f(steps))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await asyncio.wait_for(f(steps), SOON) == steps

    run(main)


def test_the_end_of_a_loop_ends_its_claims(gate):
    """`asyncio.run` cancels what is left; a loop that is just closed leaves it."""

    async def leave():
        task = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        return task

    asyncio.run(leave())
    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(leave())
    loop.close()
    task.get_coro().close()
    task._log_destroy_pending = False
    del task
    gate.open.set()
    assert asyncio.run(asyncio.wait_for(gate.call(1), SOON)) == "result"
    assert gate.runs == [1, 1, 1]


def test_a_loop_that_ends_leaves_waiters_of_another_alone(gate):
    other = []

    async def wait():
        other.append(await asyncio.wait_for(gate.call(1), SOON))

    async def own():
        task = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        thread = threading.Thread(target=asyncio.run, args=[wait()])
        thread.start()
        await gate.others_wait([task])
        return thread

    thread = asyncio.run(own())
    gate.open.set()
    thread.join()
    assert other == ["result"]
    assert gate.runs == [1, 1]


def test_timeouts_around_calls(gate):
    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(gate.call(1), 0.05)
        before = len(gate.runs)
        owner = asyncio.create_task(gate.call(1))
        while len(gate.runs) == before:
            await asyncio.sleep(0.001)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(gate.call(1), 0.05)
        if sys.version_info >= (3, 11):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await gate.call(1)
        assert len(gate.runs) == before + 1
        gate.open.set()
        assert await owner == "result"

    asyncio.run(main())


def test_scopes_and_groups_of_anyio(gate):
    anyio = pytest.importorskip("anyio")

    async def main():
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await gate.call(1)
        with anyio.move_on_after(0.05) as scope:
            await gate.call(1)
        assert scope.cancelled_caught
        gate.open.set()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(gate.call, 2)

    anyio.run(main)
    assert gate.runs.count(2) == 1


def test_a_wait_that_takes_too_long_computes(make, run):
    gate = Gate(make(name="gate", wait_for_calc_timeout=0.05))

    async def main():
        owner = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        other = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        gate.open.set()
        assert await asyncio.gather(owner, other) == ["result"] * 2

    run(main)
    assert gate.runs == [1, 1]


def test_freed_claims_let_others_compute(gate):
    async def main():
        owner = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        await gate.call.aclear_being_calculated()
        other = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        gate.open.set()
        assert await asyncio.gather(owner, other) == ["result"] * 2

    asyncio.run(main())
    assert gate.runs == [1, 1]


def test_what_is_cleared_while_it_is_computed_is_not_stored(gate):
    async def main():
        owner = asyncio.create_task(gate.call(1))
        await gate.has_entered()
        gate.call.clear_cache()
        gate.open.set()
        assert await owner == "result"
        await gate.call(1)

    asyncio.run(main())
    assert gate.runs == [1, 1]


def test_two_who_wait_for_each_other_compute(make):
    runs = []
    begun = set()
    other = {}

    async def meet(name):
        runs.append(name)
        begun.add(name)
        while len(begun) < 2:
            await asyncio.sleep(0)
        return name if len(runs) > 3 else await other[name]()

    @make(name="a")
    async def a():
        return await meet("a")

    @make(name="b")
    async def b():
        return await meet("b")

    other.update(a=b, b=a)

    async def main():
        await asyncio.wait_for(asyncio.gather(a(), b()), SOON)

    asyncio.run(main())
    assert len(runs) > 2


def test_a_stale_result_is_handed_out_while_one_refreshes(make):
    gate = Gate(make(name="gate", stale_after=timedelta(0), next_time=True))

    async def main():
        gate.open.set()
        await gate.call(1)
        gate.open.clear()
        gate.then = lambda: "new"
        assert (
            await asyncio.gather(*(gate.call(1) for _ in range(50))) == ["result"] * 50
        )
        await gate.has_entered()
        await gate.has_entered()
        gate.open.set()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        assert await gate.call(1, cachier__stale_after=LONG) == "new"

    asyncio.run(main())
    assert gate.runs == [1, 1]


PROGRAM = """
    import asyncio, os, sys
    import cachier

    @cachier.cachier(cache_dir=sys.argv[1], name="f")
    async def f(x):
        with open(sys.argv[2], "a") as runs:
            runs.write("run\\n")
        await asyncio.sleep(0.3)
        return x * 2

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 60
        assert set(await asyncio.gather(*(f(3) for _ in range(200)))) == {6}

    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(main(), debug="debug" in sys.argv)
"""


@pytest.mark.parametrize("mode", ["plain", "debug"])
def test_processes_run_it_once_and_warn_of_nothing(tmp_path, mode):
    runs = tmp_path / "runs"
    program = [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM)]
    processes = [
        subprocess.Popen(
            [*program, str(tmp_path / "cache"), str(runs), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=SOON)
        assert (process.returncode, out, err) == (0, "", "")
    assert runs.read_text() == "run\n"


HOLDER = """
    import sqlite3, sys

    database = sqlite3.connect(sys.argv[1], isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.readline()
    database.execute("ROLLBACK")
"""


def test_a_store_that_keeps_its_writers_waiting_does_not_block_the_loop(tmp_path):
    runs = []

    @cachier.cachier(cache_dir=tmp_path / "cache", name="f")
    async def f(x):
        runs.append(x)
        return x

    asyncio.run(f(0))
    (database,) = (tmp_path / "cache").glob("v1/c*.db")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"

        async def main():
            task = asyncio.create_task(f(1))
            while runs != [0, 1]:
                await asyncio.sleep(0)
            # The loop has turns, and other calls are answered, while the put waits.
            for _ in range(20):
                await asyncio.sleep(0.001)
                assert await f(0) == 0
            assert not task.done()
            holder.stdin.write("\n")
            holder.stdin.flush()
            assert await task == 1

        asyncio.run(main())
    asyncio.run(f(1))
    assert runs == [0, 1]


def test_the_function_runs_nowhere_else_and_no_thread_runs_it_for_a_hit(make):
    @make(name="f")
    async def f(x):
        return threading.get_ident()

    async def main():
        assert await f(1) == threading.get_ident()
        before = threading.active_count()
        for _ in range(100):
            await f(1)
        assert threading.active_count() == before

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_the_child_of_a_fork_has_a_loop_of_its_own(make):
    gate = Gate(make(name="gate"))
    gate.open.set()

    async def main():
        return await asyncio.gather(*(gate.call(x) for x in (1, 1, 2)))

    asyncio.run(main())
    child = os.fork()
    if child == 0:
        gate.call.clear_cache()
        os._exit(0 if asyncio.run(main()) == ["result"] * 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_store_that_cannot_be_used_is_got_over(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no directory")

    @cachier.cachier(cache_dir=blocked)
    async def f(x):
        return x

    with pytest.warns(cachier.CachierWarning):
        assert asyncio.run(f(1)) == 1

    @cachier.cachier(cache_dir=blocked, on_backend_error="raise")
    async def g(x):
        return x

    with pytest.raises(OSError, match="file"):
        asyncio.run(g(1))


def test_what_does_not_pickle(tmp_path):
    @cachier.cachier(cache_dir=tmp_path / "cache")
    async def f():
        return lambda: 1

    with pytest.raises(Exception, match="pickle"):
        asyncio.run(f())
