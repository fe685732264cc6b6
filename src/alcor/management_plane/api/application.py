"""The API as one ASGI application: what there is, and where."""

from collections.abc import Callable
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from alcor.contracts.convergence import Convergence, Tracer
from alcor.contracts.identity import IdentitySource
from alcor.contracts.store import AddressAllocator, Change, Store
from alcor.management_plane.address_group.service import AddressGroupService
from alcor.management_plane.address_scope.service import AddressScopeService
from alcor.management_plane.api import (
    address_scopes,
    events,
    extensions,
    networks,
    rbac_policies,
    security_groups,
    subnets,
)
from alcor.management_plane.api.address_groups import AddressGroupCollection
from alcor.management_plane.api.audit import AuditCollection
from alcor.management_plane.api.auto_topology import TopologyCollection
from alcor.management_plane.api.default_rules import DefaultRuleCollection
from alcor.management_plane.api.floating_ips import FloatingIpCollection
from alcor.management_plane.api.gate import Gate, GuardedRoute
from alcor.management_plane.api.hosts import HostCollection
from alcor.management_plane.api.ip_availability import AvailabilityCollection
from alcor.management_plane.api.limits import UNLIMITED, Limits
from alcor.management_plane.api.openapi.description import Description
from alcor.management_plane.api.port_bindings import PortBindingCollection
from alcor.management_plane.api.port_groups import PortGroupCollection
from alcor.management_plane.api.ports import PortCollection
from alcor.management_plane.api.projects import ProjectCollection
from alcor.management_plane.api.quotas import QuotaCollection
from alcor.management_plane.api.receipts import ReceiptCollection
from alcor.management_plane.api.resync import ResyncCollection
from alcor.management_plane.api.routers import RouterCollection
from alcor.management_plane.api.service_providers import ServiceProviderCollection
from alcor.management_plane.api.subnet_pools import SubnetPoolCollection
from alcor.management_plane.api.tags import TagCollection
from alcor.management_plane.api.trace import TraceCollection
from alcor.management_plane.api.trunks import TrunkCollection
from alcor.management_plane.api.versions import Directory
from alcor.management_plane.audit.trail import AuditTrail
from alcor.management_plane.auto_topology.service import TopologyService
from alcor.management_plane.events.feed import EventFeed
from alcor.management_plane.host.service import HostService
from alcor.management_plane.network.service import NetworkService
from alcor.management_plane.port.binding_service import BindingService
from alcor.management_plane.port.service import PortService
from alcor.management_plane.port_group.service import PortGroupService
from alcor.management_plane.project.quotas import QuotaService
from alcor.management_plane.project.service import ProjectService
from alcor.management_plane.rbac_policy.service import PolicyService
from alcor.management_plane.router.service import RouterService
from alcor.management_plane.security_group.service import SecurityGroupService
from alcor.management_plane.security_group.templates import DefaultRuleService
from alcor.management_plane.subnet.service import SubnetService
from alcor.management_plane.subnet_pool.service import SubnetPoolService
from alcor.management_plane.tagging import TagService
from alcor.management_plane.trunk.service import TrunkService
from alcor.management_plane.turns import Turns
from alcor.management_plane.zones import ZoneBook
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog


class Served(Protocol):
    """Something that is served at routes of its own."""

    def routes(self, entrance: Gate) -> list[GuardedRoute]: ...


def create_application(
    store: Store,
    allocator: AddressAllocator,
    convergence: Convergence,
    clock: Clock,
    log: EventLog,
    *,
    identities: IdentitySource,
    limits: Limits | None = None,
    follow: Callable[[Callable[[Change], None]], None] | None = None,
    tracer: Tracer | None = None,
    feed: EventFeed | None = None,
    trail: AuditTrail | None = None,
    stream_bounds: events.Bounds = events.Bounds(),  # noqa: B008 - frozen
) -> Starlette:
    """Wire the services to their routes.

    `identities`: who callers are. `limits` None: how often they may ask is not limited.
    `follow`: calls back with the changes of all processes; None: no other process writes to the store.
    `tracer` None: there is no `POST /v2.0/trace`.
    `trail` None: nothing is kept of who did what.
    `feed`: the change log for those who follow it; whoever made it stops it. None: one that nobody stops."""
    unlimited = Limits(clock, projects=UNLIMITED, attempts=UNLIMITED)
    gate = Gate(log, identities, limits or unlimited, trail)
    group_service = SecurityGroupService(store, clock)
    port_service = PortService(store, allocator, clock)
    if follow is not None:
        follow(port_service.on_change)
    port_groups = PortGroupService(store, port_service, clock)
    projects = ProjectService(store, clock)
    tag_service = TagService(store, clock)
    turns = Turns()
    zones = ZoneBook(store)
    if follow is not None:
        follow(zones.on_change)
    routers = RouterService(store, allocator, clock, zones)
    collections = (
        networks.collection(store, NetworkService(store, clock, turns, zones), zones),
        subnets.collection(store, SubnetService(store, clock, turns)),
        PortCollection(store, port_service, convergence),
        PortGroupCollection(store, port_groups, convergence),
        security_groups.group_collection(store, group_service),
        security_groups.rule_collection(store, group_service),
        RouterCollection(store, routers, zones),
        rbac_policies.collection(store, PolicyService(store, clock)),
        address_scopes.collection(store, AddressScopeService(store, clock)),
        SubnetPoolCollection(store, SubnetPoolService(store, clock)),
        AddressGroupCollection(store, AddressGroupService(store, clock)),
        DefaultRuleCollection(store, DefaultRuleService(store, clock)),
        TrunkCollection(store, TrunkService(store, clock), convergence),
    )
    resources = [collection.resource for collection in collections]
    served: list[Served] = [
        *collections,
        Directory(resources),
        extensions.ExtensionCollection((extensions.TRACE,) if tracer is not None else ()),
        HostCollection(convergence, HostService(store, clock)),
        ServiceProviderCollection(),
        FloatingIpCollection(),
        AvailabilityCollection(store),
        ReceiptCollection(store, convergence),
        TopologyCollection(TopologyService(store, allocator, clock, routers=routers, turns=turns)),
        PortBindingCollection(store, BindingService(store, clock), convergence),
        events.EventCollection(feed or EventFeed(store, log), clock, stream_bounds),
        ProjectCollection(projects),
        QuotaCollection(QuotaService(store, projects)),
        ResyncCollection(convergence),
        *(
            TagCollection(resource.plural, resource.kind, tag_service)
            for resource in resources
            if "tags" in resource.by_name
        ),
    ]
    if trail is not None:
        served.append(AuditCollection(trail))
    if tracer is not None:
        served.append(TraceCollection(store, tracer))
    description = Description(identities.ways)
    served.append(description)
    routes = [route for each in served for route in each.routes(gate)]
    description.routes_are(routes)
    assert all(isinstance(route, GuardedRoute) for route in routes), "a route without a policy"
    application = Starlette(
        routes=routes, exception_handlers={HTTPException: gate.not_found, Exception: gate.failed}
    )
    application.router.redirect_slashes = False
    return application
