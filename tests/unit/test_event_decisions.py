"""What followers of the change log are told."""

from typing import Any

from alcor.contracts.store import Change
from alcor.management_plane.caller import Caller
from alcor.management_plane.events import decisions
from alcor.management_plane.events.decisions import Event, Interest
from alcor.management_plane.events.shares import Shares
from alcor.model.ids import (
    HostId,
    NetworkId,
    PolicyId,
    PortId,
    ProjectId,
    RequestId,
    RouterId,
    SubnetId,
    Vni,
)
from alcor.model.records import EVERYBODY, Host, Network, Port, Project, RbacPolicy, RecordSet, Router, Subnet

BLUE, GREEN = ProjectId("blue"), ProjectId("green")
MEMBER = Caller(BLUE, False, RequestId("r"))
OPERATOR = Caller(GREEN, True, RequestId("r"))
CHANGE = Change(
    7,
    0,
    RequestId("req-1"),
    BLUE,
    RecordSet(
        networks=(Network(id=NetworkId("n"), project_id=BLUE, vni=Vni(1), revision_number=1),),
        routers=(Router(id=RouterId("r"), project_id=GREEN, revision_number=2),),
        hosts=(Host(id=HostId("h"), project_id=ProjectId(""), vtep=b"", revision_number=1),),
        projects=(Project(id=BLUE, project_id=BLUE, revision_number=3),),
    ),
    RecordSet(routers=(Router(id=RouterId("old"), project_id=BLUE, revision_number=4),)),
)


def test_a_project_hears_of_its_own_records_and_not_of_what_the_operator_says_of_it() -> None:
    assert decisions.events_of(CHANGE, Interest(MEMBER), Shares(BLUE)) == [
        Event("created", "network", "n", BLUE, 1),
        Event("deleted", "router", "old", BLUE, 4),
    ]


def test_an_administrator_hears_of_all_and_of_no_more_kinds_than_asked_for() -> None:
    told = decisions.events_of(CHANGE, Interest(OPERATOR), Shares(GREEN))
    assert [(each.operation, each.kind) for each in told] == [
        ("created", "network"),
        ("updated", "router"),
        ("created", "host"),
        ("updated", "project"),
        ("deleted", "router"),
    ]
    routers = Interest(OPERATOR, frozenset({"router"}))
    assert {each.id for each in decisions.events_of(CHANGE, routers, Shares(GREEN))} == {"r", "old"}


def test_pages_shrink_when_changes_are_large_and_grow_again() -> None:
    assert decisions.size_of([CHANGE]) == 5
    assert decisions.next_page(256, 10_000) == 64
    assert decisions.next_page(16, 10_000) == decisions.PAGE_MIN
    assert decisions.next_page(256, 256) == decisions.next_page(512, 512) == decisions.PAGE_MAX


NETWORK = Network(id=NetworkId("n"), project_id=GREEN, vni=Vni(1), revision_number=2)
SUBNET = Subnet(id=SubnetId("s"), project_id=GREEN, network_id=NETWORK.id, cidr=(b"", 0), revision_number=1)
NOTHING = RecordSet()


def policy(target: str, revision_number: int = 1) -> RbacPolicy:
    return RbacPolicy(
        id=PolicyId("p"),
        project_id=GREEN,
        object_type="network",
        object_id=NETWORK.id,
        target=target,
        revision_number=revision_number,
    )


def told(shares: Shares, puts: RecordSet = NOTHING, deletes: RecordSet = NOTHING) -> list[str]:
    change = Change(7, 0, RequestId("r"), GREEN, puts, deletes)
    return [f"{it.kind}.{it.operation}" for it in decisions.events_of(change, Interest(MEMBER), shares)]


def test_a_project_hears_of_what_is_shared_with_it_from_the_policy_to_its_end() -> None:
    for target in (BLUE, EVERYBODY):
        shares = Shares(BLUE)
        revised = RecordSet(networks=(NETWORK,))
        assert told(shares, revised) == []
        shared = RecordSet(networks=(NETWORK,), rbac_policies=(policy(target),))
        assert told(shares, shared) == ["network.updated", "rbac_policy.created"]
        assert told(shares, RecordSet(subnets=(SUBNET,))) == ["subnet.created"]
        other = Network(id=NetworkId("other"), project_id=GREEN, vni=Vni(2))
        assert told(shares, RecordSet(networks=(other,))) == []
        for gone in (RecordSet(rbac_policies=(policy(target),)), NOTHING):
            again = Shares(BLUE, [policy(target)])
            deletes = RecordSet(networks=(NETWORK,), subnets=(SUBNET,), rbac_policies=gone.rbac_policies)
            names = ["network.deleted", "subnet.deleted", "rbac_policy.deleted"]
            assert told(again, deletes=deletes) == names[: 3 if gone.rbac_policies else 2]
        assert told(shares, revised, RecordSet(rbac_policies=(policy(target),))) == ["rbac_policy.deleted"]
        assert told(shares, revised) == []


def test_a_policy_that_goes_to_another_project_is_deleted_for_the_former() -> None:
    shares = Shares(BLUE, [policy(BLUE)])
    moved = RecordSet(networks=(NETWORK,), rbac_policies=(policy("red", 2),))
    assert told(shares, moved) == ["rbac_policy.deleted"]
    assert told(shares, moved) == []
    assert told(shares, RecordSet(rbac_policies=(policy(BLUE, 3),))) == ["rbac_policy.updated"]
    (event,) = decisions.events_of(
        Change(8, 0, RequestId("r"), GREEN, RecordSet(rbac_policies=(policy(BLUE, 4),)), NOTHING),
        Interest(MEMBER),
        shares,
    )
    assert (event.object_type, event.object_id) == ("network", "n")


def test_the_end_of_what_was_shared_is_told_to_who_resumes_from_before_it() -> None:
    shares = Shares(BLUE)  # read when the policy was gone already
    deletes = RecordSet(networks=(NETWORK,), rbac_policies=(policy(BLUE),))
    assert told(shares, deletes=deletes) == ["network.deleted", "rbac_policy.deleted"]


def test_who_owns_a_network_hears_of_the_ports_on_it() -> None:
    guest = Port(
        id=PortId("g"),
        project_id=GREEN,
        network_id=NetworkId("n"),
        mac=1,
        network_owner=BLUE,
        revision_number=1,
    )
    assert told(Shares(BLUE), RecordSet(ports=(guest,))) == ["port.created"]
    assert told(Shares(BLUE, [policy(BLUE)]), RecordSet(ports=(Port(**_fields(guest)),))) == []


def _fields(port: Port) -> dict[str, Any]:
    return {"id": port.id, "project_id": port.project_id, "network_id": port.network_id, "mac": port.mac}
