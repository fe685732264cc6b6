"""Ids as 16 bytes: the same message for whoever reads it, and nothing else is taken for an id."""

import msgspec
import pytest

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import Update, Welcome
from alcor.host_agent import journal
from alcor.model import goal_state
from alcor.model.goal_state import (
    AddressesChange,
    GroupChange,
    LocalPort,
    NetworkChange,
    NetworkEntry,
    Placement,
    RouterChange,
    RouterInterface,
    Rule,
    SectionChange,
    SectionUpdate,
    Tag,
)
from alcor.model.ids import GroupId, NetworkId, PortId, RuleId, SubnetId, Vni
from alcor.model.records import AddressPair, FixedIp
from alcor.model.version import Version

ONE, TWO, THREE = (f"0192f0c1-7a00-7000-8000-00000000000{number}" for number in "abc")
NO_IDS = ["port-1", "", ONE.upper(), ONE + "0", ONE[:-1], ONE.replace("-", "_"), "é" * 18]
CONTENT_LIKE_AN_ID = b"\xd9\x24" + ONE.encode()  # as text is written: a tenant may have DHCP say so


def network_change(id_: str) -> NetworkChange:
    return NetworkChange(
        NetworkEntry(NetworkId(id_), Vni(7), 1450, True),
        set_ports=(
            LocalPort(
                PortId(id_),
                0xFA163E000001,
                (FixedIp(SubnetId(TWO), bytes(16)),),
                (GroupId(id_),),
                True,
                True,
                (AddressPair(7, bytes(16), 64),),
                ((252, CONTENT_LIKE_AN_ID),),
                Tag(PortId(ONE), 7),
            ),
        ),
        gone_ports=(PortId(id_), PortId("port-1")),
        set_placements=(Placement(PortId(id_), 7, (bytes(16),), bytes(16), (GroupId(TWO), GroupId("web"))),),
    )


CHANGES: list[tuple[str, SectionChange | None]] = [
    (f"network:{ONE}", network_change(ONE)),
    ("network:net-1", network_change("net-1")),
    *((f"network:{id_}", network_change(id_)) for id_ in NO_IDS),
    (
        f"router:{ONE}",
        RouterChange(
            set_interfaces=(
                RouterInterface(PortId(ONE), NetworkId(TWO), Vni(7), (bytes(4), 8), bytes(4), 7, scope=THREE),
            )
        ),
    ),
    (
        f"group:{ONE}",
        GroupChange(set_rules=(Rule(RuleId(ONE), True, 4, None, None, None, GroupId(TWO), None),)),
    ),
    (f"addresses:{ONE}", AddressesChange(set_addresses=((bytes(16), 64),))),
    (f"group:{TWO}", None),
    (f"of another kind:{TWO}", None),
]


def packed(update: Update) -> bytes:
    """Pack a whole update, as the controller puts one together."""
    return msgspec.msgpack.encode(
        [
            packed_ids.TAG,
            update.number,
            [
                [
                    packed_ids.pack_key(one.key),
                    one.base,
                    one.version,
                    msgspec.Raw(packed_ids.pack(msgspec.msgpack.encode(one.change))),
                ]
                for one in update.sections
            ],
            update.complete,
            update.epoch,
        ]
    )


def update_of(key: str, change: SectionChange | None) -> Update:
    return Update(
        9, (SectionUpdate(goal_state.SectionKey(key), Version(1, 2), Version(1, 3, 1), change),), epoch=4
    )


@pytest.mark.parametrize(("key", "change"), CHANGES)
def test_a_packed_update_is_the_same_update(key: str, change: SectionChange | None) -> None:
    update = update_of(key, change)
    frame = packed(update)
    assert packed_ids.read(frame) == packed_ids.read_update(frame) == update
    text = msgspec.msgpack.encode(update)
    assert packed_ids.read(text) == packed_ids.read_update(text) == update


def test_digests_are_of_what_is_read_whatever_form_it_came_in() -> None:
    change = network_change(ONE)
    read = packed_ids.read_update(packed(update_of(f"network:{ONE}", change))).sections[0].change
    assert read is not None
    assert goal_state.digest(read) == goal_state.digest(change)


def test_an_id_costs_18_bytes() -> None:
    assert len(packed_ids.pack(msgspec.msgpack.encode([ONE]))) == 1 + 18
    for kind in ("network", "router", "group", "addresses"):
        assert len(bytes(packed_ids.pack_key(goal_state.SectionKey(f"{kind}:{ONE}")))) == 18


def test_other_messages_are_read_as_ever() -> None:
    welcome = Welcome(1, 7)
    assert packed_ids.read(msgspec.msgpack.encode(welcome)) == welcome


def test_a_journal_may_hold_both_forms() -> None:
    """Frames are kept as they came, and a snapshot is text, as a release before wrote it."""
    first = Update(
        1, (SectionUpdate(goal_state.network_key(ONE), None, Version(1, 2), network_change(ONE)),), epoch=1
    )
    second = Update(
        2, (SectionUpdate(goal_state.network_key(ONE), Version(1, 2), Version(1, 3), NetworkChange()),), epoch=1
    )
    records = journal.record(msgspec.msgpack.encode(first)) + journal.record(packed(second))
    state, length = journal.replay(records)
    assert length == len(records)
    assert state.versions == {goal_state.network_key(ONE): Version(1, 3)}
    assert journal.replay(journal.snapshot(state))[0].full_updates() == state.full_updates()


@pytest.mark.parametrize(
    "frame",
    [
        b"\x92\xa6packed",
        b"\x91\xa6packed",
        b"\x93\xa6packed\x01\x02",
        msgspec.msgpack.encode(["packed", 1, [[msgspec.msgpack.Ext(6, bytes(16)), None, [1, 2], None]], False]),
        msgspec.msgpack.encode(["packed", 1, [[msgspec.msgpack.Ext(2, bytes(15)), None, [1, 2], None]], False]),
        packed(update_of(f"network:{ONE}", network_change(ONE)))[:-3],
    ],
)
def test_what_is_malformed_is_refused_as_such(frame: bytes) -> None:
    for read in (packed_ids.read, packed_ids.read_update):
        with pytest.raises(msgspec.DecodeError):
            read(frame)
