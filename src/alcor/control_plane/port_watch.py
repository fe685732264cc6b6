"""Who else wants to know what becomes of ports: told by the controller, and answering at once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from alcor.contracts.agent_channel import Hello
from alcor.contracts.convergence import PortState
from alcor.contracts.store import Change
from alcor.control_plane.region import Region
from alcor.model.ids import HostId, PortId
from alcor.model.records import Port

StateOf = Callable[[PortId], PortState | None]  # None: its host is not heard, or it has none


class PortWatcher(Protocol):
    """Hears of everything that may make a port ACTIVE, or end that. Must neither wait nor raise."""

    def begin(self, region: Region, state_of: StateOf) -> None:
        """A term begins; the region is empty still."""
        ...

    def loaded(self, ports: Sequence[Port]) -> None:
        """Ports that are there from before."""
        ...

    def changed(self, change: Change) -> None:
        """A change, in order, that the region has taken in."""
        ...

    def came(self, hello: Hello) -> None:
        """A host begins to speak, and says what is plugged."""
        ...

    def plugs(self, host: HostId, plugged: Iterable[PortId], unplugged: Iterable[PortId]) -> None:
        """A host says what was plugged and unplugged."""
        ...

    def moved(self, host: HostId) -> None:
        """A host has acknowledged more, or refused it."""
        ...


class Nobody:
    """Wants to know nothing."""

    def begin(self, region: Region, state_of: StateOf) -> None:
        return

    def loaded(self, ports: Sequence[Port]) -> None:
        return

    def changed(self, change: Change) -> None:
        return

    def came(self, hello: Hello) -> None:
        return

    def plugs(self, host: HostId, plugged: Iterable[PortId], unplugged: Iterable[PortId]) -> None:
        return

    def moved(self, host: HostId) -> None:
        return
