"""Trunks: which ports may be of one, and what its status says."""

import msgspec
import pytest

from alcor.contracts.convergence import PortState
from alcor.management_plane.api.trunks import status_of
from alcor.management_plane.caller import Caller
from alcor.management_plane.port import decisions as port_decisions
from alcor.management_plane.port.decisions import Draws, PortFields
from alcor.management_plane.trunk import decisions
from alcor.management_plane.trunk.decisions import Decided, Surroundings, TrunkFields
from alcor.model import errors
from alcor.model.ids import HostId, NetworkId, PortId, ProjectId, RequestId, Vni
from alcor.model.records import ROUTER_INTERFACE, Network, Port, SubPort, TrunkLink

PROJECT = ProjectId("blue")
CALLER = Caller(PROJECT, False, RequestId("r"))


def port(name: str, network: str = "n", **said: object) -> Port:
    made = Port(id=PortId(name), project_id=PROJECT, network_id=NetworkId(network), mac=1, revision_number=1)
    return msgspec.structs.replace(made, **said)


def around(*ports: Port) -> Surroundings:
    networks = {
        name: Network(id=NetworkId(name), project_id=PROJECT, vni=Vni(1), mtu=mtu)
        for name, mtu in (("n", 1450), ("large", 8950))
    }
    return Surroundings({each.id: each for each in ports}, networks)


def sub(name: str, vlan: int) -> SubPort:
    return SubPort(vlan, PortId(name))


def made(*ports: Port, subs: tuple[SubPort, ...] = ()) -> Decided:
    fields = TrunkFields(port_id=ports[0].id, sub_ports=subs)
    return decisions.create(fields, around(*ports), trunk_id="t", caller=CALLER, now_us=7)


def reason_of(kind: type[errors.AlcorError], *ports: Port, subs: tuple[SubPort, ...] = ()) -> str:
    with pytest.raises(kind) as refused:
        made(*ports, subs=subs)
    return refused.value.reason


def test_ports_of_a_trunk_say_so_and_sub_ports_are_where_their_parent_is() -> None:
    decided = made(port("p", host=HostId("h1")), port("s"), port("u"), subs=(sub("u", 30), sub("s", 20)))
    assert decided.trunk.sub_ports == (sub("s", 20), sub("u", 30))
    parent, first, other = decided.ports
    assert parent.trunk == TrunkLink(decided.trunk.id)
    assert (other.trunk, first.trunk) == (TrunkLink(decided.trunk.id, parent.id, 30), TrunkLink("t", "p", 20))
    assert {(each.host, each.device_owner, each.device_id) for each in (first, other)} == {
        ("h1", "trunk:subport", "t")
    }
    assert (parent.host, parent.device_owner) == ("h1", "")
    assert {each.revision_number for each in decided.ports} == {2}


def test_ports_in_use_are_refused() -> None:
    parent_of, sub_of = TrunkLink("x"), TrunkLink("x", "y", 5)
    router = port("p", device_owner=ROUTER_INTERFACE, device_id="r")
    assert reason_of(errors.Conflict, port("p", trunk=parent_of)) == "ParentPortInUse"
    assert reason_of(errors.Conflict, port("p", trunk=sub_of)) == "TrunkPortInUse"
    assert reason_of(errors.Conflict, router) == "ParentPortInUse"
    for other, reason in (
        (port("s", trunk=parent_of), "ParentPortInUse"),
        (port("s", trunk=sub_of, device_id="x"), "TrunkPortInUse"),
        (port("s", device_id="vm"), "PortInUse"),
        (port("s", device_owner=ROUTER_INTERFACE), "PortInUse"),
        (port("s", "large"), "SubPortMtuGreaterThanTrunkPortMtu"),
    ):
        assert reason_of(errors.Conflict, port("p"), other, subs=(sub("s", 20),)) == reason
    assert reason_of(errors.Conflict, port("p"), subs=(sub("p", 20),)) == "ParentPortInUse"


def test_sub_ports_come_and_go() -> None:
    first = made(port("p", host=HostId("h1")), port("s"), subs=(sub("s", 20),))
    parent, held = first.ports
    with pytest.raises(errors.Conflict) as refused:
        decisions.add(first.trunk, [sub("u", 20)], around(parent, held, port("u")), now_us=8)
    assert refused.value.reason == "DuplicateSubPort"
    added = decisions.add(first.trunk, [sub("u", 10)], around(parent, port("u")), now_us=8)
    assert added.trunk.sub_ports == (sub("u", 10), sub("s", 20))
    assert [(each.id, each.host) for each in added.ports] == [("u", "h1")]
    removed = decisions.remove(added.trunk, ["s"], {"s": held}, now_us=9)
    assert removed.trunk.sub_ports == (sub("u", 10),)
    [gone] = removed.ports
    assert (gone.trunk, gone.host, gone.device_owner, gone.device_id) == (None, "", "", "")
    with pytest.raises(errors.Missing) as unknown:
        decisions.remove(removed.trunk, ["s"], {"s": gone}, now_us=9)
    assert unknown.value.reason == "SubPortNotFound"


def test_a_trunk_that_is_down_keeps_its_sub_ports() -> None:
    first = made(port("p"), port("s"), subs=(sub("s", 20),))
    down = decisions.update(first.trunk, TrunkFields(admin_state_up=False), now_us=8)
    ports = {each.id: each for each in first.ports}
    for change in (
        lambda: decisions.add(down, [], around(*first.ports), now_us=9),
        lambda: decisions.remove(down, ["s"], ports, now_us=9),
        lambda: decisions.dissolve(down, ports, now_us=9),
    ):
        with pytest.raises(errors.Conflict) as refused:
            change()
        assert refused.value.reason == "TrunkDisabled"
    parted = decisions.dissolve(first.trunk, ports, now_us=9)
    assert {each.trunk for each in parted} == {None}


def test_sub_ports_follow_their_parent_to_its_host() -> None:
    first = made(port("p", host=HostId("h1")), port("s"), subs=(sub("s", 20),))
    parent, held = first.ports
    elsewhere = msgspec.structs.replace(parent, host=HostId("h2"))
    assert [each.host for each in decisions.moved(elsewhere, [held], now_us=9)] == ["h2"]
    assert decisions.moved(parent, [held], now_us=9) == ()
    with pytest.raises(errors.Conflict) as refused:
        port_decisions.update(held, PortFields(host_id="h3"), wanted=None, draws=Draws({}, {}), now_us=9)
    assert refused.value.reason == "PortInUseAsSubPort"


@pytest.mark.parametrize(
    ("link", "reason"),
    [(TrunkLink("t"), "PortInUseAsTrunkParent"), (TrunkLink("t", "p", 20), "PortInUseAsSubPort")],
)
def test_a_port_of_a_trunk_is_not_deleted(link: TrunkLink, reason: str) -> None:
    with pytest.raises(errors.Conflict) as refused:
        port_decisions.check_deletable(port("s", trunk=link))
    assert refused.value.reason == reason


ACTIVE = PortState("ACTIVE", True, True, 5, "")
PENDING = PortState("BUILD", False, True, 4, "")
REFUSED = PortState("ERROR", False, True, 4, "")
UNPLUGGED = PortState("DOWN", True, False, 5, "")


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([ACTIVE, ACTIVE], "ACTIVE"),
        ([ACTIVE], "ACTIVE"),
        ([UNPLUGGED, UNPLUGGED], "DOWN"),
        ([ACTIVE, PENDING], "BUILD"),
        ([ACTIVE, PENDING, REFUSED], "DEGRADED"),
        ([], "DOWN"),
    ],
)
def test_the_status_tells_the_truth_of_its_ports(states: list[PortState], status: str) -> None:
    assert status_of(states) == status
