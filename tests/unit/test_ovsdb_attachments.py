"""What is plugged in, from the database's updates."""

import json
from collections.abc import Callable

import pytest
from counted_work import assert_same_work

from alcor.data_plane.ovs.attachments import Attachment, AttachmentView, KeyPlace, record_keys
from alcor.data_plane.ovs.ovsdb import Json, JsonStream, TableUpdates
from alcor.model.ids import PortId

A = PortId("a")


def reference(row: str) -> Json:
    return ["uuid", row]


def external(**pairs: str) -> Json:
    return ["map", [[key.replace("_", "-"), value] for key, value in pairs.items()]]


def initial() -> TableUpdates:
    return {
        "Bridge": {"bridge": {"initial": {"name": "br-int", "ports": reference("port")}}},
        "Port": {"port": {"initial": {"interfaces": reference("i")}}},
        "Interface": {"i": {"initial": {"name": "w1", "ofport": 5, "external_ids": external(iface_id="a")}}},
    }


@pytest.fixture
def view() -> AttachmentView:
    view = AttachmentView("br-int")
    assert view.update(initial()) == {A}
    return view


def test_an_interface_with_a_port_id_is_attached(view: AttachmentView) -> None:
    assert view.attachment(A) == Attachment("i", 5, None)
    assert view.ofport_named("w1") == 5


def test_an_interface_without_an_openflow_port_is_not(view: AttachmentView) -> None:
    assert view.update({"Interface": {"i": {"modify": {"ofport": -1}}}}) == {A}
    assert view.attachment(A) is None
    view.update({"Interface": {"i": {"modify": {"ofport": ["set", []]}}}})
    assert view.attachment(A) is None


def test_an_interface_taken_off_the_bridge_is_not(view: AttachmentView) -> None:
    assert view.update({"Bridge": {"bridge": {"modify": {"ports": ["set", [reference("port")]]}}}}) == {A}
    assert view.attachment(A) is None


def test_a_deleted_interface_is_forgotten(view: AttachmentView) -> None:
    assert view.update({"Interface": {"i": {"delete": None}}, "Port": {"port": {"delete": None}}}) == {A}
    assert view.attachments() == {}


def test_an_interface_of_another_bridge_does_not_count(view: AttachmentView) -> None:
    view.update(
        {
            "Bridge": {"other": {"insert": {"name": "br-other", "ports": reference("p2")}}},
            "Port": {"p2": {"insert": {"interfaces": reference("i2")}}},
            "Interface": {
                "i2": {"insert": {"name": "w2", "ofport": 9, "external_ids": external(iface_id="b")}}
            },
        }
    )
    assert view.attachment(PortId("b")) is None


def test_of_two_interfaces_the_last_one_plugged_counts(view: AttachmentView) -> None:
    view.update(
        {
            "Bridge": {"bridge": {"modify": {"ports": reference("p2")}}},
            "Port": {"p2": {"insert": {"interfaces": reference("i2")}}},
            "Interface": {
                "i2": {"insert": {"name": "w2", "ofport": 9, "external_ids": external(iface_id="a")}}
            },
        }
    )
    assert view.attachment(A) == Attachment("i2", 9, None)
    view.update({"Interface": {"i2": {"delete": None}}})
    assert view.attachment(A) == Attachment("i", 5, None)


def test_a_difference_of_external_ids_adds_replaces_and_removes(view: AttachmentView) -> None:
    view.update({"Interface": {"i": {"modify": {"external_ids": external(alcor_port_key="7")}}}})
    assert view.attachment(A) == Attachment("i", 5, 7)
    view.update({"Interface": {"i": {"modify": {"external_ids": external(alcor_port_key="8")}}}})
    assert view.attachment(A) == Attachment("i", 5, 8)
    view.update({"Interface": {"i": {"modify": {"external_ids": external(alcor_port_key="8")}}}})
    assert view.attachment(A) == Attachment("i", 5, None)


def test_an_interface_renamed_to_another_port_concerns_both(view: AttachmentView) -> None:
    update: TableUpdates = {"Interface": {"i": {"modify": {"external_ids": external(iface_id="b")}}}}
    assert view.update(update) == {A, "b"}
    assert view.attachment(A) is None
    assert view.attachment(PortId("b")) == Attachment("i", 5, None)


@pytest.mark.parametrize("key", ["0", "65536", "-1", "x", ""])
def test_a_port_key_that_cannot_be_is_ignored(view: AttachmentView, key: str) -> None:
    view.update({"Interface": {"i": {"modify": {"external_ids": external(alcor_port_key=key)}}}})
    assert view.attachment(A) == Attachment("i", 5, None)


def test_a_recorded_key_replaces_the_one_before() -> None:
    (operation,) = record_keys({KeyPlace("i"): 9})
    mutations = operation["mutations"]
    assert isinstance(mutations, list)
    assert [mutation[1] for mutation in mutations if isinstance(mutation, list)] == ["delete", "insert"]


def test_objects_are_found_however_the_stream_is_cut() -> None:
    objects: list[dict[str, Json]] = [{"a": "}{"}, {"b": {"c": [1, {}]}}, {"d": "ü\\"}]
    text = "".join(json.dumps(one) for one in objects)
    for size in range(1, len(text) + 1):
        stream = JsonStream()
        found = [one for at in range(0, len(text), size) for one in stream.feed(text[at : at + size])]
        assert found == objects, size


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="brace"):
        JsonStream().feed("[]")


def test_plugging_costs_the_same_whatever_the_bridge_has() -> None:
    def prepare(count: int) -> Callable[[], object]:
        view = AttachmentView("br-int")
        ports: list[Json] = [reference(f"port{each}") for each in range(count)]
        view.update({"Bridge": {"bridge": {"initial": {"name": "br-int", "ports": ["set", ports]}}}})
        for each in range(count):
            view.update(plugged(each))
        return lambda: view.update(
            {"Bridge": {"bridge": {"modify": {"ports": reference("port-1")}}}, **plugged(-1)}
        )

    assert_same_work(prepare)


def plugged(number: int) -> TableUpdates:
    values: Json = {"name": f"w{number}", "ofport": 5, "external_ids": external(iface_id=f"p{number}")}
    return {
        "Port": {f"port{number}": {"insert": {"interfaces": reference(f"i{number}")}}},
        "Interface": {f"i{number}": {"insert": values}},
    }
