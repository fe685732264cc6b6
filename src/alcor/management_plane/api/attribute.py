"""The attributes of a resource as data: what may be said, when and by whom, and how lists find it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import msgspec

from alcor.contracts.store import Value
from alcor.model.records import AnyRecord

F = TypeVar("F", bound=msgspec.Struct)
Parse = Callable[[object], object]  # raises ValueError, whose text is the reason

IGNORED = ""  # as `field`: the value is checked and then dropped


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute on the wire."""

    name: str
    field: str | None = None  # in the service's fields; None: same as the name; IGNORED: checked only
    parse: Parse | None = None  # None: never writable
    post: bool = False
    put: bool = False
    required: bool = False
    admin_only: bool = False  # may only be said by administrators
    default: object = msgspec.UNSET  # what everybody may say of it in a POST, as it is so anyway
    filterable: bool = False
    sortable: bool = False
    column: str | None = None  # in the store; None: lists compare the answers
    to_column: Callable[[str], Value] = str  # text of a filter to the stored value; raises ValueError


@dataclass(frozen=True, kw_only=True)
class Resource(Generic[F]):
    """A kind of object on the wire."""

    singular: str
    plural: str
    kind: type[AnyRecord]
    fields: type[F]
    attributes: Sequence[Attribute]

    @cached_property
    def by_name(self) -> dict[str, Attribute]:
        """The attributes by their name on the wire."""
        return {attribute.name: attribute for attribute in self.attributes}
