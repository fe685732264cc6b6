"""Subnet pools in every store: found by scope and as default, also where there is none."""

import pytest

from alcor.contracts.store import NoneWhere, Query, Stale, Store, Write
from alcor.model.addressing import Cidr
from alcor.model.ids import AddressScopeId, NetworkId, ProjectId, RequestId, SubnetId, SubnetPoolId
from alcor.model.records import AddressScope, RecordSet, Subnet, SubnetPool
from alcor.runtime.clock import new_ids

BLUE = ProjectId("blue")


def write(**parts: object) -> Write:
    return Write(request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=BLUE, **parts)  # type: ignore[arg-type]


def pool(scope: str | None = None, *, is_default: bool = False) -> SubnetPool:
    return SubnetPool(
        id=SubnetPoolId(new_ids(1)[0]),
        project_id=BLUE,
        prefixes=(Cidr.from_text("10.0.0.0/8"),),
        free=(Cidr.from_text("10.128.0.0/9"),),
        min_prefixlen=8,
        max_prefixlen=32,
        default_prefixlen=24,
        address_scope_id=None if scope is None else AddressScopeId(scope),
        is_default=is_default,
        revision_number=1,
    )


def subnet(pool_id: str | None) -> Subnet:
    return Subnet(
        id=SubnetId(new_ids(1)[0]),
        project_id=BLUE,
        network_id=NetworkId(new_ids(1)[0]),
        cidr=Cidr.from_text("10.0.0.0/24"),
        subnetpool_id=None if pool_id is None else SubnetPoolId(pool_id),
    )


async def test_pools_and_what_is_from_them_are_found_by_their_columns(store: Store) -> None:
    scope = AddressScope(id=AddressScopeId(new_ids(1)[0]), project_id=BLUE, name="scope")
    scoped, default, plain = pool(scope.id), pool(is_default=True), pool()
    cut, bare = subnet(scoped.id), subnet(None)
    inserts = RecordSet(address_scopes=(scope,), subnetpools=(scoped, default, plain), subnets=(cut, bare))
    await store.commit(write(inserts=inserts))
    assert await store.get(AddressScope, [scope.id]) == {scope.id: scope}
    assert await store.get(SubnetPool, [scoped.id]) == {scoped.id: scoped}
    for column, value, expected in (
        ("address_scope_id", scope.id, [scoped]),
        ("address_scope_id", None, [default, plain]),
        ("default_version", 4, [default]),
        ("default_version", 6, []),
        ("default_version", None, [scoped, plain]),
    ):
        found = await store.select(SubnetPool, Query(where={column: (value,)}))
        assert found == sorted(expected, key=lambda it: it.id), (column, value)
    assert await store.select(Subnet, Query(where={"subnetpool_id": (scoped.id,)})) == [cut]
    assert await store.select(Subnet, Query(where={"subnetpool_id": (None,)})) == [bare]
    async with store.snapshot() as snapshot:
        found = [it async for chunk in snapshot.records(SubnetPool) for it in chunk]
    assert found == sorted((scoped, default, plain), key=lambda it: it.id)


async def test_there_is_no_second_default_among_writers_who_guard_it(store: Store) -> None:
    only = (NoneWhere("subnetpool", "default_version", 4),)
    first = pool(is_default=True)
    await store.commit(write(inserts=RecordSet(subnetpools=(first,)), guards=only))
    with pytest.raises(Stale):
        await store.commit(write(inserts=RecordSet(subnetpools=(pool(is_default=True),)), guards=only))
    await store.commit(write(updates=RecordSet(subnetpools=(first,)), guards=only))  # itself is no other
