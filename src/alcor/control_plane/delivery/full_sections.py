"""Sections in full, for hosts that connect or ask for them; what they share is kept until it changes."""

import hashlib
from collections.abc import Iterable

from alcor.control_plane.compiler import sections
from alcor.control_plane.compiler.interest import MEMBERS, RULES, Interest
from alcor.control_plane.compiler.sections import HostSection, SharedPart
from alcor.control_plane.region import Region
from alcor.model.goal_state import GroupChange, NetworkChange, RouterChange, SectionChange, SectionKey
from alcor.model.ids import GroupId, HostId, NetworkId, RouterId

KEPT_MAX = 512  # sections; a thousand agents that reconnect share far fewer
_Kept = tuple[SectionKey, int]  # with the role, for groups


class FullSections:
    """Owner of what is kept. Reads the region and what each host wants."""

    def __init__(self, region: Region, interest: Interest) -> None:
        self._region = region
        self._interest = interest
        self._kept: dict[_Kept, SharedPart] = {}

    def forget(self, keys: Iterable[SectionKey]) -> None:
        """Drop what is kept of sections that changed."""
        for key in keys:
            for role in (0, RULES, MEMBERS, RULES | MEMBERS):
                self._kept.pop((key, role), None)

    def section(self, host_id: HostId, key: SectionKey) -> HostSection | None:
        """Give a section as the host must hold it; None when it must not."""
        if key not in self._interest.wanted.get(host_id, ()):
            return None
        kind, _, id_ = key.partition(":")
        if kind == "network":
            node = self._region.networks[NetworkId(id_)]
            own = sections.local_ports(host_id, node)
            learned = self._interest.learned.of(host_id, node.id)
            return HostSection(
                key,
                self._shared(key, id_, 0),
                is_full=True,
                set_ports=own,
                set_placements=sections.host_placements(self._region, host_id, node, learned),
            )
        role = self._interest.roles[host_id][GroupId(id_)] if kind == "group" else 0
        return HostSection(key, self._shared(key, id_, role), is_full=True)

    def unchanged(self, full: HostSection) -> HostSection:
        """Give the delta that changes nothing of a section, for a host that holds it already."""
        assert full.shared is not None, "a removal has nothing to confirm"
        change: SectionChange
        match full.shared.change:
            case NetworkChange():
                return HostSection(full.key, sections.NOTHING_OF_NETWORK, is_full=False)
            case RouterChange(admin_state_up=is_up):
                change = RouterChange(admin_state_up=is_up)
            case GroupChange(stateful=stateful):
                change = GroupChange(stateful=stateful)
        return HostSection(full.key, SharedPart(change), is_full=False)

    def _shared(self, key: SectionKey, id_: str, role: int) -> SharedPart:
        kept = self._kept.get((key, role))
        if kept is None:
            if len(self._kept) >= KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            kept = self._kept[key, role] = SharedPart(self._make(key, id_, role))
        return kept

    def _make(self, key: SectionKey, id_: str, role: int) -> SectionChange:
        if key.startswith("network:"):
            return sections.network_in_full(self._region.networks[NetworkId(id_)])
        if key.startswith("router:"):
            return sections.router_in_full(self._region.routers[RouterId(id_)])
        return sections.group_in_full(
            self._region,
            self._region.groups[GroupId(id_)],
            rules=bool(role & RULES),
            members=bool(role & MEMBERS),
        )


def digest(encoded: bytes) -> bytes:
    """Give the digest of a full section by its bytes: equal to `goal_state.digest` of its value."""
    return hashlib.blake2b(encoded, digest_size=8).digest()
