"""What an agent reads of a packet that was handed over: who is asked for, and who somebody says to be."""

import pytest

from alcor.data_plane import frames
from alcor.data_plane.asking import asked_address
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.tables import Table
from alcor.data_plane.pipeline.unknown import ASKING
from alcor.model.addressing import ip_from_text

MAC = 0x02AA00000001
ONE, OTHER, HOP = (ip_from_text(f"2001:db8::{last}") for last in ("a", "b", "c"))
FOUR = ip_from_text("10.0.0.5")


def discovery(kind: int, *, source: bytes = ONE, target: bytes = OTHER) -> bytes:
    head = b"\x60\0\0\0\0\x20\x3a\xff" + source + ip_from_text("ff02::1")
    body = bytes([kind]) + bytes(7) + target + b"\x02\x01" + MAC.to_bytes(6, "big")
    return bytes(6) + MAC.to_bytes(6, "big") + b"\x86\xdd" + head + body


def tcp6() -> bytes:
    return bytes(12) + b"\x86\xdd\x60\0\0\0\0\0\x06\x40" + ONE + OTHER


def test_a_solicitation_asks_for_its_target_and_says_who_its_sender_is() -> None:
    assert frames.asked_address(discovery(135)) == OTHER
    assert frames.said_by_neighbour(discovery(135)) == (MAC, ONE)


def test_an_advertisement_says_who_its_target_is() -> None:
    assert frames.said_by_neighbour(discovery(136)) == (MAC, OTHER)


@pytest.mark.parametrize("kind", [128, 133, 134, 137])
def test_other_messages_say_nothing_of_their_sender(kind: int) -> None:
    assert frames.said_by_neighbour(discovery(kind)) is None


def test_a_packet_is_for_its_destination_and_from_its_source() -> None:
    assert frames.asked_address(tcp6()) == OTHER
    assert frames.asked_address(tcp6(), of_source=True) == ONE
    assert frames.asked_address(discovery(135), of_source=True) == ONE


def test_what_is_cut_off_is_read_as_nothing() -> None:
    for whole in (discovery(135), discovery(136), frames.arp_frame(mac=MAC, sender=FOUR, target=FOUR)):
        for length in range(len(whole)):
            said = frames.said_by_neighbour(whole[:length])
            assert said is None or said == frames.said_by_neighbour(whole)


def test_the_next_hop_is_in_the_register_of_the_packets_version() -> None:
    way = ASKING[Table.NEIGHBOUR]
    fields = {Field.REG5: int.from_bytes(FOUR, "big"), Field.XXREG2: int.from_bytes(HOP, "big")}
    assert asked_address(way, fields, tcp6()) == HOP
    arp = frames.arp_frame(mac=MAC, sender=FOUR, target=FOUR)
    assert asked_address(ASKING[Table.ARP], fields, arp) == FOUR
    four = frames.ipv4_frame(
        eth_dst=1, eth_src=2, source=FOUR, destination=bytes([10, 9, 9, 9]), protocol=6, payload=b""
    )
    assert asked_address(way, fields, four) == FOUR
    assert asked_address(ASKING[Table.REMOTE], {}, tcp6()) == OTHER
