"""Hosts on the wire: as they are, as Neutron's agents, and their availability zones. For administrators."""

import functools
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from alcor.contracts.convergence import Convergence, HostStatus, RescueStatus
from alcor.management_plane.api import (
    described_resource,
    form,
    gate,
    listing,
    moments,
    policy,
    validation,
)
from alcor.management_plane.api.attribute import IGNORED, Attribute, Resource
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import JSON, bare, written
from alcor.management_plane.api.described import described_as, describes, gives
from alcor.management_plane.host.service import HostService
from alcor.model import errors
from alcor.model.addressing import ip_to_text
from alcor.model.ids import HostId
from alcor.model.records import Host

# Neutron's agents are named by UUID, hosts by name: one follows from the other.
_AGENT_NAMESPACE = uuid.UUID("0d4f4b0c-93a4-5c56-8f39-0b0a5b3f0f6d")
AGENT_TYPE = "Alcor host agent"


class NoFields(msgspec.Struct, frozen=True):
    """Nothing of these can be said by clients."""


class AgentFields(msgspec.Struct, frozen=True):
    """What may be said of an agent. UNSET: not said."""

    description: str | UnsetType = UNSET


def _readable(singular: str, *names: str) -> Resource[NoFields]:
    attributes = tuple(Attribute(name=name, filterable=True, sortable=True) for name in names)
    return Resource(singular=singular, plural=f"{singular}s", kind=Host, fields=NoFields, attributes=attributes)


HOSTS = _readable(
    "host", "id", "alive", "zone", "data_plane", "agent_version", "vtep", "ports", "ports_in_force", "reason"
)
AGENTS = Resource(
    singular="agent",
    plural="agents",
    kind=Host,
    fields=AgentFields,
    attributes=(
        *(
            Attribute(name=name, filterable=True, sortable=True)
            for name in ("id", "agent_type", "binary", "topic", "host", "alive", "availability_zone")
        ),
        Attribute(
            name="description", parse=validation.text_or_none(), put=True, filterable=True, sortable=True
        ),
        Attribute(
            name="admin_state_up",
            field=IGNORED,
            parse=validation.only(True, "agents cannot be switched off."),
            put=True,
            filterable=True,
            sortable=True,
        ),
    ),
)
ZONES = _readable("availability_zone", "name", "resource", "state")


class HostAnswer(msgspec.Struct):
    """A host as the controller sees it."""

    id: str
    alive: bool
    zone: str
    data_plane: str
    vtep: str
    configurations: msgspec.Raw
    agent_version: str  # of the agent that is heard; empty: none is
    started_at: str | None
    last_heard_at: str | None
    ports: int
    ports_in_force: int
    ports_plugged: int
    sections: int
    sections_pending: int
    reason: str
    rescue: "RescueAnswer | None"
    path: str  # by which changes go to it now, and why
    path_reason: str
    paths: dict[str, str]  # how each path to it is


class RescueAnswer(msgspec.Struct):
    """Who writes to a host's data plane while its own agent is dead, since when, and why."""

    by: str
    since: str
    why: str


class AgentAnswer(msgspec.Struct):
    """A host's agent as Neutron shows agents."""

    id: str
    agent_type: str
    binary: str
    topic: str
    host: str
    admin_state_up: bool
    alive: bool
    availability_zone: str
    configurations: msgspec.Raw
    created_at: str
    started_at: str | None
    heartbeat_timestamp: str | None
    description: str


class ZoneAnswer(msgspec.Struct):
    """An availability zone."""

    id: str
    name: str
    resource: str
    state: str


class HostCollection:
    """Serves hosts, agents and zones."""

    def __init__(self, convergence: Convergence, service: HostService) -> None:
        self._convergence = convergence
        self._service = service

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the routes."""
        return [
            entrance.route("/v2.0/hosts", policy=policy.OPERATOR, get=self.list_hosts),
            entrance.route("/v2.0/hosts/{id}", policy=policy.OPERATOR, get=self.show_host),
            entrance.route("/v2.0/agents", policy=policy.TENANT, get=self.list_agents),
            entrance.route(
                "/v2.0/agents/{id}",
                policy=policy.TENANT,
                get=self.show_agent,
                put=self.update_agent,
                delete=self.delete_agent,
            ),
            entrance.route("/v2.0/availability_zones", policy=policy.TENANT, get=self.list_zones),
        ]

    @described_as(described_resource.listing(HOSTS, HostAnswer))
    async def list_hosts(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the hosts."""
        return _listed(HOSTS, call, [_host(status) for status in await self._convergence.hosts()])

    @described_as(described_resource.showing(HOSTS, HostAnswer))
    async def show_host(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET one host by name."""
        status = await self._convergence.host(HostId(path["id"]))
        if status is not None:
            return written({"host": listing.shown(call, _host(status))}, 200)
        raise errors.Missing(f"Host {path['id']} could not be found.", reason="HostNotFound")

    @described_as(described_resource.listing(AGENTS, AgentAnswer))
    async def list_agents(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the agents; as in Neutron, other callers see none."""
        hosts = await self._convergence.hosts() if call.caller.is_admin else []
        return _listed(AGENTS, call, [_agent(status) for status in hosts])

    @described_as(described_resource.showing(AGENTS, AgentAnswer))
    async def show_agent(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET one agent."""
        status = await self._status(call, path["id"])
        return written({"agent": listing.shown(call, _agent(status))}, 200)

    @describes(
        gives(200, "agent", of=AgentAnswer),
        summary="Describe an agent",
        body=described_resource.update_body(AGENTS),
    )
    async def update_agent(self, call: Call, path: Mapping[str, str]) -> Response:
        """PUT a description: agents cannot be switched off."""
        status = await self._status(call, path["id"])
        fields = form.updated(AGENTS, call.body, call.caller)
        if isinstance(fields.description, UnsetType):
            return written({"agent": _agent(status)}, 200)
        revision, host = await self._service.describe(call.caller, status.record.id, fields.description)
        changed = msgspec.structs.replace(status, record=host)
        return written({"agent": _agent(changed)}, 200, revision=revision)

    @describes(gives(204, about="It is forgotten."), summary="Forget an agent that is gone", refuses=(409,))
    async def delete_agent(self, call: Call, path: Mapping[str, str]) -> Response:
        """DELETE an agent that does not come back, and its host with it."""
        status = await self._status(call, path["id"])
        if status.alive:
            raise errors.Conflict(
                f"Agent {path['id']} is alive: it would introduce its host again.", reason="AgentIsAlive"
            )
        revision = await self._service.forget(call.caller, status.record.id)
        return bare(204, revision=revision)

    @described_as(described_resource.listing(ZONES, ZoneAnswer))
    async def list_zones(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET the availability zones that hosts are in: each for networks and for routers, as in Neutron."""
        records = await self._convergence.host_records()
        live = set(await self._convergence.live_hosts())
        alive_in: dict[str, bool] = {}
        for record in records:
            if record.zone:
                alive_in[record.zone] = alive_in.get(record.zone, False) or record.id in live
        answers: list[msgspec.Struct] = [
            ZoneAnswer(f"{zone}:{resource}", zone, resource, "available" if is_alive else "unavailable")
            for zone, is_alive in sorted(alive_in.items())
            for resource in ("network", "router")
        ]
        return _listed(ZONES, call, answers)

    async def _status(self, call: Call, id_: str) -> HostStatus:
        """Give an agent's host. Raises Missing, for who is no administrator always. O(hosts)."""
        if call.caller.is_admin:
            for record in await self._convergence.host_records():
                if agent_id(record.id) == id_:
                    status = await self._convergence.host(record.id)
                    if status is not None:
                        return status
        raise errors.Missing(f"Agent {id_} could not be found", reason="AgentNotFound")


@functools.lru_cache(maxsize=10_000)
def agent_id(host: str) -> str:
    """Name a host's agent."""
    return str(uuid.uuid5(_AGENT_NAMESPACE, host))


def _listed(resource: Resource[Any], call: Call, answers: list[msgspec.Struct]) -> Response:
    return Response(listing.encoded(resource, listing.listed_from(resource, call, answers)), media_type=JSON)


def _host(status: HostStatus) -> msgspec.Struct:
    record = status.record
    return HostAnswer(
        id=record.id,
        alive=status.alive,
        zone=record.zone,
        data_plane=record.data_plane,
        vtep=ip_to_text(record.vtep),
        configurations=_configurations(record),
        agent_version=status.agent_version,
        started_at=_moment(status.started_at),
        last_heard_at=_moment(status.last_heard_at),
        ports=status.ports,
        ports_in_force=status.ports_in_force,
        ports_plugged=status.ports_plugged,
        sections=status.sections,
        sections_pending=status.sections_pending,
        reason=status.reason,
        rescue=_rescue(status.rescue),
        path=status.path,
        path_reason=status.path_reason,
        paths=status.paths,
    )


def _rescue(rescue: RescueStatus | None) -> RescueAnswer | None:
    return None if rescue is None else RescueAnswer(rescue.by, moments.text(rescue.since), rescue.why)


def _agent(status: HostStatus) -> msgspec.Struct:
    record = status.record
    return AgentAnswer(
        id=agent_id(record.id),
        agent_type=AGENT_TYPE,
        binary="alcor-agent",
        topic="N/A",
        host=record.id,
        admin_state_up=True,
        alive=status.alive and status.rescue is None,
        availability_zone=record.zone,
        configurations=_configurations(record),
        created_at=moments.text(record.created_at),
        started_at=_moment(status.started_at),
        heartbeat_timestamp=_moment(status.last_heard_at),
        description=record.description,
    )


def _configurations(record: Host) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(msgspec.msgpack.decode(record.configurations)))


def _moment(at_us: int | None) -> str | None:
    return None if at_us is None else moments.text(at_us)
