"""Laws 2 and 5 where hosts ask: networks cross the bounds both ways; hosts ask for and release neighbours."""

import itertools
import random

import pytest
from compiler_folding import apply, held, steps
from compiler_operations import random_operation
from compiler_world import HOSTS, rich_world

from alcor.control_plane.compiler import entries, on_demand
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.compiler.sections import HostSection
from alcor.control_plane.region import OnDemandBounds, Region
from alcor.model.goal_state import HostState
from alcor.model.ids import HostId, NetworkId, PortId

BOUNDS = OnDemandBounds(above=3, below=2)
Subscription = tuple[HostId, NetworkId, PortId]


class Asking:
    """Hosts that ask at random, and a list of what they must still be told, kept by the rule alone."""

    def __init__(self, compiler: IncrementalCompiler, choice: random.Random) -> None:
        self.compiler = compiler
        self.region = compiler.region
        self.choice = choice
        self.states = {host: HostState() for host in HOSTS}
        self.expected: set[Subscription] = set()
        self.asked = self.ended = 0

    def ask(self) -> None:
        host = self.choice.choice(HOSTS)
        nodes = [node for node in self.region.networks.values() if node.on_demand]
        nodes = [node for node in nodes if self.compiler.interest.has(host, node.key)]
        if not nodes:
            return
        node = self.choice.choice(sorted(nodes, key=lambda node: node.id))
        rows = self.choice.sample([node.bound[id_] for id_ in sorted(node.bound)], k=min(2, len(node.bound)))
        given = on_demand.learn(self.region, self.compiler.interest, host, rows)
        new = {
            (host, node.id, row.id) for row in rows if row.host != host and self.is_placed(node.id, row.id)
        } - self.expected
        assert (given is not None) == bool(new)
        self.expected |= new
        self.asked += len(new)
        self.take(host, given)

    def release(self) -> None:
        if self.expected:
            host, network_id, port_id = self.choice.choice(sorted(self.expected))
            given = on_demand.release(self.region, self.compiler.interest, host, network_id, [port_id])
            assert given is not None
            self.expected.discard((host, network_id, port_id))
            self.take(host, given)

    def take(self, host: HostId, section: HostSection | None) -> None:
        if section is not None:
            apply(self.states[host], section)

    def is_placed(self, network_id: NetworkId, port_id: PortId) -> bool:
        row = self.region.networks[network_id].bound.get(port_id)
        return row is not None and entries.placement(row, self.region.vtep(row.host)) is not None

    def forget_ended(self) -> None:
        """A subscription lives as long as its port is placed on another host, and the host needs to ask."""
        wanted = self.compiler.interest.wanted
        before = len(self.expected)
        self.expected = {
            (host, network_id, port_id)
            for host, network_id, port_id in self.expected
            if (node := self.region.networks.get(network_id)) is not None
            and node.on_demand
            and node.key in wanted.get(host, ())
            and port_id in node.bound
            and node.bound[port_id].host != host
            and self.is_placed(network_id, port_id)
        }
        self.ended += before - len(self.expected)

    def check(self) -> None:
        learned = self.compiler.interest.learned
        assert {
            (host, network_id, port_id)
            for host in HOSTS
            for network_id, ports in learned.of_host(host).items()
            for port_id in ports
        } == self.expected
        for host in HOSTS:
            assert held(self.states[host]) == compile_full(self.region, host, learned.of_host(host))
            for network_id, ports in learned.of_host(host).items():
                for port_id in ports:
                    assert host in learned.subscribers(port_id)
                    placements = self.states[host].sections[self.region.networks[network_id].key].placements
                    assert port_id in placements


def run(seed: int, operations: int) -> Asking:
    choice = random.Random(seed)
    world = rich_world(choice)
    compiler = IncrementalCompiler(Region(BOUNDS))
    asking = Asking(compiler, choice)
    drawn = [random_operation(choice) for _ in range(operations)]
    for change in itertools.chain([world.commit()], steps(drawn, world)):
        compiled = compiler.fold(change)
        for host, sections in compiled.hosts.items():
            assert len({section.key for section in sections}) == len(sections)
            for section in sections:
                asking.take(host, section)
        for node in compiler.region.networks.values():
            size = len(node.bound)
            assert size <= BOUNDS.above or node.on_demand
            assert size >= BOUNDS.below or not node.on_demand
        asking.forget_ended()
        asking.check()
        for _ in range(choice.randrange(3)):
            (asking.ask if choice.random() < 0.8 else asking.release)()
        asking.check()
    return asking


@pytest.mark.parametrize("seed", range(60))
def test_what_hosts_were_told_and_asked_for_is_the_full_compilation_with_it(seed: int) -> None:
    run(seed, 100)


def test_the_histories_ask_and_end_often_enough_to_mean_something() -> None:
    runs = [run(seed, 100) for seed in range(10)]
    assert sum(one.asked for one in runs) > 200
    assert sum(one.ended for one in runs) > 50


@pytest.mark.parametrize("seed", range(10))
def test_the_index_by_address_is_what_the_ports_say(seed: int) -> None:
    choice = random.Random(seed)
    world = rich_world(choice)
    region, lengths = Region(BOUNDS), set[int]()
    for change in itertools.chain(
        [world.commit()], steps([random_operation(choice) for _ in range(150)], world)
    ):
        region.fold(change)
        for node in region.networks.values():
            by_address = {fixed.ip: row for row in node.bound.values() for fixed in row.fixed_ips}
            assert node.addresses == by_address
            announced = {ip: row for row in node.bound.values() for ip in row.announced}
            assert node.announced == announced
            lengths.update(map(len, (*by_address, *announced)))
            if node.entry is not None:
                assert all(region.find(node.vni, ip) is row for ip, row in (announced | by_address).items())
    assert lengths == {4, 16}, "both versions"
