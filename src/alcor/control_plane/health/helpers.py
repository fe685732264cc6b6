"""Which hosts can write for a neighbour now, found without looking at all of them."""

from collections import Counter
from itertools import islice

from alcor.control_plane.health import rescue_choice
from alcor.model.ids import HostId

LOOKED_AT_MAX = 64  # of the zone, and as many of others: enough to choose well, whatever the region's size
_Place = tuple[str, str]  # data plane and zone


class Helpers:
    """Owner of the hosts whose own agents can help, by place, and of how many rescues each carries out."""

    def __init__(self) -> None:
        self._places: dict[HostId, _Place] = {}
        self._free: dict[str, dict[str, dict[HostId, None]]] = {}  # data plane, zone, hosts in turn
        self._rescues: Counter[HostId] = Counter()

    def came(self, host: HostId, *, data_plane: str, zone: str) -> None:
        """A host's own agent is there and can help."""
        self.left(host)
        self._places[host] = (data_plane, zone)
        self._sort_in(host)

    def left(self, host: HostId) -> None:
        """It is there no longer; its rescues are counted until they are over."""
        self._take_out(host)
        self._places.pop(host, None)

    def ordered(self, host: HostId) -> None:
        """It was given a rescue."""
        self._rescues[host] += 1
        self._sort_in(host)

    def over(self, host: HostId) -> None:
        """One of its rescues is over."""
        self._rescues[host] -= 1
        if not self._rescues[host]:
            del self._rescues[host]
        self._sort_in(host)

    def rescues(self, host: HostId) -> int:
        """How many it carries out."""
        return self._rescues[host]

    def near(self, *, data_plane: str, zone: str) -> list[HostId]:
        """Give some that have room, of the zone and of others. O(LOOKED_AT_MAX)."""
        zones = self._free.get(data_plane, {})
        found = self._next(zones[zone]) if zone in zones else []
        enough = len(found) + LOOKED_AT_MAX
        for other, hosts in zones.items():
            if other != zone:
                found += self._next(hosts)
            if len(found) >= enough:
                break
        return found

    def _next(self, hosts: dict[HostId, None]) -> list[HostId]:
        """Take those whose turn it is, and put them at the end of the line: others are looked at next time."""
        found = list(islice(hosts, LOOKED_AT_MAX))
        if len(found) < len(hosts):
            for host in found:
                hosts[host] = hosts.pop(host)
        return found

    def _sort_in(self, host: HostId) -> None:
        if host not in self._places:
            return
        if self._rescues[host] >= rescue_choice.RESCUES_MAX:
            self._take_out(host)
            return
        data_plane, zone = self._places[host]
        self._free.setdefault(data_plane, {}).setdefault(zone, {})[host] = None

    def _take_out(self, host: HostId) -> None:
        if host not in self._places:
            return
        data_plane, zone = self._places[host]
        zones = self._free.get(data_plane, {})
        if zone in zones:
            zones[zone].pop(host, None)
            if not zones[zone]:
                del zones[zone]
