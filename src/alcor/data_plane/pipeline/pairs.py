"""Flows for allowed address pairs: what a port may send from, and who holds an address that several may have.

A holder is reached under a MAC address made from the IP address, the same whoever holds it: so a fail-over
changes flows on hosts, and nothing that workloads remember. The last hop writes the pair's own MAC address.

    asker: who has IP? -> virtual MAC ... -> remote: tunnel to the holder's host -> local: pair's MAC, the port

Holder of an address is the port that announced it. Before anybody did, of an exact address the first port, by
id, that may have it; not in on-demand networks, where hosts do not know all who may. A fixed address goes
before both. Flows of several claimants have the same keys; the order of units decides (`units.py`).
"""

from collections.abc import Iterable
from typing import NamedTuple

from alcor.data_plane.pipeline import placement, tables
from alcor.data_plane.pipeline.flow import (
    Action,
    AnyFlow,
    Field,
    Flow,
    FlowKey,
    Goto,
    Match,
    SetField,
    Term,
    ToAgent,
)
from alcor.data_plane.pipeline.matching import IS_ARP, IS_IPV4, prefix_terms
from alcor.data_plane.pipeline.placement import View
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import LocalPort, Placement
from alcor.model.records import AddressPair

_VIRTUAL = 0x0A5A << 32  # locally administered; the IPv4 address follows
_EXACT = 32
_KIND = "address pair of port"
ANNOUNCED, ASSUMED = 0, 1  # ranks of units: who announced goes first


class Holder(NamedTuple):
    """A placement, and how the host sees it."""

    entry: Placement
    view: View
    own_key: int | None  # of the port if it is this host's own

    @property
    def is_remote(self) -> bool:
        return self.entry.vtep != self.view.vtep


def virtual_mac(ip: int) -> int:
    """Give the MAC address under which the holder of an IPv4 address is reached."""
    return _VIRTUAL | ip


def sender_flows(port: LocalPort, key: int) -> list[Flow]:
    """Let a port's pairs pass anti-spoofing; the agent hears of ARP that speaks for them."""
    sender = Term(Field.REG1, key)
    origin = f"address pairs of port {port.id}"
    found: dict[FlowKey, Flow] = {}

    def add(priority: int, match: Match, *actions: Action) -> None:
        flow_key = FlowKey(Table.SPOOF, priority, match)
        found[flow_key] = Flow(flow_key, actions, origin)

    for pair in port.pairs:
        mac, sha = Term(Field.ETH_SRC, pair.mac), Term(Field.ARP_SHA, pair.mac)
        says = prefix_terms(Field.ARP_SPA, pair.network, pair.prefix_len)
        if pair.mac != port.mac:
            add(tables.SPOOF_ARP, (mac, IS_ARP, Term(Field.ARP_SPA, 0), sha, sender), Goto(Table.ARP))
        add(tables.SPOOF_PAIR_ARP, (mac, IS_ARP, *says, sha, sender), ToAgent(), Goto(Table.ARP))
        if pair.prefix_len == _EXACT:  # a gratuitous request is no question: an answer would be a conflict
            itself = Term(Field.ARP_TPA, says[0].value)
            add(tables.SPOOF_OWN_ADDRESS, (mac, IS_ARP, *says, itself, sha, sender), ToAgent())
        sends = prefix_terms(Field.IP_SRC, pair.network, pair.prefix_len)
        add(tables.SPOOF_IPV4, (mac, IS_IPV4, *sends, sender), Goto(Table.EGRESS_TRACK))
    return list(found.values())


def announced_flows(holder: Holder) -> list[AnyFlow]:
    """Make the flows by which a port is reached at the addresses that it announced."""
    flows: list[AnyFlow] = []
    for ip in holder.entry.announced:
        flows.extend(_holder_flows(holder, ip))
        if holder.own_key is not None:
            match = (IS_ARP, Term(Field.ARP_TPA, int.from_bytes(ip, "big")), Term(Field.REG1, holder.own_key))
            key = FlowKey(Table.SPOOF, tables.SPOOF_HELD_ADDRESS, match)
            flows.append(Flow(key, (), f"address that port {holder.entry.port_id} holds"))
    return flows


def assumed_flows(holder: Holder) -> list[AnyFlow]:
    """Make the flows for exact addresses of pairs, for as long as nobody announced them."""
    exact = sorted({pair.network for pair in holder.entry.pairs if pair.prefix_len == _EXACT})
    return [flow for ip in exact for flow in _holder_flows(holder, ip)]


def may_announce(pairs: Iterable[AddressPair], mac: int, ip: bytes) -> bool:
    """May a port with these pairs say that the address is its own?"""
    return any(pair.mac == mac and pair.covers(ip) for pair in pairs)


def _holder_flows(holder: Holder, ip: bytes) -> list[AnyFlow]:
    entry, view, own_key = holder
    address, virtual = int.from_bytes(ip, "big"), virtual_mac(int.from_bytes(ip, "big"))
    flows: list[AnyFlow] = [*placement.address_flows(address, virtual, view, _KIND, entry.port_id)]
    local = FlowKey(Table.LOCAL, tables.NORMAL, (Term(Field.ETH_DST, virtual), Term(Field.REG0, view.vni)))
    origin = f"{_KIND} {entry.port_id}"
    if holder.is_remote:
        flows.append(placement.tunnel_flow(virtual, entry.vtep, view, _KIND, entry.port_id))
        # Claimed as well, so that no local port that may have the address takes it from its holder.
        flows.append(Flow(local, (Goto(Table.REMOTE),), origin))
    elif own_key is not None:
        inward = (
            SetField(Field.ETH_DST, _mac_for(entry, ip)),
            SetField(Field.REG2, own_key),
            Goto(Table.INGRESS_TRACK),
        )
        flows.append(Flow(local, inward, origin))
    return flows


def _mac_for(entry: Placement, ip: bytes) -> int:
    """Give the MAC address of the most specific pair that has the address."""
    fitting = [(pair.prefix_len, pair.mac) for pair in entry.pairs if pair.covers(ip)]
    return max(fitting)[1] if fitting else entry.mac
