"""The attributes that every object has, and the answers' common part."""

import msgspec

from alcor.management_plane.api import moments, validation
from alcor.management_plane.api.attribute import Attribute
from alcor.model.records import AnyRecord


class Answer(msgspec.Struct, kw_only=True, gc=False):
    """What every object shows."""

    id: str
    name: str
    project_id: str
    tenant_id: str
    description: str
    created_at: str
    updated_at: str
    revision_number: int
    tags: tuple[str, ...]


STANDARD = (
    Attribute(name="id", filterable=True, sortable=True, column="id"),
    Attribute(
        name="name",
        parse=validation.text(),
        post=True,
        put=True,
        filterable=True,
        sortable=True,
        column="name",
    ),
    Attribute(name="project_id", filterable=True, sortable=True, column="project_id"),
    Attribute(
        name="description", parse=validation.text_or_none(), post=True, put=True, filterable=True, sortable=True
    ),
    Attribute(name="created_at", filterable=True, sortable=True),
    Attribute(name="updated_at", filterable=True, sortable=True),
    Attribute(name="revision_number", filterable=True, sortable=True),
    Attribute(name="tags", parse=validation.tags, post=True),
)

ADMIN_STATE_UP = Attribute(
    name="admin_state_up", parse=validation.boolean, post=True, put=True, filterable=True, sortable=True
)


def reference(name: str) -> Attribute:
    """Give the attribute that names what an object belongs to, from its making on."""
    return Attribute(
        name=name,
        parse=validation.uuid_text,
        post=True,
        required=True,
        filterable=True,
        sortable=True,
        column=name,
    )


def shared_by_admin(*, put: bool) -> Attribute:
    """Give `shared` of objects that administrators share with everybody. `put`: later, too."""
    return Attribute(
        name="shared",
        parse=validation.boolean,
        post=True,
        put=put,
        admin_only=True,
        default=False,
        filterable=True,
        sortable=True,
    )


def standard(record: AnyRecord) -> dict[str, object]:
    """Give the common part of a record's answer."""
    return {
        "id": record.id,
        "name": record.name,
        "project_id": record.project_id,
        "tenant_id": record.project_id,
        "description": record.description,
        "created_at": moments.text(record.created_at),
        "updated_at": moments.text(record.updated_at),
        "revision_number": record.revision_number,
        "tags": record.tags,
    }
