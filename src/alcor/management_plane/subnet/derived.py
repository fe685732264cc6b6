"""Addresses that follow from MAC addresses: every port of a workload has one of each such subnet. Pure.

The write that makes or removes such a subnet gives the addresses to the ports that are there, or takes them.
"""

from collections.abc import Sequence

from alcor.management_plane.port import service_types
from alcor.management_plane.settlement import revised
from alcor.model import errors
from alcor.model.addressing import derived_ip, ip_to_text
from alcor.model.records import ROUTER_INTERFACE, FixedIp, Port, Subnet

SUBNETS_MAX = 5  # of one network: each is an address of every port
PORTS_MAX = 10_000  # that one write changes, as many as one makes
TRIED_MAX = 5 * PORTS_MAX  # in one call: some seconds of work


class Effort:
    """How much was tried in vain: ports that change while all are to be changed. Owner: one call."""

    def __init__(self) -> None:
        self._tried = 0

    def spend(self, ports: Sequence[Port]) -> None:
        """Try to change ports. Raises Unavailable when too many were tried to change already."""
        if self._tried > TRIED_MAX:
            raise errors.Unavailable(
                "The ports of the network change too fast for an address to come to all of them, or go. "
                "Please try again.",
                retry_after_s=5.0,
            )
        self._tried += len(ports)


def address(subnet: Subnet, mac: int) -> FixedIp:
    """Give what a port with this MAC address has there. Raises Conflict where that is the gateway's."""
    ip = derived_ip(subnet.cidr[0], mac)
    if ip == subnet.gateway_ip:
        raise errors.Conflict(
            f"Unable to complete operation for subnet {subnet.id}. The IP address {ip_to_text(ip)} is in use.",
            reason="IpAddressInUse",
        )
    return FixedIp(subnet.id, ip)


def joined(ports: Sequence[Port], subnets: Sequence[Subnet], now_us: int) -> list[Port]:
    """Give those ports of a network that get addresses of new subnets, with them. Raises Conflict.

    `ports`: all of them; one more than PORTS_MAX when there are more.
    """
    _check_count(ports)
    made = [subnet for subnet in subnets if subnet.is_derived]
    found = []
    for port in ports:
        serving = (
            [] if port.device_owner == ROUTER_INTERFACE else service_types.serving(made, port.device_owner)
        )
        more = [address(subnet, port.mac) for subnet in serving]
        if more:
            found.append(revised(port, now_us, fixed_ips=tuple(sorted((*port.fixed_ips, *more)))))
    return found


def parted(ports: Sequence[Port], subnet: Subnet, now_us: int) -> list[Port]:
    """Give the ports that have addresses of a subnet, without them. Raises Conflict.

    `ports`: one more than PORTS_MAX when there are more; routers keep the subnet in use.
    """
    if ports and not (subnet.is_derived and all(it.device_owner != ROUTER_INTERFACE for it in ports)):
        raise errors.Conflict(
            f"Unable to complete operation on subnet {subnet.id}: "
            "One or more ports have an IP allocation from this subnet.",
            reason="SubnetInUse",
        )
    _check_count(ports)
    return [
        revised(port, now_us, fixed_ips=tuple(it for it in port.fixed_ips if it.subnet_id != subnet.id))
        for port in ports
    ]


def _check_count(ports: Sequence[Port]) -> None:
    if len(ports) > PORTS_MAX:
        raise errors.Conflict(
            f"More than {PORTS_MAX} ports have, or would get, an address that follows from their MAC address: "
            "they cannot be changed at once.",
            reason="TooManyPorts",
        )
