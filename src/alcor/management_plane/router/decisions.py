"""What a router may join. Pure."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.caller import Caller
from alcor.management_plane.router import routes
from alcor.management_plane.router.joined import Joined
from alcor.management_plane.settlement import given, revised
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.ids import PortId, ProjectId, RouterId
from alcor.model.records import (
    ROUTER_INTERFACE,
    ExtraRoute,
    FixedIp,
    Network,
    Port,
    RbacPolicy,
    Router,
    Subnet,
)


class RouterFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may say of a router. UNSET: not said."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    admin_state_up: bool | UnsetType = UNSET
    routes: tuple[ExtraRoute, ...] | UnsetType = UNSET
    zone_hints: tuple[str, ...] | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    project_id: str | UnsetType = UNSET


class InterfaceFields(msgspec.Struct, frozen=True, kw_only=True):
    """Which interface a client means: by its subnet or by its port."""

    subnet_id: str | None = None
    port_id: str | None = None


def create(fields: RouterFields, *, router_id: str, caller: Caller, now_us: int) -> Router:
    """Make the record of a new router."""
    router = Router(
        id=RouterId(router_id),
        project_id=caller.project_id,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )
    return msgspec.structs.replace(router, **given(fields))


def update(router: Router, fields: RouterFields, joined: Joined | None, *, now_us: int) -> Router:
    """Give the router as the client wants it. `joined`: needed when routes are given. Raises Invalid."""
    if fields.routes is not UNSET:
        assert joined is not None
        routes.check(router, fields.routes, joined)
    return revised(router, now_us, **given(fields))


def check_deletable(router: Router, interfaces: Sequence[Port]) -> None:
    """Raise Conflict RouterInUse while the router has interfaces."""
    if interfaces:
        raise errors.Conflict(f"Router {router.id} still has ports", reason="RouterInUse")


def check_asked_to_add(fields: InterfaceFields) -> None:
    """Raise Invalid unless exactly one of subnet and port is named."""
    if (fields.subnet_id is None) == (fields.port_id is None):
        sentence = "Either subnet_id or port_id must be specified"
        if fields.subnet_id is not None:
            sentence = "Cannot specify both subnet-id and port-id"
        raise _bad(f"Bad router request: {sentence}.")


def interface_by_subnet(
    router: Router, subnet: Subnet, network: Network, joined: Joined, *, port_id: str, mac: int, now_us: int
) -> Port:
    """Make the port that gives the router the gateway address of the network's subnet. Raises Invalid."""
    if subnet.gateway_ip is None:
        raise _bad("Bad router request: Subnet for router interface must have a gateway IP.")
    check_room(router, [subnet], joined)
    return Port(
        id=PortId(port_id),
        project_id=router.project_id,
        network_id=subnet.network_id,
        mac=mac,
        fixed_ips=(FixedIp(subnet.id, subnet.gateway_ip),),
        device_id=router.id,
        device_owner=ROUTER_INTERFACE,
        port_security_enabled=False,
        network_owner=ProjectId("") if network.project_id == router.project_id else network.project_id,
        created_at=now_us,
        updated_at=now_us,
        revision_number=1,
    )


def interface_by_port(
    router: Router, port: Port, subnets: Mapping[str, Subnet], joined: Joined, *, now_us: int
) -> Port:
    """Give the port as the router's interface. Raises Invalid, and Conflict when the port is in use."""
    if port.device_id or port.device_owner or port.host or port.trunk is not None:
        raise errors.Conflict(
            f"Unable to complete operation on port {port.id} for network {port.network_id}. "
            f"Port already has an attached device {port.device_id or port.host}.",
            reason="PortInUse",
        )
    _check_addresses(port)
    check_room(router, list(subnets.values()), joined)
    return revised(
        port,
        now_us,
        device_id=router.id,
        device_owner=ROUTER_INTERFACE,
        security_groups=(),
        borrowed_groups=(),
        port_security_enabled=False,
    )


def parted(interface: Port, subnet_id: str | None, now_us: int) -> Port | None:
    """Give what is left of an interface without a subnet; None: nothing. `subnet_id` None: all of them go."""
    left = tuple(fixed for fixed in interface.fixed_ips if fixed.subnet_id != subnet_id)
    if subnet_id is None or not left:
        return None
    return revised(interface, now_us, fixed_ips=left)


def named_grant(subnet: Subnet, policies: Sequence[RbacPolicy]) -> RbacPolicy:
    """Give the policy by which a project may join its router to another's subnet. Raises Invalid without one.

    `policies`: those that name the project. One for everybody does not do, as in Neutron: whoever came first
    would be the gateway of all.
    """
    if policies:
        return policies[0]
    raise _bad(
        f"Bad router request: Cannot add interface to router because subnet {subnet.id} is not owned by "
        "project making the request."
    )


def check_room(router: Router, wanted: Sequence[Subnet], joined: Joined) -> None:
    """Raise Invalid when the router is in a wanted subnet, or in one that overlaps with it."""
    for subnet in wanted:
        if subnet.id in joined.subnets:
            raise _bad(f"Bad router request: Router already has a port on subnet {subnet.id}.")
        for other in joined.subnets.values():
            if Cidr(*subnet.cidr).overlaps(Cidr(*other.cidr)):
                raise _bad(
                    f"Bad router request: Cidr {Cidr(*subnet.cidr)} of subnet {subnet.id} overlaps with cidr "
                    f"{Cidr(*other.cidr)} of subnet {other.id}."
                )


def interface_to_remove(router: Router, fields: InterfaceFields, interfaces: Sequence[Port]) -> Port:
    """Find the interface that is meant. Raises Invalid, also when the two names disagree, and Missing."""
    if fields.subnet_id is None and fields.port_id is None:
        raise _bad("Bad router request: Either subnet_id or port_id must be specified.")
    if fields.port_id is not None:
        port = next((port for port in interfaces if port.id == fields.port_id), None)
        if port is None:
            raise errors.Missing(
                f"Router {router.id} does not have an interface with id {fields.port_id}",
                reason="RouterInterfaceNotFound",
            )
        if fields.subnet_id is not None and fields.subnet_id not in _subnet_ids(port):
            raise errors.Invalid(
                f"Subnet on port {port.id} does not match the requested subnet {fields.subnet_id}.",
                reason="SubnetMismatchForPort",
            )
        return port
    port = next((port for port in interfaces if fields.subnet_id in _subnet_ids(port)), None)
    if port is None:
        raise errors.Missing(
            f"Router {router.id} has no interface on subnet {fields.subnet_id}",
            reason="RouterInterfaceNotFoundForSubnet",
        )
    return port


def _check_addresses(port: Port) -> None:
    """Raise Invalid for a port that has not one address in each of its subnets, of which one may be of IPv4."""
    if not port.fixed_ips:
        raise _bad("Bad router request: Router port must have at least one fixed IP.")
    if sum(len(fixed.ip) == 4 for fixed in port.fixed_ips) > 1:
        raise _bad("Bad router request: Cannot have multiple IPv4 subnets on router port.")
    if len(set(_subnet_ids(port))) != len(port.fixed_ips):
        raise _bad("Bad router request: Cannot have multiple addresses of one subnet on router port.")


def _subnet_ids(port: Port) -> tuple[str, ...]:
    return tuple(fixed.subnet_id for fixed in port.fixed_ips)


def _bad(message: str) -> errors.Invalid:
    return errors.Invalid(message, reason="BadRequest")
