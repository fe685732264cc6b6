"""Which extra routes a router may have. Pure."""

from collections.abc import Iterable, Sequence

from alcor.management_plane.router.joined import Joined
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_to_text
from alcor.model.records import ROUTER_INTERFACE, ExtraRoute, Port, Router, Subnet

ROUTES_MAX = 30  # of one router, as Neutron's quota_router_route


def added(router: Router, more: Iterable[ExtraRoute]) -> tuple[ExtraRoute, ...]:
    """Give the router's routes with some more; those that it has stay as they are."""
    return tuple(sorted({*router.routes, *more}))


def removed(router: Router, some: Iterable[ExtraRoute]) -> tuple[ExtraRoute, ...]:
    """Give the router's routes without some; those that it has not are no matter."""
    return tuple(sorted({*router.routes} - {*some}))


def check(router: Router, routes: Sequence[ExtraRoute], joined: Joined) -> None:
    """Raise Invalid for routes whose next hop is not on a subnet of the router, is its own, or too many."""
    if len(routes) > ROUTES_MAX:
        raise errors.Invalid(
            f"Unable to complete operation for {router.id}. "
            f"The number of routes exceeds the maximum {ROUTES_MAX}.",
            reason="RoutesExhausted",
        )
    cidrs = [Cidr(*subnet.cidr) for subnet in joined.subnets.values()]
    own = {fixed.ip for port in joined.interfaces for fixed in port.fixed_ips}
    for route in routes:
        if not any(cidr.contains(route.next_hop) for cidr in cidrs):
            raise _invalid(routes, "the nexthop is not connected with router")
        if route.next_hop in own:
            raise _invalid(routes, "the nexthop is used by router")


def next_hops(routes: Iterable[ExtraRoute], joined: Joined) -> list[tuple[str, bytes]]:
    """Give where the next hops are, as (subnet, address)."""
    subnets = joined.subnets.values()
    return [
        (subnet.id, hop)
        for hop in sorted({route.next_hop for route in routes})
        for subnet in subnets
        if Cidr(*subnet.cidr).contains(hop)
    ]


def check_holders(routes: Sequence[ExtraRoute], holders: Iterable[Port]) -> None:
    """Raise Invalid for a next hop that is another router's: hosts hold only what is one router away."""
    if any(port.device_owner == ROUTER_INTERFACE for port in holders):
        raise _invalid(routes, "the nexthop is an interface of another router, which is not supported")


def check_unused(router: Router, subnets: Iterable[Subnet]) -> None:
    """Raise Conflict RouterInterfaceInUseByRoute for subnets that a route goes through."""
    for subnet in subnets:
        if any(Cidr(*subnet.cidr).contains(route.next_hop) for route in router.routes):
            raise errors.Conflict(
                f"Router interface for subnet {subnet.id} on router {router.id} cannot be deleted, "
                "as it is required by one or more routes.",
                reason="RouterInterfaceInUseByRoute",
            )


def _invalid(routes: Iterable[ExtraRoute], reason: str) -> errors.Invalid:
    shown = [
        {"destination": str(Cidr(*route.destination)), "nexthop": ip_to_text(route.next_hop)}
        for route in routes
    ]
    return errors.Invalid(f"Invalid format for routes: {shown}, {reason}", reason="InvalidRoutes")
