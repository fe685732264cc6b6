"""Flows as bytes: written out by hand from the specification."""

import pytest

from alcor.data_plane.ovs.encoding import ALCOR_MARK, FlowEncoder, encode_instructions, encode_match
from alcor.data_plane.pipeline.flow import (
    Action,
    Commit,
    Conjunction,
    DecTtl,
    Field,
    Flow,
    FlowKey,
    Goto,
    Match,
    Move,
    Output,
    OutputInPort,
    Resubmit,
    SetField,
    Term,
    ToAgent,
    Track,
)
from alcor.data_plane.pipeline.matching import prefix_terms
from alcor.data_plane.pipeline.placement import (
    KNOWN_FROM,
    KNOWN_TO,
    NEIGHBOUR,
    REMOTE,
    PlacementFlows,
    View,
)
from alcor.model.goal_state import Placement

MATCH: Match = (Term(Field.ETH_DST, 0x02AA00000001), Term(Field.REG0, 100))


def key(*, table: int = 60, priority: int = 100, match: Match = MATCH) -> FlowKey:
    return FlowKey(table, priority, match)


def test_a_match_is_padded_to_eight_bytes() -> None:
    assert encode_match(MATCH).hex() == (
        "0001" "0016"  # OXM, 22 bytes
        "80000606" "02aa00000001"
        "00010004" "00000064"
        "0000"
    )  # fmt: skip


def test_a_masked_term_carries_its_mask() -> None:
    match = (Term(Field.CT_STATE, 0x22, 0x22),)
    assert encode_match(match).hex() == "0001" "0010" "0001d308" "00000022" "00000022"  # fmt: skip


def test_fields_of_neighbour_discovery_have_a_class_of_their_own() -> None:
    match = (
        Term(Field.ND_RESERVED, 0x60000000),
        Term(Field.ND_OPTIONS_TYPE, 2),
        Term(Field.ND_SLL, 0x02AA00000001),
    )
    assert encode_match(match).hex() == (
        "0001" "001b" "10000204" "60000000" "10000401" "02" "80004006" "02aa00000001" "0000000000"
    )  # fmt: skip


def test_a_prefix_of_ipv6_is_written_in_128_bits() -> None:
    [term] = prefix_terms(Field.XXREG2, bytes.fromhex("20010db8") + bytes(12), 32)
    assert encode_match((term,)).hex() == (
        "0001" "0028" "0001e320" + "20010db8" + "00" * 12 + "ffffffff" + "00" * 12
    )  # fmt: skip


def test_bits_outside_of_the_mask_are_not_sent() -> None:
    assert encode_match((Term(Field.IP_DST, 0x0A010203, 0xFFFFFF00),)).hex().endswith("0a010200ffffff00")


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (SetField(Field.REG2, 7), "0019" "0010" "00010404" "00000007" "00000000"),
        (
            Move(Field.REG0, Field.TUN_ID),
            "ffff" "0018" "00002320" "0006" "0020" "0000" "0000" "00010004" "80004c08",
        ),
        (DecTtl(), "0018" "0008" "00000000"),
        (Output(5), "0000" "0010" "00000005" "0000" "000000000000"),
        (OutputInPort(), "0000" "0010" "fffffff8" "0000" "000000000000"),
        (
            ToAgent(0x101),
            "ffff" "0020" "00002320" "0025" "000000000000" "0000" "0006" "ffff" "0000" "0005" "0008" "a1c00101",
        ),
        (Resubmit(80), "ffff" "0010" "00002320" "000e" "fff8" "50" "000000"),
        (Conjunction(9, 2, 3), "ffff" "0010" "00002320" "0022" "01" "03" "00000009"),
        (
            Track(Field.REG1, 25),
            "ffff" "0018" "00002320" "0023" "0000" "00010204" "000f" "19" "000000" "0000",
        ),
        (
            Commit(Field.REG2, 1),
            "ffff" "0028" "00002320" "0023" "0001" "00010404" "000f" "ff" "000000" "0000"
            "0019" "0010" "0001d604" "00000001" "00000000",
        ),
    ],
)  # fmt: skip
def test_an_action_is_written_as_specified(action: Action, expected: str) -> None:
    length = f"{8 + len(expected) // 2:04x}"
    assert encode_instructions((action,)).hex() == "0004" + length + "00000000" + expected


@pytest.mark.parametrize("vni", [0, 1, 0xFFFFFF])
@pytest.mark.parametrize("mac", [0, 1, 0xFA163E0A5B7C, 0xFFFFFFFFFFFF])
@pytest.mark.parametrize("ip", [0, 1, 0x0A0000FE, 0xFFFFFFFF])
def test_a_flow_of_a_pattern_is_the_flow_that_it_stands_for(vni: int, mac: int, ip: int) -> None:
    entry = Placement("p", mac, (ip.to_bytes(4, "big"),), (ip ^ 0x5A).to_bytes(4, "big"))
    view = View(vni, b"", tunnel_port=1, viewers=(7,))
    encoder, flows = FlowEncoder(), list(PlacementFlows(entry, view))
    assert {flow.pattern for flow in flows} == {NEIGHBOUR, REMOTE, KNOWN_TO, KNOWN_FROM}
    for flow in flows:
        assert encoder.add(flow) == encoder.add(Flow(flow.key, flow.actions))


def test_going_to_a_table_is_an_instruction_of_its_own() -> None:
    assert encode_instructions((Goto(50),)).hex() == "0001" "0008" "32000000"  # fmt: skip


def test_no_actions_drop() -> None:
    assert encode_instructions(()) == b""


def test_going_on_before_the_end_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="last action"):
        encode_instructions((Goto(50), DecTtl()))


def test_a_flow_is_added_under_the_mark() -> None:
    cookie, body = FlowEncoder().add(Flow(key(), (Output(1),)))
    assert cookie >> 48 == ALCOR_MARK
    assert body[:8] == cookie.to_bytes(8, "big")
    assert body[8:18].hex() == "0000000000000000" "3c" "00"  # fmt: skip
    assert body[22:24].hex() == "0064"


@pytest.mark.parametrize(
    "other",
    [
        Flow(key(table=61), (Output(1),)),
        Flow(key(priority=101), (Output(1),)),
        Flow(key(match=MATCH[:1]), (Output(1),)),
        Flow(key(), (Output(2),)),
        Flow(key(), ()),
    ],
)
def test_another_flow_has_another_cookie(other: Flow) -> None:
    encoder = FlowEncoder()
    assert encoder.add(other)[0] != encoder.add(Flow(key(), (Output(1),)))[0]


def test_the_origin_is_not_part_of_the_cookie() -> None:
    encoder = FlowEncoder()
    assert encoder.add(Flow(key(), (), "one"))[0] == encoder.add(Flow(key(), (), "other"))[0]


def test_a_removal_is_strict_and_only_under_the_mark() -> None:
    body = FlowEncoder().remove(key())
    assert body[:18].hex() == "a1c0000000000000" "ffff000000000000" "3c" "04"  # fmt: skip
    assert body.endswith(encode_match(MATCH))


def test_a_stranger_is_removed_by_its_exact_cookie_in_any_table() -> None:
    body = FlowEncoder().remove_cookie(0xA1C0000000000001)
    assert body[:18].hex() == "a1c0000000000001" "ffffffffffffffff" "ff" "03"  # fmt: skip
