"""What stores know of sharing: policies, what is borrowed, alternatives. The same for both stores."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
import pytest

from alcor.adapters.postgres import queries
from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.store import Exists, Guard, NotBorrowed, Query, Stale, Store, Taken, Unchanged, Write
from alcor.model.ids import GroupId, NetworkId, PolicyId, PortId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import EVERYBODY, KIND_OF, AnyRecord, Network, Port, RbacPolicy, RecordSet, Subnet
from alcor.runtime.clock import new_ids

OWNER, GUEST, OTHER = ProjectId("owner"), ProjectId("guest"), ProjectId("other")
_numbers = iter(range(1, 1_000_000))


def network(project_id: ProjectId = OWNER) -> Network:
    return Network(id=NetworkId(new_ids(1)[0]), project_id=project_id, vni=Vni(next(_numbers)))


def subnet(of: Network) -> Subnet:
    return Subnet(
        id=SubnetId(new_ids(1)[0]), project_id=of.project_id, network_id=of.id, cidr=(b"\x0a\0\0\0", 16)
    )


def port(of: Network, project_id: ProjectId = GUEST, *, groups: Sequence[str] = ()) -> Port:
    return Port(
        id=PortId(new_ids(1)[0]),
        project_id=project_id,
        network_id=of.id,
        mac=next(_numbers),
        network_owner=of.project_id if of.project_id != project_id else ProjectId(""),
        security_groups=tuple(map(GroupId, groups)),
        borrowed_groups=tuple(map(GroupId, groups)),
    )


def policy(of: Network, target: str, **parts: Any) -> RbacPolicy:
    return RbacPolicy(
        id=PolicyId(new_ids(1)[0]),
        project_id=of.project_id,
        object_type="network",
        object_id=of.id,
        target=target,
        revision_number=1,
        **parts,
    )


def records(*them: AnyRecord) -> RecordSet:
    found: dict[str, tuple[AnyRecord, ...]] = {}
    for record in them:
        kind = KIND_OF[type(record)]
        name = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        found[name] = (*found.get(name, ()), record)
    return RecordSet(**found)  # type: ignore[arg-type]  # by kind


def write(*guards: Guard, **parts: RecordSet) -> Write:
    return Write(request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=OWNER, guards=guards, **parts)


async def add(store: Store, *them: AnyRecord) -> int:
    return await store.commit(write(inserts=records(*them)))


async def ids(store: Store, kind: type[AnyRecord], query: Query) -> set[str]:
    return {record.id for record in await store.select(kind, query)}


async def test_what_policies_share_is_found_by_their_targets_and_what_borrows_by_the_owner(
    store: Store,
) -> None:
    own, shared, open_, hidden = network(GUEST), network(), network(), network(OTHER)
    subnets = [subnet(it) for it in (own, shared, open_, hidden)]
    guest = port(shared)
    await add(store, own, shared, open_, hidden, *subnets, guest, port(own))
    await add(store, policy(shared, GUEST), policy(open_, EVERYBODY), policy(hidden, "third"))
    targets = (GUEST, EVERYBODY)
    assert await ids(store, Network, Query(where={"shared_with": targets})) == {shared.id, open_.id}
    assert await ids(store, Network, Query(where={"shared_with": ("nobody",)})) == set()
    seen = ({"project_id": (GUEST,)}, {"shared_with": targets})
    assert await ids(store, Network, Query(any_of=seen)) == {own.id, shared.id, open_.id}
    assert await ids(store, Subnet, Query(any_of=seen)) == {it.id for it in subnets[:3]}
    assert await ids(store, Network, Query(where={"vni": (open_.vni, hidden.vni)}, any_of=seen)) == {open_.id}
    assert await ids(store, Port, Query(where={"network_owner": (OWNER,)})) == {guest.id}
    assert await ids(store, Port, Query(where={"borrowed": (shared.id,)})) == {guest.id}
    await store.commit(write(deletes=records(guest)))
    assert await ids(store, Port, Query(where={"network_owner": (OWNER,)})) == set()


async def test_alternatives_are_merged_in_order_each_record_once_and_by_pages(store: Store) -> None:
    networks = [
        msgspec.structs.replace(network(GUEST if number % 3 else OWNER), name=f"n{number % 4}")
        for number in range(30)
    ]
    await add(store, *networks)
    await add(store, *(policy(it, GUEST) for it in networks[::2]))  # some of them the guest's own
    visible = [it for number, it in enumerate(networks) if number % 3 or number % 2 == 0]
    seen = ({"project_id": (GUEST,)}, {"shared_with": (GUEST, EVERYBODY)})
    for order in ((("id", True),), (("id", False),), (("name", True), ("id", False)), (("name", False),)):
        wanted = sorted(visible, key=lambda it: it.id, reverse=("id", False) in order)
        if order[0][0] == "name":
            wanted.sort(key=lambda it: it.name, reverse=not order[0][1])
        found: list[Network] = []
        while page := await store.select(
            Network, Query(any_of=seen, order=order, after=found[-1] if found else None, limit=7)
        ):
            found += page
        assert found == wanted, order


async def test_a_policy_is_there_once(store: Store) -> None:
    vpc = network()
    first = policy(vpc, GUEST)
    await add(store, vpc, first)
    with pytest.raises(Taken) as refused:
        await add(store, policy(vpc, GUEST))
    assert (refused.value.constraint, refused.value.value) == ("policy", (vpc.id, "access_as_shared", GUEST))
    await add(store, policy(vpc, EVERYBODY), policy(network(), GUEST))
    await store.commit(write(deletes=records(first)))
    await add(store, policy(vpc, GUEST))


async def test_nothing_is_taken_back_while_it_is_borrowed(store: Store) -> None:
    vpc, group_id = network(), new_ids(1)[0]
    await add(store, vpc, port(vpc, OWNER), guest := port(vpc, groups=[group_id]), port(vpc, OTHER))
    for guard, holds in (
        (NotBorrowed(vpc.id, "third"), True),
        (NotBorrowed(vpc.id, OWNER), True),
        (NotBorrowed(vpc.id, GUEST), False),
        (NotBorrowed(vpc.id, EVERYBODY), False),
        (NotBorrowed(vpc.id, EVERYBODY, (GUEST,)), False),
        (NotBorrowed(vpc.id, EVERYBODY, (OTHER, "a", "z", GUEST)), True),
        (NotBorrowed(group_id, GUEST), False),
        (NotBorrowed(group_id, OTHER), True),
        (NotBorrowed(group_id, EVERYBODY, (GUEST,)), True),
        (NotBorrowed(new_ids(1)[0], EVERYBODY), True),
    ):
        ending = write(guard, inserts=records(network()))
        if holds:
            await store.commit(ending)
        else:
            with pytest.raises(Stale):
                await store.commit(ending)
    without = msgspec.structs.replace(guest, security_groups=(), borrowed_groups=(), revision_number=1)
    await store.commit(write(updates=records(without)))
    await store.commit(write(NotBorrowed(group_id, GUEST), inserts=records(network())))
    with pytest.raises(Stale):
        await store.commit(write(NotBorrowed(vpc.id, GUEST), inserts=records(network())))
    await store.commit(write(deletes=records(without)))
    await store.commit(write(NotBorrowed(vpc.id, GUEST), inserts=records(network())))


async def test_a_guests_port_and_the_end_of_its_policy_exclude_each_other(store: Store) -> None:
    vpc = network()
    await add(store, vpc)
    for number in range(40):
        share = policy(vpc, GUEST)
        await add(store, share)
        guards = (Exists("network", vpc.id), Unchanged("rbac_policy", share.id, 1))
        create = write(*guards, inserts=records(guest := port(vpc)))
        end = write(NotBorrowed(vpc.id, GUEST), deletes=records(share))
        both = (create, end) if number % 2 else (end, create)
        outcomes = await asyncio.gather(*map(store.commit, both), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Stale", "int"]
        if await store.get(Port, [guest.id]):
            await store.commit(write(deletes=records(guest)))
            await store.commit(end)


async def test_a_list_reads_the_callers_own_and_what_is_shared_with_it_and_no_more(
    postgres_store: PostgresStore, postgres_dsn: str
) -> None:
    store = postgres_store
    networks = [network(OTHER) for _ in range(3000)]
    await add(store, *networks)
    own = [network(GUEST) for _ in range(5)]
    shared = networks[10:2000:200]
    await add(store, *own, *(policy(it, GUEST if it.vni % 2 else EVERYBODY) for it in shared))
    await add(store, *(policy(it, "third") for it in networks[2000:]))
    vpc = network()
    await add(store, vpc, *(port(vpc, OWNER) for _ in range(2000)), *(guests := [port(vpc) for _ in range(5)]))
    session = await asyncpg.connect(postgres_dsn)
    await session.execute("ANALYZE")
    seen = {"project_id": (GUEST,)}
    for kind, query, expected in (
        (Network, Query(any_of=(seen, {"shared_with": (GUEST, EVERYBODY)}), limit=10_001), [*own, *shared]),
        (Network, Query(any_of=(seen, {"shared_with": (GUEST, EVERYBODY)}), limit=4), [*own, *shared]),
        (Port, Query(any_of=({"project_id": ("x",)}, {"network_owner": (OWNER,)}), limit=10_001), guests),
    ):
        wanted = sorted(expected, key=lambda it: it.id)[: query.limit]
        statement = queries.select(kind, query)
        found = await session.fetch(statement.text, *statement.arguments)
        assert len(found) == len(wanted)
        for mode in ("force_custom_plan", "force_generic_plan"):
            await session.execute(f"SET plan_cache_mode = {mode}")
            plan = await session.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement.text}", *statement.arguments
            )
            assert _rows_read(msgspec.json.decode(plan)[0]["Plan"]) <= 8 * (len(expected) + 1), plan
    await session.close()


def _rows_read(node: dict[str, Any]) -> int:
    """Count the rows that the scans of a plan gave or dropped."""
    inside = sum(_rows_read(each) for each in node.get("Plans", ()))
    if "Scan" not in node["Node Type"] or node["Node Type"] == "Subquery Scan":
        return inside
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return inside + int((node["Actual Rows"] + dropped) * node["Actual Loops"])
