"""A host's program of two networks of IPv6, and whom it would tell something else after a change."""

from alcor.contracts.data_plane import HostFacts
from alcor.data_plane import answering
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.retold import Retold
from alcor.model.addressing import Cidr, derived_ip
from alcor.model.goal_state import (
    HostState,
    LocalPort,
    RouterInterface,
    SectionChange,
    SectionUpdate,
    SubnetEntry,
    apply_change,
    empty_section_for,
)
from alcor.model.records import FixedIp
from alcor.model.version import Version

FACTS = HostFacts("h1", b"\xac\x10\x00\x01", 0x02AC10000001)
MAC, LEG_MAC = 0xFA163E000001, 0x02BB00000001
VNIS = {"n": 7, "m": 8}


def subnet(name: str, cidr: str, mode: str = "slaac") -> SubnetEntry:
    network = Cidr.from_text(cidr)
    gateway = network.network[:15] + b"\x01"
    return SubnetEntry(name, tuple(network), gateway, True, (), (), mode, mode)


SUBNETS = {"n": subnet("n6", "2001:db8:7::/64"), "m": subnet("m6", "2001:db8:8::/64", "dhcpv6-stateful")}


def port(name: str, network: str, mac: int) -> LocalPort:
    ip = derived_ip(SUBNETS[network].cidr[0], mac)
    return LocalPort(name, mac, (FixedIp(f"{network}6", ip),), (), True, True)


def leg(network: str, mac: int = LEG_MAC, ip: bytes | None = None) -> RouterInterface:
    entry = SUBNETS[network]
    own, cidr = (entry.gateway_ip, entry.cidr) if ip is None else (ip, tuple(Cidr(ip[:3] + b"\0", 24)))
    return RouterInterface(f"leg-{network}", network, VNIS[network], cidr, own, mac)


class Host:
    """A program, its state, and whom it would tell something else."""

    def __init__(self) -> None:
        self.state = HostState()
        self.retold = Retold()
        self.program = FlowProgram(FACTS, 1, self.retold)

    def apply(self, key: str, change: SectionChange, *, full: bool = False) -> set[str]:
        self.follow(key, change, full=full)
        return self.concerned()

    def follow(self, key: str, change: SectionChange, *, full: bool = False) -> None:
        if full or key not in self.state.sections:
            full = True
            self.state.sections[key] = empty_section_for(change)
        base = None if full else self.state.versions[key]
        apply_change(self.state.sections[key], change)
        self.state.versions[key] = Version(1, 1)
        self.program.change(self.state, [SectionUpdate(key, base, Version(1, 1), change)])

    def concerned(self) -> set[str]:
        ports, networks = self.retold.take()
        return ports.union(*(self.program.ports_of(network) for network in networks))

    def answer(self, port_id: str, frame: bytes) -> list[bytes]:
        key = self.program.port_key(port_id)
        return list(answering.answer(self.program, FACTS, vni=7, key=key, frame=frame))
