"""One change out of several that follow each other, so that the last message alone is enough. Pure.

Applied to the state before the first, it leads to the state after the last: of each entry only its last fate
counts.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from alcor.model.goal_state import AddressesChange, GroupChange, NetworkChange, RouterChange, SectionChange

_K = TypeVar("_K")
_V = TypeVar("_V")


def merged(changes: Sequence[SectionChange]) -> SectionChange:
    """Give one change for all, at least one, of one section, in order. O(their entries)."""
    match changes[-1]:
        case NetworkChange():
            return _network([change for change in changes if isinstance(change, NetworkChange)])
        case RouterChange():
            return _router([change for change in changes if isinstance(change, RouterChange)])
        case GroupChange():
            return _group([change for change in changes if isinstance(change, GroupChange)])
        case AddressesChange():
            return _addresses([change for change in changes if isinstance(change, AddressesChange)])


def _network(changes: Sequence[NetworkChange]) -> NetworkChange:
    return NetworkChange(
        next((each.network for each in reversed(changes) if each.network is not None), None),
        *_last_fates(
            [({entry.id: entry for entry in each.set_subnets}, each.gone_subnets) for each in changes]
        ),
        *_last_fates([({entry.id: entry for entry in each.set_ports}, each.gone_ports) for each in changes]),
        *_last_fates(
            [
                ({entry.port_id: entry for entry in each.set_placements}, each.gone_placements)
                for each in changes
            ]
        ),
    )


def _router(changes: Sequence[RouterChange]) -> RouterChange:
    return RouterChange(
        changes[-1].admin_state_up,
        *_last_fates(
            [
                ({(leg.port_id, leg.cidr): leg for leg in each.set_interfaces}, each.gone_interfaces)
                for each in changes
            ]
        ),
        changes[-1].routes,
    )


def _group(changes: Sequence[GroupChange]) -> GroupChange:
    return GroupChange(
        changes[-1].stateful,
        *_last_fates([({rule.id: rule for rule in each.set_rules}, each.gone_rules) for each in changes]),
    )


def _addresses(changes: Sequence[AddressesChange]) -> AddressesChange:
    steps = [({address: address for address in each.set_addresses}, each.gone_addresses) for each in changes]
    return AddressesChange(*_last_fates(steps))


def _last_fates(steps: Iterable[tuple[dict[_K, _V], Iterable[_K]]]) -> tuple[tuple[_V, ...], tuple[_K, ...]]:
    """Give what is set and what is gone after all steps. In one step what is set is set after what went."""
    came: dict[_K, _V] = {}
    went: dict[_K, None] = {}
    for sets, gone in steps:
        for key in gone:
            came.pop(key, None)
            went[key] = None
        for key, value in sets.items():
            went.pop(key, None)
            came[key] = value
    return tuple(came.values()), tuple(went)
