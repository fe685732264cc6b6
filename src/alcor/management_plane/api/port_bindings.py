"""The bindings of a port on the wire: where it is, and where it is prepared to be. For administrators."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response

from alcor.contracts.convergence import Convergence
from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import (
    described_resource,
    form,
    gate,
    idempotency,
    listing,
    policy,
    validation,
)
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON, bare, written
from alcor.management_plane.api.described import IDEMPOTENCY_KEY, described_as, describes, gives
from alcor.management_plane.api.ports import VIF_DETAILS, profile, profile_text
from alcor.management_plane.caller import Caller
from alcor.management_plane.port import bindings
from alcor.management_plane.port.binding_service import BindingService
from alcor.management_plane.port.bindings import BindingFields
from alcor.model import errors
from alcor.model.records import Port, PortBinding

RESOURCE = Resource(
    singular="binding",
    plural="bindings",
    kind=Port,
    fields=BindingFields,
    attributes=(
        Attribute(
            name="host", parse=validation.text(), post=True, required=True, filterable=True, sortable=True
        ),
        Attribute(name="vnic_type", parse=validation.text(), post=True, put=True, filterable=True),
        Attribute(name="profile", parse=profile, post=True, put=True),
        Attribute(name="vif_type", filterable=True),
        Attribute(name="vif_details"),
        Attribute(name="status", filterable=True, sortable=True),
    ),
)


class BindingAnswer(msgspec.Struct, frozen=True):
    """A binding as it is shown."""

    host: str
    status: str
    vif_type: str
    vif_details: dict[str, object]
    vnic_type: str
    profile: msgspec.Raw

    @property
    def id(self) -> str:
        """What pages are marked by; not shown."""
        return self.host


class PortBindingCollection:
    """Serves the bindings of ports."""

    def __init__(self, store: Store, service: BindingService, convergence: Convergence) -> None:
        self._store = store
        self._bindings = service
        self._convergence = convergence

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes."""
        path = "/v2.0/ports/{id}/bindings"
        operator = policy.OPERATOR
        return [
            entrance.route(path, policy=operator, get=self.list, post=self.create),
            entrance.route(
                path + "/{host}", policy=operator, get=self.show, put=self.update, delete=self.delete
            ),
            entrance.route(path + "/{host}/activate", policy=operator, put=self.activate),
        ]

    @described_as(described_resource.listing(RESOURCE, BindingAnswer))
    async def list(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET all bindings of a port."""
        port = await self._port(call, path)
        held = bindings.active(port)
        found = port.inactive_bindings if held is None else (held, *port.inactive_bindings)
        answers = await self._answers(port, found)
        return Response(
            listing.encoded(RESOURCE, listing.listed_from(RESOURCE, call, answers)), media_type=JSON
        )

    @described_as(described_resource.showing(RESOURCE, BindingAnswer))
    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET one binding, by its host."""
        port = await self._port(call, path)
        answer = await self._answer(port, path["host"])
        return written({RESOURCE.singular: listing.shown(call, answer)}, 200)

    @describes(
        gives(201, "binding", of=BindingAnswer),
        summary="Prepare a port for a host",
        takes=(IDEMPOTENCY_KEY,),
        body=described_resource.create_body(RESOURCE, is_bulk=False),
        refuses=(409, 422),
    )
    async def create(self, call: Call, path: Mapping[str, str]) -> Response:
        """POST a binding: inactive, until it is activated."""
        asks, is_bulk = form.created(RESOURCE, call.body, call.caller)
        if is_bulk:
            raise errors.Invalid("Bulk operation not supported", reason="HTTPBadRequest")
        host = str(asks[0].host)
        if not host:
            raise errors.Invalid("Invalid input for host. Reason: '' is not a host.")

        async def make(caller: Caller) -> tuple[int, Port]:
            port = await self._port(call, path)
            (is_alive,) = await self._are_alive(port, (host,))
            if not is_alive:
                raise errors.Conflict(
                    f"Binding for port {port.id} on host {host} could not be created: no agent is alive there.",
                    reason="PortBindingError",
                )
            return await self._bindings.create(caller, port.id, asks[0])

        revision, port = await idempotency.once(
            self._store, call, make, lambda change: (change.revision, change.puts.ports[0])
        )
        answer = await self._answer(port, host)
        return written({RESOURCE.singular: answer}, 201, revision=revision)

    @describes(
        gives(200, "binding", of=BindingAnswer),
        summary="Change a port's binding",
        body=described_resource.update_body(RESOURCE),
    )
    async def update(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT a binding."""
        fields = form.updated(RESOURCE, call.body, call.caller)
        revision, port = await self._bindings.update(call.caller, path["id"], path["host"], fields)
        answer = await self._answer(port, path["host"])
        return written({RESOURCE.singular: answer}, 200, revision=revision)

    @describes(gives(200, of=BindingAnswer), summary="Bind a port to a host it is prepared for", refuses=(409,))
    async def activate(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT activate: the binding that was active until now is inactive."""
        revision, port = await self._bindings.activate(call.caller, path["id"], path["host"])
        answer = await self._answer(port, path["host"])
        return written(answer, 200, revision=revision)  # as Neutron: with no name around it

    @describes(gives(204, about="It is gone."), summary="Remove a port's binding", refuses=(409,))
    async def delete(self, call: Call, path: Mapping[str, str]) -> Response:
        """DELETE a binding; without its active one the port is not bound."""
        revision, _ = await self._bindings.delete(call.caller, path["id"], path["host"])
        return bare(204, revision=revision)

    async def _port(self, call: Call, path: Mapping[str, str]) -> Port:
        return await access.fetch_one(self._store, call.caller, Port, path["id"])

    async def _are_alive(self, port: Port, hosts: Sequence[str]) -> Sequence[bool]:
        as_bound = [msgspec.structs.replace(port, host=host) for host in hosts]
        return [state.host_is_alive for state in await self._convergence.port_states(as_bound)]

    async def _answer(self, port: Port, host: str) -> BindingAnswer:
        (answer,) = await self._answers(port, (bindings.found(port, host),))
        return answer

    async def _answers(self, port: Port, found: Sequence[PortBinding]) -> Sequence[BindingAnswer]:
        alive = await self._are_alive(port, [binding.host for binding in found])
        return [
            BindingAnswer(
                host=binding.host,
                status="ACTIVE" if binding.host == port.host else "INACTIVE",
                vif_type="ovs" if is_alive else "binding_failed",
                vif_details=VIF_DETAILS if is_alive else {},
                vnic_type=binding.vnic_type,
                profile=profile_text(binding.profile),
            )
            for binding, is_alive in zip(found, alive, strict=True)
        ]
