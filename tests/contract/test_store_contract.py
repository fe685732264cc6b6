"""The contract of `contracts.store.Store`, the same for the store in memory and for PostgreSQL."""

import asyncio

import msgspec
import pytest

from alcor.contracts.store import (
    Change,
    Exists,
    NoneWhere,
    Query,
    Stale,
    Store,
    Taken,
    Unchanged,
    Write,
)
from alcor.model import errors
from alcor.model.ids import GroupId, HostId, NetworkId, PortGroupId, PortId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import (
    FixedIp,
    Host,
    Network,
    Port,
    RecordSet,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)
from alcor.runtime.clock import new_ids

PROJECT = ProjectId("a" * 32)


def write(**parts: object) -> Write:
    return Write(request_id=RequestId(f"req-{new_ids(1)[0]}"), project_id=PROJECT, **parts)  # type: ignore[arg-type]


def network(vni: int = 1, **parts: object) -> Network:
    return Network(id=NetworkId(new_ids(1)[0]), project_id=PROJECT, vni=Vni(vni), **parts)  # type: ignore[arg-type]


def subnet_of(it: Network) -> Subnet:
    return Subnet(
        id=SubnetId(new_ids(1)[0]),
        project_id=PROJECT,
        network_id=it.id,
        cidr=(b"\x0a\0\0\0", 16),
        pools=((b"\x0a\0\0\x02", b"\x0a\0\xff\xfe"),),
    )


def port(it: Network, mac: int, **parts: object) -> Port:
    return Port(id=PortId(new_ids(1)[0]), project_id=PROJECT, network_id=it.id, mac=mac, **parts)  # type: ignore[arg-type]


def address(subnet: Subnet, number: int) -> tuple[FixedIp, ...]:
    return (FixedIp(subnet.id, (0x0A000000 + number).to_bytes(4, "big")),)


async def add(store: Store, *records: Network | Subnet | Port | Router | Host | SecurityGroup) -> int:
    return await store.commit(
        write(
            inserts=RecordSet(
                networks=tuple(it for it in records if isinstance(it, Network)),
                subnets=tuple(it for it in records if isinstance(it, Subnet)),
                ports=tuple(it for it in records if isinstance(it, Port)),
                routers=tuple(it for it in records if isinstance(it, Router)),
                hosts=tuple(it for it in records if isinstance(it, Host)),
                security_groups=tuple(it for it in records if isinstance(it, SecurityGroup)),
            )
        )
    )


async def test_what_was_committed_is_read_back(store: Store) -> None:
    vpc = network(7, name="blüe", tags=("a", "b"))
    group = SecurityGroup(id=GroupId(new_ids(1)[0]), project_id=PROJECT, is_default=True)
    rule = SecurityGroupRule(
        id=new_ids(1)[0],  # type: ignore[arg-type]
        project_id=PROJECT,
        security_group_id=group.id,
        direction="ingress",
        remote_prefix=(b"\x0a\0\0\0", 8),
    )
    full = port(
        vpc,
        2**48 - 1,
        host=HostId("host-1"),
        security_groups=(group.id,),
        binding_profile=msgspec.Raw(msgspec.msgpack.encode({"x": [1, None]})),
    )
    host = Host(id=HostId("host-1"), project_id=ProjectId(""), vtep=b"\x01\x02\x03\x04")
    await store.commit(
        write(
            inserts=RecordSet(
                networks=(vpc,),
                ports=(full,),
                security_groups=(group,),
                security_group_rules=(rule,),
                hosts=(host,),
            )
        )
    )
    assert await store.get(Network, [vpc.id, new_ids(1)[0]]) == {vpc.id: vpc}
    assert await store.get(SecurityGroupRule, [rule.id]) == {rule.id: rule}
    assert await store.get(Host, ["host-1"]) == {"host-1": host}
    read = (await store.get(Port, [full.id]))[full.id]
    assert msgspec.structs.replace(read, binding_profile=full.binding_profile) == full
    assert bytes(read.binding_profile) == bytes(full.binding_profile)


async def test_an_id_that_is_none_is_not_found(store: Store) -> None:
    assert await store.get(Network, ["no-uuid", "x\0y"]) == {}
    assert await store.select(Network, Query(where={"id": ["no-uuid"]})) == []
    assert await store.select(Network, Query(where={"vni": [2**70]})) == []


async def test_every_commit_is_one_revision_of_the_log(store: Store) -> None:
    heard: list[Change] = []
    store.listen(heard.append)
    before = await store.revision()
    vpc = network()
    member = port(vpc, 1)
    revisions = [
        await add(store, vpc),
        await add(store, member),
        await store.commit(write(deletes=RecordSet(ports=(member,)))),
    ]
    assert revisions == [before + 1, before + 2, before + 3]
    assert await store.revision() == before + 3
    log = await store.changes(after=before)
    assert [change.revision for change in log] == revisions
    assert [change.puts.networks for change in log] == [(vpc,), (), ()]
    assert log[2].deletes.ports[0].id == member.id
    assert [(it.revision, it.committed_at, it.request_id) for it in heard] == [
        (it.revision, it.committed_at, it.request_id) for it in log
    ]
    assert [change.revision for change in await store.changes(after=before + 1, limit=1)] == [before + 2]
    assert await store.changes(after=before + 3) == []


async def test_inserted_and_updated_records_are_both_puts(store: Store) -> None:
    vpc, router = network(), Router(id=new_ids(1)[0], project_id=PROJECT)  # type: ignore[arg-type]
    await add(store, vpc, router)
    renamed = msgspec.structs.replace(vpc, name="b", revision_number=1)
    other = network(2)
    revision = await store.commit(
        write(
            inserts=RecordSet(networks=(other,)),
            updates=RecordSet(networks=(renamed,)),
            deletes=RecordSet(routers=(router,)),
        )
    )
    (change,) = await store.changes(after=revision - 1)
    assert change.puts.networks == (other, renamed)
    assert change.deletes.routers == (router,)
    assert (await store.get(Network, [vpc.id]))[vpc.id] == renamed
    assert await store.get(Router, [router.id]) == {}


async def test_unique_values_are_refused_and_named(store: Store) -> None:
    vpc = network(5)
    subnet = subnet_of(vpc)
    held = port(vpc, 11, fixed_ips=address(subnet, 9))
    await add(store, vpc, subnet, held)
    before = await store.revision()
    for rival, constraint, value in (
        (network(5), "vni", 5),
        (port(vpc, 11), "mac", (vpc.id, 11)),
        (port(vpc, 12, fixed_ips=address(subnet, 9)), "address", (subnet.id, b"\x0a\0\0\x09")),
        (msgspec.structs.replace(vpc, vni=Vni(6)), "id", vpc.id),
    ):
        with pytest.raises(Taken) as refused:
            await add(store, rival)
        assert (refused.value.constraint, refused.value.value) == (constraint, value)
    assert await store.revision() == before
    other = network(8)
    await add(store, other, port(other, 11))  # a MAC is unique in its network only


async def test_what_a_deleted_port_held_is_free_again(store: Store) -> None:
    vpc = network()
    subnet = subnet_of(vpc)
    first = port(vpc, 1, fixed_ips=address(subnet, 5))
    await add(store, vpc, subnet, first)
    again = port(vpc, 1, fixed_ips=address(subnet, 5))
    await store.commit(write(deletes=RecordSet(ports=(first,)), inserts=RecordSet(ports=(again,))))
    assert [it.id for it in await store.select(Port, Query(where={"fixed_ips.ip": [b"\x0a\0\0\x05"]}))] == [
        again.id
    ]


async def test_an_address_and_its_subnet_are_asked_for_together(store: Store) -> None:
    vpc = network()
    one, other = subnet_of(vpc), subnet_of(vpc)
    crossed = port(vpc, 1, fixed_ips=(*address(one, 5), *address(other, 6)))
    meant = port(vpc, 2, fixed_ips=address(one, 6))
    await add(store, vpc, one, other, crossed, meant)
    where = {"fixed_ips.subnet_id": [one.id], "fixed_ips.ip": [b"\x0a\0\0\x06"]}
    assert await store.select(Port, Query(where=where)) == [meant]


async def test_the_holders_of_addresses_are_named(store: Store) -> None:
    vpc = network()
    one, other = subnet_of(vpc), subnet_of(vpc)
    first, second = (port(vpc, mac, fixed_ips=address(one, mac)) for mac in (5, 6))
    await add(store, vpc, one, other, first, second)
    ip = address(one, 5)[0].ip
    asked = [(one.id, ip), (other.id, ip), (one.id, address(one, 7)[0].ip)]
    assert await store.holders(asked) == {(one.id, ip): first.id}
    assert await store.holders([]) == {}


async def test_an_update_moves_addresses_and_memberships(store: Store) -> None:
    vpc = network()
    subnet = subnet_of(vpc)
    groups = [GroupId(id_) for id_ in new_ids(2)]
    first = port(vpc, 1, fixed_ips=address(subnet, 5), security_groups=(groups[0],))
    await add(store, vpc, subnet, first)
    moved = msgspec.structs.replace(
        first, fixed_ips=address(subnet, 6), security_groups=(groups[1],), revision_number=1
    )
    await store.commit(write(updates=RecordSet(ports=(moved,)), guards=(Unchanged("port", first.id, 0),)))
    await add(store, port(vpc, 2, fixed_ips=address(subnet, 5)))
    with pytest.raises(Taken):
        await add(store, port(vpc, 3, fixed_ips=address(subnet, 6)))
    assert await store.select(Port, Query(where={"security_groups": [groups[0]]})) == []
    assert len(await store.select(Port, Query(where={"security_groups": [groups[1]]}))) == 1


async def test_what_is_gone_cannot_be_changed(store: Store) -> None:
    vpc = network()
    for parts in (
        {"updates": RecordSet(networks=(vpc,))},
        {"deletes": RecordSet(networks=(vpc,))},
        {"guards": (Exists("network", vpc.id),)},
        {"guards": (Unchanged("network", vpc.id, 0),)},
    ):
        with pytest.raises(Stale):
            await store.commit(write(**parts))
    assert await store.revision() == 0


async def test_a_record_that_moved_is_not_updated_or_deleted(store: Store) -> None:
    vpc = network()
    await add(store, vpc)
    newer = msgspec.structs.replace(vpc, name="newer", revision_number=1)
    await store.commit(write(updates=RecordSet(networks=(newer,)), guards=(Unchanged("network", vpc.id, 0),)))
    late = msgspec.structs.replace(vpc, name="late", revision_number=1)
    with pytest.raises(Stale) as refused:
        await store.commit(
            write(updates=RecordSet(networks=(late,)), guards=(Unchanged("network", vpc.id, 0),))
        )
    assert refused.value.guard == Unchanged("network", vpc.id, 0)
    with pytest.raises(Stale):
        await store.commit(write(deletes=RecordSet(networks=(vpc,))))
    with pytest.raises(Stale):
        await store.commit(write(guards=(Unchanged("network", vpc.id, 0),)))
    await store.commit(write(guards=(Unchanged("network", vpc.id, 1), Exists("network", vpc.id))))


async def test_none_where_leaves_out_what_the_write_itself_touches(store: Store) -> None:
    vpc = network()
    member = port(vpc, 1, fixed_ips=address(subnet_of(vpc), 3))
    await add(store, vpc, member)
    guards = (
        NoneWhere("port", "network_id", vpc.id),
        NoneWhere("port", "fixed_ips.subnet_id", member.fixed_ips[0].subnet_id),
    )
    for guard in guards:
        with pytest.raises(Stale) as refused:
            await store.commit(write(deletes=RecordSet(networks=(vpc,)), guards=(guard,)))
        assert refused.value.guard == guard
    await store.commit(
        write(inserts=RecordSet(networks=(network(2),)), guards=(NoneWhere("network", "vni", 2),))
    )
    await store.commit(write(deletes=RecordSet(networks=(vpc,), ports=(member,)), guards=guards))


async def test_a_query_pages_in_a_total_order(store: Store) -> None:
    vpc = network()
    groups = ["", *new_ids(2)]
    ports = [
        port(
            vpc,
            index,
            name=f"p{index % 3}",
            host=HostId("ab"[index % 2]),
            port_group_id=PortGroupId(groups[index % 3]),
        )
        for index in range(20)
    ]
    await add(store, vpc, *ports)
    for order in (
        (),
        (("name", True),),
        (("name", False),),
        (("host", True), ("name", False)),
        (("port_group_id", True), ("mac", False)),
        (("port_group_id", False),),
        (("id", False),),
    ):
        whole = await store.select(Port, Query(order=order))
        assert len({it.id for it in whole}) == 20
        paged: list[Port] = []
        while page := await store.select(Port, Query(order=order, limit=7, after=paged[-1] if paged else None)):
            paged += page
        assert [it.id for it in paged] == [it.id for it in whole]
        for (column, ascending), *_ in [order] if order else []:
            values = [str(getattr(it, column)) for it in whole]
            assert values == sorted(values, reverse=not ascending)


async def test_a_query_selects_by_every_column(store: Store) -> None:
    vpc, other = network(1, name="a"), network(2)
    group_ids = new_ids(2)
    members = [
        port(vpc, 1, device_id="d", device_owner="o", security_groups=(GroupId(group_ids[0]),)),
        port(other, 2, host=HostId("h"), port_group_id=PortGroupId(group_ids[1])),
    ]
    await add(store, vpc, other, *members)
    for where, wanted in (
        ({"network_id": [vpc.id]}, members[:1]),
        ({"network_id": [vpc.id, other.id]}, members),
        ({"mac": [2, 3]}, members[1:]),
        ({"host": ["h"]}, members[1:]),
        ({"device_id": ["d"], "device_owner": ["o", "q"]}, members[:1]),
        ({"device_id": ["d"], "mac": [2]}, []),
        ({"port_group_id": [""]}, members[:1]),
        ({"port_group_id": group_ids}, members[1:]),
        ({"security_groups": group_ids}, members[:1]),
        ({"project_id": [PROJECT]}, members),
        ({"id": []}, []),
    ):
        found = await store.select(Port, Query(where=where))
        assert [it.id for it in found] == sorted(it.id for it in wanted), where
    assert await store.select(Network, Query(where={"name": ["a"], "vni": [1]})) == [vpc]
    with pytest.raises(errors.Broken):
        await store.select(Port, Query(where={"mtu": [1]}))
    with pytest.raises(errors.Broken):
        await store.select(Network, Query(order=(("security_groups", True),)))


async def test_a_snapshot_shows_one_revision(store: Store) -> None:
    vpc = network()
    await add(store, vpc, *(port(vpc, index) for index in range(1500)))
    async with store.snapshot() as snapshot:
        await add(store, port(vpc, 5000), network(2))
        chunks = [chunk async for chunk in snapshot.records(Port)]
        assert [len(chunk) for chunk in chunks] == [1000, 500]
        ids = [it.id for chunk in chunks for it in chunk]
        assert ids == sorted(ids)
        assert [it async for it in snapshot.records(Network)] == [[vpc]]
        assert [it async for it in snapshot.records(Host)] == []
        assert snapshot.revision == await store.revision() - 1


async def test_each_epoch_is_new(store: Store) -> None:
    first = await store.begin_epoch()
    assert await asyncio.gather(*(store.begin_epoch() for _ in range(4)))
    assert await store.begin_epoch() == first + 5


async def test_a_port_and_the_end_of_its_network_exclude_each_other(store: Store) -> None:
    for index in range(50):
        vpc = network(index + 1)
        await add(store, vpc)
        create = write(inserts=RecordSet(ports=(port(vpc, 1),)), guards=(Exists("network", vpc.id),))
        delete = write(deletes=RecordSet(networks=(vpc,)), guards=(NoneWhere("port", "network_id", vpc.id),))
        both = (create, delete) if index % 2 else (delete, create)
        outcomes = await asyncio.gather(*map(store.commit, both), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Stale", "int"]


async def test_concurrent_writers_never_share_a_unique_value(store: Store) -> None:
    vpc = network(1)
    subnet = subnet_of(vpc)
    await add(store, vpc, subnet)

    async def one(number: int) -> object:
        try:
            return await add(store, port(vpc, number % 40, fixed_ips=address(subnet, 100 + number % 40)))
        except Taken as refused:
            return refused

    outcomes = await asyncio.gather(*(one(number) for number in range(120)))
    revisions = sorted(it for it in outcomes if isinstance(it, int))
    assert len(revisions) == 40
    assert revisions == list(range(2, 42))
    assert len(await store.select(Port, Query())) == 40
    assert [it.revision for it in await store.changes(after=0)] == list(range(1, 42))


async def test_only_the_guilty_one_of_concurrent_writes_fails(store: Store) -> None:
    vpc = network(1)
    await add(store, vpc)
    writes = [write(inserts=RecordSet(ports=(port(vpc, index),))) for index in range(20)]
    writes.insert(7, write(inserts=RecordSet(ports=(port(vpc, 3),))))
    writes.insert(9, write(guards=(Exists("network", new_ids(1)[0]),)))
    outcomes = await asyncio.gather(*map(store.commit, writes), return_exceptions=True)
    assert [type(outcomes[7]), type(outcomes[9])] == [Taken, Stale]
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 20


async def test_concurrent_updates_of_one_record_are_all_kept_in_order(store: Store) -> None:
    vpc = network(1)
    await add(store, vpc)
    await asyncio.gather(
        *(
            store.commit(write(updates=RecordSet(networks=(msgspec.structs.replace(vpc, name=str(number)),))))
            for number in range(30)
        )
    )
    log = await store.changes(after=1)
    assert sorted(int(it.puts.networks[0].name) for it in log) == list(range(30))
    assert (await store.get(Network, [vpc.id]))[vpc.id].name == log[-1].puts.networks[0].name


async def test_large_writes_and_small_ones_run_side_by_side(store: Store) -> None:
    vpc = network(1)
    subnet = subnet_of(vpc)
    await add(store, vpc, subnet)
    bulk = [
        tuple(port(vpc, base + index, fixed_ips=address(subnet, base + index)) for index in range(1200))
        for base in (0, 2000)
    ]
    await asyncio.gather(
        *(store.commit(write(inserts=RecordSet(ports=ports))) for ports in bulk),
        *(add(store, port(vpc, 10_000 + index)) for index in range(40)),
    )
    assert len(await store.select(Port, Query())) == 2440
    assert await store.revision() == 43
    largest = max(await store.changes(after=1), key=lambda change: len(change.puts.ports))
    assert largest.puts.ports in bulk or [it.id for it in largest.puts.ports] in [
        [it.id for it in b] for b in bulk
    ]
