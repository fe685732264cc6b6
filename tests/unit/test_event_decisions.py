"""What followers of the change log are told."""

from alcor.contracts.store import Change
from alcor.management_plane.caller import Caller
from alcor.management_plane.events import decisions
from alcor.management_plane.events.decisions import Event, Interest
from alcor.model.ids import HostId, NetworkId, ProjectId, RequestId, RouterId, Vni
from alcor.model.records import Host, Network, Project, RecordSet, Router

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
    assert decisions.events_of(CHANGE, Interest(MEMBER)) == [
        Event("created", "network", "n", BLUE, 1),
        Event("deleted", "router", "old", BLUE, 4),
    ]


def test_an_administrator_hears_of_all_and_of_no_more_kinds_than_asked_for() -> None:
    told = decisions.events_of(CHANGE, Interest(OPERATOR))
    assert [(each.operation, each.kind) for each in told] == [
        ("created", "network"),
        ("updated", "router"),
        ("created", "host"),
        ("updated", "project"),
        ("deleted", "router"),
    ]
    assert {each.id for each in decisions.events_of(CHANGE, Interest(OPERATOR, frozenset({"router"})))} == {
        "r",
        "old",
    }


def test_pages_shrink_when_changes_are_large_and_grow_again() -> None:
    assert decisions.size_of([CHANGE]) == 5
    assert decisions.next_page(256, 10_000) == 64
    assert decisions.next_page(16, 10_000) == decisions.PAGE_MIN
    assert decisions.next_page(256, 256) == decisions.next_page(512, 512) == decisions.PAGE_MAX
