"""A child process that works inside many namespaces at once: `python -m alcor.lab.inside`.

A socket stays in the namespace where it was made. So this one process enters each namespace only to make its
sockets, and then serves all of them from one loop: hundreds of probes cost no process and no thread each.

Requests and answers are JSON objects, one a line: `{"do": name, ...}`; `{"result": ...}` or `{"error": text}`.
"""

import ctypes
import errno
import fcntl
import heapq
import itertools
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from alcor.lab import echo, raw_probe
from alcor.lab.inside_tags import Tagger
from alcor.lab.raw_probe import RawProbe

TRIES = 3  # a lost packet is retried; a pair that stays silent this often is blocked
TRY_S = 1.0
STARTS_PER_S = 1500.0  # the first packet of each pair passes the slow path of a switch
PING = 0  # in place of an IP protocol: ICMP, or in IPv6 ICMPv6
GREETING = b"alcor "  # then the name of the namespace that answers, and a new line

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCETHTOOL = 0x8913, 0x8914, 0x8946
_IFF_UP = 1
_ETHTOOL_STXCSUM = 0x17
_DAD_FAILED, _TENTATIVE = 0x08, 0x40  # flags of an IPv6 address (linux/if_addr.h)

_libc = ctypes.CDLL(None, use_errno=True)


class Probe:
    """One question whether an address answers, and who it is that has it. Owner of its state only."""

    __slots__ = ("done", "kind", "namespace", "ok", "port", "protocol", "receivers", "sent", "sock", "to_ip")

    def __init__(self, asked: dict[str, Any]) -> None:
        self.namespace: str = asked["namespace"]
        self.to_ip: str = asked["to_ip"]
        self.kind: str = asked["kind"]
        self.port: int = asked["port"]
        self.protocol: int = asked["protocol"] if self.kind == "ip" else PING
        self.sent = 0
        self.ok = False
        self.done = False
        self.receivers: set[str] = set()  # namespaces that got the packet, as far as they tell
        self.sock: socket.socket | None = None


class Heard(NamedTuple):
    """A packet of ours. `answer`: what is to be sent back, if the kernel does not do it itself."""

    key: int
    is_question: bool
    answer: bytes


class Inside:
    """Owner of all sockets of this process."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._raw: dict[tuple[str, int, int], socket.socket] = {}  # namespace, IP version, protocol
        self._questions: dict[int, Probe] = {}  # in packets of their own, by key
        self._next_key = itertools.count(1)
        self._listening: set[tuple[str, int]] = set()
        self._held: dict[int, socket.socket] = {}
        self._taggers: dict[str, Tagger] = {}
        self._next_held = itertools.count(1)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._requests = b""
        self._open = True

    def serve(self) -> None:
        """Answer requests from standard input until it ends."""
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ, self._read_requests)
        while self._open:
            self._turn(None, requests=True)

    def _read_requests(self, _: int) -> None:
        chunk = os.read(0, 1 << 20)
        if not chunk:
            self._open = False
        self._requests += chunk
        while b"\n" in self._requests:
            line, self._requests = self._requests.split(b"\n", 1)
            try:
                answer = {"result": self._act(json.loads(line))}
            except (OSError, KeyError, ValueError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def _act(self, request: dict[str, Any]) -> object:
        match request["do"]:
            case "prepare":
                return self._prepare(request["namespaces"])
            case "tag":
                return self._tag(request["parent"], request["vlan"], request["device"])
            case "listen":
                return self._listen(request["namespaces"], request["port"])
            case "ignore_routers":
                return self._ignore_routers(request["namespace"])
            case "await_ipv6":
                return self._await_ipv6(request["wanted"], request["timeout_s"])
            case "probe":
                return self._probe([Probe(asked) for asked in request["probes"]])
            case "hold":
                return self._hold(request["namespace"], request["to_ip"], request["port"])
            case "talk":
                return self._talk(request["connection"], request["timeout_s"])
            case "release":
                self._held.pop(request["connection"]).close()
                return True
            case other:
                raise ValueError(f"unknown request {other}")

    # -- requests

    def _prepare(self, names: list[str]) -> bool:
        """Set the devices up and switch off checksums left to hardware: a userspace datapath has none."""
        for name in names:
            enter(name)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                checksums_off(sock, "eth0")
                for device in ("lo", "eth0"):
                    _set_up(sock, device)
        return True

    def _tag(self, parent: str, vlan: int, device: str) -> bool:
        enter(parent)
        if parent not in self._taggers:
            self._taggers[parent] = Tagger(self._selector, "eth0")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            _set_up(sock, device)
        # The device is a wire: the parent must not answer there for its own addresses.
        Path(f"/proc/sys/net/ipv4/conf/{device}/arp_ignore").write_text("8")
        self._taggers[parent].add(vlan, device)
        return True

    def _ignore_routers(self, name: str) -> bool:
        enter(name)
        Path("/proc/sys/net/ipv6/conf/eth0/accept_ra").write_text("0")
        return True

    def _await_ipv6(self, wanted: list[tuple[str, str]], timeout_s: float) -> list[bool]:
        """Wait until namespaces have addresses that they may use; give for each whether it has."""
        deadline = time.monotonic() + timeout_s
        missing = dict.fromkeys(range(len(wanted)))
        while missing and time.monotonic() < deadline:
            for index in list(missing):
                namespace, ip = wanted[index]
                enter(namespace)
                if ip in usable_ipv6():
                    del missing[index]
            self._turn(0.05)
        return [index not in missing for index in range(len(wanted))]

    def _listen(self, names: list[str], port: int) -> bool:
        for name in names:
            if (name, port) in self._listening:
                continue
            enter(name)
            is_dual = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if is_dual else socket.AF_INET
            sock = socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=is_dual)
            sock.setblocking(False)
            self._selector.register(
                sock, selectors.EVENT_READ, partial(self._accept, GREETING + name.encode() + b"\n")
            )
            self._listening.add((name, port))
        return True

    def _probe(self, probes: list[Probe]) -> list[tuple[bool, list[str]]]:
        """Give for each whether it was answered, and the namespaces that got it."""
        asked = {(echo.version_of(probe.to_ip), probe.protocol) for probe in probes}
        for name in sorted({name for name, _ in self._listening}):
            for version, protocol in sorted(asked | {(version, PING) for version, _ in asked}):
                self._raw_socket(name, version, protocol)  # whoever serves tells of what reaches it
        start = time.monotonic()
        for index, probe in enumerate(probes):
            self._at(start + index / STARTS_PER_S, partial(self._start, probe))
        while not all(probe.done for probe in probes):
            self._turn(0.05)
        for (name, version, protocol), sock in self._raw.items():
            # A question is there before its answer is, but not always read before it.
            self._receive_raw(name, version, protocol, sock)
        self._questions.clear()
        return [(probe.ok, sorted(probe.receivers)) for probe in probes]

    def _hold(self, name: str, to_ip: str, port: int) -> int | None:
        enter(name)
        sock = socket.socket(echo.family_of(to_ip), socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((to_ip, port))
        if not self._receive_held(sock, b"\n", TRIES * TRY_S + 0.5):
            sock.close()
            return None
        number = next(self._next_held)
        self._held[number] = sock
        return number

    def _talk(self, number: int, timeout_s: float) -> bool:
        """Send a word over a held connection; true when it comes back."""
        sock = self._held[number]
        word = b"%d\n" % time.monotonic_ns()
        try:
            sock.send(word)
        except OSError:
            return False
        return self._receive_held(sock, word, timeout_s)

    def _receive_held(self, sock: socket.socket, wanted: bytes, timeout_s: float) -> bool:
        sock.setblocking(False)
        deadline = time.monotonic() + timeout_s
        received = b""
        while wanted not in received and time.monotonic() < deadline:
            self._turn(0.01)
            try:
                chunk = sock.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                return False
            if not chunk:
                return False
            received += chunk
        return wanted in received

    # -- servers

    def _accept(self, greeting: bytes, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        sock.send(greeting)
        self._selector.register(sock, selectors.EVENT_READ, self._echo)

    def _echo(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(4096)
            if data:
                sock.send(data)
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._selector.unregister(sock)
        sock.close()

    # -- probes

    def _start(self, probe: Probe) -> None:
        match probe.kind:
            case "icmp" | "ip":
                self._ask(probe, next(self._next_key) & 0xFFFFFFFF)
            case _:
                self._connect(probe)

    def _ask(self, probe: Probe, key: int) -> None:
        """Ask in one packet, a ping or one of another IP protocol, and again until there is an answer."""
        if probe.done:
            return
        if probe.sent == TRIES:
            self._finish(probe, ok=False)
            return
        probe.sent += 1
        self._questions[key] = probe
        version = echo.version_of(probe.to_ip)
        if probe.protocol == PING:
            question = echo.request(version, *divmod(key, 1 << 16), b"alcor probe")
        else:
            question = RawProbe(raw_probe.SOURCE_PORT, probe.port, False, key).encode()
        _send(self._raw_socket(probe.namespace, version, probe.protocol), question, probe.to_ip)
        self._at(time.monotonic() + TRY_S, lambda: self._ask(probe, key))

    def _raw_socket(self, namespace: str, version: int, protocol: int) -> socket.socket:
        sock = self._raw.get((namespace, version, protocol))
        if sock is None:
            enter(namespace)
            if protocol == PING:
                sock = echo.open_socket(version)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            else:
                sock = socket.socket(echo.family(version), socket.SOCK_RAW, protocol)
                sock.setblocking(False)
            self._raw[namespace, version, protocol] = sock
            receive = partial(self._receive_raw, namespace, version, protocol)
            self._selector.register(sock, selectors.EVENT_READ, receive)
        return sock

    def _receive_raw(self, here: str, version: int, protocol: int, sock: socket.socket) -> None:
        for _ in range(256):
            try:
                packet, (source, *_) = sock.recvfrom(2048)
            except BlockingIOError:
                return
            heard = _read_ping(version, packet) if protocol == PING else _read_other(version, packet)
            probe = self._questions.get(heard.key) if heard is not None else None
            if heard is None or probe is None:
                continue
            if heard.is_question:
                probe.receivers.add(here)
                if heard.answer:
                    _send(sock, heard.answer, source)
            # The answer must come from who was asked, to who asked.
            elif source == probe.to_ip and probe.namespace == here:
                self._finish(probe, ok=True)

    def _connect(self, probe: Probe) -> None:
        enter(probe.namespace)
        probe.sock = socket.socket(echo.family_of(probe.to_ip), socket.SOCK_STREAM)
        probe.sock.setblocking(False)
        # Closing resets, so that thousands of probes leave no connection waiting behind.
        probe.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        result = probe.sock.connect_ex((probe.to_ip, probe.port))
        if result not in (0, errno.EINPROGRESS):
            self._finish(probe, ok=False)
            return
        self._selector.register(probe.sock, selectors.EVENT_READ, lambda _: self._greeted(probe))
        # The kernel itself sends the first packet again after 1 and 3 s: three tries.
        self._at(time.monotonic() + TRIES * TRY_S + 0.5, lambda: self._finish(probe, ok=False))

    def _greeted(self, probe: Probe) -> None:
        assert probe.sock is not None
        try:
            greeting = probe.sock.recv(128)
        except BlockingIOError:
            return
        except OSError:
            greeting = b""
        if greeting.startswith(GREETING):
            probe.receivers.add(greeting[len(GREETING) :].decode().strip())
        self._finish(probe, ok=bool(probe.receivers))

    def _finish(self, probe: Probe, *, ok: bool) -> None:
        if probe.done:
            return
        probe.done = True
        probe.ok = ok
        if probe.sock is not None:
            if probe.sock in self._selector.get_map():
                self._selector.unregister(probe.sock)
            probe.sock.close()

    # -- the loop

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (when, next(self._timer_numbers), act))

    def _turn(self, timeout_s: float | None, *, requests: bool = False) -> None:
        if self._timers:
            until = max(self._timers[0][0] - time.monotonic(), 0.0)
            timeout_s = until if timeout_s is None else min(timeout_s, until)
        for key, _ in self._selector.select(timeout_s):
            # A request takes turns of its own, in which a socket may be closed that was ready before it.
            if isinstance(key.fileobj, socket.socket) and key.fileobj.fileno() < 0:
                continue
            if key.fd != 0 or requests:
                key.data(key.fileobj)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


def _read_ping(version: int, packet: bytes) -> Heard | None:
    said = echo.read(version, packet)
    return None if said is None else Heard(said.identifier << 16 | said.number, said.is_request, b"")


def _read_other(version: int, packet: bytes) -> Heard | None:
    said = raw_probe.decode(packet[echo.header_length(version, packet) :])
    return None if said is None else Heard(said.key, not said.is_answer, said.answer().encode())


_NOT_NOW = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.EAGAIN)


def _send(sock: socket.socket, content: bytes, to_ip: str) -> None:
    """Send once; what finds no way or no room is sent again anyway."""
    try:
        sock.sendto(content, (to_ip, 0))
    except OSError as error:
        if error.errno not in _NOT_NOW:
            raise


def enter(namespace: str) -> None:
    """Move this process into a namespace; sockets made before stay where they are."""
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(handle, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(handle)


def usable_ipv6() -> set[str]:
    """Name the IPv6 addresses of this namespace that it may use: no other has them (RFC 4862, section 5.4)."""
    found = set()
    for line in Path("/proc/self/net/if_inet6").read_text().splitlines():
        digits, _, _, _, flags, _ = line.split()
        if not int(flags, 16) & (_TENTATIVE | _DAD_FAILED):
            found.add(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)))
    return found


def _set_up(sock: socket.socket, device: str) -> None:
    name = device.encode()
    answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH14x", name, 0))
    flags = struct.unpack("16sH14x", answer)[1]
    fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", name, flags | _IFF_UP))


def checksums_off(sock: socket.socket, device: str) -> None:
    """Leave no checksum of a device of this namespace to hardware."""
    value = ctypes.create_string_buffer(struct.pack("II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
    fcntl.ioctl(sock, _SIOCETHTOOL, request + bytes(40 - len(request)))


if __name__ == "__main__":
    Inside().serve()
