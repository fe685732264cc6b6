"""What an agent must know of rescues: whom it helps, and whether it is itself such a help."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from alcor.contracts.agent_channel import (
    Probe,
    Probed,
    Rescue,
    RescueEnd,
    RescueOutcome,
    RescueRenewal,
    RescueReport,
)
from alcor.model.ids import HostId

Report = Callable[[RescueReport], None]
Answer = Callable[[Probed], None]


class RescueDuty(msgspec.Struct):
    """An agent that writes for another host, as ordered. `warrant`: the newest, for the next Hello.

    `over`: called once when it must not any longer, and why.
    """

    rescuer: HostId
    token: int
    warrant: bytes
    over: Callable[[str], None]


class NeighborHelp(Protocol):
    """Carries out orders to rescue neighbours. Nothing here blocks but `close`.

    `helps` False: it refuses all orders. `public_key`: for which orders bring certificates.
    """

    helps: bool
    public_key: bytes

    def order(self, order: Rescue, report: Report) -> None:
        """Rescue a host; `report` is called when that is over, or cannot be."""
        ...

    def renew(self, message: RescueRenewal) -> None:
        """Take a newer certificate and warrant, if that rescue is under way."""
        ...

    def end(self, message: RescueEnd) -> None:
        """Stop, if that rescue is under way."""
        ...

    def probe(self, message: Probe, answer: Answer) -> None:
        """Ask a neighbour's data plane whether it answers; `answer` is called once."""
        ...

    def helped(self) -> tuple[HostId, ...]:
        """Name the hosts written for until no controller renewed the lease, and forget them."""
        ...

    async def close(self) -> None:
        """Stop all."""
        ...


class NoHelp:
    """Implements `NeighborHelp` for an agent that no switch of a neighbour would let in."""

    helps = False
    public_key = b""

    def order(self, order: Rescue, report: Report) -> None:
        report(RescueReport(order.target, order.token, RescueOutcome.REFUSED, _WHY_NOT))

    def renew(self, message: RescueRenewal) -> None:
        """Nothing is under way."""

    def end(self, message: RescueEnd) -> None:
        """Nothing is under way."""

    def probe(self, message: Probe, answer: Answer) -> None:
        answer(Probed(message.target, message.number, 0, _WHY_NOT))

    def helped(self) -> tuple[HostId, ...]:
        return ()

    async def close(self) -> None:
        """Nothing is under way."""


_WHY_NOT = "it has no certificate"
