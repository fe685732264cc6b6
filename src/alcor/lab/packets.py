"""Asks by real packets who reaches whom."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from alcor.lab import namespaces
from alcor.lab.inside_client import InsideClient
from alcor.lab.workload import Workload

PROBES_MAX = 20_000
AT_ONCE = 2_000  # bounds the sockets that wait at the same time


class Probe(msgspec.Struct, frozen=True):
    """From which workload to which address, and how. `port`: of TCP (see `serve`), and of `protocol`.

    Kind "ip": a packet of any other IP protocol, which all workloads that serve a port answer.

    `answerer`: the workload that has to answer, and which must serve a port too; None: whoever does.
    """

    from_workload: Workload
    to_ip: str
    kind: Literal["icmp", "tcp", "ip"]
    port: int = 0
    answerer: Workload | None = None
    protocol: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """What became of a probe.

    `receivers`: namespaces of the workloads that it reached, sorted. Of a ping, all that serve a port and got
    it, answered or not; of TCP, the one that answered.
    """

    answered: bool
    receivers: tuple[str, ...]


def serve(workloads: Sequence[Workload], port: int) -> None:
    """Listen on a TCP port in every workload, for TCP probes to greet."""
    for inside, of_inside in _by_inside(workloads):
        inside.listen([workload.namespace for workload in of_inside], port)


def forget_neighbours(workloads: Sequence[Workload]) -> None:
    """Have workloads forget who answered their ARP requests.

    A kernel has room for 1,024 neighbours in all its namespaces together, and a matrix of fifty workloads fills
    it: whoever tries the next one at once is told that there is none.
    """
    for workload in workloads:
        namespaces.run(["ip", "-n", workload.namespace, "neigh", "flush", "all"])


def probe_matrix(probes: Sequence[Probe]) -> list[bool]:
    """Give for each probe whether it was answered, and by its answerer alone if it names one, in order.

    Lost packets are sent again, three times in all, one second apart: silence means blocked, one loss does not.
    Bounded by about 4 s for each 2,000 probes, all at the same time within these.
    """
    return [is_right(probe, outcome) for probe, outcome in zip(probes, outcomes(probes), strict=True)]


def is_right(probe: Probe, outcome: Outcome) -> bool:
    """Was it answered by who had to? A packet that also reached somebody else counts as wrong."""
    if probe.answerer is None:
        return outcome.answered
    return outcome.answered and outcome.receivers == (probe.answerer.namespace,)


def outcomes(probes: Sequence[Probe]) -> list[Outcome]:
    """Give for each probe what became of it, in order. As `probe_matrix`."""
    assert len(probes) <= PROBES_MAX
    found: list[Outcome] = []
    for start in range(0, len(probes), AT_ONCE):
        some = probes[start : start + AT_ONCE]
        assert len({id(probe.from_workload.inside) for probe in some}) == 1, "probes of one lab"
        asked: list[dict[str, str | int]] = [
            {
                "namespace": probe.from_workload.namespace,
                "to_ip": probe.to_ip,
                "kind": probe.kind,
                "port": probe.port,
                "protocol": probe.protocol,
            }
            for probe in some
        ]
        found += [Outcome(*each) for each in some[0].from_workload.inside.probe(asked)]
    return found


def _by_inside(workloads: Sequence[Workload]) -> list[tuple[InsideClient, list[Workload]]]:
    grouped: dict[int, tuple[InsideClient, list[Workload]]] = {}
    for workload in workloads:
        grouped.setdefault(id(workload.inside), (workload.inside, []))[1].append(workload)
    return list(grouped.values())
