"""A Redis server for tests, where one is installed."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time

from servers import required


def _free_port():
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Members of a cluster take the one 10,000 above as well.
        if port < 55_000:
            return port


class RedisServer:
    """One process on a free port, in a directory that goes with it."""

    def __init__(self, *options):
        self.why_not = ""
        self._process = None
        program = shutil.which("redis-server")
        if program is None:
            self.why_not = "redis-server is not installed (Debian: redis-server)"
            if "redis" in required(os.environ):
                raise RuntimeError(self.why_not)
            return
        self._directory = tempfile.TemporaryDirectory(prefix="cachier-redis-")
        self.port = _free_port()
        self._command = [
            program,
            *("--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--dir", self._directory.name, *options),
        ]
        atexit.register(self.stop)
        self.start()

    def start(self):
        """Start it, empty; returns when it answers."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 20
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as answers:
                    answers.sendall(b"INFO server\r\n")
                    # Another one could have been faster to take the port.
                    if b"process_id:%d\r" % self._process.pid in answers.recv(4096):
                        return
            except OSError:
                pass
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError("redis-server does not start")
            time.sleep(0.01)

    def client(self, **options):
        """Give a client of it."""
        import redis

        return redis.Redis(port=self.port, **options)

    def signal(self, number):
        """Send its process a signal."""
        self._process.send_signal(number)

    def kill(self):
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self):
        """End it and remove what it left."""
        if self._process is not None:
            self.kill()
            self._directory.cleanup()
