"""The simulation's witness sees what no host may hold, whatever the version of an address."""

import msgspec
import pytest

from alcor.contracts.store import Change
from alcor.control_plane.compiler.entries import local_port, placement
from alcor.control_plane.nodes import subnet_entry
from alcor.control_plane.region import Region
from alcor.model.goal_state import (
    AddressesChange,
    NetworkChange,
    RouterChange,
    RouterInterface,
    SectionChange,
    SectionKey,
    addresses_key,
    network_key,
    router_key,
)
from alcor.model.ids import AddressGroupEntryId, AddressGroupId, HostId, PortId, RequestId, RouterId, SubnetId
from alcor.model.records import ROUTER_INTERFACE, AddressGroupEntry, FixedIp, Host, RecordSet
from alcor.model.version import Version
from alcor.simulation.witness import Witness
from doubles.control_plane import PROJECT, network, port, subnet

V6 = bytes([0x20, 0x01]) + bytes(14)
HOST = HostId("h1")
DUAL = msgspec.structs.replace(
    port(1, HOST), fixed_ips=(*port(1).fixed_ips, FixedIp(SubnetId("sub6"), V6[:15] + b"\x01"))
)
OTHER = msgspec.structs.replace(
    DUAL, id=PortId("other"), fixed_ips=(FixedIp(SubnetId("sub6"), V6[:15] + b"\x02"),)
)
LEG = port(9, device_owner=ROUTER_INTERFACE, device_id=RouterId("router"))
GROUP = AddressGroupId("addresses")
PUTS = RecordSet(
    networks=(network(), network(2)),
    subnets=(subnet(), msgspec.structs.replace(subnet(), id=SubnetId("sub6"), cidr=(V6, 64)), subnet(2)),
    hosts=(Host(id=HOST, project_id=PROJECT, vtep=bytes(4)),),
    ports=(DUAL, OTHER, LEG),
    address_group_entries=(
        AddressGroupEntry(
            id=AddressGroupEntryId("entry"), project_id=PROJECT, address_group_id=GROUP, prefix=(V6, 64)
        ),
    ),
)
OWN, ROUTER = network_key(network().id), router_key("router")


def said_of(key: SectionKey, change: SectionChange) -> list[str]:
    said: list[str] = []
    witness = Witness(said.append)
    witness.committed(Change(1, 1, RequestId("r"), PROJECT, PUTS, RecordSet()))
    witness.given(HOST, key, Version(1, 1), change)
    return said


def placed(*ips: bytes) -> NetworkChange:
    region = Region()
    region.fold(Change(1, 1, RequestId("r"), PROJECT, PUTS, RecordSet()))
    made = placement(region.ports[DUAL.id], bytes(4))
    assert made is not None
    return NetworkChange(set_placements=(msgspec.structs.replace(made, ips=ips),))


def held(*fixed_ips: FixedIp) -> NetworkChange:
    region = Region()
    region.fold(Change(1, 1, RequestId("r"), PROJECT, PUTS, RecordSet()))
    entry = local_port(region.ports[DUAL.id])
    return NetworkChange(set_ports=(msgspec.structs.replace(entry, fixed_ips=fixed_ips),))


def leg_at(ip: bytes) -> RouterChange:
    leg = RouterInterface(LEG.id, network().id, network().vni, subnet().cidr, ip, LEG.mac)
    return RouterChange(set_interfaces=(leg,))


FOREIGN = OTHER.fixed_ips[0]


def test_what_a_host_may_hold_is_not_objected_to() -> None:
    assert not said_of(OWN, placed(*(fixed.ip for fixed in DUAL.fixed_ips)))
    assert not said_of(OWN, held(*DUAL.fixed_ips))
    assert not said_of(OWN, NetworkChange(set_subnets=(subnet_entry(PUTS.subnets[1]),)))
    assert not said_of(ROUTER, leg_at(LEG.fixed_ips[0].ip))
    assert not said_of(addresses_key(GROUP), AddressesChange(((V6, 64),)))


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (OWN, placed(DUAL.fixed_ips[0].ip, FOREIGN.ip)),
        (OWN, held(FOREIGN)),
        (OWN, NetworkChange(set_subnets=(subnet_entry(subnet(2)),))),
        (ROUTER, leg_at(FOREIGN.ip)),
        (addresses_key(GROUP), AddressesChange(((V6, 48),))),
        (network_key(network(2).id), NetworkChange()),
    ],
    ids=["placement", "own port", "subnet", "leg", "address group", "network"],
)
def test_what_is_anothers_is_found_out(key: SectionKey, change: SectionChange) -> None:
    [sentence] = said_of(key, change)
    assert key in sentence
