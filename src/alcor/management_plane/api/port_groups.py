"""Port groups on the wire: many ports from one template, in one call."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET
from starlette.responses import Response

from alcor.contracts.convergence import Convergence
from alcor.contracts.store import Store
from alcor.management_plane.api import bodies, described_resource, form, idempotency, validation, waiting
from alcor.management_plane.api import ports as port_form
from alcor.management_plane.api.accepts import accepts, list_of, object_of
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection, written
from alcor.management_plane.api.described import Body, Operation
from alcor.management_plane.api.standard import STANDARD, Answer, reference, standard
from alcor.management_plane.port_group import decisions
from alcor.management_plane.port_group.decisions import PortGroupFields
from alcor.management_plane.port_group.service import PortGroupService
from alcor.model.records import Port, PortGroup

# What every port of the group has in common; the rest is each port's own.
_TEMPLATE = frozenset(
    {
        "description",
        "admin_state_up",
        "fixed_ips",
        "security_groups",
        "port_security_enabled",
        "device_id",
        "device_owner",
        "alcor:fast_path",
        "binding:vnic_type",
        "binding:profile",
        "tags",
    }
)


@accepts(list_of(validation.string(length_min=1), most=form.BATCH_MAX))
def _hosts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(host, str) and host for host in value):
        raise ValueError("hosts must be a list of host names.")
    if len(value) > form.BATCH_MAX:
        raise ValueError(f"{len(value)} hosts: at most {form.BATCH_MAX} ports are made at once.")
    return tuple(str(validation.text()(host)) for host in value)


RESOURCE = Resource(
    singular="port_group",
    plural="port_groups",
    kind=PortGroup,
    fields=PortGroupFields,
    attributes=(
        *STANDARD,
        reference("network_id"),
        Attribute(name="count", parse=validation.integer(1, form.BATCH_MAX), post=True),
        Attribute(name="hosts", parse=_hosts, post=True, admin_only=True),
        Attribute(name="alcor:fast_path", field="fast_path", parse=validation.boolean, post=True),
        Attribute(name="port"),
        Attribute(name="state", filterable=True, sortable=True),
    ),
)


class PortGroupAnswer(Answer, kw_only=True, rename={"alcor_fast_path": "alcor:fast_path"}):
    """A port group as it is shown, with how far its ports are."""

    network_id: str
    count: int
    port: msgspec.Raw
    alcor_fast_path: bool
    state: str
    ports: int
    in_force: int
    active: int
    failed: int


class PortGroupCollection(Collection[PortGroupFields]):
    """Serves port groups."""

    body_max = bodies.BATCH_BODY_MAX

    def __init__(self, store: Store, service: PortGroupService, convergence: Convergence) -> None:
        super().__init__(RESOURCE, store, service, self._shown)
        self._groups = service
        self._convergence = convergence

    def operations(self) -> Mapping[str, Operation]:
        answer = described_resource.answer_of(self._answers)
        found = dict(described_resource.operations(RESOURCE, answer, is_bulk=False))
        found["create"] = _with_template(found["create"])
        return waiting.described(found, "create")

    async def create(self, call: Call, path: Mapping[str, str]) -> Response:
        wish = waiting.wish_of(call)
        fields = _asked_group(call)
        live_hosts = await self._convergence.live_hosts() if fields.hosts is UNSET else []
        revision, group, ports = await idempotency.once(
            self._store,
            call,
            lambda caller: self._groups.create(caller, fields, live_hosts=live_hosts),
            lambda change: (change.revision, change.puts.port_groups[0], list(change.puts.ports)),
        )
        headers = await waiting.fulfil(wish, self._convergence, [port.id for port in ports], revision)
        return written(
            {"port_group": await self._answer(group, ports)}, 201, revision=revision, headers=headers
        )

    async def _shown(self, call: Call, groups: Sequence[PortGroup]) -> list[PortGroupAnswer]:
        ports = await self._groups.ports_of(groups)
        return [await self._answer(group, ports[group.id]) for group in groups]

    async def _answer(self, group: PortGroup, ports: Sequence[Port]) -> PortGroupAnswer:
        progress = decisions.progress(await self._convergence.port_states(ports))
        return PortGroupAnswer(
            **standard(group),  # type: ignore[arg-type]  # the common part, by name
            network_id=group.network_id,
            count=group.size,
            port=msgspec.Raw(msgspec.json.encode(msgspec.msgpack.decode(group.template))),
            alcor_fast_path=group.fast_path,
            state=progress.state,
            ports=progress.ports,
            in_force=progress.in_force,
            active=progress.active,
            failed=progress.failed,
        )


def _with_template(create: Operation) -> Operation:
    """Add what the ports have in common, by the table of ports."""
    assert isinstance(create.body, Body)
    port = described_resource.create_body(port_form.RESOURCE).item["properties"]
    template = object_of({name: schema for name, schema in port.items() if name in _TEMPLATE})
    item = {**create.body.item, "properties": create.body.item["properties"] | {"port": template}}
    return msgspec.structs.replace(create, body=msgspec.structs.replace(create.body, item=item))


def _asked_group(call: Call) -> PortGroupFields:
    item = dict(form.member(form.decoded(call.body), "port_group"))
    template = item.pop("port", {})
    if not isinstance(template, dict):
        raise form.invalid_input("port", "it must be an object with attributes of ports.")
    unknown = [name for name in template if name not in _TEMPLATE]
    if unknown:
        raise form.unrecognized([f"port.{name}" for name in unknown])
    fields = form.fields_of(RESOURCE, item, call.caller, is_create=True)
    one = {**template, "network_id": item["network_id"]}
    port = form.fields_of(port_form.RESOURCE, one, call.caller, is_create=True)
    return msgspec.structs.replace(fields, port=port, template=msgspec.Raw(msgspec.msgpack.encode(template)))
