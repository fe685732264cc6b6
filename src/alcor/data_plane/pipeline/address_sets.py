"""Address groups of a host: what is in each, and which conjunctions are about it."""

from collections.abc import Iterable

from alcor.data_plane.pipeline.security import ConjunctionName
from alcor.model.goal_state import AddressesChange, Prefix


class _AddressSet:
    """One address group: its addresses, and the conjunctions that it is the remote of."""

    __slots__ = ("addresses", "users")

    def __init__(self) -> None:
        self.addresses: set[Prefix] = set()
        self.users: set[ConjunctionName] = set()


class AddressSets:
    """Owns the address groups, and knows which addresses must be rendered anew."""

    def __init__(self) -> None:
        self._sets: dict[str, _AddressSet] = {}
        self._dirty: set[tuple[str, Prefix]] = set()

    def change(self, set_id: str, change: AddressesChange, *, is_full: bool) -> None:
        """Apply a change of the address group's section. O(entries), or O(held) for a full section."""
        held = self._set(set_id)
        came = set(change.set_addresses)
        gone = held.addresses - came if is_full else held.addresses.intersection(change.gone_addresses) - came
        came -= held.addresses
        held.addresses -= gone
        held.addresses |= came
        self._touch(set_id, came | gone)
        self._forget_if_unused(set_id)

    def use(self, name: ConjunctionName) -> None:
        """Take note of a conjunction about an address group. O(its addresses)."""
        held = self._set(name.addresses)
        held.users.add(name)
        self._touch(name.addresses, held.addresses)

    def disuse(self, name: ConjunctionName) -> None:
        """Forget a conjunction. O(addresses of its address group)."""
        held = self._sets[name.addresses]
        held.users.discard(name)
        self._touch(name.addresses, held.addresses)
        self._forget_if_unused(name.addresses)

    def users(self, set_id: str, address: Prefix) -> list[ConjunctionName]:
        """Name the conjunctions that an address helps; none when it is in the address group no longer."""
        held = self._sets.get(set_id)
        return sorted(held.users) if held is not None and address in held.addresses else []

    def take_dirty(self) -> list[tuple[str, Prefix]]:
        """Give the addresses to render anew, once."""
        dirty = sorted(self._dirty)
        self._dirty.clear()
        return dirty

    def _touch(self, set_id: str, addresses: Iterable[Prefix]) -> None:
        self._dirty.update((set_id, address) for address in addresses)

    def _set(self, set_id: str) -> _AddressSet:
        held = self._sets.get(set_id)
        if held is None:
            held = self._sets[set_id] = _AddressSet()
        return held

    def _forget_if_unused(self, set_id: str) -> None:
        held = self._sets[set_id]
        if not (held.addresses or held.users):
            del self._sets[set_id]
