"""Port groups: where the ports go, their names, and how far they are."""

import pytest

from alcor.contracts.convergence import PortState
from alcor.management_plane import portions
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.port_group import decisions
from alcor.management_plane.port_group.decisions import PortGroupFields
from alcor.model import errors
from alcor.model.ids import NetworkId, PortGroupId, ProjectId
from alcor.model.records import PortGroup

BUILD = PortState("BUILD", False, False, None, "")
IN_FORCE = PortState("DOWN", True, False, 1, "")
ACTIVE = PortState("ACTIVE", True, True, 1, "")
ERROR = PortState("ERROR", False, False, None, "refused")


def test_a_count_is_spread_in_turn_over_the_live_hosts() -> None:
    fields = PortGroupFields(network_id="n", count=5)
    assert decisions.placement(fields, ["a", "b"], offset=3) == ["b", "a", "b", "a", "b"]


def test_hosts_are_taken_as_listed_and_may_repeat() -> None:
    fields = PortGroupFields(network_id="n", hosts=("x", "x", "y"))
    assert decisions.placement(fields, [], offset=0) == ["x", "x", "y"]


def test_neither_or_both_of_count_and_hosts_are_refused_and_so_is_nowhere() -> None:
    for fields in (PortGroupFields(network_id="n"), PortGroupFields(network_id="n", count=1, hosts=("x",))):
        with pytest.raises(errors.Invalid):
            decisions.placement(fields, ["a"], offset=0)
    with pytest.raises(errors.Conflict):
        decisions.placement(PortGroupFields(network_id="n", count=1), [], offset=0)


def test_ports_follow_the_template_and_are_numbered() -> None:
    fields = PortGroupFields(network_id="n", name="web", port=PortFields(description="d"))
    made = decisions.ports(fields, ["a", "b"])
    assert [(port.name, port.host_id, port.description) for port in made] == [
        ("web-1", "a", "d"),
        ("web-2", "b", "d"),
    ]


def test_groups_are_cut_so_that_a_query_can_answer_each_part() -> None:
    groups = [
        PortGroup(id=PortGroupId(str(n)), project_id=ProjectId("b"), network_id=NetworkId("n"), size=10_000)
        for n in range(12)
    ]
    assert [len(part) for part in portions.of(groups)] == [5, 5, 2]
    assert portions.of([]) == []


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([], "EMPTY"),
        ([ACTIVE, IN_FORCE, BUILD, ERROR], "ERROR"),
        ([ACTIVE, IN_FORCE, BUILD], "BUILD"),
        ([ACTIVE, IN_FORCE], "IN_FORCE"),
        ([ACTIVE, ACTIVE], "ACTIVE"),
    ],
)
def test_a_group_is_as_far_as_its_worst_port(states: list[PortState], state: str) -> None:
    assert decisions.progress(states).state == state
