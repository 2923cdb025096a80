"""The servers that tests run against: each answers its ordinary client."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from servers import Own, Proxy, noted, own, server_url

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def servers():
    """Servers of the test's own, which end with it."""
    owned = Own()
    yield owned
    owned.end()


class TestAnswers:
    @pytest.mark.redis
    @pytest.mark.parametrize("name", ["redis", "redis-auth", "redis-tls"])
    def test_redis(self, name):
        redis = pytest.importorskip("redis")
        with redis.Redis.from_url(server_url(name)) as client:
            assert client.ping()

    @pytest.mark.redis
    def test_redis_cluster(self):
        cluster = pytest.importorskip("redis.cluster")
        url = urllib.parse.urlsplit(server_url("redis-cluster"))
        host, port = url.netloc.split(",")[0].split(":")
        with cluster.RedisCluster(host=host, port=int(port)) as client:
            slots = {client.keyslot(f"key {n}") // 5462 for n in range(100)}
            assert slots == {0, 1, 2}
            for n in range(100):
                client.set(f"key {n}", n, ex=60)
                assert client.get(f"key {n}") == str(n).encode()

    @pytest.mark.sql
    @pytest.mark.parametrize(
        ("name", "driver"),
        [("postgres", "postgresql+psycopg"), ("mysql", "mysql+pymysql")],
    )
    def test_sql(self, name, driver):
        sqlalchemy = pytest.importorskip("sqlalchemy")
        url = sqlalchemy.make_url(server_url(name)).set(drivername=driver)
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
        engine.dispose()

    @pytest.mark.mongo
    @pytest.mark.parametrize("name", ["mongo", "ferretdb"])
    def test_mongo(self, name):
        pymongo = pytest.importorskip("pymongo")
        with pymongo.MongoClient(server_url(name), timeoutMS=10_000) as client:
            collection = client.get_default_database()["services"]
            collection.replace_one({"_id": name}, {"said": b"\0bytes"}, upsert=True)
            assert collection.find_one({"_id": name})["said"] == b"\0bytes"
            collection.delete_one({"_id": name})

    @pytest.mark.s3
    def test_s3(self):
        boto3 = pytest.importorskip("boto3")
        url = urllib.parse.urlsplit(server_url("s3"))
        endpoint = urllib.parse.parse_qs(url.query)["endpoint_url"][0]
        client = boto3.client("s3", endpoint_url=endpoint)
        key = f"{url.path[1:]}/services"
        client.put_object(Bucket=url.netloc, Key=key, Body=b"bytes")
        found = client.get_object(Bucket=url.netloc, Key=key)
        assert found["Body"].read() == b"bytes"
        with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
            client.put_object(
                Bucket=url.netloc, Key=key, Body=b"others", IfNoneMatch="*"
            )
        client.delete_object(Bucket=url.netloc, Key=key)


@pytest.mark.redis
class TestFaults:
    def test_a_server_of_its_own_is_killed_and_comes_back(self, servers):
        redis = pytest.importorskip("redis")
        server = own("redis", servers)
        client = redis.Redis.from_url(server.url, socket_timeout=5, retry=None)
        assert client.ping()
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.ping()

    def test_a_frozen_server_does_not_answer(self, servers):
        redis = pytest.importorskip("redis")
        server = own("redis", servers)
        client = redis.Redis.from_url(server.url, socket_timeout=0.1, retry=None)
        assert client.ping()
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.thaw()
        client = redis.Redis.from_url(server.url, socket_timeout=10)
        assert client.ping()

    def test_faults_on_the_way(self, servers):
        redis = pytest.importorskip("redis")
        toxiproxy = server_url("toxiproxy")
        proxy = Proxy(toxiproxy, own("redis", servers).port)
        client = redis.Redis(port=proxy.port, socket_timeout=0.2, retry=None)
        assert client.ping()
        fault = proxy.add("timeout", timeout=0)
        with pytest.raises(redis.TimeoutError):
            client.ping()
        proxy.remove(fault)
        client = redis.Redis(port=proxy.port, socket_timeout=10, retry=None)
        assert client.ping()
        proxy.cut()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.mend()
        assert client.ping()
        proxy.close()


class TestRequired:
    """Without a server, in a pytest of their own: skipped, or failed."""

    @pytest.fixture
    def outcome(self, tmp_path):
        test = tmp_path / "test_it.py"
        test.write_text(
            "from redis_server import RedisServer\n"
            "from servers import Own, own, server_url\n"
            "import pytest\n"
            "def test_shared():\n    server_url('REDIS')\n"
            "def test_own():\n    own('redis', Own())\n"
            "def test_redis_server():\n"
            "    server = RedisServer()\n    pytest.skip(server.why_not)\n"
        )
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CACHIER_")},
            "PYTHONPATH": str(REPOSITORY / "python/tests"),
            "CACHIER_SERVICES_NOTES": str(tmp_path / "notes"),
            "PATH": "/nonexistent",
        }

        def run(**more):
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-qrs",
                    "-p",
                    "no:cacheprovider",
                    test,
                ],
                env={**environment, **more},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
            )
            return done.stdout

        return run

    def test_by_default_it_is_skipped_and_says_why(self, outcome):
        out = outcome()
        assert "3 skipped" in out
        assert "no redis: it has not been started" in out
        assert "there is no program redis-server" in out

    @pytest.mark.parametrize("which", ["all", "mysql, REDIS"])
    def test_what_is_required_fails(self, outcome, which):
        assert "3 failed" in outcome(CACHIER_REQUIRE_SERVICES=which)

    def test_others_that_are_required_do_not_matter(self, outcome):
        assert "3 skipped" in outcome(CACHIER_REQUIRE_SERVICES="postgres")


class TestCommand:
    """`scripts/services`, with notes and servers that are nobody else's."""

    @pytest.fixture
    def services(self, tmp_path):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CACHIER_")
        }
        environment["CACHIER_SERVICES_NOTES"] = str(tmp_path / "notes")

        program = [sys.executable, REPOSITORY / "scripts/services"]

        def run(*words, **more):
            return subprocess.run(
                [*program, *words],
                env={**environment, **more},
                capture_output=True,
                text=True,
                timeout=120,
            )

        def popen(*words, stdout=None, stderr=None, **more):
            return subprocess.Popen(
                [*program, *words],
                env={**environment, **more},
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

        run.popen = popen
        yield run
        run("stop")

    @staticmethod
    def answers(out):
        port = urllib.parse.urlsplit(out.partition("REDIS_URL=")[2].split()[0]).port
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            return False
        return True

    @pytest.fixture(autouse=True)
    def _redis(self):
        server_url("redis")

    def test_from_start_to_stop(self, services):
        started = services("start", "redis")
        assert started.returncode == 0, started.stderr
        assert self.answers(started.stdout)
        assert services("start", "redis").stdout == started.stdout
        assert services("env").stdout == started.stdout
        assert "runs        redis://" in services("status").stdout
        assert "Ready to accept connections" in services("logs", "redis").stdout
        assert services("stop").stderr == "services: ended: redis\n"
        assert not self.answers(started.stdout)
        assert services("stop").returncode == 0

    def test_run_ends_what_it_started(self, services):
        told = "import os; print('REDIS_URL=' + os.environ['CACHIER_TEST_REDIS_URL'])"
        done = services("run", "redis", "--", sys.executable, "-c", told)
        assert done.returncode == 0, done.stderr
        assert not self.answers(done.stdout)
        failed = services("run", "redis", "--", sys.executable, "-c", "exit(7)")
        assert failed.returncode == 7

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_what_interrupts_run_ends_all_of_it(self, services, number):
        told = "import os; print('REDIS_URL=' + os.environ['CACHIER_TEST_REDIS_URL'])"
        wait = "import sys, time; sys.stdout.flush(); time.sleep(600)"
        with services.popen(
            *("run", "redis", "--", sys.executable, "-c", f"{told}; {wait}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as running:
            out = running.stdout.readline().decode()
            assert self.answers(out)
            # A terminal tells all of them, a supervisor only the first.
            if number == signal.SIGINT:
                os.killpg(running.pid, number)
            else:
                running.send_signal(number)
            assert running.wait(60) == 128 + number
        assert not self.answers(out)

    def test_run_leaves_what_was_there(self, services):
        started = services("start", "redis")
        services("run", "redis", "--", "true")
        assert self.answers(started.stdout)

    @pytest.mark.parametrize("name", ["REDIS", "Redis"])
    def test_names_are_known_in_any_case(self, services, name):
        assert self.answers(services("start", name).stdout)

    def test_names_of_products_are_known(self, services):
        told = services("start", "oracle")
        assert told.returncode == 2
        assert "no server oracle" in told.stderr
        assert services("stop", "mariadb", "REDIS_TLS").returncode == 0

    def test_a_server_of_the_users_own_is_used(self, services):
        own_url = {"CACHIER_TEST_REDIS_URL": "redis://example.org:1/0"}
        started = services("start", "redis", **own_url)
        assert started.returncode == 0
        assert "REDIS_URL" not in started.stdout
        told = services("status", **own_url).stdout
        assert "yours       redis://example.org:1/0" in told

    def test_what_was_killed_is_started_again(self, services, tmp_path):
        first = services("start", "redis")
        notes = json.loads((tmp_path / "notes/shared.json").read_text())
        for pid, _ in notes["servers"]["redis"]["processes"]:
            os.kill(pid, 9)
        second = services("start", "redis")
        assert self.answers(second.stdout)
        assert second.stdout != first.stdout

    def test_what_was_being_prepared_goes_with_who_was_killed(self, services, tmp_path):
        server_url("redis-tls")
        programs, told = tmp_path / "programs", tmp_path / "told"
        programs.mkdir()
        os.mkfifo(told)
        openssl = programs / "openssl"
        openssl.write_text(f"#!/bin/sh\necho $$ $PWD >{told}\nexec sleep 600\n")
        openssl.chmod(0o755)
        starting = services.popen(
            "start", "redis-tls", PATH=f"{programs}:{os.environ['PATH']}"
        )
        pid, directory = told.read_text().split()
        preparing = noted(int(pid))
        assert preparing.runs
        assert "redis-tls     starts " in services("status").stdout
        starting.kill()
        starting.wait()
        assert services("start", "redis").returncode == 0
        assert not preparing.runs
        assert not Path(directory).exists()

    def test_stop_does_not_wait_for_those_who_are_connected(self, services):
        server_url("postgres")
        psycopg = pytest.importorskip("psycopg")
        out = services("start", "postgres").stdout
        url = out.partition("POSTGRES_URL=")[2].split()[0]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT 1")
            assert services("stop").returncode == 0
            with pytest.raises(psycopg.errors.AdminShutdown):
                connection.execute("SELECT 1")

    def test_what_is_required_and_cannot_be_had_is_an_error(self, services, tmp_path):
        lacking = {
            "CACHIER_REQUIRE_SERVICES": "toxiproxy",
            "CACHIER_SERVICES_CACHE": str(tmp_path / "cache"),
            "PATH": "/nonexistent",
        }
        done = services("start", "toxiproxy", **lacking)
        assert done.returncode == 1
        assert "toxiproxy is left out" in done.stderr
        unknown = services("start", CACHIER_REQUIRE_SERVICES="oracle")
        assert unknown.returncode == 1
        assert "there is no server oracle" in unknown.stderr
