"""Who is in the demonstration and who may reach whom: pure, and independent of the code it checks.

Two tenants with the same addresses. Each has a VPC of two subnets, a router between them, and three groups:

    group    may receive                                   may send
    web      ping from anywhere, tcp/80 from anywhere      everything
    db       tcp/5432 from web, ping from db               everything
    sealed   nothing                                       tcp/80 to subnet b only

All of it over IPv4, and over IPv6 but for what sealed may send. Each VPC has one IPv6 subnet, of the same
prefix: the first tenant's workloads make their addresses themselves, the second's are given theirs.
"""

import ipaddress
from collections.abc import Iterator, Sequence

import msgspec

TENANTS = ("tenant-red", "tenant-blue")
SUBNETS = {"a": "10.10.0.0/20", "b": "10.10.16.0/20"}
IPV6_PREFIX = "2001:db8:10:10::/64"
GIVEN = "dhcpv6-stateful"
IPV6_MODES = {"tenant-red": "slaac", "tenant-blue": GIVEN}
# One pair in so many is tried over IPv6, too: every pair would fill the table of 1,024 neighbours that all
# namespaces share. Odd, so that pairs within a tenant and across are among them: endpoints alternate.
IPV6_EVERY = 11
GROUPS = ("web", "db", "sealed")
WEB_PORT = 80
DB_PORT = 5432


class RuleSpec(msgspec.Struct, frozen=True):
    """One rule to ask for, in the words of the API; `remote_group` is a name of GROUPS."""

    direction: str
    protocol: str
    port: int | None = None
    remote_group: str | None = None
    remote_subnet: str | None = None


RULES: dict[str, tuple[RuleSpec, ...]] = {
    "web": (RuleSpec("ingress", "icmp"), RuleSpec("ingress", "tcp", WEB_PORT)),
    "db": (
        RuleSpec("ingress", "tcp", DB_PORT, remote_group="web"),
        RuleSpec("ingress", "icmp", remote_group="db"),
    ),
    "sealed": (RuleSpec("egress", "tcp", WEB_PORT, remote_subnet="b"),),
}
SENDS_EVERYTHING = frozenset({"web", "db"})  # they keep the egress rules that every new group has


class Endpoint(msgspec.Struct, frozen=True):
    """One workload of the sample."""

    port_id: str
    tenant: str
    subnet: str
    group: str
    host: str
    ip: str
    ipv6: str
    mac: str

    def address(self, version: int) -> str:
        """Give its address of an IP version."""
        return self.ip if version == 4 else self.ipv6


class Attempt(msgspec.Struct, frozen=True):
    """One thing to try: from a workload to an address of an IP version. `port` None: ping."""

    source: Endpoint
    target: Endpoint
    port: int | None
    version: int = 4

    @property
    def to_ip(self) -> str:
        return self.target.address(self.version)

    @property
    def words(self) -> str:
        what = "ping" if self.port is None else f"tcp/{self.port}"
        source, target = self.source, self.target
        return (
            f"{what} {source.tenant}/{source.group} {source.address(self.version)} on {source.host} -> "
            f"{target.tenant}/{target.group} {self.to_ip} on {target.host}"
        )


class Placing(msgspec.Struct, frozen=True):
    """Where the n-th port of the demonstration goes."""

    tenant: str
    subnet: str
    group: str
    host: str


def gateway(subnet: str) -> str:
    """Give the address of a subnet's router: the first, as no other is asked for."""
    return str(next(ipaddress.ip_network(SUBNETS[subnet]).hosts()))


def placing(number: int, hosts: Sequence[str]) -> Placing:
    """Spread ports so that any run of `2 x 2 x 3 x hosts` of them covers every combination once."""
    number, tenant = divmod(number, len(TENANTS))
    number, subnet = divmod(number, len(SUBNETS))
    number, host = divmod(number, len(hosts))
    return Placing(
        tenant=TENANTS[tenant],
        subnet=sorted(SUBNETS)[subnet],
        group=GROUPS[number % len(GROUPS)],
        host=hosts[host],
    )


def attempts(sample: Sequence[Endpoint], beside: Sequence[Endpoint] = ()) -> Iterator[Attempt]:
    """Name everything to try: all ordered pairs, by ping, and by TCP to a port that depends on the target.

    Over IPv4, and some also over IPv6. A target of the other tenant is tried by its address only where no
    workload of the source's own tenant has the same one: there, nobody may answer. `beside`: workloads that are
    plugged too, and not tried.
    """
    plugged = [*sample, *beside]
    own_ips = {
        tenant: {ip for each in plugged if each.tenant == tenant for ip in (each.ip, each.ipv6)}
        for tenant in TENANTS
    }
    for from_number, source in enumerate(sample):
        for to_number, target in enumerate(sample):
            if source.port_id == target.port_id:
                continue
            for version in (4, 6) if (3 * from_number + to_number) % IPV6_EVERY == 0 else (4,):
                if source.tenant != target.tenant and target.address(version) in own_ips[source.tenant]:
                    continue
                yield Attempt(source, target, None, version)
                yield Attempt(source, target, DB_PORT if target.group == "db" else WEB_PORT, version)


def may_reach(attempt: Attempt) -> bool:
    """Say whether the tenants' rules allow it, from the table at the head of this file alone."""
    source, target = attempt.source, attempt.target
    if source.tenant != target.tenant:
        return False
    if source.group not in SENDS_EVERYTHING and not (
        attempt.version == 4 and attempt.port == WEB_PORT and target.subnet == "b"
    ):
        return False
    match target.group:
        case "web":
            return attempt.port in (None, WEB_PORT)
        case "db":
            return source.group == ("db" if attempt.port is None else "web")
        case _:
            return False
