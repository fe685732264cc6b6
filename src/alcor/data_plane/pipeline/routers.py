"""Routers of a host: which networks they join, and what a change of one touches."""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from alcor.data_plane.pipeline.numbers import StableNumbers
from alcor.data_plane.pipeline.sections import merge
from alcor.model.goal_state import RouterChange, RouterInterface, RouterSection
from alcor.model.ids import PortId

InterfaceKey: TypeAlias = tuple[PortId, tuple[bytes, int]]

_NUMBER_MAX = 0xFFFFFFFF


class Joined(NamedTuple):
    """Which networks exchange packets with others than before, because a router joins others."""

    vnis: frozenset[int]
    moved: frozenset[int]  # those of them that the router came to join, or joins no longer

    def others(self, vni: int) -> frozenset[int]:
        """Give the VNIs that one of `vnis` exchanges packets with since now, or may not any longer. O(1)."""
        return self.vnis if vni in self.moved else self.moved


class RouterOutcome(NamedTuple):
    """What a change of a router touches."""

    interfaces: tuple[InterfaceKey, ...]
    joined: Joined
    routes: bool  # may the flows of its extra routes be others now?
    vnis: frozenset[int]  # where interfaces came, went or changed


class Routers:
    """Owns the router sections as far as flows need them."""

    def __init__(self) -> None:
        self._sections: dict[str, RouterSection] = {}
        self._joined: dict[str, frozenset[int]] = {}  # router -> VNIs, routers that are up only
        self._routers_of: dict[int, set[str]] = {}  # VNI -> routers that are up
        self._domains: dict[int, frozenset[int]] = {}  # computed on demand, forgotten when a router changes
        self._legs: dict[int, dict[tuple[str, InterfaceKey], RouterInterface]] = {}  # by VNI
        self._numbers: StableNumbers[str] = StableNumbers(_NUMBER_MAX)

    def change(self, router_id: str, change: RouterChange, *, is_full: bool) -> RouterOutcome:
        """Apply a change of the router's section."""
        section = self._sections.setdefault(router_id, RouterSection())
        scopes_before = {interface.scope for interface in section.interfaces.values()}
        before = dict(section.interfaces)
        touched = set(
            merge(
                section.interfaces,
                (((entry.port_id, entry.cidr), entry) for entry in change.set_interfaces),
                change.gone_interfaces,
                is_full=is_full,
            )
        )
        if section.admin_state_up != change.admin_state_up:
            section.admin_state_up = change.admin_state_up
            touched.update(section.interfaces)
        routes = (bool(touched) and bool(section.routes or change.routes)) or section.routes != change.routes
        section.routes = change.routes
        interfaces = section.interfaces.values() if section.admin_state_up else ()
        vnis = self._stand(router_id, before, section, touched)
        joined = self._join(router_id, frozenset(interface.vni for interface in interfaces))
        scopes = {interface.scope for interface in section.interfaces.values()}
        for scope in sorted(scopes):
            self._numbers.take(_part_name(router_id, scope))
        for scope in scopes_before - scopes:
            self._numbers.release(_part_name(router_id, scope))
        if not section.interfaces:
            del self._sections[router_id]
        return RouterOutcome(tuple(sorted(touched)), joined, routes, vnis)

    def number(self, router_id: str, scope: str) -> int:
        """Give the number that a packet in the router has in reg3, which came in from an address scope.

        Each scope has its own: so a packet finds no way but to legs of the scope that it is from.
        """
        return self._numbers.number_of(_part_name(router_id, scope))

    def domain(self, vni: int) -> frozenset[int]:
        """Give the VNIs of the network itself and of those one router away."""
        routers = self._routers_of.get(vni)
        if routers is None:
            return frozenset({vni})
        held = self._domains.get(vni)
        if held is None:
            joined = (self._joined[router_id] for router_id in routers)
            held = self._domains[vni] = frozenset({vni}).union(*joined)
        return held

    def active_interface(self, router_id: str, key: InterfaceKey) -> RouterInterface | None:
        """Give an interface of a router that is up."""
        section = self.active(router_id)
        return section.interfaces.get(key) if section is not None else None

    def active(self, router_id: str) -> RouterSection | None:
        """Give a router that is up and has interfaces."""
        section = self._sections.get(router_id)
        return section if section is not None and section.admin_state_up else None

    def legs(self, vni: int) -> Iterable[RouterInterface]:
        """Give the interfaces in a network, of routers that are up. One MAC address may have several."""
        return self._legs.get(vni, _NOTHING).values()

    def _stand(
        self,
        router_id: str,
        before: dict[InterfaceKey, RouterInterface],
        section: RouterSection,
        touched: Iterable[InterfaceKey],
    ) -> frozenset[int]:
        """Note where the touched interfaces are now; give the VNIs that they are or were in."""
        vnis = set()
        for key in touched:
            old, new = before.get(key), section.interfaces.get(key)
            if old is not None:
                vnis.add(old.vni)
                of_vni = self._legs.get(old.vni, {})
                of_vni.pop((router_id, key), None)
                if not of_vni:
                    self._legs.pop(old.vni, None)
            if new is not None:
                vnis.add(new.vni)
                if section.admin_state_up:
                    self._legs.setdefault(new.vni, {})[router_id, key] = new
        return frozenset(vnis)

    def _join(self, router_id: str, vnis: frozenset[int]) -> Joined:
        """Record which networks a router joins; say what has changed."""
        held = self._joined.get(router_id, frozenset())
        before = {vni: self.domain(vni) for vni in held | vnis}
        self._joined.pop(router_id, None)
        if vnis:
            self._joined[router_id] = vnis
        if held == vnis:
            return Joined(frozenset(), frozenset())
        for vni in vnis - held:
            self._routers_of.setdefault(vni, set()).add(router_id)
        for vni in held - vnis:
            self._routers_of[vni].discard(router_id)
            if not self._routers_of[vni]:
                del self._routers_of[vni]
        for vni in before:
            self._domains.pop(vni, None)
        changed = frozenset(vni for vni, domain in before.items() if self.domain(vni) != domain)
        return Joined(changed, changed & (held ^ vnis))


_NOTHING: dict[tuple[str, InterfaceKey], RouterInterface] = {}


def _part_name(router_id: str, scope: str) -> str:
    return f"{router_id} {scope}" if scope else router_id
