"""Reading records for a caller: what they may not see does not exist, what is another's they may not change."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeVar

from alcor.contracts import columns
from alcor.contracts.store import Query, Store, Value
from alcor.management_plane.caller import Caller
from alcor.model import errors
from alcor.model.records import (
    EVERYBODY,
    AddressGroup,
    AddressScope,
    AnyRecord,
    DefaultRule,
    Host,
    Network,
    Port,
    PortGroup,
    Project,
    RbacPolicy,
    Record,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
    Trunk,
)

R = TypeVar("R", bound=AnyRecord)
Grants = Mapping[str, RbacPolicy]  # by object: a policy that shares it with the project in question
NO_GRANTS: Grants = {}

# Neutron's exception and sentence for each kind; clients show the sentence and decide by the type.
_NOT_FOUND: dict[type[Record], tuple[str, str]] = {
    Network: ("NetworkNotFound", "Network {} could not be found."),
    Subnet: ("SubnetNotFound", "Subnet {} could not be found."),
    Port: ("PortNotFound", "Port {} could not be found."),
    Router: ("RouterNotFound", "Router {} could not be found."),
    SecurityGroup: ("SecurityGroupNotFound", "Security group {} does not exist"),
    SecurityGroupRule: ("SecurityGroupRuleNotFound", "Security group rule {} does not exist"),
    PortGroup: ("PortGroupNotFound", "Port group {} could not be found."),
    Host: ("HostNotFound", "Host {} could not be found."),
    AddressGroup: ("AddressGroupNotFound", "Address group {} could not be found."),
    DefaultRule: ("DefaultSecurityGroupRuleNotFound", "Default Security Group rule {} does not exist"),
    Project: ("ProjectNotFound", "Project {} could not be found."),
    RbacPolicy: ("RbacPolicyNotFound", "RBAC policy of type unknown with ID {} not found"),
    AddressScope: ("AddressScopeNotFound", "Address scope {} could not be found"),
    SubnetPool: ("SubnetPoolNotFound", "Subnet pool {} could not be found."),
    Trunk: ("TrunkNotFound", "Trunk {} could not be found."),
}


def missing(kind: type[Record], record_id: str) -> errors.Missing:
    """Make the error that says that the record does not exist, or not for this caller."""
    reason, sentence = _NOT_FOUND[kind]
    return errors.Missing(sentence.format(record_id), reason=reason)


def forbidden(action: str, attribute: str = "") -> errors.Invalid:
    """Make the error (403) for what the caller may not do, as `update_port`, or not say, as `mac_address`."""
    rule = f"(rule:{action} and rule:{action}:{attribute})" if attribute else f"rule:{action}"
    return errors.Invalid(f"{rule} is disallowed by policy", reason="PolicyNotAuthorized")


def require(
    caller: Caller, kind: type[R], found: Mapping[str, R], wanted: Iterable[str], grants: Grants = NO_GRANTS
) -> None:
    """Raise Missing for the first wanted id that was not found, or is neither the caller's nor granted."""
    for record_id in wanted:
        record = found.get(record_id)
        if record is None or not (caller.sees(record) or shared_object(record) in grants):
            raise missing(kind, record_id)


def shared_object(record: AnyRecord) -> str:
    """Name the object whose policies share the record; empty: none do."""
    column = columns.SHARED_BY.get(type(record))
    return "" if column is None else str(getattr(record, column))


async def grants_on(store: Store, project_id: str, object_ids: Sequence[str]) -> dict[str, RbacPolicy]:
    """Read which of the objects are shared with the project, by a policy for each."""
    if not object_ids:
        return {}
    where = {"object_id": tuple(object_ids), "target": (project_id, EVERYBODY)}
    return {policy.object_id: policy for policy in await store.select(RbacPolicy, Query(where=where))}


async def shared_ids(store: Store, caller: Caller, shown: Iterable[AnyRecord]) -> Set[str]:
    """Name the objects, of records that the caller is shown, that are shared with its project.

    What is another's it could not see if it were not shared: only its own is asked for.
    """
    own: set[str] = set()
    others: set[str] = set()
    for record in shown:
        (own if caller.owns(record) else others).add(shared_object(record))
    return (await grants_on(store, caller.project_id, sorted(own))).keys() | (others - own)


async def policies_on(store: Store, object_id: str) -> list[RbacPolicy]:
    """Read all policies on an object: they go with it."""
    return await store.select(RbacPolicy, Query(where={"object_id": (object_id,)}))


async def grants_for(store: Store, caller: Caller, records: Iterable[AnyRecord]) -> dict[str, RbacPolicy]:
    """Read what shares those of the records with the caller that it would not see otherwise."""
    objects = {shared_object(record) for record in records if not caller.sees(record)}
    return await grants_on(store, caller.project_id, sorted(objects - {""}))


async def fetch_one(store: Store, caller: Caller, kind: type[R], record_id: str) -> R:
    """Read one record that the caller may see. Raises Missing."""
    return (await fetch(store, caller, kind, (record_id,)))[record_id]


async def fetch(store: Store, caller: Caller, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
    """Read records that the caller may see. Raises Missing when one is not there."""
    return (await fetch_granted(store, caller, kind, ids))[0]


async def fetch_granted(
    store: Store, caller: Caller, kind: type[R], ids: Sequence[str]
) -> tuple[dict[str, R], dict[str, RbacPolicy]]:
    """Read records as `fetch`, and what shares those that the caller would not see otherwise."""
    found = await store.get(kind, ids) if ids else {}
    grants = await grants_for(store, caller, found.values())
    require(caller, kind, found, ids, grants)
    return found, grants


async def fetch_own(store: Store, caller: Caller, kind: type[R], record_id: str, action: str) -> R:
    """Read one record that the caller may change. Raises Missing; Invalid (403) for what it may only see."""
    record = await fetch_one(store, caller, kind, record_id)
    if not caller.owns(record):
        raise forbidden(action)
    return record


async def fetch_all_own(
    store: Store, caller: Caller, kind: type[R], ids: Sequence[str], action: str
) -> dict[str, R]:
    """Read records that the caller may change. Raises Missing; Invalid (403) for what it may only see."""
    found = await fetch(store, caller, kind, ids)
    if not all(map(caller.owns, found.values())):
        raise forbidden(action)
    return found


def visible(kind: type[AnyRecord], project_id: str) -> list[Mapping[str, Sequence[Value]]]:
    """Give where the records are that a project may see: alternatives, its own first."""
    alternatives: list[Mapping[str, Sequence[Value]]] = [{"project_id": (project_id,)}]
    if kind in columns.SHARED_BY:
        alternatives.append({columns.SHARED_WITH: (project_id, EVERYBODY)})
    if kind is Port:
        alternatives.append({"network_owner": (project_id,)})
    return alternatives
