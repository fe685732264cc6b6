"""The API as one ASGI application: what there is, and where."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from alcor.contracts.convergence import Convergence, Tracer
from alcor.contracts.store import AddressAllocator, Store
from alcor.management_plane.api import networks, security_groups, subnets
from alcor.management_plane.api.gate import Gate
from alcor.management_plane.api.live_hosts import LiveHosts
from alcor.management_plane.api.ports import PortCollection
from alcor.management_plane.network.service import NetworkService
from alcor.management_plane.port.service import PortService
from alcor.management_plane.security_group.service import SecurityGroupService
from alcor.management_plane.subnet.service import SubnetService
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog


def create_application(
    store: Store,
    allocator: AddressAllocator,
    convergence: Convergence,
    clock: Clock,
    log: EventLog,
    *,
    tracer: Tracer | None = None,
) -> ASGIApp:
    """Wire the services to their routes. `tracer` None: there is no `POST /v2.0/trace`."""
    gate = Gate(log)
    live_hosts = LiveHosts(convergence, clock)
    group_service = SecurityGroupService(store, clock)
    port_service = PortService(store, allocator, clock)
    collections = (
        networks.collection(store, NetworkService(store, clock)),
        subnets.collection(store, SubnetService(store, clock)),
        PortCollection(store, port_service, convergence, live_hosts),
        security_groups.group_collection(store, group_service),
        security_groups.rule_collection(store, group_service),
    )
    routes = [route for collection in collections for route in collection.routes(gate)]
    application = Starlette(
        routes=routes, exception_handlers={HTTPException: gate.not_found, Exception: gate.failed}
    )
    application.router.redirect_slashes = False
    return application
