"""A packet as the interpreter sees it: fields by name, and the little that OpenFlow cannot match on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import Field
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
        Field.CT_STATE,
        Field.CT_MARK,
        Field.CONJ_ID,
    }
)


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
    fields = {
        Field.ETH_SRC: eth_src,
        Field.ETH_DST: eth_dst,
        Field.ETH_TYPE: matching.ETHERTYPE_IPV4,
        Field.IP_PROTO: protocol,
        Field.IP_SRC: ip_src,
        Field.IP_DST: ip_dst,
        Field.IP_TTL: 64,
        Field.IP_FRAG: 0,
    }
    fields.update({Field[name.upper()]: value for name, value in more.items()})
    return Packet(fields)


def _text(name: Field, value: int) -> str | int:
    if name in (Field.ETH_SRC, Field.ETH_DST, Field.ARP_SHA, Field.ARP_THA):
        return mac_to_text(value)
    if name in (Field.IP_SRC, Field.IP_DST, Field.ARP_SPA, Field.ARP_TPA):
        return ip_to_text(value.to_bytes(4, "big"))
    return value
