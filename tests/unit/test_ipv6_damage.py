"""Any bytes from a workload give an answer in IPv6 or none, never an exception."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.data_plane import advertisements, frames, icmp6
from doubles.advertised import solicitation
from doubles.dhcpv6_client import CONFIRM, RENEW, REQUEST, SOLICIT, asked, association, message
from doubles.dhcpv6_server import OWN, SERVER, reply
from doubles.expired_packet import expired

FRAMES = (
    message(SOLICIT, association(), asked(23, 24)),
    message(REQUEST, association(OWN), server=SERVER),
    message(RENEW, association(OWN), association(number=2), server=SERVER),
    message(CONFIRM, association(OWN)),
    solicitation(options=b"\x01\x01" + bytes(6)),
    expired(),
)


def answer(data: bytes) -> None:
    reply(data)
    packet = frames.parse_ipv6(data)
    if packet is not None:
        advertisements.is_solicitation(packet)
        icmp6.time_exceeded(packet, gateway_ip=OWN, gateway_mac=1)


@settings(max_examples=300)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_survived(data: bytes, is_ipv6: bool) -> None:
    answer(data[:12] + b"\x86\xdd\x60" + data[12:] if is_ipv6 else data)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_messages_are_survived(data: bytes) -> None:
    answer(message(data[0] if data else 0, data[1:]))


@settings(max_examples=600)
@given(st.data())
def test_damaged_packets_are_survived(data: st.DataObject) -> None:
    frame = bytearray(data.draw(st.sampled_from(FRAMES)))
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    answer(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
