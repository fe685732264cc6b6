"""Answers what agents ask for: which port has an address of an on-demand network. O(1) each, in any network.

Ask --> region's index --found----> subscription: a delta of the host's section, kept up to date from now on
                       --not-----> Unknown, and the asker is remembered for as long as it will not ask again
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from alcor.contracts.agent_channel import Ask, Hello, Release, Unknown, Want
from alcor.control_plane.compiler import entries, on_demand
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.compiler.sections import HostSection
from alcor.control_plane.nodes import NetworkNode, PortRow
from alcor.control_plane.region import Region
from alcor.model.ids import HostId, NetworkId, ProjectId, Vni
from alcor.model.records import Port
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.runtime.limits import TokenBuckets

ABSENT_S = 2.0  # how long an agent does not ask again; who comes meanwhile is told without being asked for
LIMITED_S = 1.0
ABSENT_RATE_PER_S = 1_000.0  # of one network: only a scan of empty addresses goes beyond it
ABSENT_BURST = 4_000.0
ASKERS_MAX = 16_384  # addresses whose askers are remembered
SAID_EVERY_S = 10.0


_Account: TypeAlias = tuple[str, str]  # of what kind, and whose


class Answer(msgspec.Struct, frozen=True):
    """What to send for one Ask: deltas of the host's sections, and what is not there."""

    sections: list[HostSection]
    unknown: list[Unknown]


class LookUps:
    """Owner of the limits, of who asked for what is absent, and of the counts."""

    def __init__(self, region: Region, interest: Interest, clock: Clock, log: EventLog) -> None:
        self._region = region
        self._interest = interest
        self._clock = clock
        self._log = log
        rate_per_s = region.on_demand.look_ups_per_s
        self._allowed: TokenBuckets[_Account] = TokenBuckets(rate_per_s=rate_per_s, burst=2 * rate_per_s)
        self._absent_allowed: TokenBuckets[_Account] = TokenBuckets(
            rate_per_s=ABSENT_RATE_PER_S, burst=ABSENT_BURST
        )
        # Askers of absent addresses, each with the time until which it is remembered; oldest first.
        self._askers: OrderedDict[tuple[Vni, bytes], tuple[float, dict[HostId, None]]] = OrderedDict()
        self._said_at_s: dict[ProjectId, float] = {}
        self.found = 0
        self.absent = 0
        self.limited = 0

    def answer(self, host_id: HostId, ask: Ask) -> Answer:
        """Look up all that is asked for. O(wants)."""
        now_s = self._clock.monotonic_s()
        found: dict[NetworkId, list[PortRow]] = {}
        absent: list[Want] = []
        limited: list[Want] = []
        for want in ask.wants:
            node = self._region.network_of(want.vni)
            is_held = node is not None and self._interest.has(host_id, node.key)
            payer, asked_in = _accounts(host_id, node if is_held else None)
            if not self._allowed.take(payer, now_s):
                limited.append(want)
                continue
            row = self._row(want) if is_held else None
            if row is not None:
                found.setdefault(row.network_id, []).append(row)
            elif self._absent_allowed.take(asked_in, now_s):
                absent.append(want)
                self._remember(host_id, want, now_s)
            else:
                limited.append(want)
        self.found += sum(map(len, found.values()))
        self.absent += len(absent)
        unknown = [Unknown(ask.number, tuple(absent), ABSENT_S)] if absent else []
        if limited:
            self._note_limited(host_id, limited, now_s)
            unknown.append(Unknown(ask.number, tuple(limited), LIMITED_S, True))
        return Answer(self._learn(host_id, found.values()), unknown)

    def release(self, host_id: HostId, message: Release) -> list[HostSection]:
        """End what the host needs no longer."""
        given = (
            on_demand.release(self._region, self._interest, host_id, learned.network_id, learned.ports)
            for learned in message.learned
        )
        return [section for section in given if section is not None]

    def restore(self, hello: Hello) -> None:
        """Believe an agent what it learned earlier, as far as that may be; its digests tell the rest."""
        told = {learned.network_id: learned.ports for learned in hello.learned}
        for network_id in {**told, **self._interest.learned.of_host(hello.host)}:
            on_demand.restore(self._region, self._interest, hello.host, network_id, told.get(network_id, ()))

    def came(self, ports: Iterable[Port]) -> list[tuple[HostId, HostSection]]:
        """Tell those who asked in vain a moment ago of ports that a change brought. O(ports)."""
        if not self._askers:
            return []
        given: list[tuple[HostId, HostSection]] = []
        now_s = self._clock.monotonic_s()
        for port in ports:
            node = self._region.networks.get(port.network_id)
            row = node.bound.get(port.id) if node is not None and node.on_demand else None
            for ip in (*row.ips, *row.announced) if row is not None else ():
                assert node is not None
                assert row is not None
                until_s, hosts = self._askers.pop((node.vni, ip), (0.0, {}))
                for host_id in hosts if now_s < until_s else ():
                    if self._interest.has(host_id, node.key):
                        given += [(host_id, section) for section in self._learn(host_id, [[row]])]
        return given

    def _row(self, want: Want) -> PortRow | None:
        """Give the port that has or announced the address, if there is a way to it."""
        row = self._region.find(want.vni, want.ip)
        if row is None or entries.placement(row, self._region.vtep(row.host)) is None:
            return None
        return row

    def _learn(self, host_id: HostId, found: Iterable[Sequence[PortRow]]) -> list[HostSection]:
        """Subscribe a host. What is told whole, or known there already, it has or is about to get."""
        given = (
            on_demand.learn(self._region, self._interest, host_id, rows)
            for rows in found
            if self._region.networks[rows[0].network_id].on_demand
        )
        return [section for section in given if section is not None]

    def _remember(self, host_id: HostId, want: Want, now_s: float) -> None:
        address = (want.vni, want.ip)
        _, hosts = self._askers.pop(address, (0.0, {}))
        hosts[host_id] = None
        self._askers[address] = (now_s + ABSENT_S, hosts)
        while len(self._askers) > ASKERS_MAX or next(iter(self._askers.values()))[0] < now_s:
            self._askers.popitem(last=False)

    def _note_limited(self, host_id: HostId, wants: Sequence[Want], now_s: float) -> None:
        self.limited += len(wants)
        vni = wants[0].vni
        node = self._region.network_of(vni)
        project_id = ProjectId("") if node is None else node.project
        if now_s - self._said_at_s.get(project_id, -SAID_EVERY_S) >= SAID_EVERY_S:
            self._said_at_s[project_id] = now_s
            if len(self._said_at_s) > ASKERS_MAX:
                self._said_at_s.clear()
            limited = self.limited
            self._log.warning(
                "look_ups_limited", project_id=project_id, vni=vni, host_id=host_id, limited=limited
            )


def _accounts(host_id: HostId, node: NetworkNode | None) -> tuple[_Account, _Account]:
    """Say to whose accounts a look-up goes, in all and for absent addresses.

    What a host asks about a network that it does not have is its own affair, and costs no tenant anything.
    """
    if node is None:
        return ("host", host_id), ("host", host_id)
    return ("project", node.project), ("network", node.id)
