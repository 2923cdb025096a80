"""The rows of the Python door, beside floors and rivals.

    python_rows.py RESULTS.jsonl [FILTER]

Each pair is measured in turn in this process; the figures are medians of `ROUNDS`.
Rivals that are not installed are left out, and named.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import pickle
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cachetools
import diskcache
import dogpile.cache
import joblib
import numpy as np
import pandas as pd
from report import ROUNDS, Report, Work, spin

from cachier import cachier

STEP = 7_919  # a prime: walks through the entries in no order that caches foresee


def plain(x: int) -> dict[str, int]:
    """Give a small dict: the function of most rows."""
    return {"x": x, "twice": 2 * x}


class Holder:
    """Has a cached method and one under `lru_cache`."""

    @cachier(backend="memory", allow_non_static_methods=True)
    def ours(self, x: int) -> int:
        """Give its argument."""
        return x


def memory_rows(report: Report) -> None:
    """Hits and first calls in memory."""
    ours = cachier(backend="memory")(plain)
    lru = functools.lru_cache(maxsize=None)(plain)
    tools = cachetools.cached(cachetools.LRUCache(1000))(plain)
    region = dogpile.cache.make_region().configure("dogpile.cache.memory")
    in_region = region.cache_on_arguments()(plain)
    for function in (ours, lru, tools, in_region):
        function(1)

    # Called as users call it: from code, not through a lambda.
    def loop(function: Work) -> Work:
        def hundred() -> None:
            f = function
            for _ in range(100):
                f(1)

        return hundred

    def keywords() -> None:
        for _ in range(100):
            ours(x=1)

    holder = Holder()
    holder.ours(1)

    def method() -> None:
        for _ in range(100):
            holder.ours(1)

    hits: list[tuple[str, Work, str, Work, float, int]] = [
        ("", loop(ours), "lru_cache", loop(lru), 3, 2000),
        ("_rival", loop(ours), "cachetools", loop(tools), 1, 300),
        ("_rival_dogpile", loop(ours), "dogpile.cache", loop(in_region), 1, 30),
    ]
    for name, one, against, other, reach, n in hits:
        report.compare(f"python_memory_hit{name}", one, against, other, reach, n, 100)
    for name, one in (("keyword", keywords), ("method", method)):
        report.compare(
            f"python_memory_{name}",
            one,
            "ours, by position",
            loop(ours),
            1.5,
            1000,
            100,
        )
    numbers = iter(range(10**9))
    fresh = cachier(backend="memory")(lambda x: x)
    report.compare(
        "python_memory_first_call",
        lambda: fresh(next(numbers)),
        "2 us",
        lambda: spin(2e-6),
        1,
        5000,
    )
    nested = [{"n": n, "t": [str(n), n / 2]} for n in range(250)]
    keyed = cachier(backend="memory")(len)  # type: ignore[arg-type]
    keyed(nested)
    report.compare(
        "python_key_of_1000_items",
        lambda: keyed(nested),
        "pickle and SHA-256",
        lambda: hashlib.sha256(pickle.dumps(nested)).digest(),
        1,
        300,
    )


def thread_row(report: Report) -> None:
    """Hits from 8 threads, in all, beside as many from one."""
    if not report.wants("python_memory_hit_8_threads"):
        return
    ours = cachier(backend="memory")(plain)
    ours(1)
    each, threads = 50_000, 8

    def hits(count: int = each) -> None:
        f = ours
        for _ in range(count):
            f(1)

    with ThreadPoolExecutor(threads) as pool:

        def together() -> None:
            for done in [pool.submit(hits) for _ in range(threads)]:
                done.result()

        report.compare(
            "python_memory_hit_8_threads",
            together,
            "ours, one thread",
            lambda: hits(each * threads),
            1,
            1,
            each * threads,
        )


def frame_row(report: Report) -> None:
    """A hit whose argument is a table of 10 MB."""
    if not report.wants("python_key_of_10MB_frame"):
        return
    rng = np.random.default_rng(1)
    rows = 125_000
    frame = pd.DataFrame(
        {f"c{n}": rng.random(rows) for n in range(8)}
        | {"n": rng.integers(0, 1000, rows), "t": rng.integers(0, 9, rows)}
    )
    ours = cachier(backend="memory")(lambda table: len(table))
    ours(frame)
    report.compare(
        "python_key_of_10MB_frame",
        lambda: ours(frame),
        "joblib.hash",
        lambda: joblib.hash(frame),
        1,
        5,
    )


def local_rows(report: Report, scratch: pathlib.Path) -> None:
    """Hits and first calls on disk."""
    ours = cachier(cache_dir=scratch / "ours", name="bench.plain")(plain)
    disk = diskcache.Cache(str(scratch / "disk"))
    on_disk = disk.memoize()(plain)
    memory = joblib.Memory(str(scratch / "joblib"), verbose=0)
    with_joblib = memory.cache(plain)
    lru = functools.lru_cache(maxsize=None)(plain)
    for function in (ours, on_disk, with_joblib, lru):
        function(1)
    report.compare(
        "python_local_again",
        lambda: ours(1),
        "diskcache",
        lambda: on_disk(1),
        1 / 25,
        2000,
    )
    report.compare(
        "python_local_again_joblib",
        lambda: ours(1),
        "joblib",
        lambda: with_joblib(1),
        1,
        300,
    )
    number = cachier(cache_dir=scratch / "ours", name="bench.number")(lambda x: x)
    number(1)
    report.compare(
        "python_local_again_immutable",
        lambda: number(1),
        "lru_cache",
        lambda: lru(1),
        4,
        5000,
    )
    connection = sqlite3.connect(scratch / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
    one, other, third = iter(range(10**9)), iter(range(10**9)), iter(range(10**9))

    def bare_put() -> None:
        connection.execute("INSERT INTO t VALUES(?, ?)", (next(other), b"x" * 120))

    report.compare(
        "python_local_first_call",
        lambda: number(next(one) + 10),
        "40 us",
        lambda: spin(40e-6),
        1,
        500,
    )
    report.compare(
        "python_local_first_call_sqlite",
        lambda: number(next(one) + 10**6),
        "SQLite put from Python",
        bare_put,
        3,
        500,
    )
    report.compare(
        "python_local_first_call_rival",
        lambda: ours(next(one) + 10**6),
        "diskcache",
        lambda: on_disk(next(third) + 10),
        1,
        300,
    )


def read_rows(report: Report, scratch: pathlib.Path) -> None:
    """First reads in a process, at one, a thousand and a million entries."""
    os.environ["CACHIER_NEAR_CACHE_BYTES"] = "0"  # every read is a first one
    for entries in (1, 1_000, 1_000_000):
        name = f"python_local_first_{entries}"
        if not report.wants(name):
            continue
        folder = scratch / name
        ours = cachier(cache_dir=folder, name="bench.read")(plain)
        bare = sqlite3.connect(folder.with_suffix(".db"), isolation_level=None)
        bare.execute("PRAGMA journal_mode=WAL")
        bare.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
        bare.execute("BEGIN")
        for n in range(entries):
            ours.precache_value(n, value_to_cache={"x": n})
            bare.execute("INSERT INTO t VALUES(?, ?)", (hash((n, 1)), b"x" * 120))
        bare.execute("COMMIT")
        at, other = [0], [0]

        def read(at: list[int] = at, n: int = entries, ours: Any = ours) -> None:
            at[0] = (at[0] + STEP) % n
            ours(at[0])

        def select(at: list[int] = other, n: int = entries, bare: Any = bare) -> None:
            at[0] = (at[0] + STEP) % n
            bare.execute("SELECT v FROM t WHERE id=?", (hash((at[0], 1)),)).fetchone()

        report.compare(name, read, "SQLite select from Python", select, 3, 2000)
    del os.environ["CACHIER_NEAR_CACHE_BYTES"]


def value_rows(report: Report, scratch: pathlib.Path) -> None:
    """Big values, again in this process."""
    megabyte = cachier(cache_dir=scratch / "big", name="bench.megabyte")(
        lambda n: bytes([n]) * 2**20
    )
    megabyte(1)
    file = scratch / "megabyte"
    file.write_bytes(b"x" * 2**20)
    report.compare(
        "python_local_1MB_bytes",
        lambda: megabyte(1),
        "read of a file",
        file.read_bytes,
        1.3,
        100,
    )
    array = cachier(cache_dir=scratch / "big", name="bench.array")(
        lambda n: np.full(2**20, n, dtype=np.float64)
    )
    memory = joblib.Memory(str(scratch / "joblib-big"), verbose=0, mmap_mode="c")
    mapped = memory.cache(_array)
    array(1), mapped(1)
    report.compare(
        "python_local_8MB_array", lambda: array(1), "30 us", lambda: spin(30e-6), 1, 20
    )
    stored = scratch / "array.npy"
    np.save(stored, _array(1))
    report.compare(
        "python_local_8MB_array_touched",
        lambda: array(1)[::512].sum(),
        "np.load, mapped",
        lambda: np.load(stored, mmap_mode="c")[::512].sum(),
        1.3,
        20,
    )
    os.environ["CACHIER_NEAR_CACHE_BYTES"] = "0"  # every read is a first one
    first = cachier(cache_dir=scratch / "big-first", name="bench.array")(
        array.__wrapped__
    )
    first(1)
    report.compare(
        "python_local_8MB_array_first",
        lambda: first(1),
        "np.load",
        lambda: np.load(stored),
        1.3,
        20,
    )
    del os.environ["CACHIER_NEAR_CACHE_BYTES"]
    report.compare(
        "python_local_8MB_array_rival",
        lambda: array(1),
        "joblib, mapped",
        lambda: mapped(1),
        1,
        20,
    )


def _array(n: int) -> Any:
    return np.full(2**20, n, dtype=np.float64)


def redis_rows(report: Report) -> None:
    """Hits on a Redis server and what an entry takes there, beside bare commands."""
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "python" / "tests"))
    try:
        from redis_server import RedisServer

        server = RedisServer()
    except ImportError as error:
        print(f"left out: rows of Redis ({error})", file=sys.stderr)
        return
    if server.why_not:
        print(f"left out: rows of Redis ({server.why_not})", file=sys.stderr)
        return
    client = server.client()
    ours = cachier(backend="redis", redis_client=client, name="demo.plain")(plain)
    ours(1)
    (key,) = client.keys("*:e:*")
    client.set("bare", client.get(key))
    report.compare(
        "python_redis_hit",
        lambda: ours(1),
        "redis-py GET of the same bytes",
        lambda: client.get("bare"),
        1.25,
        2_000,
    )
    if report.wants("python_redis_entry"):
        text = cachier(backend="redis", redis_client=client, name="demo.text")
        store = text(lambda n: "x" * 100)
        for _ in range(16):
            store(_)

        def taken(work: Callable[[int], Any]) -> float:
            before = client.info("memory")["used_memory"]
            for n in range(100, 10_100):
                work(n)
            return float(client.info("memory")["used_memory"] - before) / 10_000

        over = taken(store) - taken(lambda n: client.set(f"{n:032x}", "x" * 100))
        report.write("python_redis_entry", over, "what is aimed at", 200, 1.0)
    client.close()
    server.stop()


def mongo_rows(report: Report) -> None:
    """Hits in a collection, beside the bare read of the same document."""
    try:
        import pymongo

        url = os.environ["CACHIER_TEST_MONGO_URL"]
    except (ImportError, KeyError) as error:
        print(f"left out: rows of MongoDB ({error!r})", file=sys.stderr)
        return
    client: Any = pymongo.MongoClient(url)
    collection = client.get_default_database("cachier")[f"bench_{os.getpid()}"]
    ours = cachier(mongetter=lambda: collection, name="demo.plain")(plain)
    ours(1)
    (name,) = (each["_id"] for each in collection.find({"envelope": {"$exists": True}}))
    report.compare(
        "python_mongo_hit",
        lambda: ours(1),
        "PyMongo find_one of the same document",
        lambda: collection.find_one({"_id": name}),
        1.25,
        2_000,
    )
    collection.drop()
    client.close()


def s3_rows(report: Report) -> None:
    """Hits in a bucket, beside the bare read of the same object."""
    try:
        import boto3

        endpoint = os.environ["CACHIER_TEST_S3_ENDPOINT"]
    except (ImportError, KeyError) as error:
        print(f"left out: rows of S3 ({error!r})", file=sys.stderr)
        return
    client: Any = boto3.client("s3", endpoint_url=endpoint)
    bucket = os.environ["CACHIER_TEST_S3_URL"].split("/")[2]
    prefix = f"bench_{os.getpid()}"
    given = {"s3_bucket": bucket, "s3_prefix": prefix, "s3_client": client}
    ours = cachier(backend="s3", name="demo.plain", **given)(plain)
    ours(1)
    listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    (key,) = (each["Key"] for each in listed)
    report.compare(
        "python_s3_hit",
        lambda: ours(1),
        "boto3 GET of the same object",
        lambda: client.get_object(Bucket=bucket, Key=key)["Body"].read(),
        1.25,
        1_000,
    )
    client.delete_object(Bucket=bucket, Key=key)
    client.close()


def import_row(report: Report) -> None:
    """What `import cachier` costs over bare Python."""
    if not report.wants("python_import"):
        return

    # Compiled, as an installed package is.
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def start(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return time.perf_counter() - begin

    start("import cachier; cachier.cachier")
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(start("pass"))
        ours.append(start("import cachier; cachier.cachier"))
    over = statistics.median(ours) - statistics.median(bare)
    report.write("python_import_over_bare", over, "20 ms", 0.020, 1)


def functions_row(report: Report, scratch: pathlib.Path) -> None:
    """Importing a module of 1,000 decorated functions."""
    if not report.wants("python_import_1000_functions"):
        return
    for name, line in (("decorated", "@cachier()\n"), ("undecorated", "")):
        functions = "".join(
            f"{line}def f{n}(x: int, y: str = ''):\n    return x, y\n"
            for n in range(1000)
        )
        source = f"from cachier import cachier\n{functions}"
        (scratch / f"{name}.py").write_text(source, encoding="ascii")

    def imported(name: str) -> float:
        code = (
            "import cachier, sys, time; cachier.cachier; "
            "begin = time.perf_counter(); "
            f"import {name}; print(time.perf_counter() - begin)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={
                "PYTHONPATH": f"{scratch}:{os.environ['PYTHONPATH']}",
                "XDG_CACHE_HOME": str(scratch),
            },
        )
        return float(done.stdout)

    imported("decorated"), imported("undecorated")  # compiled
    sides = [
        statistics.median(times)
        for times in zip(
            *((imported("decorated"), imported("undecorated")) for _ in range(ROUNDS)),
            strict=True,
        )
    ]
    report.write(
        "python_import_1000_functions",
        sides[0],
        "undecorated x 1.1 + 10 us each",
        1.1 * sides[1] + 1000 * 10e-6,
        1,
    )


def main() -> None:
    """Measure all rows, or those asked for."""
    report = Report(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
    with tempfile.TemporaryDirectory(prefix="cachier-bench-") as folder:
        scratch = pathlib.Path(folder)
        memory_rows(report)
        thread_row(report)
        frame_row(report)
        local_rows(report, scratch)
        value_rows(report, scratch)
        redis_rows(report)
        mongo_rows(report)
        s3_rows(report)
        import_row(report)
        functions_row(report, scratch)
        read_rows(report, scratch)


if __name__ == "__main__":
    main()
