"""Connection tracking by zone, as far as the pipeline can tell: states and marks."""

from dataclasses import dataclass
from typing import TypeAlias

from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import CtState, Field
from alcor.data_plane.simulated.packet import Packet

# Ethertype, protocol, source, destination, source port, destination port.
_Tuple: TypeAlias = tuple[int, int, int, int, int, int]

_IPV6 = matching.IPV6
_ANSWERS = 0x10000  # tells the two ends of an echo apart, as ports do elsewhere


@dataclass
class _Connection:
    original: _Tuple
    mark: int
    has_reply: bool = False


class Conntrack:
    """Owns the connections of one switch. Entries do not age."""

    def __init__(self) -> None:
        self._connections: dict[tuple[int, _Tuple], _Connection] = {}

    @property
    def is_empty(self) -> bool:
        """Is no connection known?"""
        return not self._connections

    def look_up(self, zone: int, packet: Packet, values: dict[Field, int]) -> tuple[int, int]:
        """Give CT_STATE and CT_MARK of a packet, and note that a reply was seen."""
        if packet.quoted is not None:
            about = self._find(zone, _tuple_of(dict(packet.quoted.fields), packet.quoted))
            if about is None:
                return CtState.TRK | CtState.INV, 0
            return CtState.TRK | CtState.REL, about.mark
        if not _is_trackable(values):
            return CtState.TRK | CtState.INV, 0
        named = _tuple_of(values, packet)
        found = self._find(zone, named)
        if found is None:
            return CtState.TRK | (CtState.NEW if packet.is_opening else CtState.INV), 0
        if found.original != named:
            found.has_reply = True
            return CtState.TRK | CtState.EST | CtState.RPL, found.mark
        return CtState.TRK | (CtState.EST if found.has_reply else CtState.NEW), found.mark

    def commit(self, zone: int, packet: Packet, values: dict[Field, int], mark: int) -> None:
        """Remember the packet's connection, or mark the one that is remembered."""
        named = _tuple_of(values, packet)
        found = self._find(zone, named)
        if found is None:
            self._connections[zone, named] = _Connection(named, mark)
        else:
            found.mark = mark

    def forget(self, zone: int) -> None:
        """Drop all connections of a zone."""
        for key in [key for key in self._connections if key[0] == zone]:
            del self._connections[key]

    def _find(self, zone: int, named: _Tuple) -> _Connection | None:
        ethertype, protocol, source, destination, source_port, destination_port = named
        reverse = (ethertype, protocol, destination, source, destination_port, source_port)
        return self._connections.get((zone, named)) or self._connections.get((zone, reverse))


def _is_trackable(values: dict[Field, int]) -> bool:
    """Has Open vSwitch a state for it? Of ICMPv6 only for echoes, and for errors about what it knows."""
    return values.get(Field.ICMPV6_TYPE, _IPV6.echo_request) in (_IPV6.echo_request, _IPV6.echo_reply)


def _tuple_of(values: dict[Field, int], packet: Packet) -> _Tuple:
    protocol = values.get(Field.IP_PROTO, 0)
    version = matching.IPV4 if Field.IP_SRC in values else _IPV6
    ports = (0, 0)
    if protocol == matching.TCP:
        ports = (values[Field.TCP_SRC], values[Field.TCP_DST])
    elif protocol == matching.UDP:
        ports = (values[Field.UDP_SRC], values[Field.UDP_DST])
    elif protocol == version.icmp:
        ports = (packet.identifier, packet.identifier | _ANSWERS)
        if values[version.icmp_type] == version.echo_reply:
            ports = (ports[1], ports[0])
    ends = (values.get(version.source, 0), values.get(version.destination, 0))
    return (version.ethertype, protocol, *ends, *ports)
