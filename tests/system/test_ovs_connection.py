"""The two connections against a real switch: what is sent is what it understands, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from ovs_scene import Scene, needs_ovs

from alcor.data_plane.ovs.encoding import ALCOR_MARK, MARK_MASK, MARK_SHIFT, FlowEncoder
from alcor.data_plane.ovs.endpoint import Endpoint
from alcor.data_plane.ovs.flow_table import ROUNDS_MAX, FlowTable, Repair
from alcor.data_plane.ovs.openflow import OpenFlowConnection, RefusedFlow
from alcor.data_plane.pipeline.flow import (
    Action,
    Commit,
    Conjunction,
    DecTtl,
    Field,
    Flow,
    FlowChange,
    FlowKey,
    Goto,
    Match,
    Move,
    OutputInPort,
    SetField,
    Term,
    ToAgent,
    Track,
)
from alcor.lab.laboratory import Laboratory
from alcor.model.errors import Unavailable

pytestmark = [pytest.mark.ovs, needs_ovs, pytest.mark.asyncio(loop_scope="module")]

TABLE = 200  # not one of the pipeline's
IP = Term(Field.ETH_TYPE, 0x0800)
ARP = Term(Field.ETH_TYPE, 0x0806)

MEANINGS: list[tuple[Match, tuple[Action, ...], str, str]] = [
    (
        (Term(Field.ETH_DST, 0x02AA00000001), Term(Field.REG0, 100)),
        (Move(Field.REG0, Field.TUN_ID), SetField(Field.TUN_DST, 0xAC1F0002), Goto(201)),
        "reg0=0x64,dl_dst=02:aa:00:00:00:01",
        "move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31],set_field:172.31.0.2->tun_dst,goto_table:201",
    ),
    (
        (IP, Term(Field.IP_PROTO, 6), Term(Field.IP_DST, 0x0A000000, 0xFFFFFF00), Term(Field.TCP_DST, 80)),
        (DecTtl(), SetField(Field.ETH_SRC, 0x0E0000000001), OutputInPort()),
        "tcp,nw_dst=10.0.0.0/24,tp_dst=80",
        "dec_ttl,set_field:0e:00:00:00:00:01->eth_src,IN_PORT",
    ),
    ((IP, Term(Field.IP_TTL, 1)), (ToAgent(0x101),), "ip,nw_ttl=1", "controller(meter_id=2713714945)"),
    ((IP,), (Track(Field.REG1, 202),), "ip", "ct(table=202,zone=NXM_NX_REG1[0..15])"),
    (
        (IP, Term(Field.CT_STATE, 0x22, 0x2A), Term(Field.CT_MARK, 0)),
        (Commit(Field.REG2, 1),),
        "ct_state=+est-rpl+trk,ct_mark=0,ip",
        "ct(commit,zone=NXM_NX_REG2[0..15],exec(set_field:0x1->ct_mark))",
    ),
    (
        (Term(Field.REG1, 7),),
        (Conjunction(5, 1, 3), Conjunction(6, 2, 2)),
        "reg1=0x7",
        "conjunction(5,1/3),conjunction(6,2/2)",
    ),
    ((Term(Field.CONJ_ID, 5),), (Goto(201),), "conj_id=5", "goto_table:201"),
    (
        (ARP, Term(Field.ARP_OP, 1), Term(Field.ARP_TPA, 0x0A000001)),
        (SetField(Field.ARP_OP, 2), Move(Field.ARP_SHA, Field.ARP_THA)),
        "arp,arp_tpa=10.0.0.1,arp_op=1",
        "set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
    ),
    ((IP, Term(Field.IP_PROTO, 1), Term(Field.ICMP_TYPE, 8)), (), "icmp,icmp_type=8", "drop"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    with Laboratory(hosts=1) as lab:
        scene = Scene(lab)
        try:
            await scene.start()
            await scene.hosts[0].driver.close()  # only the bridge is wanted
            yield scene
        finally:
            await scene.close()


@pytest_asyncio.fixture(loop_scope="module")
async def connection(scene: Scene) -> AsyncIterator[OpenFlowConnection]:
    path = scene.hosts[0].emulated.run_dir / "br-int.mgmt"
    connection = await OpenFlowConnection.open(Endpoint(path=str(path)), on_packet=print, on_lost=print)
    yield connection
    connection.close()


def flow(match: Match, actions: tuple[Action, ...] = (), *, priority: int = 1, table: int = TABLE) -> Flow:
    return Flow(FlowKey(table, priority, match), actions)


def never_looked_at() -> Iterator[Flow]:
    raise AssertionError("the switch holds what was put there")
    yield


async def send(connection: OpenFlowConnection, bodies: list[bytes]) -> list[RefusedFlow]:
    return await connection.bundle(bodies, count=len(bodies))


async def dump(scene: Scene, table: int = TABLE) -> list[str]:
    text = await asyncio.to_thread(scene.hosts[0].emulated.ofctl, "dump-flows", f"table={table}")
    return [line.strip() for line in text.splitlines() if "actions=" in line]


async def test_the_switch_shows_what_was_meant(scene: Scene, connection: OpenFlowConnection) -> None:
    encoder = FlowEncoder()
    flows = [flow(match, actions) for match, actions, _, _ in MEANINGS]
    assert await send(connection, [encoder.add(one)[1] for one in flows]) == []
    shown = await dump(scene)
    for one, (_, _, match, actions) in zip(flows, MEANINGS, strict=True):
        cookie = encoder.add(one)[0]
        assert f"cookie={cookie:#x}, table={TABLE}, priority=1,{match} actions={actions}" in shown
    held = await connection.flows(cookie=ALCOR_MARK << MARK_SHIFT, cookie_mask=MARK_MASK)
    assert {encoder.add(one)[0] for one in flows} <= {one.cookie for one in held}
    assert await send(connection, [encoder.remove(one.key) for one in flows]) == []
    assert await dump(scene) == []


async def test_a_bundle_with_a_refused_flow_changes_nothing(
    scene: Scene, connection: OpenFlowConnection
) -> None:
    encoder = FlowEncoder()
    good, bad = flow((IP,)), flow((Term(Field.IP_DST, 1),))  # an address without the type before it
    (refused,) = await send(connection, [encoder.add(good)[1], encoder.add(bad)[1]])
    assert refused.place == 1
    assert "prerequisites" in refused.reason
    assert await dump(scene) == []


async def test_the_rest_is_put_in_force_without_the_refused(
    scene: Scene, connection: OpenFlowConnection
) -> None:
    table = FlowTable(connection)
    good = [flow((IP,)), flow((ARP,))]
    bad = flow((Term(Field.IP_DST, 1),))
    (refused,) = await table.change(FlowChange([good[0], bad, good[1]], [], []))
    assert refused.flow == bad
    assert len(await dump(scene)) == 2
    assert await table.change(FlowChange([], good, [])) == []
    assert await dump(scene) == []


async def test_wanted_flows_are_looked_at_only_when_the_switch_holds_others(
    scene: Scene, connection: OpenFlowConnection
) -> None:
    table, nothing_to_see = FlowTable(connection), never_looked_at()
    held = [flow((IP,)), flow((ARP,)), flow((IP, Term(Field.IP_DST, 1)))]
    await table.equalise(held, remove=True)
    assert await table.repair(nothing_to_see, remove=True) == Repair(0, 0, [])
    other = flow((ARP,), (Goto(TABLE + 1),))
    await table.change(FlowChange([other], held[2:], held[1:2]))
    assert await table.repair(nothing_to_see, remove=True) == Repair(0, 0, [])
    await asyncio.to_thread(scene.hosts[0].emulated.ofctl, "del-flows", f"table={TABLE},arp")
    assert await table.repair([held[0], other], remove=True) == Repair(1, 0, [])
    assert await table.repair(nothing_to_see, remove=True) == Repair(0, 0, [])
    assert await table.change(FlowChange([], [held[0], other], [])) == []


async def test_a_full_table_is_told_of_the_flow_that_did_not_fit(
    scene: Scene, connection: OpenFlowConnection
) -> None:
    vsctl = scene.hosts[0].emulated.vsctl
    limit = "--id=@t create Flow_Table flow_limit=1 -- set bridge br-int flow_tables:200=@t"
    await asyncio.to_thread(vsctl, ["--", *limit.split()])
    try:
        table = FlowTable(connection)
        flows = [flow((IP,)), flow((ARP,))]
        (refused,) = await table.change(FlowChange(flows, [], []))
        assert refused.flow == flows[1]
        assert "full" in refused.reason
        assert len(await dump(scene)) == 1
        assert await table.change(FlowChange([], flows[:1], [])) == []
    finally:
        await asyncio.to_thread(vsctl, ["clear", "bridge", "br-int", "flow_tables"])


async def test_what_was_refused_is_told_again_when_all_is_compared(
    scene: Scene, connection: OpenFlowConnection
) -> None:
    table = FlowTable(connection)
    good, bad = flow((IP,)), flow((Term(Field.IP_DST, 1),))
    assert [one.flow for one in await table.change(FlowChange([good, bad], [], []))] == [bad]
    for remove in (False, True):
        assert [one.flow for one in (await table.equalise([good, bad], remove=remove)).refused] == [bad]
    assert await table.repair([good, bad], remove=True) == Repair(0, 0, []), "but not tried again in between"
    assert await table.change(FlowChange([], [good], [])) == []


async def test_what_goes_is_removed_though_more_flows_are_refused_than_are_told_apart(
    scene: Scene, connection: OpenFlowConnection
) -> None:
    vsctl = scene.hosts[0].emulated.vsctl
    table = FlowTable(connection)
    gone, kept = [flow((IP, Term(Field.IP_DST, number))) for number in (1, 2)], flow((ARP,))
    assert await table.change(FlowChange([*gone, kept], [], [])) == []
    limit = "--id=@t create Flow_Table flow_limit=1 -- set bridge br-int flow_tables:200=@t"
    await asyncio.to_thread(vsctl, ["--", *limit.split()])
    try:
        many = [flow((IP, Term(Field.IP_SRC, number))) for number in range(ROUNDS_MAX + 2)]
        refused = await table.change(FlowChange(many, gone[:1], []))
        assert [one.flow for one in refused] == many
        assert len(await dump(scene)) == 2
        repair = await table.equalise([kept, *many], remove=True)
        assert (repair.removed, repair.left) == (1, 0)
        assert len(await dump(scene)) == 1
    finally:
        await asyncio.to_thread(vsctl, ["clear", "bridge", "br-int", "flow_tables"])
    assert await table.change(FlowChange([], [kept], [])) == []


async def test_a_flow_of_others_is_not_removed(scene: Scene, connection: OpenFlowConnection) -> None:
    ofctl = scene.hosts[0].emulated.ofctl
    await asyncio.to_thread(ofctl, "add-flow", f"table={TABLE},priority=1,ip,actions=drop")
    assert await send(connection, [FlowEncoder().remove(flow((IP,)).key)]) == []
    assert len(await dump(scene)) == 1
    await asyncio.to_thread(ofctl, "del-flows", f"table={TABLE}")


async def test_a_large_bundle_goes_through_with_bounded_buffers(
    scene: Scene, connection: OpenFlowConnection
) -> None:
    encoder = FlowEncoder()
    flows = [flow((Term(Field.REG0, number),)) for number in range(20_000)]
    assert await send(connection, [encoder.add(one)[1] for one in flows]) == []
    held = await connection.flows(cookie=ALCOR_MARK << MARK_SHIFT, cookie_mask=MARK_MASK)
    assert sum(one.table == TABLE for one in held) == len(flows)
    assert await send(connection, [encoder.remove_cookie(encoder.add(one)[0]) for one in flows]) == []
    assert await dump(scene) == []


async def test_a_socket_that_is_not_there_is_unavailable(scene: Scene) -> None:
    with pytest.raises(Unavailable):
        await OpenFlowConnection.open(Endpoint(path="/run/nowhere.mgmt"), on_packet=print, on_lost=print)
