"""Address groups: what is in them is in them once, and within bounds."""

import pytest

from alcor.management_plane.address_group import decisions
from alcor.management_plane.address_group.decisions import ADDRESSES_MAX, AddressGroupFields
from alcor.management_plane.caller import Caller
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.ids import ProjectId, RequestId
from alcor.model.records import AddressGroup

GROUP_ID = "0192f0c1-7a00-7000-8000-00000000000a"
CALLER = Caller(ProjectId("blue"), False, RequestId("r"))
NET, HOST = Cidr.from_text("10.0.0.0/24"), Cidr.from_text("10.0.0.1/32")


def group(*addresses: Cidr) -> AddressGroup:
    fields = AddressGroupFields(name="a", addresses=addresses)
    return decisions.create(fields, group_id=GROUP_ID, caller=CALLER, now_us=1)


def many(count: int) -> tuple[Cidr, ...]:
    return tuple(Cidr((0x0A000000 + number).to_bytes(4, "big"), 32) for number in range(count))


def test_an_address_said_twice_is_in_a_group_once() -> None:
    made = group(NET, HOST, NET)
    assert (made.size, made.name) == (2, "a")
    assert [entry.prefix for entry in decisions.entries(made, [NET, HOST, NET], now_us=1)] == [NET, HOST]


def test_more_addresses_make_entries_and_a_revision() -> None:
    after, entries = decisions.added(group(NET), [HOST], {}, now_us=2)
    assert (after.size, after.revision_number) == (2, 2)
    assert [entry.id for entry in entries] == [decisions.entry_id(GROUP_ID, HOST)]


def test_what_is_there_is_not_added_again() -> None:
    before = group(NET)
    found = {entry.id: entry for entry in decisions.entries(before, [NET], now_us=1)}
    with pytest.raises(errors.Invalid, match=r"10\.0\.0\.0/24") as refused:
        decisions.added(before, [NET, HOST], found, now_us=2)
    assert refused.value.reason == "AddressesAlreadyExist"


def test_what_is_not_there_is_not_removed() -> None:
    before = group(NET)
    found = {entry.id: entry for entry in decisions.entries(before, [NET], now_us=1)}
    with pytest.raises(errors.Missing, match=r"10\.0\.0\.1/32") as refused:
        decisions.removed(before, [NET, HOST], found, now_us=2)
    assert refused.value.reason == "AddressesNotFound"
    assert decisions.removed(before, [NET], found, now_us=2).size == 0


def test_a_group_is_bounded() -> None:
    full = group(*many(ADDRESSES_MAX))
    with pytest.raises(errors.Conflict):
        group(*many(ADDRESSES_MAX + 1))
    with pytest.raises(errors.Conflict):
        decisions.added(full, [Cidr.from_text("192.0.2.0/24")], {}, now_us=2)
