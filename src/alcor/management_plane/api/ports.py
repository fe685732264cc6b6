"""Ports on the wire."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from alcor.contracts.convergence import Convergence, PortState
from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import bodies, form, idempotency, moments, validation, waiting
from alcor.management_plane.api.accepts import accepts, list_of, object_of, or_null
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection
from alcor.management_plane.api.described import Operation
from alcor.management_plane.api.standard import ADMIN_STATE_UP, STANDARD, Answer, reference
from alcor.management_plane.api.trunks import SubPortAnswer
from alcor.management_plane.port.address_pairs import AddressPairFields
from alcor.management_plane.port.decisions import EMPTY_PROFILE, PortFields
from alcor.management_plane.port.dhcp_options import DhcpOptionFields
from alcor.management_plane.port.fixed_ips import FixedIpFields
from alcor.management_plane.port.service import PortService
from alcor.model.addressing import Cidr, ip_to_text, mac_from_text, mac_to_text
from alcor.model.records import AddressPair, Port, Trunk

_MAC = {"type": "string", "format": "mac", "maxLength": 255, "examples": ["fa:16:3e:00:00:01"]}
_ADDRESSES = {"anyOf": [validation.IP, validation.CIDR]}
_OPTION = {
    "opt_name": validation.string(),
    "opt_value": or_null(validation.string()),
    "ip_version": {"enum": [4, 6, "4", "6"]},
}


@accepts(or_null(list_of(object_of({"subnet_id": validation.UUID, "ip_address": validation.IP}))))
def _fixed_ips(value: object) -> object:
    if value is None:
        return UNSET
    try:
        return msgspec.convert(value, tuple[FixedIpFields, ...])
    except msgspec.ValidationError as reason:
        raise ValueError(f"{reason}.") from None


@accepts(or_null(list_of(object_of({"ip_address": _ADDRESSES, "mac_address": _MAC}, "ip_address"))))
def _address_pairs(value: object) -> object:
    try:
        return msgspec.convert([] if value is None else value, tuple[AddressPairFields, ...])
    except msgspec.ValidationError as reason:
        raise ValueError(f"{reason}.") from None


@accepts(or_null(list_of(object_of(_OPTION, "opt_name"))))
def _dhcp_options(value: object) -> object:
    try:
        return msgspec.convert([] if value is None else value, tuple[DhcpOptionFields, ...])
    except msgspec.ValidationError as reason:
        raise ValueError(f"{reason}.") from None


@accepts(or_null({"type": "object"}))
def profile(value: object) -> object:
    """Accept the profile of a binding."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"'{value}' is not a dictionary.")
    return value


@accepts(or_null(_MAC))
def _mac(value: object) -> object:
    return None if value is None else validation.text()(value)


@accepts({"enum": ["ACTIVE", "DOWN", None]})
def _data_plane_status(value: object) -> object:
    return "" if value is None else validation.choice("ACTIVE", "DOWN")(value)


RESOURCE = Resource(
    singular="port",
    plural="ports",
    kind=Port,
    fields=PortFields,
    attributes=(
        *STANDARD,
        reference("network_id"),
        ADMIN_STATE_UP,
        Attribute(
            name="mac_address",
            parse=_mac,
            post=True,
            put=True,
            filterable=True,
            sortable=True,
            column="mac",
            to_column=mac_from_text,
        ),
        Attribute(name="fixed_ips", parse=_fixed_ips, post=True, put=True, filterable=True),
        Attribute(
            name="security_groups",
            parse=validation.uuids,
            post=True,
            put=True,
            filterable=True,
            column="security_groups",
        ),
        Attribute(name="allowed_address_pairs", parse=_address_pairs, post=True, put=True),
        Attribute(name="extra_dhcp_opts", parse=_dhcp_options, post=True, put=True),
        Attribute(name="port_security_enabled", parse=validation.boolean, post=True, put=True, filterable=True),
        Attribute(
            name="device_id",
            parse=validation.text_or_none(),
            post=True,
            put=True,
            filterable=True,
            sortable=True,
            column="device_id",
        ),
        Attribute(
            name="device_owner",
            parse=validation.text_or_none(),
            post=True,
            put=True,
            filterable=True,
            sortable=True,
            column="device_owner",
        ),
        Attribute(
            name="binding:host_id",
            field="host_id",
            parse=validation.text_or_none(),
            post=True,
            put=True,
            admin_only=True,
            filterable=True,
            column="host",
        ),
        Attribute(name="binding:vnic_type", field="vnic_type", parse=validation.text(), post=True, put=True),
        Attribute(name="binding:profile", field="profile", parse=profile, post=True, put=True, admin_only=True),
        Attribute(name="binding:vif_type", filterable=True),
        Attribute(name="binding:vif_details"),
        Attribute(name="status", filterable=True, sortable=True),
        Attribute(name="ip_allocation", filterable=True, sortable=True),
        Attribute(name="data_plane_status", parse=_data_plane_status, put=True, admin_only=True),
        Attribute(name="alcor:fast_path", field="fast_path", parse=validation.boolean, post=True, put=True),
        Attribute(name="alcor:in_force", filterable=True),
        Attribute(name="alcor:applied_revision"),
        Attribute(name="alcor:port_group", filterable=True, column="port_group_id"),
        Attribute(name="port_group_id", filterable=True, column="port_group_id"),
    ),
)


class FixedIpAnswer(msgspec.Struct, gc=False):
    """An address of a port as it is shown."""

    subnet_id: str
    ip_address: str


class AddressPairAnswer(msgspec.Struct, gc=False):
    """A pair as it is shown."""

    ip_address: str
    mac_address: str


class DhcpOptionAnswer(msgspec.Struct, gc=False):
    """A DHCP option as it is shown."""

    opt_name: str
    opt_value: str
    ip_version: int = 4


class TrunkSubPortAnswer(SubPortAnswer, kw_only=True):
    """A sub-port as its parent shows it: with what a workload needs to make its device."""

    mac_address: str


class TrunkDetailsAnswer(msgspec.Struct):
    """A trunk as its parent port shows it."""

    trunk_id: str
    sub_ports: list[TrunkSubPortAnswer]


class PortAnswer(
    Answer,
    kw_only=True,
    rename={
        "binding_vnic_type": "binding:vnic_type",
        "binding_host_id": "binding:host_id",
        "binding_profile": "binding:profile",
        "binding_vif_type": "binding:vif_type",
        "binding_vif_details": "binding:vif_details",
        "alcor_fast_path": "alcor:fast_path",
        "alcor_in_force": "alcor:in_force",
        "alcor_applied_revision": "alcor:applied_revision",
        "alcor_port_group": "alcor:port_group",
        "alcor_reason": "alcor:reason",
    },
):
    """A port as it is shown; bindings to administrators only."""

    network_id: str
    admin_state_up: bool
    mac_address: str
    fixed_ips: list[FixedIpAnswer]
    security_groups: tuple[str, ...]
    allowed_address_pairs: Sequence[AddressPairAnswer]
    extra_dhcp_opts: Sequence[DhcpOptionAnswer]
    port_security_enabled: bool
    device_id: str
    device_owner: str
    status: str
    ip_allocation: str
    data_plane_status: str | None
    alcor_fast_path: bool
    alcor_in_force: bool
    alcor_applied_revision: int | None
    alcor_reason: str
    alcor_port_group: str | None
    binding_vnic_type: str
    trunk_details: TrunkDetailsAnswer | UnsetType = UNSET  # of a trunk's parent
    binding_host_id: str | UnsetType = UNSET
    binding_profile: msgspec.Raw | UnsetType = UNSET
    binding_vif_type: str | UnsetType = UNSET
    binding_vif_details: dict[str, object] | UnsetType = UNSET


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    ports: list[PortFields]


class _Single(msgspec.Struct, forbid_unknown_fields=True):
    port: PortFields


_batch_decoder = msgspec.json.Decoder(_Batch)
_single_decoder = msgspec.json.Decoder(_Single)
_NO_PROFILE = msgspec.Raw(b"{}")
VIF_DETAILS: dict[str, object] = {"connectivity": "l2", "port_filter": True, "ovs_hybrid_plug": False}
_NO_DETAILS: dict[str, object] = {}


class PortCollection(Collection[PortFields]):
    """Serves ports: as every resource, with a quick way through for batches, and with waiting."""

    body_max = bodies.BATCH_BODY_MAX

    def __init__(self, store: Store, service: PortService, convergence: Convergence) -> None:
        super().__init__(RESOURCE, store, service, self._shown)
        self._ports = service
        self._convergence = convergence

    def operations(self) -> Mapping[str, Operation]:
        return waiting.described(super().operations())

    async def create(self, call: Call, path: Mapping[str, str]) -> Response:
        wish = waiting.wish_of(call)
        asks, is_bulk = asked_ports(call)
        revision, ports = await idempotency.once(
            self._store,
            call,
            lambda caller: self._ports.create(caller, asks),
            lambda change: (change.revision, list(change.puts.ports)),
        )
        headers = await waiting.fulfil(wish, self._convergence, [port.id for port in ports], revision)
        return await self.created(call, ports, revision, is_bulk=is_bulk, headers=headers)

    async def show(self, call: Call, path: Mapping[str, str]) -> Response:
        wish = waiting.wish_of(call)
        headers: dict[str, str] = {}
        if wish is not None:
            port = await access.fetch_one(self._store, call.caller, Port, path["id"])
            revision = await self._store.revision()
            headers = await waiting.fulfil(wish, self._convergence, [port.id], revision)
        response = await super().show(call, path)
        response.headers.update(headers)
        return response

    async def update(self, call: Call, path: Mapping[str, str]) -> Response:
        wish = waiting.wish_of(call)
        fields = form.updated(RESOURCE, call.body, call.caller)
        revision, port = await self._ports.update(
            call.caller, path["id"], fields, expected=call.expected_revision
        )
        headers = await waiting.fulfil(wish, self._convergence, [port.id], revision)
        return await self.updated(call, port, revision, headers=headers)

    async def _shown(self, call: Call, ports: Sequence[Port]) -> list[PortAnswer]:
        states = await self._convergence.port_states(ports)
        is_admin = call.caller.is_admin
        answers = [
            self._answer(port, state, is_admin=is_admin) for port, state in zip(ports, states, strict=True)
        ]
        parents = [port.trunk.trunk_id for port in ports if port.trunk is not None and port.trunk.is_parent]
        details = await self._trunk_details(parents) if parents else {}
        for answer in answers if details else ():
            answer.trunk_details = details.get(answer.id, UNSET)
        return answers

    async def _trunk_details(self, trunk_ids: Sequence[str]) -> dict[str, TrunkDetailsAnswer]:
        """Give what parents show of their trunks, by the parent's id. O(their sub-ports)."""
        trunks = (await self._store.get(Trunk, trunk_ids)).values()
        ports = await self._store.get(Port, [sub.port_id for trunk in trunks for sub in trunk.sub_ports])
        return {
            trunk.port_id: TrunkDetailsAnswer(
                trunk.id,
                [
                    TrunkSubPortAnswer(sub.port_id, sub.vlan, mac_address=mac_to_text(ports[sub.port_id].mac))
                    for sub in trunk.sub_ports
                    if sub.port_id in ports
                ],
            )
            for trunk in trunks
        }

    def _answer(self, port: Port, state: PortState, *, is_admin: bool) -> PortAnswer:
        answer = PortAnswer(
            id=port.id,
            name=port.name,
            project_id=port.project_id,
            tenant_id=port.project_id,
            description=port.description,
            created_at=moments.text(port.created_at),
            updated_at=moments.text(port.updated_at),
            revision_number=port.revision_number,
            tags=port.tags,
            network_id=port.network_id,
            admin_state_up=port.admin_state_up,
            mac_address=mac_to_text(port.mac),
            fixed_ips=[FixedIpAnswer(fixed.subnet_id, ip_to_text(fixed.ip)) for fixed in port.fixed_ips],
            security_groups=port.security_groups,
            allowed_address_pairs=[_pair_answer(pair) for pair in port.address_pairs]
            if port.address_pairs
            else (),
            extra_dhcp_opts=[
                DhcpOptionAnswer(each.name, each.value, each.ip_version) for each in port.dhcp_options
            ]
            if port.dhcp_options
            else (),
            port_security_enabled=port.port_security_enabled,
            device_id=port.device_id,
            device_owner=port.device_owner,
            status=state.status,
            ip_allocation="immediate" if port.fixed_ips else "none",
            data_plane_status=port.data_plane_status or None,
            alcor_fast_path=port.fast_path,
            alcor_in_force=state.in_force,
            alcor_applied_revision=state.applied_revision,
            alcor_reason=state.reason,
            alcor_port_group=port.port_group_id or None,
            binding_vnic_type=port.vnic_type,
        )
        if is_admin:
            is_live = state.host_is_alive
            answer.binding_host_id = port.host
            answer.binding_profile = profile_text(port.binding_profile)
            answer.binding_vif_type = "ovs" if is_live else "binding_failed" if port.host else "unbound"
            answer.binding_vif_details = VIF_DETAILS if is_live else _NO_DETAILS
        return answer


def _pair_answer(pair: AddressPair) -> AddressPairAnswer:
    is_exact = pair.prefix_len == 8 * len(pair.network)
    text = ip_to_text(pair.network) if is_exact else str(Cidr(pair.network, pair.prefix_len))
    return AddressPairAnswer(text, mac_to_text(pair.mac))


def asked_ports(call: Call) -> tuple[list[PortFields], bool]:
    """Give the ports that a POST asks for, and whether it was the plural form. Raises Invalid.

    Most bodies decode straight into the fields, a microsecond each. What that refuses, or what needs
    more than a look at its type, goes the long way: it accepts what Neutron does, and has the words to refuse.
    """
    found = _decoded_straight(call.body)
    is_admin = call.caller.is_admin
    if found is None or not found[0] or any(_needs_care(fields, is_admin=is_admin) for fields in found[0]):
        return form.created(RESOURCE, call.body, call.caller)
    form.check_batch(len(found[0]), RESOURCE.plural)
    return found


def _decoded_straight(body: bytes) -> tuple[list[PortFields], bool] | None:
    if b"\\u0000" in body:  # no text may hold it; the long way says so
        return None
    try:
        return _batch_decoder.decode(body).ports, True
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return [_single_decoder.decode(body).port], False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _needs_care(fields: PortFields, *, is_admin: bool) -> bool:
    return (
        fields.network_id is UNSET
        or (fields.project_id is not UNSET and not (is_admin and fields.project_id.isprintable()))
        or fields.tags is not UNSET
        or fields.data_plane_status is not UNSET
        or (not is_admin and (fields.host_id is not UNSET or fields.profile is not UNSET))
    )


def profile_text(packed: msgspec.Raw) -> msgspec.Raw:
    """Give the profile of a binding as JSON."""
    if packed == EMPTY_PROFILE:
        return _NO_PROFILE
    return msgspec.Raw(msgspec.json.encode(msgspec.msgpack.decode(packed)))
