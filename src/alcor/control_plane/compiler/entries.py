"""The entries that hosts hold for one row: shared by the full and the incremental compiler. Pure."""

from alcor.control_plane.nodes import PortRow
from alcor.model.goal_state import LocalPort, Placement


def local_port(row: PortRow) -> LocalPort:
    """Give what the port's own host holds of it."""
    return LocalPort(
        row.id,
        row.mac,
        row.fixed_ips,
        row.groups,
        row.port_security,
        row.admin_state_up,
        row.pairs,
        row.dhcp_options,
        row.tag,
    )


def placement(row: PortRow, vtep: bytes) -> Placement | None:
    """Tell where the port is, and in which groups; None when packets for it must go nowhere.

    A port that is administratively down, without a host, or on a host whose tunnel endpoint is not known
    is nowhere.
    """
    if not vtep or not row.is_local or not row.admin_state_up:
        return None
    return Placement(row.id, row.mac, row.ips, vtep, row.groups, row.pairs, row.announced)
