"""Talks to the one child process of a lab that works inside its namespaces (`inside`)."""

import json
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from alcor.model.errors import Broken, Unavailable

ANSWER_S = 120.0


class InsideClient:
    """Owner of the child process. One request at a time, from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()

    def prepare(self, namespaces: Sequence[str]) -> None:
        """Set the devices of workloads up, with checksums computed in software."""
        self._ask({"do": "prepare", "namespaces": list(namespaces)})

    def tag(self, parent: str, vlan: int, device: str) -> None:
        """Make a device of the parent's namespace one of its VLANs."""
        self._ask({"do": "tag", "parent": parent, "vlan": vlan, "device": device})

    def listen(self, namespaces: Sequence[str], port: int) -> None:
        """Serve TCP on a port in each namespace: a greeting that names it, then an echo."""
        self._ask({"do": "listen", "namespaces": list(namespaces), "port": port})

    def ignore_routers(self, namespace: str) -> None:
        """Let a namespace take nothing from router advertisements any longer."""
        self._ask({"do": "ignore_routers", "namespace": namespace})

    def await_ipv6(self, wanted: Sequence[tuple[str, str]], *, timeout_s: float) -> list[bool]:
        """Wait until namespaces have IPv6 addresses that they may use; give for each whether it has."""
        answer = self._ask({"do": "await_ipv6", "wanted": list(wanted), "timeout_s": timeout_s})
        assert isinstance(answer, list)
        return answer

    def probe(self, probes: Sequence[dict[str, str | int]]) -> list[tuple[bool, tuple[str, ...]]]:
        """Ask whether addresses answer: `{"namespace", "to_ip", "kind", "port"}` each.

        Gives for each, in order, whether it was answered and which namespaces got it (see `packets.Outcome`).
        """
        answer = self._ask({"do": "probe", "probes": list(probes)})
        assert isinstance(answer, list)
        return [(bool(answered), tuple(receivers)) for answered, receivers in answer]

    def hold(self, namespace: str, to_ip: str, port: int) -> int | None:
        """Open a TCP connection and keep it; gives its number, None when it does not come about."""
        answer = self._ask({"do": "hold", "namespace": namespace, "to_ip": to_ip, "port": port})
        return answer if isinstance(answer, int) else None

    def talk(self, connection: int, *, timeout_s: float) -> bool:
        """Send a word over a kept connection: does it come back in time?"""
        return bool(self._ask({"do": "talk", "connection": connection, "timeout_s": timeout_s}))

    def release(self, connection: int) -> None:
        """Close a kept connection."""
        self._ask({"do": "release", "connection": connection})

    def close(self) -> None:
        """End the child process and with it every socket it made."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, request: dict[str, object]) -> object:
        with self._one_at_a_time:
            process = self._running()
            assert process.stdin is not None
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(_read_line(process))
        if "error" in answer:
            raise Broken(f"inside the namespaces: {answer['error']}")
        result: object = answer["result"]
        return result

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # A session of its own: Ctrl-C at the terminal must not end it before the lab does.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "alcor.lab.inside"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return self._process


def _read_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    deadline = time.monotonic() + ANSWER_S
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(deadline - time.monotonic(), 0.0)):
                raise Unavailable("the process inside the namespaces does not answer", retry_after_s=1.0)
            chunk = process.stdout.read1(1 << 20)  # type: ignore[attr-defined]  # a BufferedReader in fact
            if not chunk:
                raise Broken("the process inside the namespaces ended")
            line += chunk
    return line
