"""Sets of records: a place for each kind, in the order of the kinds."""

import typing

from alcor.model.records import KINDS, RecordSet, Router, set_of


def test_every_kind_has_its_place_in_the_order_of_kinds() -> None:
    hints = typing.get_type_hints(RecordSet)
    places = [typing.get_args(hints[name])[0] for name in RecordSet.__struct_fields__]
    assert places == list(KINDS.values())


def test_a_set_of_one_record_has_it_in_its_place() -> None:
    router = Router(id="r", project_id="p")  # type: ignore[arg-type]
    assert set_of(router) == RecordSet(routers=(router,))
