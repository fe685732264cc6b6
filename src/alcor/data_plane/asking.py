"""Packets for addresses that are not held: the agent asks, the first packets wait, and go on where they were.

    pipeline --hand_over--> handed_over --ask--> agent --> controller
                                  | waits, bounded for each address, each port and in all
    placement in force ---> go_on --resume--> the table that did not know

Shared by every flow-based data plane. A port that asks for much (a scan) delays and displaces only itself.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from alcor.data_plane import frames
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.matching import version_of
from alcor.data_plane.pipeline.unknown import Asking as Way
from alcor.model.ids import Vni
from alcor.runtime.limits import TokenBuckets

P = TypeVar("P")

RATE_PER_S = 200.0  # new addresses of one port: a busy one finds its peers, a scan of a subnet takes minutes
BURST = 400.0  # beside a meter, which may let pass fewer at once and a little more for seconds
WAIT_S = 2.0  # then whoever sent it has sent it again
PACKETS_PER_ADDRESS_MAX = 4
ADDRESSES_PER_PORT_MAX = 64
ADDRESSES_MAX = 4_096
AGAIN_PER_S = 4.0  # a packet that comes back though its address is held is not sent round for ever
AGAIN_BURST = 8.0

_Address = tuple[Vni, bytes]


class _Waiting(NamedTuple, Generic[P]):
    """One packet. `to_mac`: what it is addressed to, where that must be right already; None where not."""

    packet: P
    to_mac: int | None
    at_s: float


class Asking(Generic[P]):
    """Owner of the packets that wait, and of the limits. Counts what it drops."""

    def __init__(
        self,
        *,
        ask: Callable[[Vni, bytes], bool],
        mac_of: Callable[[int, bytes], int | None],
        resume: Callable[[P], None],
    ) -> None:
        """`ask`: False when waiting is useless. `mac_of`: (VNI, address) -> MAC address when it is held."""
        self._ask = ask
        self._mac_of = mac_of
        self._resume = resume
        self._ports: dict[int, OrderedDict[_Address, list[_Waiting[P]]]] = {}
        self._addresses = 0  # over all ports
        self._buckets: TokenBuckets[int] = TokenBuckets(rate_per_s=RATE_PER_S, burst=BURST)
        self._again: TokenBuckets[_Address] = TokenBuckets(rate_per_s=AGAIN_PER_S, burst=AGAIN_BURST)
        self.limited = 0  # packets of ports that ask too often
        self.dropped = 0  # packets that waited in vain or found no room

    def handed_over(
        self, packet: P, *, vni: int, ip: bytes, key: int, to_mac: int | None, now_s: float
    ) -> None:
        """Take a packet in. `key`: its sender's port. Never blocks. O(1)."""
        address = (Vni(vni), ip)
        if self._mac_of(vni, ip) is not None:
            if self._again.take(address, now_s):
                self._send_on(address, _Waiting(packet, to_mac, now_s))
            else:
                self.dropped += 1
            return
        waiting = self._ports.get(key, _NOTHING).get(address)
        if waiting is None and not self._buckets.take(key, now_s):
            self.limited += 1
        elif not self._ask(*address):
            self.dropped += 1
        elif waiting is None:
            self._make_room(key, now_s)
            if self._addresses < ADDRESSES_MAX:
                self._ports.setdefault(key, OrderedDict())[address] = [_Waiting(packet, to_mac, now_s)]
                self._addresses += 1
            else:
                self.dropped += 1
        elif len(waiting) < PACKETS_PER_ADDRESS_MAX:
            waiting.append(_Waiting(packet, to_mac, now_s))
        else:
            self.dropped += 1

    @property
    def addresses(self) -> int:
        """How many addresses are waited for, each port's counted on its own."""
        return self._addresses

    def go_on(self, now_s: float) -> None:
        """Send on what has been waiting for addresses that are in force now. O(addresses waited for)."""
        if not self._addresses:
            return
        for key in list(self._ports):
            self._forget_late(key, now_s)
            for address in [
                address for address in self._ports.get(key, ()) if self._mac_of(*address) is not None
            ]:
                for waiting in self._take(key, address):
                    self._send_on(address, waiting)

    def _send_on(self, address: _Address, waiting: _Waiting[P]) -> None:
        mac = self._mac_of(*address)
        if waiting.to_mac in (None, mac):
            self._resume(waiting.packet)
        else:
            self.dropped += 1  # for a MAC address that nobody has any longer: its sender must resolve again

    def _make_room(self, key: int, now_s: float) -> None:
        self._forget_late(key, now_s)
        mine = self._ports.get(key, _NOTHING)
        if len(mine) >= ADDRESSES_PER_PORT_MAX:
            self.dropped += len(self._take(key, next(iter(mine))))
        if self._addresses >= ADDRESSES_MAX:
            for other in list(self._ports):
                self._forget_late(other, now_s)

    def _forget_late(self, key: int, now_s: float) -> None:
        while mine := self._ports.get(key):
            address, waiting = next(iter(mine.items()))
            if now_s - waiting[0].at_s < WAIT_S:
                return
            self.dropped += len(self._take(key, address))

    def _take(self, key: int, address: _Address) -> list[_Waiting[P]]:
        mine = self._ports[key]
        taken = mine.pop(address)
        self._addresses -= 1
        if not mine:
            del self._ports[key]
        return taken


def asked_address(way: Way, fields: Mapping[Field, int], frame: bytes) -> bytes | None:
    """Give the address that a packet waits for; None when it has none. `fields`: registers not named are 0."""
    asked = frames.asked_address(frame, of_source=way.asks_source)
    if asked is None or not way.is_next_hop:
        return asked
    return fields.get(version_of(asked).next_hop, 0).to_bytes(len(asked), "big")


_NOTHING: OrderedDict[_Address, list[_Waiting[object]]] = OrderedDict()
