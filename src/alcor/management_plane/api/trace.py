"""`POST /v2.0/trace`: follow one packet through the rules that the hosts hold."""

from collections.abc import Mapping
from typing import Annotated

import msgspec
from starlette.responses import Response

from alcor.contracts.convergence import Tracer, TraceResult
from alcor.contracts.store import Store
from alcor.management_plane import access
from alcor.management_plane.api import form, gate, policy, validation
from alcor.management_plane.api.accepts import object_of
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.collection import written
from alcor.management_plane.api.described import describes, gives
from alcor.model.records import Port


class TraceFields(msgspec.Struct, frozen=True, kw_only=True):
    """The packet to send. The address says its IP version; `icmp_type` None: that of a ping."""

    port_id: str
    to_ip: str
    protocol: str = "icmp"
    dst_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    icmp_type: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None


_PACKET = object_of(
    {
        "port_id": validation.UUID,
        "to_ip": validation.IP,
        "protocol": {"enum": ["icmp", "tcp", "udp", "sctp"], "default": "icmp"},
        "dst_port": {"type": "integer", "minimum": 0, "maximum": 65535},
        "icmp_type": {"type": ["integer", "null"], "minimum": 0, "maximum": 255},
    },
    "port_id",
    "to_ip",
)


class TraceCollection:
    """Serves traces from the caller's own ports."""

    def __init__(self, store: Store, tracer: Tracer) -> None:
        self._store = store
        self._tracer = tracer

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the route."""
        return [entrance.route("/v2.0/trace", policy=policy.TENANT, post=self.trace)]

    @describes(
        gives(200, "trace", of=TraceResult),
        summary="Follow a packet through the rules",
        body=object_of({"trace": _PACKET}, "trace"),
        refuses=(404,),
    )
    async def trace(self, call: Call, path: Mapping[str, str]) -> Response:
        """POST a packet."""
        item = form.member(form.decoded(call.body), "trace")
        form.check_known(item, TraceFields.__struct_fields__)
        try:
            fields = msgspec.convert(item, TraceFields)
            to_ip = validation.ip(fields.to_ip)
            validation.choice("icmp", "tcp", "udp", "sctp")(fields.protocol)
        except (msgspec.ValidationError, ValueError) as reason:
            raise form.invalid_input("trace", reason) from None
        port = await access.fetch_own(self._store, call.caller, Port, fields.port_id, "create_trace")
        result = await self._tracer.trace(
            port_id=port.id,
            to_ip=to_ip,
            protocol=fields.protocol,
            dst_port=fields.dst_port,
            icmp_type=fields.icmp_type,
        )
        if not await self._may_see(call, result.far_end):
            result = _without_far_end(result)
        return written({"trace": result}, 200)

    async def _may_see(self, call: Call, port_id: str | None) -> bool:
        if port_id is None or call.caller.is_admin:
            return True
        found = await self._store.get(Port, [port_id])
        return port_id in found and call.caller.sees(found[port_id])


def _without_far_end(result: TraceResult) -> TraceResult:
    """Tell of a packet to another project's port, on a network that both use, no more than the packet would."""
    end = "delivered to" if result.delivered else "refused by the security groups of"
    return TraceResult(result.delivered, None, f"{end} a port of another project", (), result.packet)
