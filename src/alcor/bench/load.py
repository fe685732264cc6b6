"""Load on the API with as little of our own cost as Python allows: blocking keep-alive connections."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from alcor.model import errors

HEADERS = {"Content-Type": "application/json", "X-Roles": "admin", "X-Project-Id": "admin"}
TIMEOUT_S = 120
IDLE_MAX_S = 30.0  # the API ends connections that are idle for longer than a minute


class Connection:
    """One keep-alive connection to the API, as the operator."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._http = http.client.HTTPConnection(
            address.hostname or "127.0.0.1", address.port, timeout=TIMEOUT_S
        )
        self._used_at_s = 0.0

    def call(
        self, method: str, path: str, body: object = None, *, project: str | None = None
    ) -> tuple[Any, float, int]:
        """Make a request; give the answer, the milliseconds until it had arrived whole, and its revision."""
        content = None if body is None else msgspec.json.encode(body)
        raw, took_ms, revision = self.exchange(method, path, content, project=project)
        return (msgspec.json.decode(raw) if raw else None), took_ms, revision

    def exchange(
        self, method: str, path: str, content: bytes | None, *, project: str | None = None
    ) -> tuple[bytes, float, int]:
        """Make a request of bytes, and give bytes: a client's own encoding and decoding is not measured."""
        self._refresh()
        started = time.perf_counter()
        headers = HEADERS if project is None else HEADERS | {"X-Project-Id": project}
        self._http.request(method, path, body=content, headers=headers)
        response = self._http.getresponse()
        raw = response.read()
        took_ms = (time.perf_counter() - started) * 1000
        if response.status >= 400:
            raise errors.Broken(f"{method} {path}: {response.status} {raw[:300]!r}")
        revision = int(response.headers.get("X-Alcor-Revision") or 0)
        return raw, took_ms, revision

    def post_raw(self, path: str, content: bytes) -> None:
        """Make a request that is encoded already, and read its answer without decoding it."""
        self._refresh()
        self._http.request("POST", path, body=content, headers=HEADERS)
        response = self._http.getresponse()
        raw = response.read()
        if response.status >= 400:
            raise errors.Broken(f"POST {path}: {response.status} {raw[:300]!r}")

    def _refresh(self) -> None:
        """Connect anew after a pause: a request on a connection that has ended would fail."""
        now_s = time.monotonic()
        if now_s - self._used_at_s > IDLE_MAX_S:
            self._http.close()
        self._used_at_s = now_s

    def close(self) -> None:
        self._http.close()


def in_parallel(url: str, bodies: Sequence[object], *, clients: int, path: str) -> tuple[list[float], float]:
    """Send all bodies from so many clients at once; give each one's milliseconds, and the seconds in all."""
    todo: Iterator[object] = iter(bodies)
    lock = threading.Lock()
    times: list[float] = []
    failures: list[BaseException] = []

    def next_body() -> object | None:
        with lock:
            return next(todo, None)

    def client() -> None:
        connection = Connection(url)
        try:
            while not failures and (body := next_body()) is not None:
                times.append(connection.call("POST", path, body)[1])
        except (errors.AlcorError, OSError) as error:
            failures.append(error)
        finally:
            connection.close()

    started = time.perf_counter()
    _run_threads(client, clients)
    if failures:
        raise errors.Broken(f"a client failed: {failures[0]}")
    return times, time.perf_counter() - started


def _run_threads(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
