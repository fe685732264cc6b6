"""Trunks on the wire, and the actions that change their sub-ports."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from starlette.responses import Response

from alcor.contracts.convergence import Convergence, PortState
from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import form, gate, policy, validation, waiting
from alcor.management_plane.api.accepts import accepts, list_of, object_of, schema_of
from alcor.management_plane.api.attribute import Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import Collection, written
from alcor.management_plane.api.described import IF_MATCH, Operation, describes, gives
from alcor.management_plane.api.standard import ADMIN_STATE_UP, STANDARD, Answer, reference, standard
from alcor.management_plane.trunk.decisions import SEGMENTATION_TYPE, TrunkFields
from alcor.management_plane.trunk.service import TrunkService
from alcor.model import errors
from alcor.model.ids import PortId
from alcor.model.records import Port, RecordSet, SubPort, Trunk

Status: TypeAlias = Literal["ACTIVE", "DOWN", "BUILD", "DEGRADED"]
VLAN_MAX = 4094


_NAMED = {
    "port_id": validation.UUID,
    "segmentation_type": {"const": SEGMENTATION_TYPE},
    "segmentation_id": schema_of(validation.integer(1, VLAN_MAX)) or {},
}


@accepts(list_of(object_of(_NAMED, *_NAMED)))
def _sub_ports(value: object) -> tuple[SubPort, ...]:
    found: list[SubPort] = []
    for entry in _entries(value):
        unknown = sorted(entry.keys() - {"port_id", "segmentation_type", "segmentation_id"})
        if unknown:
            raise ValueError(f"Invalid subport details: unknown {', '.join(unknown)}.")
        vlan = _vlan(entry)
        if any(vlan == sub.vlan for sub in found):
            raise ValueError(f"Segmentation ID '{vlan}' for '{entry['port_id']}' is not unique")
        found.append(SubPort(vlan, PortId(entry["port_id"])))
    return tuple(found)


def _vlan(entry: Mapping[str, Any]) -> int:
    kind, number = entry.get("segmentation_type"), entry.get("segmentation_id")
    if kind is None or number is None:
        raise ValueError(
            f"Invalid subport details '{entry}': missing segmentation information. "
            "Must specify both segmentation_id and segmentation_type"
        )
    if kind == "inherit":
        raise ValueError("segmentation_type 'inherit' needs networks that are VLANs; these are VXLANs.")
    if kind != SEGMENTATION_TYPE:
        raise ValueError(f"Unknown segmentation_type '{kind}'")
    try:
        return int(str(validation.integer(1, VLAN_MAX)(number)))
    except ValueError:
        raise ValueError(f"Segmentation ID '{number}' is not in range") from None


def _entries(value: object) -> Sequence[dict[str, Any]]:
    """Give the entries of a list of sub-ports, each of another port."""
    if not isinstance(value, list):
        raise ValueError(f"Invalid data format for subports: '{value}' is not a list")
    seen: set[str] = set()
    for entry in value:
        if not isinstance(entry, dict):
            raise ValueError(f"Invalid data format for subport: '{entry}' is not a dict")
        if "port_id" not in entry:
            raise ValueError("A valid port UUID must be specified")
        try:
            port_id = validation.uuid_text(entry["port_id"])
        except ValueError:
            raise ValueError(f"Invalid UUID for subport: '{entry['port_id']}'") from None
        if port_id in seen:
            raise ValueError(f"Non unique UUID for subport: '{port_id}'")
        seen.add(port_id)
    return value


RESOURCE = Resource(
    singular="trunk",
    plural="trunks",
    kind=Trunk,
    fields=TrunkFields,
    attributes=(
        *STANDARD,
        ADMIN_STATE_UP,
        reference("port_id"),
        Attribute(name="status", filterable=True, sortable=True),
        Attribute(name="sub_ports", parse=_sub_ports, post=True),
    ),
)


class SubPortAnswer(msgspec.Struct):
    """A sub-port as it is shown."""

    port_id: str
    segmentation_id: int
    segmentation_type: str = SEGMENTATION_TYPE


class SubPortsAnswer(msgspec.Struct):
    """The sub-ports of a trunk alone."""

    sub_ports: list[SubPortAnswer]


class TrunkAnswer(Answer, kw_only=True):
    """A trunk as it is shown."""

    admin_state_up: bool
    port_id: str
    status: Status
    sub_ports: list[SubPortAnswer]


_MORE = object_of({"sub_ports": schema_of(_sub_ports) or {}}, "sub_ports")
_GONE = object_of({"sub_ports": list_of(object_of(_NAMED, "port_id"))}, "sub_ports")


class TrunkCollection(Collection[TrunkFields]):
    """Serves trunks."""

    def __init__(self, store: Store, service: TrunkService, convergence: Convergence) -> None:
        super().__init__(RESOURCE, store, service, self._shown, create=service.create)
        self._trunks = service
        self._convergence = convergence

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        path = "/v2.0/trunks/{id}"
        return [
            *super().routes(entrance),
            entrance.route(f"{path}/add_subports", policy=policy.TENANT, put=self.add),
            entrance.route(f"{path}/remove_subports", policy=policy.TENANT, put=self.remove),
            entrance.route(f"{path}/get_subports", policy=policy.TENANT, get=self.sub_ports),
        ]

    def operations(self) -> Mapping[str, Operation]:
        """Describe the five calls."""
        return waiting.described(super().operations(), "create")

    async def create(self, call: Call, path: Mapping[str, str]) -> Response:
        waiting.wish_of(call)  # what cannot be waited for is refused before anything is made
        return await super().create(call, path)

    async def created(
        self,
        call: Call,
        records: Sequence[Trunk],
        revision: int,
        *,
        is_bulk: bool,
        before: RecordSet | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer when its ports are as the caller wishes."""
        waited = await self._wait(call, records, revision)
        return await super().created(
            call, records, revision, is_bulk=is_bulk, before=before, headers={**(headers or {}), **waited}
        )

    async def _wait(self, call: Call, trunks: Sequence[Trunk], revision: int) -> Mapping[str, str]:
        ids = [port_id for trunk in trunks for port_id in _port_ids(trunk)]
        return await waiting.fulfil(waiting.wish_of(call), self._convergence, ids, revision)

    @describes(
        gives(200, of=TrunkAnswer, headers=(waiting.WAITED,)),
        summary="Add sub-ports to a trunk",
        takes=(IF_MATCH, *waiting.TAKES),
        body=_MORE,
        refuses=(409, 412),
    )
    async def add(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT add_subports: as in Neutron, the answer is the trunk without its name around it."""
        more = _asked(call, whole=True)
        waiting.wish_of(call)
        revision, trunk = await self._trunks.add(call.caller, path["id"], more, expected=call.expected_revision)
        headers = await self._wait(call, [trunk], revision)
        return written((await self._shown(call, [trunk]))[0], 200, revision=revision, headers=headers)

    @describes(
        gives(200, of=TrunkAnswer),
        summary="Remove sub-ports from a trunk",
        takes=(IF_MATCH,),
        body=_GONE,
        refuses=(409, 412),
    )
    async def remove(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT remove_subports: only the ports need be named."""
        gone = [sub.port_id for sub in _asked(call, whole=False)]
        revision, trunk = await self._trunks.remove(
            call.caller, path["id"], gone, expected=call.expected_revision
        )
        return written((await self._shown(call, [trunk]))[0], 200, revision=revision)

    @describes(gives(200, of=SubPortsAnswer), summary="Show the sub-ports of a trunk")
    async def sub_ports(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the sub-ports alone."""
        trunk = await access.fetch_one(self._store, call.caller, Trunk, path["id"])
        return written(SubPortsAnswer(sub_port_answers(trunk)), 200)

    async def _shown(self, call: Call, trunks: Sequence[Trunk]) -> list[TrunkAnswer]:
        ids = [port_id for trunk in trunks for port_id in _port_ids(trunk)]
        found = await self._store.get(Port, ids) if ids else {}
        ports = list(found.values())
        states = dict(zip(found, await self._convergence.port_states(ports), strict=True))
        return [
            TrunkAnswer(
                **standard(trunk),  # type: ignore[arg-type]  # the common part, by name
                admin_state_up=trunk.admin_state_up,
                port_id=trunk.port_id,
                status=status_of([states[port_id] for port_id in _port_ids(trunk) if port_id in states]),
                sub_ports=sub_port_answers(trunk),
            )
            for trunk in trunks
        ]


def sub_port_answers(trunk: Trunk) -> list[SubPortAnswer]:
    """Give a trunk's sub-ports as they are shown."""
    return [SubPortAnswer(sub.port_id, sub.vlan) for sub in trunk.sub_ports]


def status_of(states: Sequence[PortState]) -> Status:
    """Say how far a trunk is from its ports' states, the parent's first.

    DOWN until the parent's workload is there, BUILD while its host has not all, DEGRADED when the host refused
    some of it, ACTIVE when all is in force.
    """
    if not states or not states[0].plugged:
        return "DOWN"
    if any(state.status == "ERROR" for state in states):
        return "DEGRADED"
    return "ACTIVE" if all(state.in_force for state in states) else "BUILD"


def _port_ids(trunk: Trunk) -> list[PortId]:
    return [trunk.port_id, *(sub.port_id for sub in trunk.sub_ports)]


def _asked(call: Call, *, whole: bool) -> tuple[SubPort, ...]:
    document = form.decoded(call.body)
    if "sub_ports" not in document:
        raise errors.Invalid("Unable to find 'sub_ports' in request body")
    form.check_known(document, ("sub_ports",))
    try:
        if whole:
            return _sub_ports(document["sub_ports"])
        return tuple(SubPort(0, PortId(entry["port_id"])) for entry in _entries(document["sub_ports"]))
    except ValueError as reason:
        raise errors.Invalid(f"Invalid input for operation: {reason}.", reason="InvalidInput") from None
