"""ICMPv6 time exceeded, and whom nobody tells (RFC 4443, section 2.4)."""

import pytest

from alcor.data_plane import frames, icmp6
from alcor.model.addressing import ip_from_text
from doubles.expired_packet import GATEWAY, GATEWAY_MAC, MAC, SENDER, expired


def reply(frame: bytes) -> bytes | None:
    packet = frames.parse_ipv6(frame)
    assert packet is not None
    return icmp6.time_exceeded(packet, gateway_ip=GATEWAY, gateway_mac=GATEWAY_MAC)


def test_an_expired_packet_is_answered_with_its_own_beginning() -> None:
    frame = expired()
    answer = reply(frame)
    assert answer is not None
    packet = frames.parse_ipv6(answer)
    assert packet is not None
    assert (packet.eth_dst, packet.eth_src, packet.source, packet.destination) == (
        MAC,
        GATEWAY_MAC,
        GATEWAY,
        SENDER,
    )
    assert packet.payload[:2] == b"\x03\x00"
    assert packet.payload[8:] == frame[14:]
    assert frames.ipv6_checksum(GATEWAY, SENDER, 58, packet.payload) == 0


def test_an_answer_fits_the_smallest_mtu() -> None:
    answer = reply(expired(payload=bytes(1400)))
    assert answer is not None
    assert len(answer) == 14 + 1280


def header(protocol: int, *, length: int = 0) -> bytes:
    return bytes([protocol, length]) + bytes(6 + 8 * length)


def fragment(protocol: int, offset: int) -> bytes:
    return bytes([protocol, 0]) + (offset << 3 | 1).to_bytes(2, "big") + bytes(4)


ECHO, UNREACHABLE, TOO_BIG, REDIRECT = (bytes([kind]) + bytes(7) for kind in (128, 1, 2, 137))


@pytest.mark.parametrize(
    ("why", "frame", "is_answered"),
    [
        ("a ping", expired(58, ECHO), True),
        ("an error", expired(58, UNREACHABLE), False),
        ("an error", expired(58, TOO_BIG), False),
        ("a redirect", expired(58, REDIRECT), False),
        ("no message at all", expired(58, b""), False),
        ("a ping behind other headers", expired(0, header(60) + header(58, length=1) + ECHO), True),
        ("an error behind other headers", expired(0, header(43) + header(58) + UNREACHABLE), False),
        ("the first fragment", expired(44, fragment(17, 0) + bytes(8)), True),
        ("a later fragment", expired(44, fragment(17, 9) + bytes(8)), False),
        ("a header that is cut", expired(0, b"\x3a\x00"), False),
        ("headers without end", expired(60, header(60) * 20), False),
        ("from nobody", expired(source=bytes(16)), False),
        ("from itself", expired(source=ip_from_text("::1")), False),
        ("from many", expired(source=ip_from_text("ff02::1")), False),
        ("to many", expired(destination=ip_from_text("ff02::1")), False),
        ("to many stations", expired(eth_dst=0x333300000001), False),
        ("an unknown protocol", expired(253, b""), True),
    ],
)
def test_only_what_may_be_answered_is(why: str, frame: bytes, is_answered: bool) -> None:
    assert (reply(frame) is not None) is is_answered, why


@pytest.mark.parametrize(
    "frame", [b"", bytes(60), expired()[:60], expired()[:12] + b"\x08\x00" + expired()[14:], expired()[:53]]
)
def test_what_is_no_whole_ipv6_packet_is_not_read(frame: bytes) -> None:
    assert frames.parse_ipv6(frame) is None


def test_padding_is_cut_off() -> None:
    packet = frames.parse_ipv6(expired(payload=b"12345678") + bytes(20))
    assert packet is not None
    assert packet.payload == b"12345678"
