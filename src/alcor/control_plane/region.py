"""The region in memory: rows and nodes by id, and the indexes that compilation needs."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from alcor.contracts.store import Change, Snapshot
from alcor.control_plane.nodes import (
    NO_HOST,
    NO_ROUTER,
    AddressGroupNode,
    GroupNode,
    HostNode,
    NetworkNode,
    PortRow,
    RouterNode,
    interfaces_of,
    options_of,
    rule_entry,
    subnet_entry,
    tag_of,
)
from alcor.model.goal_state import NetworkEntry
from alcor.model.ids import (
    AddressGroupId,
    AddressScopeId,
    GroupId,
    HostId,
    NetworkId,
    PortId,
    ProjectId,
    RouterId,
    RuleId,
    SubnetId,
    SubnetPoolId,
    Vni,
)
from alcor.model.records import (
    ROUTER_INTERFACE,
    AddressGroupEntry,
    FixedIp,
    Host,
    Network,
    Port,
    Project,
    RecordSet,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
)

_K = TypeVar("_K", bound=str)


class OnDemandBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Ports with hosts above which a network's neighbourhood is asked for, and below which it is told again.

    Between the two a network stays as it is; after a restart it is told. `look_ups_per_s`: of all networks of
    a project together, twice as many at once; the usual is a third of what a controller can do.
    """

    above: int = 2_000
    below: int = 1_500
    look_ups_per_s: float = 10_000.0


class Turned:
    """What came to a router or left it in the last fold, perhaps to return: was it there before?"""

    __slots__ = ("hosts", "networks")

    def __init__(self) -> None:
        self.networks: dict[tuple[RouterId, NetworkId], bool] = {}
        self.hosts: dict[tuple[RouterId, HostId], bool] = {}  # that have ports in its networks


class Region:
    """All rows and nodes. Owner: the controller. `fold` is the only way to change it after `load`."""

    def __init__(self, on_demand: OnDemandBounds = OnDemandBounds()) -> None:  # noqa: B008 - frozen
        self.revision = 0
        self.on_demand = on_demand
        self._resized: set[NetworkId] = set()  # networks whose ports came or went since the last fold
        self.turned = Turned()
        self._network_of_vni: dict[Vni, NetworkNode] = {}
        self.ports: dict[PortId, PortRow] = {}
        self.networks: dict[NetworkId, NetworkNode] = {}
        self.subnet_networks: dict[SubnetId, NetworkId] = {}
        self.pool_scopes: dict[SubnetPoolId, AddressScopeId] = {}  # of pools that are in one
        self.pool_networks: dict[SubnetPoolId, dict[NetworkId, int]] = {}  # how many subnets are from the pool
        self.routers: dict[RouterId, RouterNode] = {}
        self.groups: dict[GroupId, GroupNode] = {}
        self.rule_groups: dict[RuleId, GroupId] = {}
        self.address_groups: dict[AddressGroupId, AddressGroupNode] = {}
        self.hosts: dict[HostId, HostNode] = {}
        self.priorities: dict[ProjectId, int] = {}  # of tenants that have a record
        self._shared: dict[tuple[object, ...], tuple[object, ...]] = {}  # equal tuples of ids, kept once

    async def load(self, snapshot: Snapshot, heard: Callable[[Sequence[Port]], None] | None = None) -> None:
        """Take everything from a snapshot. The region must be empty. `heard`: is told of its ports."""
        self.revision = snapshot.revision
        async for projects in snapshot.records(Project):
            self._put(RecordSet(projects=tuple(projects)), snapshot.revision)
        async for networks in snapshot.records(Network):
            self._put(RecordSet(networks=tuple(networks)), snapshot.revision)
        async for pools in snapshot.records(SubnetPool):
            self._put(RecordSet(subnetpools=tuple(pools)), snapshot.revision)
        async for subnets in snapshot.records(Subnet):
            self._put(RecordSet(subnets=tuple(subnets)), snapshot.revision)
        async for hosts in snapshot.records(Host):
            self._put(RecordSet(hosts=tuple(hosts)), snapshot.revision)
        async for entries in snapshot.records(AddressGroupEntry):
            self._put(RecordSet(address_group_entries=tuple(entries)), snapshot.revision)
        async for groups in snapshot.records(SecurityGroup):
            self._put(RecordSet(security_groups=tuple(groups)), snapshot.revision)
        async for rules in snapshot.records(SecurityGroupRule):
            self._put(RecordSet(security_group_rules=tuple(rules)), snapshot.revision)
        async for routers in snapshot.records(Router):
            self._put(RecordSet(routers=tuple(routers)), snapshot.revision)
        async for ports in snapshot.records(Port):
            self._put(RecordSet(ports=tuple(ports)), snapshot.revision)
            if heard is not None:
                heard(ports)
        self._settle_on_demand()
        self.turned = Turned()

    def fold(self, change: Change) -> None:
        """Make the next change. O(records in it)."""
        assert change.revision == self.revision + 1, f"{change.revision} does not follow {self.revision}"
        self.revision = change.revision
        self.turned = Turned()
        self._put(change.puts, change.revision)
        self._delete(change.deletes)
        self._settle_on_demand()

    def find(self, vni: Vni, ip: bytes) -> PortRow | None:
        """Give the port with a host that has or announced an address in the network with this VNI. O(1)."""
        node = self._network_of_vni.get(vni)
        if node is None:
            return None
        row = node.addresses.get(ip)
        return row if row is not None else node.announced.get(ip)

    def network_of(self, vni: Vni) -> NetworkNode | None:
        """Give the network that has this VNI."""
        return self._network_of_vni.get(vni)

    def vtep(self, host_id: HostId) -> bytes:
        """Give the tunnel endpoint of a host; empty when it is not known."""
        node = self.hosts.get(host_id)
        return node.vtep if node is not None else b""

    def _put(self, puts: RecordSet, revision: int) -> None:
        for network in puts.networks:
            node = self._network(network.id)
            node.entry = NetworkEntry(
                network.id, network.vni, network.mtu, network.admin_state_up, node.on_demand
            )
            node.project = network.project_id
            self._network_of_vni[network.vni] = node
        for project in puts.projects:
            self.priorities[project.id] = project.priority
        for pool in puts.subnetpools:
            self._put_pool(pool, revision)
        for subnet in puts.subnets:
            self.subnet_networks[subnet.id] = subnet.network_id
            node = self._network(subnet.network_id)
            node.subnets[subnet.id] = subnet_entry(subnet)
            if node.pools.get(subnet.id) != subnet.subnetpool_id:
                self._set_pool(node, subnet.id, subnet.subnetpool_id)
                self._rescope(node, revision)
        for host in puts.hosts:
            self._host(host.id).record = host
        for entry in puts.address_group_entries:
            self._address_group(entry.address_group_id).addresses.add(entry.prefix)
        for group in puts.security_groups:
            self._group(group.id).stateful = group.stateful
        for rule in puts.security_group_rules:
            self._put_rule(rule)
        for router in puts.routers:
            router_node = self._router(router.id)
            router_node.admin_state_up, router_node.routes = router.admin_state_up, router.routes
        for port in puts.ports:
            self._put_port(port, revision)

    def _delete(self, deletes: RecordSet) -> None:
        for project in deletes.projects:
            self.priorities.pop(project.id, None)
        for port in deletes.ports:
            row = self.ports.pop(port.id, None)
            if row is not None:
                self._unlink(row)
        for rule in deletes.security_group_rules:
            self._delete_rule(rule.id)
        for entry in deletes.address_group_entries:
            if (addresses_node := self.address_groups.get(entry.address_group_id)) is not None:
                addresses_node.addresses.discard(entry.prefix)
                self._drop_address_group(addresses_node)
        for group in deletes.security_groups:
            if (group_node := self.groups.get(group.id)) is not None:
                group_node.stateful = True
                self._drop_group(group_node)
        for router in deletes.routers:
            if (gone := self.routers.get(router.id)) is not None:
                gone.admin_state_up, gone.routes = False, ()
                if not gone.interfaces:
                    del self.routers[router.id]
        for subnet in deletes.subnets:
            self.subnet_networks.pop(subnet.id, None)
            if (network_node := self.networks.get(subnet.network_id)) is not None:
                network_node.subnets.pop(subnet.id, None)
                self._set_pool(network_node, subnet.id, None)
        for pool in deletes.subnetpools:
            self.pool_scopes.pop(pool.id, None)
        for network in deletes.networks:
            if (network_node := self.networks.get(network.id)) is not None:
                self._network_of_vni.pop(network_node.vni, None)
                network_node.entry = None
                if not (network_node.bound or network_node.routers or network_node.subnets):
                    del self.networks[network.id]
        for host in deletes.hosts:
            if (host_node := self.hosts.get(host.id)) is not None:
                host_node.record = None
                self._drop_host(host_node)

    def _put_pool(self, pool: SubnetPool, revision: int) -> None:
        if self.pool_scopes.get(pool.id) == pool.address_scope_id:
            return
        if pool.address_scope_id is None:
            del self.pool_scopes[pool.id]
        else:
            self.pool_scopes[pool.id] = pool.address_scope_id
        for network_id in self.pool_networks.get(pool.id, ()):
            self._rescope(self.networks[network_id], revision)

    def _set_pool(self, network: NetworkNode, subnet_id: SubnetId, pool_id: SubnetPoolId | None) -> None:
        before = network.pools.pop(subnet_id, None)
        if before is not None:
            _discount(self.pool_networks[before], network.id)
            if not self.pool_networks[before]:
                del self.pool_networks[before]
        if pool_id is not None:
            network.pools[subnet_id] = pool_id
            _count(self.pool_networks.setdefault(pool_id, {}), network.id)

    def _rescope(self, network: NetworkNode, revision: int) -> None:
        """Let legs follow the scopes of the network's subnets. O(legs of its routers)."""
        for router_id in network.routers:
            interfaces = self.routers[router_id].interfaces
            for port_id, legs in interfaces.items():
                row = self.ports[port_id]
                if row.network_id == network.id:
                    interfaces[port_id] = interfaces_of(row, network, self.pool_scopes)
                    if interfaces[port_id] != legs:
                        self.ports[port_id] = msgspec.structs.replace(row, goal=revision)

    def _put_port(self, port: Port, revision: int) -> None:
        old = self.ports.get(port.id)
        row = self._row(port, old, revision)
        if old is not None:
            if old == row:
                return
            self._unlink(old)
        self.ports[row.id] = row
        self._link(row)

    def _row(self, port: Port, old: PortRow | None, revision: int) -> PortRow:
        is_interface = port.device_owner == ROUTER_INTERFACE
        row = PortRow(
            old.id if old is not None else port.id,
            self._network(port.network_id).id,
            port.mac,
            self._fixed_ips(port.fixed_ips),
            self._share(port.security_groups),
            self._host(port.host).id if port.host and not is_interface else NO_HOST,
            RouterId(sys.intern(port.device_id)) if is_interface else NO_ROUTER,
            port.admin_state_up,
            port.port_security_enabled,
            old.goal if old is not None else 0 if is_interface else revision,
            port.address_pairs,
            port.announced,
            options_of(port),
            tag_of(port),
        )
        if old is None and not is_interface:
            return row
        if not self._is_same_for_hosts(old, row):
            return msgspec.structs.replace(row, goal=revision)
        if is_interface and old is not None and old.router != row.router:
            return msgspec.structs.replace(row, goal=0)  # of this router no host was ever told of it
        return row

    def _is_same_for_hosts(self, old: PortRow | None, row: PortRow) -> bool:
        """Do hosts hold the same for both? Of a router's interface they hold its legs only, if it has any.

        What no host is told of, none could acknowledge.
        """
        if row.router == NO_ROUTER:
            # What it announced is of its placement, which it may have none of.
            return old is not None and old == msgspec.structs.replace(row, announced=old.announced)
        was_interface = old is not None and old.router != NO_ROUTER
        held = self._router(old.router).interfaces.get(old.id, ()) if old is not None and was_interface else ()
        legs = interfaces_of(row, self._network(row.network_id), self.pool_scopes)
        return held == legs and (not legs or (old is not None and old.router == row.router))

    def _fixed_ips(self, fixed_ips: tuple[FixedIp, ...]) -> tuple[FixedIp, ...]:
        return tuple([FixedIp(SubnetId(sys.intern(fixed.subnet_id)), fixed.ip) for fixed in fixed_ips])

    def _share(self, groups: tuple[GroupId, ...]) -> tuple[GroupId, ...]:
        shared = self._shared.get(groups)
        if shared is None:
            if len(self._shared) > 100_000:  # a cache only: a region has few distinct sets of groups
                self._shared.clear()
            self._shared[groups] = groups
            return groups
        return shared  # type: ignore[return-value]  # equal to `groups`

    def _link(self, row: PortRow) -> None:
        network = self._network(row.network_id)
        if row.router != NO_ROUTER:
            router = self._router(row.router)
            router.interfaces[row.id] = interfaces_of(row, network, self.pool_scopes)
            if network.id not in router.networks:
                self.turned.networks.setdefault((router.id, network.id), False)
                for host_id in network.hosts:
                    self._reach(router, host_id)
            _count(router.networks, network.id)
            _count(network.routers, router.id)
        elif row.host != NO_HOST:
            host = self._host(row.host)
            network.bound[row.id] = row
            for fixed in row.fixed_ips:
                network.addresses[fixed.ip] = row
            for ip in row.announced:
                network.announced[ip] = row
            self._resized.add(network.id)
            own = host.networks.get(row.network_id)
            if own is None:
                own = host.networks[network.id] = {}
                network.hosts[host.id] = host
                for router_id in network.routers:
                    self._reach(self.routers[router_id], host.id)
            own[row.id] = row
        if row.port_security and row.is_local:
            for group_id in row.groups:
                group = self._group(group_id)
                _count(group.hosts, row.host)
                _count(self._host(row.host).groups, group.id)

    def _unlink(self, row: PortRow) -> None:
        network = self.networks[row.network_id]
        if row.router != NO_ROUTER:
            router = self.routers[row.router]
            del router.interfaces[row.id]
            _discount(router.networks, network.id)
            _discount(network.routers, router.id)
            if network.id not in router.networks:
                self.turned.networks.setdefault((router.id, network.id), True)
                for host_id in network.hosts:
                    self._leave(router, host_id)
        elif row.host != NO_HOST:
            host = self.hosts[row.host]
            del network.bound[row.id]
            for fixed in row.fixed_ips:
                if network.addresses.get(fixed.ip) is row:  # not another's that has it since this change
                    del network.addresses[fixed.ip]
            for ip in row.announced:
                if network.announced.get(ip) is row:
                    del network.announced[ip]
            self._resized.add(network.id)
            own = host.networks[row.network_id]
            del own[row.id]
            if not own:
                del host.networks[row.network_id]
                del network.hosts[row.host]
                for router_id in network.routers:
                    self._leave(self.routers[router_id], row.host)
        if row.port_security and row.is_local:
            for group_id in row.groups:
                _discount(self.groups[group_id].hosts, row.host)
                _discount(self.hosts[row.host].groups, group_id)
        if row.host != NO_HOST:
            self._drop_host(self.hosts[row.host])

    def _reach(self, router: RouterNode, host_id: HostId) -> None:
        if host_id not in router.hosts:
            self.turned.hosts.setdefault((router.id, host_id), False)
        _count(router.hosts, host_id)

    def _leave(self, router: RouterNode, host_id: HostId) -> None:
        _discount(router.hosts, host_id)
        if host_id not in router.hosts:
            self.turned.hosts.setdefault((router.id, host_id), True)

    def _settle_on_demand(self) -> None:
        """Let networks that grew or shrank pass their bounds. O(networks whose ports came or went)."""
        bounds = self.on_demand
        for network_id in self._resized:
            node = self.networks.get(network_id)
            if node is None:
                continue
            ports = len(node.bound)
            on_demand = ports >= bounds.below if node.on_demand else ports > bounds.above
            if on_demand != node.on_demand:
                node.on_demand = on_demand
                if node.entry is not None:
                    node.entry = msgspec.structs.replace(node.entry, on_demand=on_demand)
        self._resized.clear()

    def _put_rule(self, rule: SecurityGroupRule) -> None:
        self._delete_rule(rule.id)
        group = self._group(rule.security_group_id)
        self.rule_groups[rule.id] = group.id
        entry = group.rules[rule.id] = rule_entry(rule)
        if entry.remote_addresses is not None:
            node = self._address_group(entry.remote_addresses)
            _count(group.address_groups, node.id)
            _count(node.groups, group.id)

    def _delete_rule(self, rule_id: RuleId) -> None:
        group_id = self.rule_groups.pop(rule_id, None)
        if group_id is None:
            return
        group = self.groups[group_id]
        entry = group.rules.pop(rule_id)
        if entry.remote_addresses is not None:
            node = self.address_groups[entry.remote_addresses]
            _discount(group.address_groups, node.id)
            _discount(node.groups, group.id)
            self._drop_address_group(node)

    def _drop_host(self, host: HostNode) -> None:
        if host.record is None and not host.networks:
            self.hosts.pop(host.id, None)

    def _drop_address_group(self, node: AddressGroupNode) -> None:
        if not (node.addresses or node.groups):
            self.address_groups.pop(node.id, None)

    def _drop_group(self, group: GroupNode) -> None:
        if not (group.rules or group.hosts):
            self.groups.pop(group.id, None)

    def _network(self, network_id: NetworkId) -> NetworkNode:
        node = self.networks.get(network_id)
        if node is None:
            node = self.networks[network_id] = NetworkNode(network_id)
        return node

    def _router(self, router_id: RouterId) -> RouterNode:
        node = self.routers.get(router_id)
        if node is None:
            node = self.routers[router_id] = RouterNode(router_id)
        return node

    def _group(self, group_id: GroupId) -> GroupNode:
        node = self.groups.get(group_id)
        if node is None:
            node = self.groups[group_id] = GroupNode(group_id)
        return node

    def _address_group(self, address_group_id: AddressGroupId) -> AddressGroupNode:
        node = self.address_groups.get(address_group_id)
        if node is None:
            node = self.address_groups[address_group_id] = AddressGroupNode(address_group_id)
        return node

    def _host(self, host_id: HostId) -> HostNode:
        node = self.hosts.get(host_id)
        if node is None:
            node = self.hosts[host_id] = HostNode(host_id)
        return node


def _count(counts: dict[_K, int], key: _K) -> None:
    counts[key] = counts.get(key, 0) + 1


def _discount(counts: dict[_K, int], key: _K) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
