"""A packet as the interpreter sees it: fields by name, and the little that OpenFlow cannot match on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.matching import IpVersion
from alcor.model.addressing import BROADCAST_MAC, ip_to_text, mac_to_text

# What is beside the packet and does not leave the switch with it.
METADATA = frozenset(
    {
        Field.IN_PORT,
        Field.TUN_ID,
        Field.TUN_DST,
        Field.REG0,
        Field.REG1,
        Field.REG2,
        Field.REG3,
        Field.REG4,
        Field.REG5,
        Field.REG6,
        Field.REG7,
        Field.XXREG2,
        Field.CT_STATE,
        Field.CT_MARK,
        Field.CONJ_ID,
    }
)
_MAC_FIELDS = frozenset(
    {Field.ETH_SRC, Field.ETH_DST, Field.ARP_SHA, Field.ARP_THA, Field.ND_SLL, Field.ND_TLL}
)
_IPV4_FIELDS = frozenset({Field.IP_SRC, Field.IP_DST, Field.ARP_SPA, Field.ARP_TPA, Field.TUN_DST, Field.REG5})
_IPV6_FIELDS = frozenset({Field.IPV6_SRC, Field.IPV6_DST, Field.ND_TARGET, Field.XXREG2})
_ALL_NODES = int.from_bytes(b"\xff\x02" + bytes(13) + b"\x01", "big")
_SOLICITED_NODES = int.from_bytes(b"\xff\x02" + bytes(9) + b"\x01\xff\x00\x00\x00", "big")


@dataclass(frozen=True)
class Packet:
    """A packet on the wire. `is_opening`: may start a connection; `quoted`: what an ICMP error is about."""

    fields: Mapping[Field, int]
    is_opening: bool = True
    quoted: "Packet | None" = None
    frame: bytes = b""  # the bytes, where an agent has to read them
    identifier: int = 0  # of an ICMP echo

    def get(self, name: Field) -> int | None:
        return self.fields.get(name)

    def describe(self) -> dict[str, str | int]:
        """Write the packet for people."""
        return {name.name.lower(): _text(name, value) for name, value in sorted(self.fields.items())}


@dataclass
class Working:
    """A packet on its way through one switch, with its registers. Owner: the switch that runs it."""

    packet: Packet
    values: dict[Field, int] = field(default_factory=dict)

    @classmethod
    def enter(cls, packet: Packet, in_port: int) -> "Working":
        values = dict.fromkeys(METADATA, 0)
        values.update(packet.fields)
        values[Field.IN_PORT] = in_port
        return cls(packet, values)

    def leave(self) -> Packet:
        """Give the packet as it leaves: rewritten, without registers."""
        fields = {name: value for name, value in self.values.items() if name not in METADATA}
        return Packet(
            fields, self.packet.is_opening, self.packet.quoted, self.packet.frame, self.packet.identifier
        )


def arp_request(mac: int, own_ip: int, asked_ip: int) -> Packet:
    """Ask who has an address. `own_ip` 0 makes it a probe (RFC 5227)."""
    return Packet(
        {
            Field.ETH_SRC: mac,
            Field.ETH_DST: BROADCAST_MAC,
            Field.ETH_TYPE: matching.ETHERTYPE_ARP,
            Field.ARP_OP: matching.ARP_REQUEST,
            Field.ARP_SPA: own_ip,
            Field.ARP_TPA: asked_ip,
            Field.ARP_SHA: mac,
            Field.ARP_THA: 0,
        }
    )


def ipv4(eth_src: int, eth_dst: int, ip_src: int, ip_dst: int, protocol: int, **more: int) -> Packet:
    """Make an IPv4 packet; `more` names further fields in lower case, such as `tcp_dst`."""
    return ip(matching.IPV4, (eth_src, eth_dst), (ip_src, ip_dst), protocol, **more)


def ip(version: IpVersion, macs: tuple[int, int], ends: tuple[int, int], protocol: int, **more: int) -> Packet:
    """Make an IP packet. `macs`, `ends`: source and destination. `more`: as for `ipv4`."""
    fields = {
        Field.ETH_SRC: macs[0],
        Field.ETH_DST: macs[1],
        Field.ETH_TYPE: version.ethertype,
        Field.IP_PROTO: protocol,
        version.source: ends[0],
        version.destination: ends[1],
        Field.IP_TTL: 64,
        Field.IP_FRAG: 0,
    }
    fields.update({Field[name.upper()]: value for name, value in more.items()})
    return Packet(fields, is_opening=fields.get(version.icmp_type) != version.echo_reply)


def neighbour_solicitation(mac: int, own_ip: int, asked_ip: int) -> Packet:
    """Ask who has an IPv6 address. `own_ip` 0: is it a duplicate? (RFC 4861, 4.3; RFC 4862, 5.4.2)"""
    group = asked_ip & 0xFFFFFF
    return ip(
        matching.IPV6,
        (mac, 0x3333FF000000 | group),
        (own_ip, _SOLICITED_NODES | group),
        matching.ICMPV6,
        ip_ttl=matching.ND_HOP_LIMIT,
        icmpv6_type=matching.NEIGHBOUR_SOLICITATION,
        icmpv6_code=0,
        nd_target=asked_ip,
        nd_reserved=0,
        nd_options_type=1 if own_ip else 0,
        nd_sll=mac if own_ip else 0,
    )


def neighbour_advertisement(mac: int, own_ip: int, target: int) -> Packet:
    """Tell all nodes, unasked, under which MAC address an IPv6 address is reached (RFC 4861, 7.2.6)."""
    return ip(
        matching.IPV6,
        (mac, 0x333300000001),
        (own_ip, _ALL_NODES),
        matching.ICMPV6,
        ip_ttl=matching.ND_HOP_LIMIT,
        icmpv6_type=matching.NEIGHBOUR_ADVERTISEMENT,
        icmpv6_code=0,
        nd_target=target,
        nd_reserved=0x20000000,
        nd_options_type=2,
        nd_tll=mac,
    )


def said_by_neighbour(packet: Packet) -> tuple[int, bytes] | None:
    """Give the addresses that a packet's sender says are its own, as `frames.said_by_neighbour`."""
    fields = packet.fields
    if Field.ARP_SPA in fields:
        return fields[Field.ARP_SHA], fields[Field.ARP_SPA].to_bytes(4, "big")
    said = {
        matching.NEIGHBOUR_SOLICITATION: fields.get(Field.IPV6_SRC),
        matching.NEIGHBOUR_ADVERTISEMENT: fields.get(Field.ND_TARGET),
    }.get(fields.get(Field.ICMPV6_TYPE, 0))
    return None if said is None else (fields[Field.ETH_SRC], said.to_bytes(16, "big"))


def _text(name: Field, value: int) -> str | int:
    return field_text(name, value) or value


def field_text(name: Field, value: int) -> str | None:
    """Write the value of a field with an address as people do; None of other fields."""
    if name in _MAC_FIELDS:
        return mac_to_text(value)
    if name in _IPV4_FIELDS:
        return ip_to_text(value.to_bytes(4, "big"))
    return ip_to_text(value.to_bytes(16, "big")) if name in _IPV6_FIELDS else None
