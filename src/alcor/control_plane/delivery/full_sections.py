"""Sections in full, for hosts that connect or ask for them; what they share is kept until it changes."""

from collections.abc import Iterable
from typing import TypeAlias, assert_never

import msgspec

from alcor.contracts.agent_channel import Held
from alcor.control_plane.compiler import sections
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.compiler.sections import HostSection, SharedPart
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import AddressesKey, GroupKey, NetworkChange, NetworkKey, RouterKey, SectionKey
from alcor.model.ids import HostId
from alcor.model.version import Version

KEPT_ENTRIES_MAX = 500_000  # of sections, about 100 MiB; what was made first is dropped for the next
DIGESTS_MAX = 1_000_000

# What it brings; what it leads from, None: anything; what it leads to.
Step: TypeAlias = tuple[HostSection, Version | None, Version]

_encoder = msgspec.msgpack.Encoder()


class FullSections:
    """Owner of what is kept. Reads the region and what each host wants."""

    def __init__(self, region: Region, interest: Interest) -> None:
        self._region = region
        self._interest = interest
        self._kept: dict[SectionKey, SharedPart] = {}
        self._kept_entries = 0
        self._digests: dict[SectionKey, bytes] = {}  # 8 bytes each: of all sections that hosts asked about
        self.digests_made = 0  # of what hosts share, for the tests of law 4
        self.entries_made = 0  # of what hosts share of whole sections, for the same

    def forget(self, keys: Iterable[SectionKey]) -> None:
        """Drop what is kept of sections that changed."""
        for key in keys:
            self._drop(key)
            self._digests.pop(key, None)

    def synchronising(self, host_id: HostId, key: SectionKey, held: Held | None, *, epoch: int) -> Step:
        """Give what leads a host from what it says that it holds to what it must hold.

        A confirmation where both are the same; O(the host's own part) once what hosts share is known.
        """
        if held is None or self.digest(host_id, key) != held.digest:
            return self.step_to(host_id, key, epoch=epoch)
        return self.confirmation(key), held.version, self._interest.wanted_version(host_id, key, epoch=epoch)

    def step_to(self, host_id: HostId, key: SectionKey, *, epoch: int) -> Step:
        """Give the whole section, or its removal, whatever the host holds."""
        section = self.section(host_id, key)
        if section is None:
            return HostSection(key, None, is_full=True), None, Version(epoch, self._region.revision)
        return section, None, self._interest.wanted_version(host_id, key, epoch=epoch)

    def section(self, host_id: HostId, key: SectionKey) -> HostSection | None:
        """Give a section as the host must hold it; None when it must not."""
        if key not in self._interest.wanted.get(host_id, ()):
            return None
        return sections.in_full(self._region, host_id, key, self._shared(key), self._interest.learned)

    def entries(self, host_id: HostId, key: SectionKey) -> int:
        """Count the entries of a section that the host wants, without making it. O(1)."""
        match goal_state.parse_key(key):
            case NetworkKey(id=network_id):
                node = self._region.networks[network_id]
                host = node.hosts.get(host_id)
                own = len(host.networks[node.id]) if host is not None else 0
                learned = len(self._interest.learned.of(host_id, node.id))
                return len(node.subnets) + own + (own + learned if node.on_demand else len(node.bound))
            case RouterKey(id=router_id):
                return len(self._region.routers[router_id].interfaces)
            case GroupKey(id=group_id):
                return len(self._region.groups[group_id].rules)
            case AddressesKey(id=addresses_id):
                return len(self._region.address_groups[addresses_id].addresses)
            case _ as never:
                assert_never(never)

    def digest(self, host_id: HostId, key: SectionKey) -> bytes | None:
        """Give the digest of a section as the host must hold it: equal to `goal_state.digest` of its value.

        None when it must not. O(the host's own part), once what hosts share is known.
        """
        if key not in self._interest.wanted.get(host_id, ()):
            return None
        parsed = goal_state.parse_key(key)
        if not isinstance(parsed, NetworkKey):
            return self._shared_digest(key)
        node = self._region.networks[parsed.id]
        own = NetworkChange(node.entry, sections.subnets(node), set_ports=sections.local_ports(host_id, node))
        if node.on_demand:
            learned = self._interest.learned.of(host_id, node.id)
            placements = sections.host_placements(self._region, host_id, node, learned)
            shared = goal_state.digest_of(_encoder.encode(placements))
        else:
            shared = self._shared_digest(key)
        return goal_state.network_digest(shared, _encoder.encode(own))

    def confirmation(self, key: SectionKey) -> HostSection:
        """Give the delta that changes nothing of a section, for a host that holds it already. O(1)."""
        return HostSection(key, sections.unchanged(self._region, key), is_full=False)

    def _shared_digest(self, key: SectionKey) -> bytes:
        found = self._digests.get(key)
        if found is None:
            self.digests_made += 1
            change = self._shared(key).change
            shared = change.set_placements if isinstance(change, NetworkChange) else change
            if len(self._digests) >= DIGESTS_MAX:
                self._digests.clear()
            found = self._digests[key] = goal_state.digest_of(_encoder.encode(shared))
        return found

    def _shared(self, key: SectionKey) -> SharedPart:
        kept = self._kept.get(key)
        if kept is None:
            kept = SharedPart(sections.shared_in_full(self._region, key))
            self._kept_entries += _entries(kept)
            self.entries_made += _entries(kept)
            while self._kept and self._kept_entries > KEPT_ENTRIES_MAX:
                self._drop(next(iter(self._kept)))
            self._kept[key] = kept
        return kept

    def _drop(self, key: SectionKey) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept_entries -= _entries(kept)


def _entries(kept: SharedPart) -> int:
    return 1 + sections.entries_in(kept.change)
