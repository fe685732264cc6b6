"""A small cloud that changes at random, and gives each step as the Change a store would commit.

Operations are drawn as plain numbers and interpreted against what exists, so that hypothesis can shrink them.
A step is the difference between two states of the cloud: consistent whatever the operations were.
"""

import random
from dataclasses import dataclass, field

import msgspec
from compiler_operations import Operation, random_operation, replace_op
from compiler_stacks import address_in, cidr_of, is_ipv6, modes_of, pair_of, prefix_of, route_of

from alcor.contracts.store import Change
from alcor.model.ids import (
    AddressGroupEntryId,
    AddressGroupId,
    AddressScopeId,
    GroupId,
    HostId,
    NetworkId,
    PortId,
    ProjectId,
    RequestId,
    RouterId,
    RuleId,
    SubnetId,
    SubnetPoolId,
    TrunkId,
    Vni,
)
from alcor.model.records import (
    ROUTER_INTERFACE,
    AddressGroup,
    AddressGroupEntry,
    AddressPair,
    AnyRecord,
    DhcpOption,
    ExtraRoute,
    FixedIp,
    Host,
    Network,
    Port,
    RecordSet,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
    TrunkLink,
)

HOSTS = tuple(HostId(f"host-{index}") for index in range(5))
PROJECT = ProjectId("project")
_TABLES = (
    "networks",
    "subnets",
    "ports",
    "groups",
    "rules",
    "routers",
    "hosts",
    "pools",
    "address_groups",
    "entries",
)
replace = msgspec.structs.replace


@dataclass
class World:
    """All records, by id."""

    networks: dict[str, Network] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    groups: dict[str, SecurityGroup] = field(default_factory=dict)
    rules: dict[str, SecurityGroupRule] = field(default_factory=dict)
    routers: dict[str, Router] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    pools: dict[str, SubnetPool] = field(default_factory=dict)
    address_groups: dict[str, AddressGroup] = field(default_factory=dict)
    entries: dict[str, AddressGroupEntry] = field(default_factory=dict)
    revision: int = 0
    _next: int = 0
    _committed: tuple[dict[str, AnyRecord], ...] = field(default_factory=lambda: tuple({} for _ in _TABLES))

    def commit(self) -> Change:
        """Give what changed since the last commit as the next change of the log."""
        now: tuple[dict[str, AnyRecord], ...] = tuple(dict(getattr(self, name)) for name in _TABLES)
        puts, deletes = [], []
        for before, after in zip(self._committed, now, strict=True):
            puts.append(tuple(record for id_, record in after.items() if before.get(id_) != record))
            deletes.append(tuple(record for id_, record in before.items() if id_ not in after))
        self._committed = now
        self.revision += 1
        return Change(self.revision, self.revision, RequestId("r"), PROJECT, _set(puts), _set(deletes))

    def whole(self) -> Change:
        """Give everything there is as one first change."""
        everything = World(**{name: getattr(self, name) for name in _TABLES})
        return everything.commit()

    def do(self, operation: Operation) -> None:
        """Do one operation; those that find nothing to work on do nothing."""
        getattr(self, operation.name)(operation)

    def add_network(self, op: Operation) -> None:
        if len(self.networks) < 6:
            id_ = NetworkId(self._id("net"))
            self.networks[id_] = Network(id=id_, project_id=PROJECT, vni=Vni(self._next))
            self.add_subnet_to(id_, op.c)

    def add_subnet(self, op: Operation) -> None:
        if network := _pick(self.networks, op.a):
            self.add_subnet_to(network.id, op.b)

    def add_subnet_to(self, network_id: NetworkId, choice: int) -> None:
        """Make a subnet of either version; ports have an address of one from which addresses are derived."""
        taken = sum(subnet.network_id == network_id for subnet in self.subnets.values())
        if taken < 4:
            id_ = SubnetId(self._id("sub"))
            subnet = Subnet(id=id_, project_id=PROJECT, network_id=network_id, cidr=cidr_of(choice, self._next))
            subnet = self.subnets[id_] = modes_of(subnet, choice // 2)
            for port in list(self.ports.values()):
                is_workload = port.device_owner != ROUTER_INTERFACE
                if subnet.is_derived and is_workload and port.network_id == network_id:
                    fixed = FixedIp(id_, address_in(subnet, port.mac, 0))
                    self.ports[port.id] = replace(port, fixed_ips=(*port.fixed_ips, fixed))

    def change_network(self, op: Operation) -> None:
        if network := _pick(self.networks, op.a):
            changed = replace(network, admin_state_up=op.flag, mtu=1400 + op.b % 3)
            self.networks[network.id] = changed

    def change_subnet(self, op: Operation) -> None:
        if subnet := _pick(self.subnets, op.a):
            dns = (("2001:db8::53", "2001:db8::35") if is_ipv6(subnet) else ("8.8.8.8", "1.1.1.1"))[: op.b % 3]
            routes = (route_of(is_ipv6(subnet)),) if op.c % 2 else ()
            self.subnets[subnet.id] = replace(
                subnet, enable_dhcp=op.flag, dns_nameservers=dns, host_routes=routes
            )

    def add_pool(self, op: Operation) -> None:
        if len(self.pools) < 4:
            id_ = SubnetPoolId(self._id("pool"))
            self.pools[id_] = SubnetPool(
                id=id_,
                project_id=PROJECT,
                min_prefixlen=8,
                max_prefixlen=32,
                default_prefixlen=24,
                address_scope_id=_scope(op.b),
            )

    def rescope_pool(self, op: Operation) -> None:
        if pool := _pick(self.pools, op.a):
            self.pools[pool.id] = replace(pool, address_scope_id=_scope(op.b))

    def onboard_subnet(self, op: Operation) -> None:
        """A subnet becomes another pool's, or nobody's, which the API never does."""
        if subnet := _pick(self.subnets, op.a):
            pool = _pick(self.pools, op.b) if op.flag else None
            self.subnets[subnet.id] = replace(subnet, subnetpool_id=None if pool is None else pool.id)

    def delete_pool(self, op: Operation) -> None:
        used = {subnet.subnetpool_id for subnet in self.subnets.values()}
        if pool := _pick({id_: pool for id_, pool in self.pools.items() if id_ not in used}, op.a):
            del self.pools[pool.id]

    def delete_subnet(self, op: Operation) -> None:
        if subnet := _pick(self.subnets, op.a):
            used = any(fixed.subnet_id == subnet.id for port in self.ports.values() for fixed in port.fixed_ips)
            if not used or op.flag:
                for port in list(self.ports.values()):
                    left = tuple(fixed for fixed in port.fixed_ips if fixed.subnet_id != subnet.id)
                    if left and is_ipv6(subnet):
                        self.ports[port.id] = replace(port, fixed_ips=left)
                    elif left != port.fixed_ips:
                        del self.ports[port.id]
                del self.subnets[subnet.id]

    def delete_network(self, op: Operation) -> None:
        if network := _pick(self.networks, op.a):
            for table in (self.ports, self.subnets):
                for record in list(table.values()):
                    if record.network_id == network.id:
                        del table[record.id]
            del self.networks[network.id]

    def add_port(self, op: Operation) -> None:
        if (network := _pick(self.networks, op.a)) and len(self.ports) < 24:
            id_ = PortId(self._id("port"))
            self.ports[id_] = Port(
                id=id_,
                project_id=PROJECT,
                network_id=network.id,
                mac=self._next,
                fixed_ips=self._ips(network.id, self._next, op.c),
                security_groups=self._some_groups(op.c),
                host=HOSTS[op.b % len(HOSTS)] if op.b % 7 else HostId(""),
                port_security_enabled=op.c % 5 != 0,
                admin_state_up=op.c % 11 != 0,
            )

    def add_ports(self, op: Operation) -> None:
        for index in range(3):
            self.add_port(replace_op(op, op.b + index, op.c + index))

    def move_port(self, op: Operation) -> None:
        if port := self._workload(op.a):
            host = HOSTS[op.b % len(HOSTS)] if op.b % 7 else HostId("")
            self.ports[port.id] = replace(port, host=host)

    def regroup_port(self, op: Operation) -> None:
        if port := self._workload(op.a):
            self.ports[port.id] = replace(port, security_groups=self._some_groups(op.b))

    def secure_port(self, op: Operation) -> None:
        if port := self._workload(op.a):
            self.ports[port.id] = replace(port, port_security_enabled=op.flag)

    def pair_port(self, op: Operation) -> None:
        if port := self._workload(op.a):
            pairs = (AddressPair(port.mac, *pair_of(op.b)),) if op.flag else ()
            self.ports[port.id] = replace(port, address_pairs=pairs, announced=())

    def announce(self, op: Operation) -> None:
        """A port says that an address of its pair is its own; whoever held it, holds it no longer."""
        if (port := self._workload(op.a)) and port.address_pairs:
            ip = port.address_pairs[0].network
            for other in list(self.ports.values()):
                if ip in other.announced and other.network_id == port.network_id:
                    self.ports[other.id] = replace(other, announced=())
            self.ports[port.id] = replace(port, announced=(ip,))

    def trunk_port(self, op: Operation) -> None:
        """A port becomes a sub-port of another, on its host, or is one no longer."""
        if (port := self._workload(op.a)) and (parent := self._workload(op.b)) and port.id != parent.id:
            link = TrunkLink(TrunkId("trunk"), parent.id, 1 + op.c) if op.flag else None
            self.ports[port.id] = replace(port, trunk=link, host=parent.host if link else port.host)

    def raise_port(self, op: Operation) -> None:
        if port := _pick(self.ports, op.a):
            self.ports[port.id] = replace(port, admin_state_up=op.flag)

    def configure_port(self, op: Operation) -> None:
        if port := self._workload(op.a):
            version = 6 if op.c % 2 else 4  # which say different things under one code
            option = DhcpOption("mtu", str(op.b), 26, bytes([5, op.b % 256]), version)
            options = (option,) if op.flag else ()
            self.ports[port.id] = replace(port, dhcp_options=options)

    def rename_port(self, op: Operation) -> None:
        if port := _pick(self.ports, op.a):
            self.ports[port.id] = replace(port, name=str(op.b))

    def readdress_port(self, op: Operation) -> None:
        if port := _pick(self.ports, op.a):
            mac = port.mac if op.flag else 1000 + self._bump()
            self.ports[port.id] = replace(port, mac=mac, fixed_ips=self._ips(port.network_id, mac, op.b))

    def swap_addresses(self, op: Operation) -> None:
        one, other = self._workload(op.a), self._workload(op.b)
        if one and other and one.id != other.id and one.network_id == other.network_id:
            for port, giver in ((one, other), (other, one)):
                kept = [fixed for fixed in port.fixed_ips if self.subnets[fixed.subnet_id].is_derived]
                given = [fixed for fixed in giver.fixed_ips if not self.subnets[fixed.subnet_id].is_derived]
                self.ports[port.id] = replace(port, fixed_ips=(*kept, *given))

    def change_owner(self, op: Operation) -> None:
        """A port becomes a router's interface, or is one no longer."""
        if (port := _pick(self.ports, op.a)) and (router := _pick(self.routers, op.b)):
            owner = ROUTER_INTERFACE if op.flag else "compute:zone"
            self.ports[port.id] = replace(port, device_owner=owner, device_id=router.id)

    def delete_port(self, op: Operation) -> None:
        if port := _pick(self.ports, op.a):
            del self.ports[port.id]

    def add_router(self, op: Operation) -> None:
        if len(self.routers) < 4:
            id_ = RouterId(self._id("router"))
            self.routers[id_] = Router(id=id_, project_id=PROJECT, admin_state_up=op.flag)

    def raise_router(self, op: Operation) -> None:
        if router := _pick(self.routers, op.a):
            self.routers[router.id] = replace(router, admin_state_up=op.flag)

    def reroute(self, op: Operation) -> None:
        if router := _pick(self.routers, op.a):
            hops = [bytes([10, op.b, 0, last]) for last in range(op.c % 3)]
            routes = tuple(ExtraRoute((bytes([192, 168, op.b, 0]), 24), hop) for hop in hops)
            if op.flag:
                routes += tuple(ExtraRoute(prefix_of(op.b, is_ipv6=True), hop + bytes(12)) for hop in hops)
            self.routers[router.id] = replace(router, routes=routes)

    def delete_router(self, op: Operation) -> None:
        if router := _pick(self.routers, op.a):
            for port in list(self.ports.values()):
                if port.device_owner == ROUTER_INTERFACE and port.device_id == router.id:
                    del self.ports[port.id]
            del self.routers[router.id]

    def add_interface(self, op: Operation) -> None:
        if (router := _pick(self.routers, op.a)) and (network := _pick(self.networks, op.b)):
            id_ = PortId(self._id("leg"))
            self.ports[id_] = Port(
                id=id_,
                project_id=PROJECT,
                network_id=network.id,
                mac=self._next,
                fixed_ips=self._ips(network.id, self._next, op.c),
                device_owner=ROUTER_INTERFACE,
                device_id=router.id,
            )

    def delete_interface(self, op: Operation) -> None:
        legs = {port.id: port for port in self.ports.values() if port.device_owner == ROUTER_INTERFACE}
        if leg := _pick(legs, op.a):
            del self.ports[leg.id]

    def add_group(self, op: Operation) -> None:
        if len(self.groups) < 5:
            id_ = GroupId(self._id("group"))
            self.groups[id_] = SecurityGroup(id=id_, project_id=PROJECT, is_default=op.flag)
            if op.flag:
                self._rule(id_, id_, "ingress")
            self._rule(id_, None, "egress")

    def change_group(self, op: Operation) -> None:
        if group := _pick(self.groups, op.a):
            self.groups[group.id] = replace(group, stateful=op.flag)

    def delete_group(self, op: Operation) -> None:
        if group := _pick(self.groups, op.a):
            for port in list(self.ports.values()):
                left = tuple(id_ for id_ in port.security_groups if id_ != group.id)
                self.ports[port.id] = replace(port, security_groups=left)
            for rule in list(self.rules.values()):
                if group.id in (rule.security_group_id, rule.remote_group_id):
                    del self.rules[rule.id]
            del self.groups[group.id]

    def add_rule(self, op: Operation) -> None:
        if (group := _pick(self.groups, op.a)) and len(self.rules) < 16:
            remote = _pick(self.groups, op.b) if op.c % 3 == 1 else None
            about = _pick(self.address_groups, op.b) if op.c % 3 == 2 else None
            direction = "ingress" if op.flag else "egress"
            self._rule(group.id, remote.id if remote else None, direction, about.id if about else None)

    def delete_rule(self, op: Operation) -> None:
        if rule := _pick(self.rules, op.a):
            del self.rules[rule.id]

    def add_address_group(self, op: Operation) -> None:
        if len(self.address_groups) < 3:
            id_ = AddressGroupId(self._id("addresses"))
            self.address_groups[id_] = AddressGroup(id=id_, project_id=PROJECT)
            self.add_address(op)

    def add_address(self, op: Operation) -> None:
        if group := _pick(self.address_groups, op.a):
            id_ = AddressGroupEntryId(f"{group.id}-{op.b % 6}")
            prefix = prefix_of(op.b % 6, is_ipv6=op.b % 2 == 1)
            self.entries[id_] = AddressGroupEntry(
                id=id_, project_id=PROJECT, address_group_id=group.id, prefix=prefix
            )

    def remove_address(self, op: Operation) -> None:
        if entry := _pick(self.entries, op.a):
            del self.entries[entry.id]

    def delete_address_group(self, op: Operation) -> None:
        if group := _pick(self.address_groups, op.a):
            for entry in [each for each in self.entries.values() if each.address_group_id == group.id]:
                del self.entries[entry.id]
            for rule in [each for each in self.rules.values() if each.remote_address_group_id == group.id]:
                del self.rules[rule.id]
            del self.address_groups[group.id]

    def register_host(self, op: Operation) -> None:
        id_ = HOSTS[op.a % len(HOSTS)]
        self.hosts[id_] = Host(id=id_, project_id=ProjectId(""), vtep=bytes([172, 16, op.b % 3, op.a % 5]))

    def rezone_host(self, op: Operation) -> None:
        if host := _pick(self.hosts, op.a):
            self.hosts[host.id] = replace(host, zone=str(op.b))

    def forget_host(self, op: Operation) -> None:
        if host := _pick(self.hosts, op.a):
            del self.hosts[host.id]

    def _rule(
        self,
        group_id: GroupId,
        remote_id: GroupId | None,
        direction: str,
        addresses_id: AddressGroupId | None = None,
    ) -> None:
        id_ = RuleId(self._id("rule"))
        self.rules[id_] = SecurityGroupRule(
            id=id_,
            project_id=PROJECT,
            security_group_id=group_id,
            direction=direction,
            ethertype="IPv6" if self._next % 3 == 0 else "IPv4",
            remote_group_id=remote_id,
            remote_address_group_id=addresses_id,
        )

    def _workload(self, index: int) -> Port | None:
        ports = {port.id: port for port in self.ports.values() if port.device_owner != ROUTER_INTERFACE}
        return _pick(ports, index)

    def _some_groups(self, choice: int) -> tuple[GroupId, ...]:
        return tuple(id_ for index, id_ in enumerate(sorted(self.groups)) if choice >> index & 1)

    def _ips(self, network_id: NetworkId, mac: int, choice: int) -> tuple[FixedIp, ...]:
        """Draw addresses of up to three subnets, of either version or both."""
        own = [subnet for subnet in self.subnets.values() if subnet.network_id == network_id]
        if choice % 2:
            own.reverse()
        return tuple(FixedIp(subnet.id, address_in(subnet, mac, self._bump())) for subnet in own[: choice % 4])

    def _bump(self) -> int:
        self._next += 1
        return self._next

    def _id(self, kind: str) -> str:
        return f"{kind}-{self._bump():05}"


def rich_world(choice: random.Random) -> World:
    """Give a cloud in which most kinds of neighbourhood exist already, so that few operations reach far."""
    world = World()
    plan = ["register_host"] * 4 + ["add_network"] * 4 + ["add_subnet"] * 4 + ["add_router"] * 2
    plan += ["add_pool"] * 3 + ["onboard_subnet"] * 4
    plan += ["add_address_group"] * 2 + ["add_address"] * 3
    plan += ["add_group"] * 4 + ["add_rule"] * 6 + ["add_interface"] * 4 + ["add_port"] * 12
    for name in plan:
        world.do(random_operation(choice, name))
    return world


def _pick(table, index):  # type: ignore[no-untyped-def]
    """Give one of the records, None when there is none."""
    return list(table.values())[index % len(table)] if table else None


def _scope(choice: int) -> AddressScopeId | None:
    return AddressScopeId(f"scope-{choice % 3}") if choice % 3 else None


def _set(groups: list[tuple[AnyRecord, ...]]) -> RecordSet:
    networks, subnets, ports, security_groups, rules, routers, hosts, pools, address_groups, entries = groups
    return RecordSet(
        networks,
        subnets,
        ports,
        security_groups,
        rules,
        routers,
        hosts=hosts,
        subnetpools=pools,
        address_groups=address_groups,
        address_group_entries=entries,
    )
