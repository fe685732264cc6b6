"""Security groups that ports are put into together: what must hold of them, and until the commit. Pure."""

from collections.abc import Mapping, Sequence

from alcor.contracts.store import Exists, Guard, Unchanged
from alcor.management_plane.security_group import decisions
from alcor.model.records import Port, SecurityGroup


def check(ports: Sequence[Port], groups: Mapping[str, SecurityGroup]) -> None:
    """Raise Conflict when a port is put into stateful and stateless groups at once. O(ports)."""
    for together in {port.security_groups for port in ports}:
        decisions.check_together(groups[group_id] for group_id in together if group_id in groups)


def guards(ports: Sequence[Port], groups: Mapping[str, SecurityGroup]) -> tuple[Guard, ...]:
    """Give the guards for the groups that are known: they are there still. O(ports).

    Groups of one port are as they were, moreover: one that no port is in may change its statefulness meanwhile.
    """
    distinct = {port.security_groups for port in ports}  # few, however many ports there are
    used = {group_id for several in distinct for group_id in several}
    together = {group_id for several in distinct if len(several) > 1 for group_id in several}
    return tuple(
        Unchanged("security_group", group_id, groups[group_id].revision_number)
        if group_id in together
        else Exists("security_group", group_id)
        for group_id in sorted(used)
        if group_id in groups
    )
