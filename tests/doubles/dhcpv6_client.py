"""What a DHCPv6 client sends, and how it reads what comes back: for tests, apart from the code that answers."""

import struct
from typing import NamedTuple

from alcor.data_plane import frames
from alcor.model.addressing import ip_from_text, link_local_ip

SOLICIT, ADVERTISE, REQUEST, CONFIRM, RENEW, REBIND, REPLY, RELEASE, DECLINE, RECONFIGURE, INFORMATION = range(
    1, 12
)
CLIENT_ID, SERVER_ID, IA_NA, IA_TA, IA_ADDRESS, ASKED, PREFERENCE, STATUS, RAPID, DNS, SEARCH, IA_PD = (
    *(1, 2, 3, 4, 5, 6, 7, 13, 14, 23, 24, 25),
)
MAC = 0xFA163E000001
DUID = b"\x00\x03\x00\x01" + MAC.to_bytes(6, "big")
TRANSACTION = b"\xab\xcd\xef"


class Address(NamedTuple):
    """One address in an answer."""

    ip: bytes
    preferred_s: int
    valid_s: int


class Association(NamedTuple):
    """What is said of one association. `status` None: all is well."""

    kind: int
    addresses: list[Address]
    status: int | None
    renew_s: int


class Answer(NamedTuple):
    """What came back."""

    type: int
    options: dict[int, bytes]
    associations: dict[bytes, Association]
    packet: frames.Ipv6Frame


def option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


def association(*ips: bytes, number: int = 1, kind: int = IA_NA) -> bytes:
    """Ask for one set of addresses, naming some."""
    named = b"".join(option(IA_ADDRESS, ip + struct.pack("!II", 0, 0)) for ip in ips)
    return option(kind, number.to_bytes(4, "big") + (b"" if kind == IA_TA else bytes(8)) + named)


def asked(*codes: int) -> bytes:
    return option(ASKED, struct.pack(f"!{len(codes)}H", *codes))


def message(
    kind: int,
    *parts: bytes,
    client: bytes | None = DUID,
    server: bytes | None = None,
    mac: int = MAC,
    source: bytes | None = None,
    destination: str = "ff02::1:2",
) -> bytes:
    """Make the frame of a client."""
    head = bytes([kind]) + TRANSACTION
    ids = b"" if client is None else option(CLIENT_ID, client)
    ids += b"" if server is None else option(SERVER_ID, server)
    return frames.udp6_frame(
        eth_dst=0x333300010002,
        eth_src=mac,
        source=link_local_ip(mac) if source is None else source,
        destination=ip_from_text(destination),
        source_port=546,
        destination_port=547,
        payload=head + ids + b"".join(parts),
    )


def read(frame: bytes | None) -> Answer:
    """Read an answer; it must be whole, and right in all its sums."""
    assert frame is not None
    packet = frames.parse_ipv6(frame)
    assert packet is not None
    assert frames.ipv6_checksum(packet.source, packet.destination, 17, packet.payload) == 0
    assert packet.payload[:4] == struct.pack("!HH", 547, 546)
    assert int.from_bytes(packet.payload[4:6], "big") == len(packet.payload)
    said = packet.payload[8:]
    assert said[1:4] == TRANSACTION
    options: dict[int, bytes] = {}
    associations: dict[bytes, Association] = {}
    for code, value in _options(said[4:]):
        if code in (IA_NA, IA_TA, IA_PD):
            associations[value[:4]] = _association(code, value)
        else:
            assert code not in options
            options[code] = value
    return Answer(said[0], options, associations, packet)


def _association(kind: int, value: bytes) -> Association:
    inner = _options(value[4 if kind == IA_TA else 12 :])
    addresses = [
        Address(each[:16], *struct.unpack("!II", each[16:24])) for code, each in inner if code == IA_ADDRESS
    ]
    statuses = [int.from_bytes(each[:2], "big") for code, each in inner if code == STATUS]
    assert len(statuses) <= 1
    renew_s = 0 if kind == IA_TA else int.from_bytes(value[4:8], "big")
    return Association(kind, addresses, statuses[0] if statuses else None, renew_s)


def _options(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        code, length = struct.unpack_from("!HH", data, at)
        value = data[at + 4 : at + 4 + length]
        assert len(value) == length
        found.append((code, value))
        at += 4 + length
    return found
