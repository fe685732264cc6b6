"""Has neighbours ask the data planes of hosts whose agents are late: a second witness on the same machine."""

from collections.abc import Callable
from typing import NamedTuple

from alcor.contracts.agent_channel import Hello, Probe, Probed
from alcor.control_plane.region import Region
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock

UNDER_WAY_MAX = 64  # of a controller; when more agents are late at once, the fault is hardly theirs
UNDER_WAY_S = 4.0  # a neighbour answers sooner, or not at all
LOOKED_AT_MAX = 16  # neighbours, for one of the same zone


class _UnderWay(NamedTuple):
    number: int
    neighbour: HostId
    at_s: float


class Probes:
    """Owner of the questions under way, and of the line of neighbours that can ask.

    `send` gives a message to a host's own agent. `answered` hears how long a host's data plane took. `is_late`
    tells whether a host is suspected itself.
    """

    def __init__(
        self,
        region: Region,
        clock: Clock,
        *,
        send: Callable[[HostId, Probe], None],
        answered: Callable[[HostId, float], None],
        is_late: Callable[[HostId], bool],
    ) -> None:
        self._region = region
        self._clock = clock
        self._send = send
        self._answered = answered
        self._is_late = is_late
        self._helpers: dict[HostId, None] = {}  # in the order of their next turn
        self._under_way: dict[HostId, _UnderWay] = {}
        self._number = 0

    @property
    def helpers(self) -> int:
        """How many neighbours can ask."""
        return len(self._helpers)

    def came(self, hello: Hello) -> None:
        """Hear who speaks for a host from now on."""
        self.left(hello.host)
        if hello.helps and not hello.rescuer:
            self._helpers[hello.host] = None

    def left(self, host: HostId) -> None:
        """Hear that a host's own agent is not heard."""
        self._helpers.pop(host, None)

    def ask(self, target: HostId) -> None:
        """Have a neighbour ask the target's data plane, if one can. O(1)."""
        node, now_s = self._region.hosts.get(target), self._clock.monotonic_s()
        self._forget_old(now_s)
        if node is None or node.record is None or len(self._under_way) >= UNDER_WAY_MAX:
            return
        neighbour = self._choose(target, node.record.zone, node.record.data_plane)
        if neighbour is not None:
            self._number += 1
            self._under_way[target] = _UnderWay(self._number, neighbour, now_s)
            self._send(neighbour, Probe(target, node.record.vtep, self._number))

    def heard(self, neighbour: HostId, answer: Probed) -> None:
        """Take a neighbour's answer; late and foreign ones count for nothing."""
        under_way = self._under_way.get(answer.target)
        if under_way is None or under_way[:2] != (answer.number, neighbour):
            return
        del self._under_way[answer.target]
        if not answer.reason:
            self._answered(answer.target, answer.took_us / 1_000_000)

    def _choose(self, target: HostId, zone: str, data_plane: str) -> HostId | None:
        """Take the next neighbour with such a data plane, of the same zone if there is one near the front."""
        best: HostId | None = None
        for _ in range(min(LOOKED_AT_MAX, len(self._helpers))):
            host = next(iter(self._helpers))
            self._helpers[host] = self._helpers.pop(host)  # to the end of the line
            node = self._region.hosts.get(host)
            if host == target or node is None or node.record is None or self._is_late(host):
                continue
            if node.record.data_plane == data_plane:
                best = best or host
                if node.record.zone == zone:
                    return host
        return best

    def _forget_old(self, now_s: float) -> None:
        while self._under_way:
            target, oldest = next(iter(self._under_way.items()))
            if now_s - oldest.at_s < UNDER_WAY_S:
                return
            del self._under_way[target]
