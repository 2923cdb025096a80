"""The servers: what each needs, how it starts, when it answers, what it is called.

To add one: a class here, and a line at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from . import answers
from .builds import SOURCES, Build, go_install, go_program, java_program
from .failure import Missing
from .processes import Command

_GO = {"go": "golang-go"}
_JAVA = {"mvn": "maven", "javac": "default-jdk-headless"}

FERRETDB = Build(
    "ferretdb",
    "1.24.2",
    go_program(SOURCES / "ferretdb"),
    sources="ferretdb",
    programs=_GO,
)
MONGO = Build(
    "mongo-java-server",
    "1.47.0",
    java_program(SOURCES / "mongo"),
    sources="mongo",
    programs=_JAVA,
)
VERSITYGW = Build(
    "versitygw",
    "1.8.0",
    go_install("github.com/versity/versitygw/cmd/versitygw@v1.8.0"),
    programs=_GO,
)
TOXIPROXY = Build(
    "toxiproxy",
    "2.5.0",
    go_install("github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0"),
    programs=_GO,
)


@dataclass(frozen=True)
class Place:
    """Where a server is: a directory for its data, its ports."""

    directory: Path
    ports: Sequence[int]

    @property
    def port(self) -> int:
        return self.ports[0]


class Kind:
    """A kind of server."""

    name: ClassVar[str]
    about: ClassVar[str]
    #: Programs, and the Debian package that has each.
    programs: ClassVar[Mapping[str, str]] = {}
    build: ClassVar[Build | None] = None
    ports: ClassVar[int] = 1

    def program(self, name: str) -> str:
        """Where a program is."""
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if found is None:
            package = self.programs[name]
            raise Missing(
                f"cannot start {self.name}",
                f"there is no program {name} here",
                f"install the Debian package {package}",
            )
        return found

    #: What ends it in order, and at once, whoever is connected.
    ends_by: ClassVar[signal.Signals] = signal.SIGTERM

    def prepare(self, at: Place) -> Sequence[Command]:
        """Make what has to be there before it starts; gives what does the rest."""
        return ()

    def commands(self, at: Place) -> list[Command]:
        """Give its processes, the one that answers at the first port first."""
        raise NotImplementedError

    def settle(self, at: Place) -> Sequence[Command]:
        """Give what is left to do once, when all its processes answer."""
        return ()

    def answers(self, at: Place) -> bool:
        """Whether it does; an OSError means not yet."""
        raise NotImplementedError

    def is_whole(self, at: Place) -> bool:
        """Whether those that make one server together have found each other."""
        return True

    def variables(self, at: Place) -> dict[str, str]:
        """Give what tests are told, without the CACHIER_TEST_ before it."""
        raise NotImplementedError

    @property
    def variable(self) -> str:
        """The one of them by which users name their own server."""
        return f"{self.name.upper().replace('-', '_')}_URL"


def _command(
    *arguments: str | Path,
    user: str | None = None,
    reads: str | Path = "/dev/null",
    **more: str,
) -> Command:
    # What a user has set for servers of his own is not meant for these.
    environment = {"LC_ALL": "C.UTF-8", "HOME": "/nonexistent", **more}
    words = [str(argument) for argument in arguments]
    return Command(words, environment, user, str(reads))


class Redis(Kind):
    name = "redis"
    about = "Redis"
    programs: ClassVar = {"redis-server": "redis-server"}

    def options(self, at: Place) -> list[str | Path]:
        socket = ("--unixsocket", at.directory / "socket")
        return ["--port", str(at.port), *socket]

    def commands(self, at: Place) -> list[Command]:
        memory = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        where = ("--dir", at.directory)
        server = self.program("redis-server")
        return [_command(server, *self.options(at), *memory, *where)]

    def answers(self, at: Place) -> bool:
        return answers.redis(at.port, ["PING"]) == b"+PONG\r\n"

    def variables(self, at: Place) -> dict[str, str]:
        url = f"redis://127.0.0.1:{at.port}/0"
        return {"REDIS_URL": url, "REDIS_SOCKET": str(at.directory / "socket")}


class RedisAuth(Redis):
    name = "redis-auth"
    about = "Redis that asks for a password"
    password = "cachier-password"

    def options(self, at: Place) -> list[str | Path]:
        return ["--port", str(at.port), "--requirepass", self.password]

    def answers(self, at: Place) -> bool:
        said = answers.redis(at.port, ["AUTH", self.password], ["PING"])
        return said == b"+PONG\r\n"

    def variables(self, at: Place) -> dict[str, str]:
        url = f"redis://:{self.password}@127.0.0.1:{at.port}/0"
        return {self.variable: url}


class RedisTls(Redis):
    name = "redis-tls"
    about = "Redis by TLS, its certificate for 127.0.0.1"
    programs: ClassVar = {**Redis.programs, "openssl": "openssl"}

    def prepare(self, at: Place) -> Sequence[Command]:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
        whose = ("-x509", "-subj", "/CN=cachier tests", "-addext", names, "-days", "30")
        files = ("-keyout", "key.pem", "-out", "certificate.pem")
        return [_command(self.program("openssl"), "req", *key, *whose, *files)]

    def options(self, at: Place) -> list[str | Path]:
        certificate = at.directory / "certificate.pem"
        return [
            *("--port", "0", "--tls-port", str(at.port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", certificate, "--tls-ca-cert-file", certificate),
            *("--tls-key-file", at.directory / "key.pem"),
        ]

    def answers(self, at: Place) -> bool:
        ca = at.directory / "certificate.pem"
        return answers.redis(at.port, ["PING"], ca=ca) == b"+PONG\r\n"

    def variables(self, at: Place) -> dict[str, str]:
        ca = at.directory / "certificate.pem"
        return {self.variable: f"rediss://127.0.0.1:{at.port}/0?ssl_ca_certs={ca}"}


class RedisCluster(Redis):
    name = "redis-cluster"
    about = "Redis Cluster, three masters"
    programs: ClassVar = {**Redis.programs, "redis-cli": "redis-tools"}
    ports = 6  # those of clients first, then one each for the others

    def prepare(self, at: Place) -> Sequence[Command]:
        for port in at.ports[:3]:
            (at.directory / str(port)).mkdir()
        return ()

    def commands(self, at: Place) -> list[Command]:
        server = self.program("redis-server")
        memory = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        together = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
        return [
            _command(
                *(server, "--port", str(port), "--cluster-port", str(bus)),
                *(*memory, *together, "--dir", at.directory / str(port)),
            )
            for port, bus in zip(at.ports[:3], at.ports[3:], strict=True)
        ]

    def settle(self, at: Place) -> Sequence[Command]:
        members = [f"127.0.0.1:{port}" for port in at.ports[:3]]
        create = ("--cluster", "create", *members, "--cluster-yes")
        return [_command(self.program("redis-cli"), *create)]

    def answers(self, at: Place) -> bool:
        return all(
            answers.redis(port, ["PING"]) == b"+PONG\r\n" for port in at.ports[:3]
        )

    def is_whole(self, at: Place) -> bool:
        told = (answers.redis(port, ["CLUSTER", "INFO"]) for port in at.ports[:3])
        return all(b"cluster_state:ok" in one for one in told)

    def variables(self, at: Place) -> dict[str, str]:
        members = ",".join(f"127.0.0.1:{port}" for port in at.ports[:3])
        return {self.variable: f"redis+cluster://{members}"}


class Postgres(Kind):
    name = "postgres"
    about = "PostgreSQL"
    programs: ClassVar = {"postgres": "postgresql-15", "initdb": "postgresql-15"}
    ends_by: ClassVar = signal.SIGINT  # it would wait for its clients to go

    def program(self, name: str) -> str:
        # Debian keeps them where several versions have room.
        versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
        newest = max(versions, key=lambda path: float(path.parts[4]), default=None)
        return super().program(name) if newest is None else str(newest)

    @property
    def user(self) -> str | None:
        """Whom it runs as: it refuses to be root."""
        return "postgres" if os.getuid() == 0 else None

    def prepare(self, at: Place) -> Sequence[Command]:
        data = at.directory / "data"
        data.mkdir(mode=0o700)
        if self.user is not None:
            shutil.chown(data, self.user, self.user)
            shutil.chown(at.directory, self.user, self.user)
        how = ("--auth=trust", "--username=cachier", "--encoding=UTF8", "--no-sync")
        where = ("--locale=C.UTF-8", f"--pgdata={data}")
        first = at.directory / "first.sql"
        first.write_text("CREATE DATABASE cachier\n")
        alone = (self.program("postgres"), "--single", "-F", "-D", data, "postgres")
        return [
            _command(self.program("initdb"), *how, *where, user=self.user),
            _command(*alone, user=self.user, reads=first),
        ]

    def commands(self, at: Place) -> list[Command]:
        where = ("-D", at.directory / "data", "-k", at.directory, "-p", str(at.port))
        # What is written survives the process; nothing here has to survive the machine.
        how = ("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
        return [_command(self.program("postgres"), *where, *how, user=self.user)]

    def answers(self, at: Place) -> bool:
        return answers.postgres(at.port, "cachier", "cachier")

    def variables(self, at: Place) -> dict[str, str]:
        return {self.variable: f"postgresql://cachier@127.0.0.1:{at.port}/cachier"}


class MySql(Kind):
    name = "mysql"
    about = "MariaDB"
    programs: ClassVar = {
        "mariadbd": "mariadb-server-core",
        "mariadb-install-db": "mariadb-server-core",
        "my_print_defaults": "mariadb-client-core",  # asked for by the one above
    }

    def prepare(self, at: Place) -> Sequence[Command]:
        where = (f"--datadir={at.directory / 'data'}", "--skip-test-db")
        how = ("--no-defaults", "--auth-root-authentication-method=normal")
        (at.directory / "first.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS cachier CHARACTER SET utf8mb4;\n"
            "CREATE USER IF NOT EXISTS cachier@'127.0.0.1'"
            " IDENTIFIED BY 'cachier-password';\n"
            "GRANT ALL ON *.* TO cachier@'127.0.0.1';\n"
        )
        make = (self.program("mariadb-install-db"), *how, *where, *self._as_root())
        return [_command(*make)]

    def commands(self, at: Place) -> list[Command]:
        here = at.directory
        where = (f"--datadir={here / 'data'}", f"--socket={here / 'socket'}")
        # What is written survives the process; nothing here has to survive the machine.
        small = ("--innodb-flush-log-at-trx-commit=2", "--max-allowed-packet=1G")
        how = ("--skip-name-resolve", f"--init-file={here / 'first.sql'}", *small)
        reach = ("--bind-address=127.0.0.1", f"--port={at.port}")
        files = (f"--pid-file={here / 'pid'}", f"--tmpdir={here}")
        options = ("--no-defaults", *where, *reach, *how, *files, *self._as_root())
        return [_command(self.program("mariadbd"), *options)]

    def _as_root(self) -> list[str]:
        return ["--user=root"] if os.getuid() == 0 else []

    def answers(self, at: Place) -> bool:
        return answers.mysql(at.port)

    def variables(self, at: Place) -> dict[str, str]:
        who = "cachier:cachier-password"
        return {self.variable: f"mysql://{who}@127.0.0.1:{at.port}/cachier"}


class Mongo(Kind):
    name = "mongo"
    about = "mongo-java-server on H2, for MongoDB"
    programs: ClassVar = {"java": "default-jre-headless"}
    build = MONGO

    def commands(self, at: Place) -> list[Command]:
        small = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        what = ("-cp", f"{MONGO.directory}:{MONGO.directory}/*", "MongoJavaServer")
        where = (str(at.port), at.directory / "data.mv")
        return [_command(self.program("java"), *small, *what, *where)]

    def answers(self, at: Place) -> bool:
        return answers.mongo(at.port)

    def variables(self, at: Place) -> dict[str, str]:
        return {self.variable: f"mongodb://127.0.0.1:{at.port}/cachier"}


class FerretDb(Mongo):
    name = "ferretdb"
    about = "FerretDB on SQLite, a second opinion of MongoDB"
    programs: ClassVar = {}
    build = FERRETDB

    def prepare(self, at: Place) -> Sequence[Command]:
        (at.directory / "data").mkdir()
        return ()

    def commands(self, at: Place) -> list[Command]:
        program = FERRETDB.directory / "ferretdb"
        return [_command(program, str(at.port), at.directory / "data")]


class S3(Kind):
    name = "s3"
    about = "versitygw, for S3"
    build = VERSITYGW
    bucket = "cachier"
    region = "us-east-1"
    key, secret = "cachier", "cachier-secret"

    def prepare(self, at: Place) -> Sequence[Command]:
        # Directories are its buckets.
        (at.directory / "data" / self.bucket).mkdir(parents=True)
        (at.directory / "beside").mkdir()
        return ()

    def commands(self, at: Place) -> list[Command]:
        listen = ("--port", f"127.0.0.1:{at.port}", "--region", self.region)
        how = ("--keep-alive", "--quiet")
        posix: list[str | Path] = ["posix", at.directory / "data"]
        try:
            os.setxattr(at.directory / "data", "user.cachier", b"")
        except OSError:
            posix[1:1] = ["--sidecar", at.directory / "beside"]
        keys = {"ROOT_ACCESS_KEY": self.key, "ROOT_SECRET_KEY": self.secret}
        program = VERSITYGW.directory / "versitygw"
        return [_command(program, *listen, *how, *posix, **keys)]

    def answers(self, at: Place) -> bool:
        return answers.http_status(at.port, "/") == 403  # we did not sign

    def variables(self, at: Place) -> dict[str, str]:
        endpoint = f"http://127.0.0.1:{at.port}"
        return {
            "S3_URL": f"s3://{self.bucket}/tests?endpoint_url={endpoint}",
            "S3_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.region,
        }


class Toxiproxy(Kind):
    name = "toxiproxy"
    about = "toxiproxy, faults in front of the others"
    build = TOXIPROXY

    def commands(self, at: Place) -> list[Command]:
        program = TOXIPROXY.directory / "server"
        return [_command(program, "-host", "127.0.0.1", "-port", str(at.port))]

    def answers(self, at: Place) -> bool:
        return answers.http_status(at.port, "/version") == 200

    def variables(self, at: Place) -> dict[str, str]:
        return {self.variable: f"http://127.0.0.1:{at.port}"}


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Redis(),
        RedisAuth(),
        RedisTls(),
        RedisCluster(),
        Postgres(),
        MySql(),
        Mongo(),
        FerretDb(),
        S3(),
        Toxiproxy(),
    )
}

#: By whose product it is known, beside what its protocol is called.
_ALSO = {"mariadb": "mysql"}


def kind_named(name: str) -> Kind | None:
    """Give the kind of a name, in whatever case, or of its variable's beginning."""
    plain = name.lower().replace("_", "-")
    return KINDS.get(_ALSO.get(plain, plain))
