"""The packets agree with an oracle that knows only the region's objects, not sections or flows."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.fabric import Fabric
from alcor.model.addressing import link_local_ip
from doubles.random_topology import random_region, rescope, retrunk
from doubles.simulated_region import fabric_of
from doubles.topology import GRE, ICMP, ICMPV6, SCTP, TCP, Region, dual_stacked, two_tenants


def check_matrix(region: Region, ports: list[int]) -> tuple[int, int]:
    """Try all pairs with ping and TCP; give how many were expected to reach, and how many not."""
    fabric = fabric_of(region)
    reached = blocked = 0
    source_port = 30_000
    for source in sorted(region.ports):
        for to_ip in sorted({ip for port in region.ports.values() for ip in port.ips}):
            own = region.ports[source].end(len(to_ip))
            if own is None or own[1] == to_ip:
                continue
            asked = [(ICMP if len(to_ip) == 4 else ICMPV6, None), *((TCP, port) for port in ports)]
            if own[1] < to_ip:  # these are tracked by addresses: what goes back is an answer
                asked += [(SCTP, ports[0]), (GRE, None)]
            for protocol, dport in asked:
                source_port += 1
                expected = region.reaches(source, to_ip, protocol, dport)
                if protocol in (ICMP, ICMPV6):
                    result = exchange.ping(fabric, source, to_ip, identifier=source_port)
                elif protocol != TCP:
                    result = exchange.ask(fabric, source, to_ip, protocol, dport or 0)
                else:
                    result = exchange.connect_tcp(fabric, source, to_ip, dport, sport=source_port)
                what = (source, to_ip, protocol, dport, expected, [v.dropped_by for v in result.verdicts])
                assert result.succeeded == (expected is not None), what
                if expected is not None:
                    assert result.verdicts[0].delivered[0].port_id == expected, what
                    assert [d.port_id for d in result.verdicts[0].delivered] == [expected], what
                reached += expected is not None
                blocked += expected is None
    check_link_local(region, fabric)
    return reached, blocked


def check_link_local(region: Region, fabric: Fabric) -> None:
    """Nobody reaches another port by the address that its workload made of its MAC address alone."""
    for source, target in itertools.permutations(sorted(region.ports), 2):
        if region.ports[source].end(16) is not None:
            to_ip = link_local_ip(region.ports[target].mac)
            assert not exchange.ping(fabric, source, to_ip).succeeded, (source, target)


def test_two_tenants_with_the_same_addresses_reach_exactly_whom_they_should() -> None:
    reached, blocked = check_matrix(dual_stacked(two_tenants()), [80, 90, 91, 22])
    assert reached > 100
    assert blocked > 100


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_random_regions_agree_with_the_oracle(seed: int) -> None:
    chance = random.Random(seed)
    region = random_region(chance)
    for _ in range(chance.randrange(3)):
        rescope(region, chance)
    check_matrix(region, [80, 1021])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_sub_ports_reach_whom_ports_would(seed: int) -> None:
    chance = random.Random(seed)
    region = random_region(chance)
    retrunk(region, chance)
    check_matrix(region, [80])
