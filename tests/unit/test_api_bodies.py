"""What is held of bodies is counted, and bounded for each project and for all."""

import pytest

from alcor.management_plane.api.bodies import Bodies
from alcor.model import errors


def test_a_project_holds_so_much_and_no_more() -> None:
    bodies = Bodies(held_max=100, by_project_max=30)
    bodies.hold("blue", 20)
    with pytest.raises(errors.LimitReached):
        bodies.hold("blue", 11)
    bodies.hold("blue", 10)
    bodies.hold("red", 30)
    bodies.release("blue", 10)
    bodies.hold("blue", 10)


def test_all_together_hold_so_much_and_no_more() -> None:
    bodies = Bodies(held_max=100, by_project_max=30)
    for project in ("a", "b", "c"):
        bodies.hold(project, 30)
    with pytest.raises(errors.Unavailable):
        bodies.hold("d", 11)
    bodies.release("a", 30)
    bodies.hold("d", 11)
