"""Routers on the wire, and the actions that join them to subnets."""

from collections.abc import Mapping, Sequence

from starlette.responses import Response

from alcor.contracts.store import Store
from alcor.management_plane.api import form, gate, policy, validation
from alcor.management_plane.api.attribute import IGNORED, Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection, written
from alcor.management_plane.api.standard import STANDARD, Answer, standard
from alcor.management_plane.router.decisions import InterfaceFields, RouterFields
from alcor.management_plane.router.service import RouterService
from alcor.model.records import Port, Router

RESOURCE = Resource(
    singular="router",
    plural="routers",
    kind=Router,
    fields=RouterFields,
    attributes=(
        *STANDARD,
        Attribute(
            name="admin_state_up", parse=validation.boolean, post=True, put=True, filterable=True, sortable=True
        ),
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


class RouterAnswer(Answer, kw_only=True):
    """A router as it is shown."""

    admin_state_up: bool
    status: str = "ACTIVE"
    external_gateway_info: None = None
    routes: tuple[()] = ()


class RouterCollection(Collection[RouterFields]):
    """Serves routers."""

    def __init__(self, store: Store, service: RouterService) -> None:
        super().__init__(RESOURCE, store, service, _answers, create=service.create)
        self._routers = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        return [
            *super().routes(entrance),
            entrance.route(
                "/v2.0/routers/{id}/add_router_interface", policy=policy.TENANT, put=self.add_interface
            ),
            entrance.route(
                "/v2.0/routers/{id}/remove_router_interface", policy=policy.TENANT, put=self.remove_interface
            ),
        ]

    async def add_interface(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT add_router_interface."""
        revision, router, port = await self._routers.add_interface(call.caller, path["id"], _interface(call))
        return _interface_answer(router, port, revision)

    async def remove_interface(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT remove_router_interface."""
        revision, router, port = await self._routers.remove_interface(call.caller, path["id"], _interface(call))
        return _interface_answer(router, port, revision)


async def _answers(call: Call, routers: Sequence[Router]) -> list[RouterAnswer]:
    return [
        RouterAnswer(
            **standard(router),  # type: ignore[arg-type]  # the common part, by name
            admin_state_up=router.admin_state_up,
        )
        for router in routers
    ]


def _interface(call: Call) -> InterfaceFields:
    document = form.decoded(call.body)
    unknown = [name for name in document if name not in ("subnet_id", "port_id")]
    if unknown:
        raise form.unrecognized(unknown)
    for name, value in document.items():
        try:
            validation.uuid_text(value)
        except ValueError as reason:
            raise form.invalid_input(name, reason) from None
    return InterfaceFields(**document)


def _interface_answer(router: Router, port: Port, revision: int) -> Response:
    subnet_ids = [fixed.subnet_id for fixed in port.fixed_ips]
    document = {
        "id": router.id,
        "project_id": router.project_id,
        "tenant_id": router.project_id,
        "port_id": port.id,
        "network_id": port.network_id,
        "subnet_id": subnet_ids[0],
        "subnet_ids": subnet_ids,
    }
    return written(document, 200, revision=revision)
