"""Any bytes from a workload give an answer or none, never an exception."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.data_plane import frames, icmp
from alcor.model.addressing import ip_from_text
from doubles.dhcp_client import DISCOVER, OWN, REQUEST, answer, client

GATEWAY_MAC = 0xFA163F000001


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_are_survived(data: bytes) -> None:
    answer(data)
    icmp.time_exceeded(data, gateway_ip=OWN, gateway_mac=GATEWAY_MAC)


@settings(max_examples=400)
@given(st.data())
def test_damaged_requests_are_survived(data: st.DataObject) -> None:
    frame = bytearray(client(data.draw(st.sampled_from([DISCOVER, REQUEST])), requested=OWN))
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(frame[: data.draw(st.integers(0, len(frame)))])
    answer(cut)
    icmp.time_exceeded(cut, gateway_ip=OWN, gateway_mac=GATEWAY_MAC)


def test_an_expired_packet_is_answered_with_its_own_beginning() -> None:
    sender, far = ip_from_text("10.0.0.10"), ip_from_text("10.0.1.10")
    frame = frames.udp_frame(
        eth_dst=GATEWAY_MAC,
        eth_src=1,
        source=sender,
        destination=far,
        source_port=33434,
        destination_port=33435,
        payload=b"trace",
    )
    reply = icmp.time_exceeded(frame, gateway_ip=ip_from_text("10.0.0.1"), gateway_mac=GATEWAY_MAC)
    assert reply is not None
    packet = frames.parse_ipv4(reply)
    assert packet is not None
    assert (packet.eth_dst, packet.eth_src) == (1, GATEWAY_MAC)
    assert (packet.source, packet.destination) == (ip_from_text("10.0.0.1"), sender)
    assert packet.payload[:2] == b"\x0b\x00"
    assert frames.checksum(packet.payload) == 0
    assert packet.payload[8:] == frame[14:]


def test_an_error_is_never_answered_with_an_error() -> None:
    frame = frames.ipv4_frame(
        eth_dst=GATEWAY_MAC,
        eth_src=1,
        source=OWN,
        destination=ip_from_text("10.0.1.10"),
        protocol=1,
        payload=b"\x0b\x00\x00\x00" + bytes(4),
    )
    assert icmp.time_exceeded(frame, gateway_ip=OWN, gateway_mac=GATEWAY_MAC) is None
