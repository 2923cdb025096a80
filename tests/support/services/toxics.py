"""Faults on the way to a server, by toxiproxy's HTTP interface."""

from __future__ import annotations

import json
import urllib.request
import uuid
from typing import Any

from .processes import free_port


class Proxy:
    """A port that leads to a server; programs connect to it instead."""

    def __init__(self, toxiproxy_url: str, upstream_port: int) -> None:
        self._url = toxiproxy_url
        self._name = f"cachier-{uuid.uuid4().hex}"
        self.port = free_port()
        there = {"listen": f"127.0.0.1:{self.port}", "enabled": True}
        upstream = f"127.0.0.1:{upstream_port}"
        self._ask("POST", "/proxies", name=self._name, upstream=upstream, **there)

    def _ask(self, method: str, path: str, **body: Any) -> None:
        request = urllib.request.Request(
            self._url + path,
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
            method=method,
        )
        # No proxy of the environment is between us and loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            answer.read()

    def add(self, kind: str, *, stream: str = "downstream", **attributes: Any) -> str:
        """Add a fault, as toxiproxy names it; gives its name.

        `latency` (latency=, jitter=: milliseconds), `timeout` (timeout=0: nothing comes
        through any more, and nobody is told), `reset_peer`, `limit_data` (bytes=: cut
        after so many), `bandwidth` (rate=: KB/s), `slicer`.
        """
        name = f"{kind}-{uuid.uuid4().hex[:8]}"
        toxics = f"/proxies/{self._name}/toxics"
        toxic = {"name": name, "type": kind, "stream": stream, "toxicity": 1.0}
        self._ask("POST", toxics, **toxic, attributes=attributes)
        return name

    def remove(self, name: str) -> None:
        """Remove a fault."""
        self._ask("DELETE", f"/proxies/{self._name}/toxics/{name}")

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        self._ask("POST", f"/proxies/{self._name}", enabled=False)

    def mend(self) -> None:
        """Take connections again."""
        self._ask("POST", f"/proxies/{self._name}", enabled=True)

    def close(self) -> None:
        """Remove it."""
        self._ask("DELETE", f"/proxies/{self._name}")
