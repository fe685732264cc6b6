"""The seam that every data plane implements: Open vSwitch, simulated, more to come."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import msgspec

from alcor.model.goal_state import HostState, SectionKey, SectionUpdate
from alcor.model.ids import HostId, PortId, Vni

# Where a host's data plane answers to a neighbour that rescues it, over TLS, on its tunnel address.
RESCUE_DATABASE_PORT = 6640
RESCUE_OPENFLOW_PORT = 6653


class HostFacts(msgspec.Struct, frozen=True):
    """What a data plane must know of its host."""

    host: HostId
    vtep: bytes  # packed address of the tunnel endpoint
    router_mac: int  # source MAC of what this host routes; unique per host


def facts_of(host: str, vtep: bytes) -> HostFacts:
    """Give what a data plane must know of its host."""
    return HostFacts(host=HostId(host), vtep=vtep, router_mac=router_mac(host))


def router_mac(host: str) -> int:
    """Give the address from which a host routes: locally administered, unicast, the same at every start.

    46 bits of a hash: in a region of half a million hosts two share one with a chance of 0.2 %.
    """
    number = int.from_bytes(hashlib.blake2b(f"router {host}".encode(), digest_size=6).digest(), "big")
    return number & ~(0x01 << 40) | (0x02 << 40)


class Refusal(msgspec.Struct, frozen=True):
    """A section that the data plane cannot put in force, and why."""

    key: SectionKey
    reason: str


class DataPlaneEvents(Protocol):
    """What a data plane tells its agent. Called from the event loop; must not block."""

    def plugged(self, port_id: PortId) -> None:
        """The workload of a port known here is attached, and its flows are in force."""
        ...

    def unplugged(self, port_id: PortId) -> None:
        """It is there no longer."""
        ...

    def unknown(self, vni: Vni, ip: bytes) -> bool:
        """A packet is for an address of an on-demand network that is not held. False: it need not wait."""
        ...

    def announced(self, port_id: PortId, ip: bytes) -> None:
        """A workload says that an address of its port's pairs is its own, which was not known."""
        ...

    def lost(self, reason: str) -> None:
        """The data plane does not answer; nothing is known to be in force until `synchronise` succeeds."""
        ...

    def ready(self) -> None:
        """The data plane answers (again) and wants `synchronise`."""
        ...

    def fenced(self, writer: str) -> None:
        """Another writer holds the data plane: nothing more is written until `DataPlane.grant` is called."""
        ...


class DataPlane(Protocol):
    """One host's forwarding. All methods run on the agent's loop, one at a time (the agent sees to that)."""

    name: str
    answers_at_once: bool  # its methods never wait for anything, so nobody watches the time for them

    async def start(self, events: DataPlaneEvents) -> None:
        """Connect and begin to watch. Returns at once; `events.ready` follows when it answers."""
        ...

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        """Make the data plane hold the state, changing only what differs; confirmed on return.

        `remove` False: the state is not known to be complete, so what it does not name is left alone (law 6).
        Raises Unavailable when the data plane does not answer.
        """
        ...

    async def apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        """Put updates in force, atomically; confirmed on return. `state` has them already. O(updates)."""
        ...

    def grant(self, token: int) -> None:
        """Write under this token from now on; older ones are refused by the data plane itself."""
        ...

    @property
    def token(self) -> int:
        """The token that the data plane itself holds for this writer; 0: none, or it is not known now."""
        ...

    @property
    def holds_more(self) -> bool:
        """May it hold, besides, what the state did not name when it was last synchronised without `remove`?

        Then what is in force is not all that is: a rule that its section lost may still allow something.
        """
        ...

    def plugged_ports(self) -> Sequence[PortId]:
        """Name the ports known here whose workload is attached, sorted."""
        ...

    async def close(self) -> None:
        """Let go of connections. Forwarding stays as it is (law 6)."""
        ...
