"""A stream of pings between two workloads, each counted: what an established connection loses meanwhile.

A process of its own (`python -m alcor.lab.ping_stream NAMESPACE ADDRESS INTERVAL_S`), so that nothing else this
machine does in between holds it up. All its pings carry one identifier: to connection tracking, one connection.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

import msgspec

from alcor.lab import echo
from alcor.lab.inside import enter
from alcor.model.errors import Broken

LAST_ANSWER_S = 1.0  # waited for what is still under way at the end
END_S = 10.0


class Counted(msgspec.Struct, frozen=True):
    """How many pings were sent, and which of them nobody answered: milliseconds since 1970 UTC."""

    sent: int
    lost_at_ms: tuple[int, ...]

    @property
    def lost(self) -> int:
        return len(self.lost_at_ms)


class PingStream:
    """Owner of the process."""

    def __init__(self, namespace: str, address: str, *, interval_s: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "alcor.lab.ping_stream", namespace, address, str(interval_s)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def stop(self) -> Counted:
        """End the stream and give what was counted. Raises Broken."""
        self._process.send_signal(signal.SIGTERM)
        try:
            output, _ = self._process.communicate(timeout=END_S)
            return msgspec.json.decode(output, type=Counted)
        except (subprocess.TimeoutExpired, msgspec.DecodeError) as error:
            raise Broken(f"the stream of pings ended without a count: {error}") from error
        finally:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it without a count."""
        self._process.kill()
        self._process.communicate()


def _stream(namespace: str, address: str, interval_s: float) -> None:
    told: list[int] = []

    def tell(number: int, _: FrameType | None) -> None:
        told.append(number)

    signal.signal(signal.SIGTERM, tell)
    enter(namespace)
    identifier = os.getpid() & 0xFFFF
    open_ones: dict[int, int] = {}
    sent = 0
    with echo.open_socket(echo.version_of(address)) as sock:
        due = time.monotonic()
        end: float | None = None
        while end is None or (open_ones and time.monotonic() < end):
            now = time.monotonic()
            if told and end is None:
                end = now + LAST_ANSWER_S
            if end is None and now >= due:
                due += interval_s
                sent = sent % 0xFFFF + 1
                open_ones[sent] = time.time_ns() // 1_000_000
                _send(sock, address, identifier, sent)
            select.select([sock], [], [], max(0.0, min(due - now, interval_s)))
            _receive(sock, address, identifier, open_ones)
    print(json.dumps({"sent": sent, "lost_at_ms": list(open_ones.values())}))


def _send(sock: socket.socket, address: str, identifier: int, number: int) -> None:
    request = echo.request(echo.version_of(address), identifier, number, b"alcor stream")
    try:
        sock.sendto(request, (address, 0))
    except OSError:
        return  # nobody answers it then, and it counts as lost


def _receive(sock: socket.socket, address: str, identifier: int, open_ones: dict[int, int]) -> None:
    while True:
        try:
            packet, (source, *_) = sock.recvfrom(2048)
        except BlockingIOError:
            return
        said = echo.read(echo.version_of(address), packet)
        if said is not None and not said.is_request and source == address and said.identifier == identifier:
            open_ones.pop(said.number, None)


if __name__ == "__main__":
    _stream(sys.argv[1], sys.argv[2], float(sys.argv[3]))
