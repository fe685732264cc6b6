"""What must hold while the region runs, and what must be once the faults have ended."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from alcor.contracts.agent_channel import BEAT_S, SILENCE_S
from alcor.contracts.convergence import PortState
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Query
from alcor.control_plane import nodes
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.controller import Controller
from alcor.control_plane.health.watch import QUEUE_BEAT_S
from alcor.control_plane.region import Region
from alcor.data_plane.pipeline.flow import AnyFlow, FlowKey
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.simulated.host import TUNNEL_PORT
from alcor.model import goal_state, prefixes
from alcor.model.addressing import Cidr
from alcor.model.ids import NetworkId, PortId
from alcor.model.records import ROUTER_INTERFACE, Port, Subnet, SubnetPool
from alcor.simulation.cloud import GHOST, Cloud
from alcor.simulation.compute_host import DRIFT_MAX, ComputeHost
from alcor.simulation.wire import DELAY_MAX_S

# A fact may reach the controller this late: what is said is under way, what falls silent is noticed by beats;
# over the queue they are rarer.
NOTICED_S = (QUEUE_BEAT_S * SILENCE_S + 2 * BEAT_S + 2 * DELAY_MAX_S) * (1 + 2 * DRIFT_MAX)
AWAKE_S = 2.0  # a controller that stood still may answer before it has read what was said meanwhile


def untruths(cloud: Cloud, ports: Sequence[Port]) -> Iterator[str]:
    """Say which of the ports a controller is wrong about, now (law 1): each of those alive, old or new."""
    now_s = cloud.clock.loop.now_s
    for term in cloud.terms:
        awake_s = now_s - term.part.resumed_at
        if term.part.hung_at is None and awake_s > AWAKE_S:
            for sentence in _untruths_by(cloud, term.controller, ports, awake_s):
                yield f"epoch {term.controller.epoch}: {sentence}"


def _untruths_by(cloud: Cloud, controller: Controller, ports: Sequence[Port], awake_s: float) -> Iterator[str]:
    for port, state in zip(ports, controller.convergence.port_states(ports), strict=True):
        if port.device_owner == ROUTER_INTERFACE or not (state.in_force or state.status == "ACTIVE"):
            continue
        host = cloud.hosts.get(port.host)
        if host is None:
            yield f"port {port.id} is in force on host '{port.host}', which does not exist"
        else:
            yield from _untruths_of(port, state, host, cloud.clock.loop.now_s, awake_s)


def _untruths_of(
    port: Port, state: PortState, host: ComputeHost, now_s: float, awake_s: float
) -> Iterator[str]:
    program = host.switch.engine().program
    held = program.local_port(port.id)
    said = f"port {port.id} is reported {state.status}, in force at {state.applied_revision}, on {host.id}"
    # What was said before both stood still is read, and counts as heard, when the controller goes on.
    if min(host.unattended_s, awake_s) > NOTICED_S:
        yield f"{said}, to which nobody has written since {host.unattended_s:.1f} s"
    elif min(now_s - host.emptied_at, awake_s) < NOTICED_S:
        pass  # the controller may still believe what the host held before
    elif held is None:
        yield f"{said}, which does not hold it"
    elif (held.mac, held.fixed_ips, held.groups, held.port_security, held.admin_state_up, held.tag) != (
        port.mac,
        port.fixed_ips,
        port.security_groups,
        port.port_security_enabled,
        port.admin_state_up,
        nodes.tag_of(port),
    ):
        yield f"{said}, which holds it as {held}, not as {port}"
    elif port.port_security_enabled:
        for group_id in port.security_groups:
            if not program.holds(goal_state.group_key(group_id)):
                yield f"{said}, which does not hold its group {group_id}"
    if state.status == "ACTIVE" and host.switch.ofport(port.id) is None:
        unplugged_at = host.unplugged_at.get(port.id)
        if unplugged_at is None or min(now_s - unplugged_at, awake_s) > NOTICED_S:
            yield f"{said}, but its workload is not plugged (since {unplugged_at}, now {now_s:.1f})"


async def differences(cloud: Cloud, controller: Controller) -> list[str]:
    """Say what is not yet as the final state demands; empty when the region has converged."""
    region = Region(cloud.on_demand)
    async with cloud.store.snapshot() as snapshot:
        await region.load(snapshot)
    found: list[str] = []
    for host in cloud.hosts.values():
        found += _host_differences(region, host, controller.learned(host.id))
    found += await _port_differences(cloud, controller)
    found += _receipt_differences(cloud, controller, region.revision)
    found += await _pool_differences(cloud)
    for status in controller.convergence.hosts():
        if status.record.id in cloud.hosts and (status.sections_pending or not status.alive or status.rescue):
            found.append(f"host {status.record.id}: {status.reason}")
    for host in cloud.hosts.values():
        if host.fence.recorded.writer != host.id or host.fence.master is None:
            found.append(f"host {host.id} is written to by '{host.fence.recorded.writer}'")
    return found


def _host_differences(
    region: Region, host: ComputeHost, learned: Mapping[NetworkId, Iterable[PortId]]
) -> Iterator[str]:
    wanted = compile_full(region, host.id, learned)
    held = {key: section.full() for key, section in host.state.sections.items()}
    for key in sorted(wanted.keys() | held.keys()):
        if key not in held:
            yield f"host {host.id} lacks {key}"
        elif key not in wanted:
            yield f"host {host.id} holds {key}, which it should not"
        elif goal_state.digest(wanted[key]) != goal_state.digest(held[key]):
            yield f"host {host.id} holds {key} as {held[key]}, not as {wanted[key]}"
    yield from _flow_differences(host)


def _flow_differences(host: ComputeHost) -> Iterator[str]:
    program, switch = host.switch.engine()
    fresh = FlowProgram(host.facts, TUNNEL_PORT)
    fresh.seed_port_keys(program.port_keys)
    fresh.change(host.state, host.state.full_updates())
    for port_id, ofport in program.attached().items():
        fresh.attach(port_id, ofport)
    wanted = _by_key(fresh.wanted())
    for name, held in (("program", program.wanted()), ("switch", switch.flows())):
        flows = _by_key(held)
        for key in sorted(wanted.keys() | flows.keys(), key=repr):
            if (key in wanted) != (key in flows) or wanted[key].actions != flows[key].actions:
                yield f"host {host.id}: the {name} has {flows.get(key)} instead of {wanted.get(key)}"


def _by_key(flows: Iterable[AnyFlow]) -> dict[FlowKey, AnyFlow]:
    return {flow.key: flow for flow in flows}


async def _pool_differences(cloud: Cloud) -> list[str]:
    subnets = await cloud.store.select(Subnet, Query())
    pools = {pool.id: pool for pool in await cloud.store.select(SubnetPool, Query())}
    found = []
    scopes: dict[tuple[NetworkId, int], set[str | None]] = defaultdict(set)  # by the length of addresses
    for subnet in subnets:
        pool_id = subnet.subnetpool_id
        scopes[subnet.network_id, len(subnet.cidr[0])].add(
            None if pool_id is None else pools[pool_id].address_scope_id
        )
    found += [f"network {id_[0]} is in the scopes {held}" for id_, held in scopes.items() if len(held) > 1]
    for pool in pools.values():
        cut = [subnet.cidr for subnet in subnets if subnet.subnetpool_id == pool.id]
        held_twice = sum(Cidr(*it).size for it in cut) != sum(Cidr(*it).size for it in prefixes.compact(cut))
        if held_twice or pool.free != prefixes.without(pool.prefixes, cut):
            found.append(f"pool {pool.id} has {pool.free} free beside {cut}")
    return found


async def _port_differences(cloud: Cloud, controller: Controller) -> list[str]:
    ports = await all_ports(cloud.store)
    found = []
    for port, state in zip(ports, controller.convergence.port_states(ports), strict=True):
        host = cloud.hosts.get(port.host)
        if port.device_owner == ROUTER_INTERFACE:
            if not state.in_force and GHOST not in state.reason:
                found.append(f"router interface {port.id} is not in force: {state.reason}")
        elif host is None:
            if state.in_force:
                found.append(f"port {port.id} is in force nowhere: {state.reason}")
        elif not state.in_force:
            found.append(f"port {port.id} is not in force on {port.host}: {state.reason}")
        elif (state.status == "ACTIVE") != (
            host.switch.ofport(port.id) is not None and port.admin_state_up
        ) or state.plugged != (host.switch.ofport(port.id) is not None):
            found.append(f"port {port.id} on {port.host} is {state.status}: {state.reason}")
    return found


def _receipt_differences(cloud: Cloud, controller: Controller, newest: int) -> Iterator[str]:
    for revision in range(1, newest + 1):
        receipt = controller.convergence.receipt(revision)
        for part in receipt.hosts if receipt is not None else ():
            if part.host in cloud.hosts and part.state not in ("in_force", "superseded"):
                yield f"revision {revision} is {part.state} on {part.host}: {part.reason}"


async def all_ports(store: MemoryStore) -> list[Port]:
    """Give every port there is, by id."""
    return await store.select(Port, Query())
