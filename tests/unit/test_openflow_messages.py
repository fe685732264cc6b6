"""Messages around the flows."""

import struct

from alcor.data_plane.ovs import messages
from alcor.data_plane.ovs.encoding import encode_match
from alcor.data_plane.ovs.messages import Kind
from alcor.data_plane.pipeline.flow import Field, Meter, Output, Term
from alcor.data_plane.pipeline.tables import Table
from doubles.topology import address


def test_a_bundle_wraps_each_body_under_its_number() -> None:
    chunk = b"".join(messages.bundle_chunks(7, 100, [b"\x01" * 8, b"\x02" * 8]))
    assert len(chunk) == 64
    assert chunk[:24].hex() == "05220020" "00000064" "00000007" "00000003" "050e0010" "00000064"  # fmt: skip
    assert chunk[32:40].hex() == "05220020" "00000065"  # fmt: skip


def test_a_large_bundle_comes_in_bounded_chunks() -> None:
    bodies = [bytes(1000)] * 1000
    chunks = list(messages.bundle_chunks(1, 1, bodies))
    assert sum(map(len, chunks)) == 1000 * 1024
    assert max(map(len, chunks)) < messages.CHUNK_BYTES + 1024


def test_flows_are_read_back_with_cookie_table_and_priority() -> None:
    match = bytes.fromhex("0001000400000000")
    entry = struct.pack("!HBxIIHHHHHxxQQQ", 56, 25, 1, 2, 90, 0, 0, 0, 0, 0xA1C0000000000005, 3, 4) + match
    part = struct.pack("!HHxxxx", 1, 1) + entry * 2
    assert messages.read_flows(part) == [messages.FlowOnSwitch(0xA1C0000000000005, 25, 90)] * 2
    assert messages.more_follow(part)


def test_the_leg_of_a_flow_into_a_router_is_read_back() -> None:
    mac, vni = 0x02BB0000012C, 300
    terms = (Term(Field.ETH_DST, mac), Term(Field.ETH_TYPE, 0x86DD), Term(Field.REG0, vni))
    of_ipv4 = (Term(Field.ETH_DST, mac), Term(Field.ETH_TYPE, 0x0800), Term(Field.REG0, vni))
    assert [read_back(Table.FORWARD, match).leg for match in (terms, of_ipv4, ())] == [(vni, mac), None, None]
    assert read_back(Table.LOCAL, terms).leg is None


def read_back(table: Table, terms: tuple[Term, ...]) -> messages.FlowOnSwitch:
    match = encode_match(terms)
    length = 48 + len(match)
    entry = struct.pack("!HBxIIHHHHHxxQQQ", length, table, 1, 2, 90, 0, 0, 0, 0, 5, 3, 4) + match
    (flow,) = messages.read_flows(struct.pack("!HHxxxx", 1, 0) + entry)
    return flow


def test_a_packet_comes_with_its_port_and_registers() -> None:
    terms = bytes.fromhex(
        "80000004" "00000009" "00010004" "00000064" "00010204" "00000007" "00010c04" "00000305"
    )  # fmt: skip
    body = struct.pack("!IHBBQHH", 0xFFFFFFFF, 4, 1, Table.HAND_OVER, 0xA1C0000000000001, 1, 4 + len(terms))
    packet = messages.read_packet_in(body + terms + bytes(4) + bytes(2) + b"data")
    assert packet.in_port == 9
    assert packet.table == 5, "the one that handed it over"
    assert packet.fields == {Field.IN_PORT: 9, Field.REG0: 100, Field.REG1: 7, Field.REG6: 0x305}
    assert packet.data == b"data"


def test_a_long_register_comes_in_parts_of_which_zeros_are_left_out() -> None:
    terms = bytes.fromhex("00011004" "20010db8" "00011604" "0000000b")  # fmt: skip
    body = struct.pack("!IHBBQHH", 0xFFFFFFFF, 4, 1, Table.NEIGHBOUR, 1, 1, 4 + len(terms))
    packet = messages.read_packet_in(body + terms + bytes(4) + bytes(2))
    assert packet.fields == {Field.XXREG2: address("2001:db8::b")}


def test_an_unknown_field_of_a_packet_is_passed_over() -> None:
    terms = bytes.fromhex("ffff0204" "00000009" "80000004" "00000003")  # fmt: skip
    body = struct.pack("!IHBBQHH", 0xFFFFFFFF, 0, 1, 5, 0, 1, 4 + len(terms))
    assert messages.read_packet_in(body + terms + bytes(4) + bytes(2)).in_port == 3


def test_a_packet_is_sent_from_nowhere() -> None:
    sent = messages.packet_out(3, (Output(9),), b"frame")
    assert sent[:8].hex() == "050d" f"{len(sent):04x}" "00000003"  # fmt: skip
    assert sent[8:24].hex() == "ffffffff" "fffffffd" "0010" "000000000000"  # fmt: skip
    assert sent.endswith(b"frame")


def test_an_error_is_said_in_words() -> None:
    assert messages.error_words(struct.pack("!HH", 5, 1)) == "the flow is not accepted: the table is full"
    assert "type 99, code 8" in messages.error_words(struct.pack("!HH", 99, 8))


def test_the_greeting_offers_one_version() -> None:
    assert messages.hello(1).hex() == "05000010" "00000001" "0001" "0008" "00000020"  # fmt: skip
    assert messages.message(Kind.BARRIER_REQUEST, 2).hex() == "0514000800000002"


def test_an_anti_spoofing_flow_names_the_key_of_its_port() -> None:
    match = bytes.fromhex("0001000c" "00010204" "00000007" "00000000")  # fmt: skip
    entry = struct.pack("!HBxIIHHHHHxxQQQ", 64, 5, 1, 2, 90, 0, 0, 0, 0, 0xA1C0000000000005, 3, 4) + match
    flows = messages.read_flows(struct.pack("!HHxxxx", 1, 0) + entry)
    assert [flow.port_key for flow in flows] == [7]


def test_a_zone_is_emptied_by_the_extension_of_open_vswitch() -> None:
    sent = messages.flush_zone(9, 0x1234)
    assert sent.hex() == "05040018" "00000009" "00002320" "0000001d" "000000000000" "1234"  # fmt: skip


def test_a_meter_drops_what_is_more_than_its_packets() -> None:
    sent = messages.change_meter(9, messages.MeterCommand.ADD, Meter(0x203, 20, 40))
    band = "0001" "0010" "00000014" "00000028" "00000000"  # fmt: skip
    assert sent.hex() == "051d0020" "00000009" "0000" "0006" "a1c00203" + band  # fmt: skip


def test_meters_of_ours_are_read_back() -> None:
    ours = struct.pack("!HHIHHIIxxxx", 24, 6, 0xA1C00203, 1, 16, 20, 40)
    others = struct.pack("!HHIHHIIxxxx", 24, 6, 0x203, 1, 16, 20, 40)
    bytewise = struct.pack("!HHIHHIIxxxx", 24, 5, 0xA1C00204, 1, 16, 20, 40)
    banded = struct.pack("!HHIHHIIxxxxHHIIxxxx", 40, 6, 0xA1C00205, 1, 16, 20, 40, 1, 16, 30, 40)
    part = struct.pack("!HHxxxx", 10, 0) + ours + others + bytewise + banded
    assert messages.read_meters(part) == [Meter(0x203, 20, 40), Meter(0x204, 0, 0), Meter(0x205, 0, 0)]
