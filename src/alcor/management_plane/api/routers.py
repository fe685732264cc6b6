"""Routers on the wire, and the actions that join them to subnets."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import UnsetType
from starlette.responses import Response

from alcor.contracts.store import Store
from alcor.management_plane.api import form, gate, policy, validation
from alcor.management_plane.api.accepts import accepts, object_of, schema_of
from alcor.management_plane.api.attribute import IGNORED, Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection, written
from alcor.management_plane.api.described import IF_MATCH, describes, gives
from alcor.management_plane.api.standard import ADMIN_STATE_UP, STANDARD, Answer, standard
from alcor.management_plane.router import routes
from alcor.management_plane.router.decisions import InterfaceFields, RouterFields
from alcor.management_plane.router.service import RouterService, Routes
from alcor.management_plane.zones import ZoneBook
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_to_text
from alcor.model.records import ExtraRoute, Port, Router


@accepts(schema_of(validation.routes) or {})
def _routes(value: object) -> object:
    return tuple(
        sorted(ExtraRoute((cidr.network, cidr.prefix_len), hop) for cidr, hop in validation.routes(value))
    )


RESOURCE = Resource(
    singular="router",
    plural="routers",
    kind=Router,
    fields=RouterFields,
    attributes=(
        *STANDARD,
        Attribute(name="routes", parse=_routes, put=True),
        Attribute(name="availability_zone_hints", field="zone_hints", parse=validation.zone_hints, post=True),
        Attribute(name="availability_zones"),
        ADMIN_STATE_UP,
        Attribute(name="status", filterable=True, sortable=True),
        Attribute(
            name="external_gateway_info",
            field=IGNORED,
            parse=validation.only(None, "external gateways are not supported yet."),
            post=True,
            put=True,
        ),
    ),
)


class RouteAnswer(msgspec.Struct):
    """An extra route as it is shown."""

    destination: str
    nexthop: str


class RouterAnswer(Answer, kw_only=True):
    """A router as it is shown."""

    admin_state_up: bool
    status: str = "ACTIVE"
    external_gateway_info: None = None
    routes: list[RouteAnswer]
    availability_zone_hints: tuple[str, ...]
    availability_zones: tuple[str, ...]


class InterfaceAnswer(msgspec.Struct):
    """Where a router is joined to a subnet."""

    id: str
    project_id: str
    tenant_id: str
    port_id: str
    network_id: str
    subnet_id: str
    subnet_ids: Sequence[str]


_INTERFACE = object_of({"subnet_id": validation.UUID, "port_id": validation.UUID})
_ROUTES = object_of({"router": object_of({"routes": schema_of(_routes) or {}}, "routes")}, "router")


class RouterCollection(Collection[RouterFields]):
    """Serves routers."""

    def __init__(self, store: Store, service: RouterService, zones: ZoneBook) -> None:
        super().__init__(RESOURCE, store, service, self._shown, create=service.create)
        self._routers = service
        self._zones = zones

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        return [
            *super().routes(entrance),
            entrance.route(
                "/v2.0/routers/{id}/add_router_interface", policy=policy.TENANT, put=self.add_interface
            ),
            entrance.route(
                "/v2.0/routers/{id}/remove_router_interface", policy=policy.TENANT, put=self.remove_interface
            ),
            entrance.route("/v2.0/routers/{id}/add_extraroutes", policy=policy.TENANT, put=self.add_routes),
            entrance.route(
                "/v2.0/routers/{id}/remove_extraroutes", policy=policy.TENANT, put=self.remove_routes
            ),
        ]

    @describes(
        gives(200, of=InterfaceAnswer), summary="Join a router to a subnet", body=_INTERFACE, refuses=(409,)
    )
    async def add_interface(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT add_router_interface."""
        revision, router, port = await self._routers.add_interface(call.caller, path["id"], _interface(call))
        return _interface_answer(router, port, revision)

    @describes(
        gives(200, of=InterfaceAnswer), summary="Part a router from a subnet", body=_INTERFACE, refuses=(409,)
    )
    async def remove_interface(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT remove_router_interface."""
        revision, router, port = await self._routers.remove_interface(call.caller, path["id"], _interface(call))
        return _interface_answer(router, port, revision)

    @describes(
        gives(200, "router", of=RouterAnswer),
        summary="Add routes to a router",
        takes=(IF_MATCH,),
        body=_ROUTES,
        refuses=(409, 412),
    )
    async def add_routes(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT add_extraroutes: those that are there stay."""
        more = _asked_routes(call)
        return await self._changed_routes(call, path, lambda router: routes.added(router, more))

    @describes(
        gives(200, "router", of=RouterAnswer),
        summary="Remove routes from a router",
        takes=(IF_MATCH,),
        body=_ROUTES,
        refuses=(409, 412),
    )
    async def remove_routes(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT remove_extraroutes: those that are not there are no matter."""
        some = _asked_routes(call)
        return await self._changed_routes(call, path, lambda router: routes.removed(router, some))

    async def _changed_routes(
        self, call: Call, path: Mapping[str, str], decide: Callable[[Router], Routes]
    ) -> Response:
        revision, router = await self._routers.change_routes(
            call.caller, path["id"], decide, expected=call.expected_revision
        )
        return await self.updated(call, router, revision)

    async def _shown(self, call: Call, routers: Sequence[Router]) -> list[RouterAnswer]:
        zones = await self._zones.names()
        return [
            RouterAnswer(
                **standard(router),  # type: ignore[arg-type]  # the common part, by name
                admin_state_up=router.admin_state_up,
                routes=[
                    RouteAnswer(str(Cidr(*route.destination)), ip_to_text(route.next_hop))
                    for route in router.routes
                ],
                availability_zone_hints=router.zone_hints,
                availability_zones=zones,
            )
            for router in routers
        ]


def _asked_routes(call: Call) -> Routes:
    document = form.member(form.decoded(call.body), RESOURCE.singular)
    if "routes" not in document:
        raise errors.Invalid("Unable to find 'routes' in request body")
    fields = form.fields_of(RESOURCE, document, call.caller, is_create=False)
    if isinstance(fields.routes, UnsetType) or len(document) != 1:
        raise form.unrecognized([name for name in document if name != "routes"])
    return fields.routes


def _interface(call: Call) -> InterfaceFields:
    document = form.decoded(call.body)
    form.check_known(document, ("subnet_id", "port_id"))
    for name, value in document.items():
        try:
            validation.uuid_text(value)
        except ValueError as reason:
            raise form.invalid_input(name, reason) from None
    return InterfaceFields(**document)


def _interface_answer(router: Router, port: Port, revision: int) -> Response:
    subnet_ids = [fixed.subnet_id for fixed in port.fixed_ips]
    answer = InterfaceAnswer(
        id=router.id,
        project_id=router.project_id,
        tenant_id=router.project_id,
        port_id=port.id,
        network_id=port.network_id,
        subnet_id=subnet_ids[0],
        subnet_ids=subnet_ids,
    )
    return written(answer, 200, revision=revision)
