"""What every resource of openstacksdk is put through."""

from typing import Any

import pytest

openstack = pytest.importorskip("openstack")


def lifecycle(
    sdk: Any, singular: str, plural: str, *, make: dict[str, Any], change: dict[str, Any], find: dict[str, Any]
) -> Any:
    """Create, find, get, list by filters and update an object; give it, to be deleted."""
    made = getattr(sdk, f"create_{singular}")(**make)
    assert made.id
    assert made.created_at
    assert getattr(sdk, f"get_{singular}")(made.id).id == made.id
    named = make.get("name") or made.id
    assert getattr(sdk, f"find_{singular}")(named).id == made.id
    assert getattr(sdk, f"find_{singular}")("nothing of this name") is None
    found = list(getattr(sdk, plural)(**find))
    assert [each.id for each in found] == [made.id]
    if not change:
        return made
    changed = getattr(sdk, f"update_{singular}")(made, **change)
    for name, value in change.items():
        assert getattr(changed, name) == value, name
    assert changed.revision_number > 1
    return changed


def delete(sdk: Any, singular: str, record: Any) -> None:
    """Remove an object; removing it again says that it is not there."""
    getattr(sdk, f"delete_{singular}")(record)
    with pytest.raises(openstack.exceptions.NotFoundException):
        getattr(sdk, f"get_{singular}")(record.id)
    with pytest.raises(openstack.exceptions.NotFoundException):
        getattr(sdk, f"delete_{singular}")(record.id, ignore_missing=False)


def tags(sdk: Any, record: Any) -> None:
    """Tag, tag anew, add, and remove all."""
    assert sdk.set_tags(record, ["b", "a"]).tags
    assert sorted(sdk.get_tags(record)) == ["a", "b"]
    record.add_tag(sdk, "c")
    assert record.check_tag(sdk, "c")
    record.remove_tag(sdk, "a")
    assert sorted(sdk.get_tags(record)) == ["b", "c"]
    sdk.remove_all_tags(record)
    assert sdk.get_tags(record) == []
