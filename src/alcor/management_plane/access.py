"""Reading records for a caller: what is not theirs does not exist."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from alcor.contracts.store import Store
from alcor.management_plane.caller import Caller
from alcor.model import errors
from alcor.model.records import (
    AnyRecord,
    Host,
    Network,
    Port,
    PortGroup,
    Project,
    Record,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)

R = TypeVar("R", bound=AnyRecord)

# Neutron's exception and sentence for each kind; clients show the sentence and decide by the type.
_NOT_FOUND: dict[type[Record], tuple[str, str]] = {
    Network: ("NetworkNotFound", "Network {} could not be found."),
    Subnet: ("SubnetNotFound", "Subnet {} could not be found."),
    Port: ("PortNotFound", "Port {} could not be found."),
    Router: ("RouterNotFound", "Router {} could not be found."),
    SecurityGroup: ("SecurityGroupNotFound", "Security group {} does not exist."),
    SecurityGroupRule: ("SecurityGroupRuleNotFound", "Security group rule {} does not exist."),
    PortGroup: ("PortGroupNotFound", "Port group {} could not be found."),
    Host: ("HostNotFound", "Host {} could not be found."),
    Project: ("ProjectNotFound", "Project {} could not be found."),
}


def missing(kind: type[Record], record_id: str) -> errors.Missing:
    """Make the error that says that the record does not exist, or not for this caller."""
    reason, sentence = _NOT_FOUND[kind]
    return errors.Missing(sentence.format(record_id), reason=reason)


def require(caller: Caller, kind: type[R], found: Mapping[str, R], wanted: Iterable[str]) -> None:
    """Raise Missing for the first wanted id that was not found or is not the caller's."""
    for record_id in wanted:
        record = found.get(record_id)
        if record is None or not caller.sees(record):
            raise missing(kind, record_id)


async def fetch_one(store: Store, caller: Caller, kind: type[R], record_id: str) -> R:
    """Read one record of the caller's. Raises Missing."""
    found = await store.get(kind, [record_id])
    require(caller, kind, found, (record_id,))
    return found[record_id]


async def fetch(store: Store, caller: Caller, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
    """Read records of the caller's. Raises Missing when one is not there."""
    found = await store.get(kind, ids) if ids else {}
    require(caller, kind, found, ids)
    return found
