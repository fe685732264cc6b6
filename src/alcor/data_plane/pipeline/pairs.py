"""Flows for allowed address pairs: what a port may send from, and who holds an address that several may have.

A holder is reached under a MAC address made from the IP address, the same whoever holds it: so a fail-over
changes flows on hosts, and nothing that workloads remember. The last hop writes the pair's own MAC address.
An IPv4 address is in its MAC address. An IPv6 address is longer: 40 bits of its hash are, in a range of their
own. Two of 4,000 shared addresses of a network meet there in one of 100,000 such networks; the smallest unit
then has both.

    asker: who has IP? -> virtual MAC ... -> remote: tunnel to the holder's host -> local: pair's MAC, the port

Holder of an address is the port that announced it. Before anybody did, of an exact address the first port, by
id, that may have it; not in on-demand networks, where hosts do not know all who may. A fixed address goes
before both. Flows of several claimants have the same keys; the order of units decides (`units.py`).
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

from alcor.data_plane.pipeline import discovery, hand_over, placement, tables
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
)
from alcor.data_plane.pipeline.matching import (
    IPV4,
    IS_ARP,
    LINK_LOCAL_PREFIX,
    ordered,
    prefix_terms,
    version_of,
)
from alcor.data_plane.pipeline.placement import View
from alcor.data_plane.pipeline.tables import Table
from alcor.model.addressing import Cidr
from alcor.model.goal_state import LocalPort, Placement
from alcor.model.records import AddressPair

_VIRTUAL = 0x0A5A << 32  # locally administered; the IPv4 address follows
_VIRTUAL_IPV6 = 0x5A << 40  # likewise
_HASH_BYTES = 5
_KIND = "address pair of port"
_ANNOUNCE = hand_over.way(Table.SPOOF, hand_over.Reason.ANNOUNCEMENT)
ANNOUNCED, ASSUMED = 0, 1  # ranks of units: who announced goes first

_Pass: TypeAlias = tuple[int, Match, tuple[Action, ...]]  # of anti-spoofing: priority, match, actions


class Holder(NamedTuple):
    """A placement, and how the host sees it."""

    entry: Placement
    view: View
    own_key: int | None  # of the port if it is this host's own

    @property
    def is_remote(self) -> bool:
        return self.entry.vtep != self.view.vtep


def virtual_mac(ip: bytes) -> int:
    """Give the MAC address under which the holder of an address is reached."""
    if len(ip) == 4:
        return _VIRTUAL | int.from_bytes(ip, "big")
    return _VIRTUAL_IPV6 | int.from_bytes(blake2b(ip, digest_size=_HASH_BYTES).digest(), "big")


def sender_flows(port: LocalPort, key: int) -> list[Flow]:
    """Let a port's pairs pass anti-spoofing; the agent hears of ARP and discovery that speaks for them."""
    sender = Term(Field.REG1, key)
    origin = f"address pairs of port {port.id}"
    found: dict[FlowKey, Flow] = {}
    for pair in port.pairs:
        version = version_of(pair.network)
        sends = prefix_terms(version.source, pair.network, pair.prefix_len)
        own = ordered(Term(Field.ETH_SRC, pair.mac), version.is_ip, *sends, sender)
        speaking = _by_arp if version is IPV4 else _by_discovery
        passes: _Pass = (tables.SPOOF_IP, own, (Goto(Table.EGRESS_TRACK),))
        for priority, match, actions in (*speaking(port, pair, sender), passes):
            flow_key = FlowKey(Table.SPOOF, priority, match)
            found[flow_key] = Flow(flow_key, actions, origin)
    return list(found.values())


def _by_arp(port: LocalPort, pair: AddressPair, sender: Term) -> Iterator[_Pass]:
    mac, sha = Term(Field.ETH_SRC, pair.mac), Term(Field.ARP_SHA, pair.mac)
    says = prefix_terms(Field.ARP_SPA, pair.network, pair.prefix_len)
    to_arp = Goto(Table.ARP)
    if pair.mac != port.mac:
        yield tables.SPOOF_ARP, (mac, IS_ARP, Term(Field.ARP_SPA, 0), sha, sender), (to_arp,)
    yield tables.SPOOF_PAIR_ARP, (mac, IS_ARP, *says, sha, sender), (*_ANNOUNCE, to_arp)
    if _is_exact(pair):  # a gratuitous request is no question: an answer would be a conflict
        itself = Term(Field.ARP_TPA, says[0].value)
        yield tables.SPOOF_OWN_ADDRESS, (mac, IS_ARP, *says, itself, sha, sender), _ANNOUNCE


def _by_discovery(port: LocalPort, pair: AddressPair, sender: Term) -> Iterator[_Pass]:
    """As by ARP, but an announcement is an advertisement (RFC 4861, section 7.2.6), so never a question."""
    to_nd = Goto(Table.ND)
    if pair.mac != port.mac or all(len(fixed.ip) == 4 for fixed in port.fixed_ips):
        for match in discovery.unsettled_sources(pair.mac, sender):
            yield tables.SPOOF_ARP, match, (to_nd,)
    says = prefix_terms(Field.IPV6_SRC, pair.network, pair.prefix_len)
    asks = discovery.asking(Term(Field.ETH_SRC, pair.mac), sender, *says)
    yield tables.SPOOF_PAIR_ARP, asks, (*_ANNOUNCE, to_nd)
    announces = discovery.saying(pair.mac, pair.network, pair.prefix_len, sender)
    yield tables.SPOOF_PAIR_ARP, announces, _ANNOUNCE


def announced_flows(holder: Holder) -> list[AnyFlow]:
    """Make the flows by which a port is reached at the addresses that it announced."""
    flows: list[AnyFlow] = []
    for ip in holder.entry.announced:
        flows.extend(_holder_flows(holder, ip))
        if holder.own_key is not None:
            key = FlowKey(Table.SPOOF, tables.SPOOF_HELD_ADDRESS, _question(ip, holder.own_key))
            flows.append(Flow(key, (), f"address that port {holder.entry.port_id} holds"))
    return flows


def assumed_flows(holder: Holder) -> list[AnyFlow]:
    """Make the flows for exact addresses of pairs, for as long as nobody announced them."""
    exact = sorted({pair.network for pair in holder.entry.pairs if _is_exact(pair)})
    return [flow for ip in exact for flow in _holder_flows(holder, ip)]


def may_announce(pairs: Iterable[AddressPair], mac: int, ip: bytes) -> bool:
    """May a port with these pairs say that the address is its own? Nobody shares a link-local one of IPv6."""
    if Cidr(*LINK_LOCAL_PREFIX).contains(ip):
        return False
    return any(pair.mac == mac and pair.covers(ip) for pair in pairs)


def _holder_flows(holder: Holder, ip: bytes) -> list[AnyFlow]:
    entry, view, own_key = holder
    virtual = virtual_mac(ip)
    flows: list[AnyFlow] = [*placement.address_flows(ip, virtual, view, _KIND, entry.port_id)]
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


def _question(ip: bytes, key: int) -> Match:
    """Match what a local port asks for an address, in whatever name."""
    number = int.from_bytes(ip, "big")
    if len(ip) != 4:
        return discovery.question(number, key)
    return (IS_ARP, Term(Field.ARP_TPA, number), Term(Field.REG1, key))


def _is_exact(pair: AddressPair) -> bool:
    return pair.prefix_len == len(pair.network) * 8


def _mac_for(entry: Placement, ip: bytes) -> int:
    """Give the MAC address of the most specific pair that has the address."""
    fitting = [(pair.prefix_len, pair.mac) for pair in entry.pairs if pair.covers(ip)]
    return max(fitting)[1] if fitting else entry.mac
