"""Who sees a network: the networks of local ports that exchange packets with it. O(what changed) to keep."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set

from alcor.data_plane.pipeline.groups import ActivePort
from alcor.data_plane.pipeline.routers import Joined, in_both
from alcor.model.ids import PortId


class Viewers:
    """Owns the VNIs that have local ports.

    `domain` gives the VNIs that a VNI exchanges packets with. `seen`: VNIs of which it matters who sees them.
    """

    def __init__(self, domain: Callable[[int], Sequence[Collection[int]]], seen: Set[int]) -> None:
        self._domain = domain
        self._seen = seen
        self._vni_of: dict[PortId, int] = {}  # of local ports that are up
        self._ports: Counter[int] = Counter()  # by VNI; none with 0

    def of(self, vni: int) -> Sequence[int]:
        """Name the VNIs of local ports that exchange packets with a network, sorted."""
        return sorted({viewer for part in self._domain(vni) for viewer in in_both(self._ports.keys(), part)})

    def count(self, actives: Mapping[PortId, ActivePort | None]) -> set[int]:
        """Note which networks these ports are in now; give the VNIs that others see than before.

        Only the first and the last port of a network change who sees others. O(ports named).
        """
        before: dict[int, bool] = {}
        for port_id, active in actives.items():
            left = self._vni_of.pop(port_id, None)
            if left is not None:
                before.setdefault(left, True)
                self._ports[left] -= 1
                if not self._ports[left]:
                    del self._ports[left]
            if active is not None:
                before.setdefault(active.vni, active.vni in self._ports)
                self._vni_of[port_id] = active.vni
                self._ports[active.vni] += 1
        changed = [vni for vni, had_ports in before.items() if had_ports != (vni in self._ports)]
        return {seen for vni in changed for part in self._domain(vni) for seen in in_both(self._seen, part)}

    def concerned(self, joined: Joined) -> set[int]:
        """Name the VNIs that others may see than before when a router has come to join others."""
        return {vni for moved in joined.moved for vni in self._turned(moved, joined)}

    def _turned(self, vni: int, joined: Joined) -> Iterator[int]:
        if vni in self._ports:
            yield from joined.partners(vni, self._seen)
        if vni in self._seen and joined.has_partner(vni, self._ports.keys()):
            yield vni
