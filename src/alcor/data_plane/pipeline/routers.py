"""Routers of a host: which networks they join, and what a change of one touches."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
from typing import NamedTuple, TypeAlias

from alcor.data_plane.pipeline.numbers import StableNumbers
from alcor.data_plane.pipeline.sections import merge
from alcor.model.addressing import Cidr
from alcor.model.goal_state import RouterChange, RouterInterface, RouterSection
from alcor.model.ids import PortId
from alcor.model.records import ExtraRoute

InterfaceKey: TypeAlias = tuple[PortId, tuple[bytes, int]]
_Leg: TypeAlias = tuple[InterfaceKey, RouterInterface | None, RouterInterface | None]  # before, and now

_NUMBER_MAX = 0xFFFFFFFF


class Joined:
    """Which networks exchange packets with others than before, because a router joins others."""

    __slots__ = ("_are_joined", "_vnis", "moved")

    def __init__(self, moved: Set[int], vnis: Set[int], are_joined: Callable[[int, int], bool]) -> None:
        """`moved`: VNIs that the router came to join, or joins no longer; `vnis`: those that it joins now.

        `are_joined`: by another router.
        """
        self.moved = moved
        self._vnis = vnis
        self._are_joined = are_joined

    def partners(self, vni: int, some: Collection[int]) -> Iterator[int]:
        """Give those of some VNIs that one of `moved` exchanges packets with since now, or does no longer.

        O(some) or O(networks of the router), whatever is less; `some` tells quickly whether it has a VNI.
        """
        for part in (self._vnis, self.moved):
            for other in in_both(some, part):
                if other != vni and not self._are_joined(vni, other):
                    yield other

    def has_partner(self, vni: int, some: Collection[int]) -> bool:
        """Is there any?"""
        return next(self.partners(vni, some), None) is not None


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
        self._scopes: dict[str, Counter[str]] = {}  # router -> interfaces in each address scope
        self._joined: dict[str, dict[int, int]] = {}  # router -> VNIs, interfaces in each; of those that are up
        self._routers_of: dict[int, set[str]] = {}  # VNI -> routers that are up
        self._legs: dict[int, dict[tuple[str, InterfaceKey], RouterInterface]] = {}  # by VNI
        self._numbers: StableNumbers[str] = StableNumbers(_NUMBER_MAX)

    def change(self, router_id: str, change: RouterChange, *, is_full: bool) -> RouterOutcome:
        """Apply a change of the router's section. O(entries), or O(held) for a full one and for up or down."""
        section = self._sections.setdefault(router_id, RouterSection())
        was_up, routes_before = section.admin_state_up, section.routes
        is_whole = is_full or was_up != change.admin_state_up
        named = [*((entry.port_id, entry.cidr) for entry in change.set_interfaces), *change.gone_interfaces]
        before = {
            key: section.interfaces.get(key) for key in (*named, *(section.interfaces if is_whole else ()))
        }
        touched = set(
            merge(
                section.interfaces,
                (((entry.port_id, entry.cidr), entry) for entry in change.set_interfaces),
                change.gone_interfaces,
                is_full=is_full,
            )
        )
        if was_up != change.admin_state_up:
            touched.update(section.interfaces)
        section.admin_state_up, section.routes = change.admin_state_up, change.routes
        legs = [(key, before[key], section.interfaces.get(key)) for key in sorted(touched)]
        moved = self._stand(router_id, legs, was_up=was_up, is_up=change.admin_state_up)
        self._number(router_id, legs)
        if not section.interfaces:
            del self._sections[router_id]
        both = [leg for _, old, new in legs for leg in (old, new) if leg is not None]
        return RouterOutcome(
            tuple(key for key, _, _ in legs),
            Joined(moved, self._joined.get(router_id, _NONE).keys(), self._are_joined_by_others(router_id)),
            routes_before != change.routes
            or any(_leads(leg, route) for leg in both for route in change.routes),
            frozenset(leg.vni for leg in both),
        )

    def number(self, router_id: str, scope: str) -> int:
        """Give the number that a packet in the router has in reg3, which came in from an address scope.

        Each scope has its own: so a packet finds no way but to legs of the scope that it is from.
        """
        return self._numbers.number_of(_part_name(router_id, scope))

    def domain(self, vni: int) -> list[Collection[int]]:
        """Give the VNIs of the network itself and of those one router away, router by router: O(its routers).

        They are kept nowhere together: a router of a thousand networks would make it a million.
        """
        return [(vni,), *(self._joined[router_id].keys() for router_id in self._routers_of.get(vni, ()))]

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

    def _stand(self, router_id: str, legs: Sequence[_Leg], *, was_up: bool, is_up: bool) -> set[int]:
        """Note where the touched interfaces are now; give the VNIs that the router came to join or left."""
        joined = self._joined.setdefault(router_id, {})
        had: dict[int, bool] = {}
        for key, old, new in legs:
            if old is not None and was_up:
                had.setdefault(old.vni, True)
                joined[old.vni] -= 1
                if not joined[old.vni]:
                    del joined[old.vni]
                of_vni = self._legs[old.vni]
                del of_vni[router_id, key]
                if not of_vni:
                    del self._legs[old.vni]
            if new is not None and is_up:
                had.setdefault(new.vni, new.vni in joined)
                joined[new.vni] = joined.get(new.vni, 0) + 1
                self._legs.setdefault(new.vni, {})[router_id, key] = new
        if not joined:
            del self._joined[router_id]
        moved = {vni for vni, was_joined in had.items() if was_joined != (vni in joined)}
        for vni in moved:
            if vni in joined:
                self._routers_of.setdefault(vni, set()).add(router_id)
                continue
            self._routers_of[vni].discard(router_id)
            if not self._routers_of[vni]:
                del self._routers_of[vni]
        return moved

    def _number(self, router_id: str, legs: Sequence[_Leg]) -> None:
        """Give the router a number for each address scope that it has interfaces in."""
        scopes = self._scopes.setdefault(router_id, Counter())
        for _, old, new in legs:
            if new is not None:
                scopes[new.scope] += 1
            if old is not None:
                scopes[old.scope] -= 1
        for scope in sorted({leg.scope for _, _, leg in legs if leg is not None}):
            self._numbers.take(_part_name(router_id, scope))
        for scope in {leg.scope for _, leg, _ in legs if leg is not None}:
            if not scopes[scope]:
                del scopes[scope]
                self._numbers.release(_part_name(router_id, scope))
        if not scopes:
            del self._scopes[router_id]

    def _are_joined_by_others(self, router_id: str) -> Callable[[int, int], bool]:
        def are_joined(one: int, other: int) -> bool:
            routers = self._routers_of.get(one, ())
            return any(other in self._joined[each] for each in routers if each != router_id)

        return are_joined


_NONE: dict[int, int] = {}
_NOTHING: dict[tuple[str, InterfaceKey], RouterInterface] = {}


def in_both(one: Collection[int], other: Collection[int]) -> Iterator[int]:
    """Give what both have. O(the smaller one); nothing is copied."""
    few, many = (one, other) if len(one) < len(other) else (other, one)
    return (each for each in few if each in many)


def _part_name(router_id: str, scope: str) -> str:
    return f"{router_id} {scope}" if scope else router_id


def _leads(leg: RouterInterface, route: ExtraRoute) -> bool:
    return Cidr(*leg.cidr).contains(route.next_hop)
