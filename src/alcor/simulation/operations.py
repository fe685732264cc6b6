"""Random operations: what tenants ask for, through the real services.

An operation chooses among what the store holds now. What the services refuse counts as done: refusing is right
as often as not. Only `Broken` and exceptions of no kind are wrong.
"""

import random
from collections.abc import Awaitable, Callable, Sequence

from alcor.contracts.store import Query, R
from alcor.management_plane.address_group.decisions import AddressGroupFields
from alcor.management_plane.address_scope.decisions import AddressScopeFields
from alcor.management_plane.caller import Caller
from alcor.management_plane.network.decisions import NetworkFields
from alcor.management_plane.port.address_pairs import AddressPairFields
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.port.fixed_ips import FixedIpFields
from alcor.management_plane.port_group.decisions import PortGroupFields
from alcor.management_plane.router.decisions import InterfaceFields, RouterFields
from alcor.management_plane.security_group.decisions import GroupFields, RuleFields
from alcor.management_plane.security_group.rules import Prefix
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet_pool.decisions import SubnetPoolFields
from alcor.management_plane.trunk.decisions import TrunkFields
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.ids import HostId, ProjectId
from alcor.model.records import (
    IPV6_MODES,
    ROUTER_INTERFACE,
    AddressGroup,
    AddressScope,
    ExtraRoute,
    Network,
    Port,
    PortGroup,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
    SubPort,
    Trunk,
)
from alcor.runtime.clock import new_request_id
from alcor.simulation.api_process import ApiProcess
from alcor.simulation.cloud import GHOST, Cloud

PORTS_MAX = 120  # beyond it more is removed than made
BATCH_MAX = 20
WAIT_S = 5.0

_PREFIXES = {
    version: Prefix(text, Cidr.from_text(text))
    for version, text in (("IPv4", "10.1.0.0/16"), ("IPv6", "2001:db8:0:2::/63"))
}

Operation = Callable[[], Awaitable[None]]


class Operations:
    """Draws operations and carries them out."""

    def __init__(
        self,
        cloud: Cloud,
        chance: random.Random,
        befalls: Sequence[tuple[int, Operation]],
    ) -> None:
        """`befalls`: what else may happen, with weights."""
        self._cloud = cloud
        self._chance = chance
        self._table: list[tuple[int, Operation]] = [
            (30, self.create_ports),
            (30, self.update_port),
            (25, self.delete_port),
            (12, self.change_size),
            (6, self.create_network),
            (4, self.update_network),
            (3, self.delete_network),
            (10, self.create_subnet),
            (9, self.create_prefix),
            (5, self.update_subnet),
            (4, self.delete_subnet),
            (3, self.create_pool),
            (6, self.rescope_pool),
            (3, self.onboard),
            (5, self.create_group),
            (3, self.delete_group),
            (14, self.create_rule),
            (3, self.create_address_group),
            (9, self.change_addresses),
            (2, self.delete_address_group),
            (9, self.delete_rule),
            (5, self.create_router),
            (5, self.update_router),
            (3, self.delete_router),
            (14, self.add_interface),
            (9, self.remove_interface),
            (4, self.route),
            (6, self.create_trunk),
            (10, self.change_sub_ports),
            (3, self.delete_trunk),
            (3, self.create_port_group),
            (4, self.delete_port_group),
            (4, self.wait_in_force),
            *befalls,
        ]

    def draw(self) -> Operation:
        """Choose the next operation."""
        weights = [weight for weight, _ in self._table]
        operations = [operation for _, operation in self._table]
        return self._chance.choices(operations, weights)[0]

    def _api(self) -> ApiProcess:
        """Give one of the API's processes: each request goes to any."""
        return self._chance.choice(self._cloud.apis)

    async def create_network(self) -> None:
        if len(await self._all(Network)) < 7:
            fields = NetworkFields(port_security_enabled=self._chance.random() < 0.9)
            await self._api().networks.create(self._caller(), [fields])

    async def update_network(self) -> None:
        network = await self._one(Network)
        fields = NetworkFields(admin_state_up=self._chance.random() < 0.7)
        await self._api().networks.update(self._admin(), network.id, fields, expected=None)

    async def delete_network(self) -> None:
        await self._api().networks.delete(self._admin(), (await self._one(Network)).id, expected=None)

    async def create_subnet(self) -> None:
        network = await self._one(Network)
        chance = self._chance
        text = f"10.{chance.randrange(3)}.{chance.randrange(4)}.0/{chance.choice((22, 24, 24, 26, 28))}"
        fields = SubnetFields(
            network_id=network.id,
            ip_version=4,
            cidr=Cidr.from_text(text),
            enable_dhcp=chance.random() < 0.9,
        )
        await self._api().subnets.create(self._caller_of(network.project_id), [fields])

    async def create_prefix(self) -> None:
        """Make a subnet of IPv6; it may give an address to every port of its network."""
        network = await self._one(Network)
        chance = self._chance
        mode = chance.choice(("", *IPV6_MODES))
        cidr = Cidr.from_text(f"2001:db8:0:{chance.randrange(6):x}::/{chance.choice((64, 64, 64, 80))}")
        fields = SubnetFields(
            network_id=network.id, ip_version=6, cidr=cidr, ra_mode=mode, address_mode=chance.choice((mode, ""))
        )
        await self._api().subnets.create(self._caller_of(network.project_id), [fields])

    async def create_pool(self) -> None:
        """Make a pool, and a subnet of it; or an address scope."""
        scopes, pools = await self._all(AddressScope), await self._all(SubnetPool)
        version = self._chance.choice((4, 6))
        if len(scopes) < 4:
            await self._api().address_scopes.create(self._admin(), [AddressScopeFields(ip_version=version)])
        if len(pools) < 4:
            text, length = (
                (f"10.{100 + len(pools)}.0.0/24", 27)
                if version == 4
                else (f"2001:db8:{100 + len(pools)}::/60", 64)
            )
            pool = SubnetPoolFields(name="pool", prefixes=(Cidr.from_text(text),), default_prefixlen=length)
            await self._api().subnet_pools.create(self._admin(), [pool])
        pool_id = (await self._one(SubnetPool)).id
        fields = SubnetFields(network_id=(await self._one(Network)).id, subnetpool_id=pool_id)
        await self._api().subnets.create(self._admin(), [fields])

    async def rescope_pool(self) -> None:
        """Move a pool, and all subnets of it, to another address scope or out of any."""
        pool = await self._one(SubnetPool)
        scopes = [None, *(scope.id for scope in await self._all(AddressScope))]
        fields = SubnetPoolFields(address_scope_id=self._chance.choice(scopes))
        await self._api().subnet_pools.update(self._admin(), pool.id, fields, expected=None)

    async def onboard(self) -> None:
        """Make the subnets of a network a pool's."""
        pool, network = await self._one(SubnetPool), await self._one(Network)
        await self._api().subnet_pools.onboard(self._admin(), pool.id, network.id)

    async def update_subnet(self) -> None:
        subnet = await self._one(Subnet)
        fields = self._chance.choice(
            (
                SubnetFields(dns_nameservers=(f"192.0.2.{self._chance.randrange(1, 255)}",)),
                SubnetFields(enable_dhcp=self._chance.random() < 0.5),
                SubnetFields(dns_nameservers=("2001:db8::53",)),
                SubnetFields(host_routes=(("198.51.100.0/24", "10.0.0.9"),)),
                SubnetFields(host_routes=(("2001:db8:ff::/48", "2001:db8:0:1::9"),)),
                SubnetFields(gateway_ip=None),
            )
        )
        await self._api().subnets.update(self._admin(), subnet.id, fields, expected=None)

    async def delete_subnet(self) -> None:
        await self._api().subnets.delete(self._admin(), (await self._one(Subnet)).id, expected=None)

    async def create_group(self) -> None:
        if len(await self._all(SecurityGroup)) < 9:
            fields = GroupFields(name="group", stateful=self._chance.random() < 0.8)
            await self._api().security_groups.create(self._caller(), [fields])

    async def delete_group(self) -> None:
        group = await self._one(SecurityGroup)
        await self._api().security_groups.delete(self._admin(), group.id, expected=None)

    async def create_rule(self) -> None:
        group = await self._one(SecurityGroup)
        siblings = [each for each in await self._all(SecurityGroup) if each.project_id == group.project_id]
        chance = self._chance
        version = chance.choice(("IPv4", "IPv6"))
        protocol = chance.choice((None, "tcp", "udp", "sctp", "icmp"))
        port = chance.randrange(1, 9) if protocol in ("tcp", "udp", "sctp") else None
        remote = chance.choice(("none", "group", "group", "prefix", "addresses"))
        fields = RuleFields(
            security_group_id=group.id,
            direction=chance.choice(("ingress", "egress")),
            ethertype=version,
            protocol=protocol,
            port_min=port,
            port_max=None if port is None else port + chance.randrange(3),
            remote_group_id=chance.choice(siblings).id if remote == "group" else None,
            remote_prefix=_PREFIXES[version] if remote == "prefix" else None,
            remote_address_group_id=(await self._one(AddressGroup)).id if remote == "addresses" else None,
        )
        await self._api().security_groups.create_rules(self._caller_of(group.project_id), [fields])

    async def delete_rule(self) -> None:
        rule = await self._one(SecurityGroupRule)
        await self._api().security_groups.delete_rule(self._admin(), rule.id, expected=None)

    async def create_address_group(self) -> None:
        if len(await self._all(AddressGroup)) < 5:
            fields = AddressGroupFields(addresses=self._addresses())
            await self._api().address_groups.create(self._caller(), [fields])

    async def change_addresses(self) -> None:
        group = await self._one(AddressGroup)
        service = self._api().address_groups
        change = self._chance.choice((service.add_addresses, service.remove_addresses))
        await change(self._admin(), group.id, self._addresses(), expected=None)

    async def delete_address_group(self) -> None:
        group = await self._one(AddressGroup)
        await self._api().address_groups.delete(self._admin(), group.id, expected=None)

    async def create_ports(self) -> None:
        await self._create_ports(await self._one(Network))

    async def _create_ports(self, network: Network) -> tuple[int, list[Port]]:
        if len(await self._all(Port)) > PORTS_MAX:
            await self.delete_port()
        count = self._chance.choice((1, 1, 1, 2, 5, BATCH_MAX))
        groups = await self._groups_of(network.project_id)
        asks = [self._port_fields(network, groups) for _ in range(count)]
        return await self._api().ports.create(self._caller_of(network.project_id), asks)

    async def update_port(self) -> None:
        port = await self._one(Port)
        chance = self._chance
        groups = await self._groups_of(port.project_id)
        some = tuple(sorted(chance.sample(groups, min(len(groups), chance.randrange(3)))))
        fields = chance.choice(
            (
                PortFields(name=f"name-{chance.randrange(100)}"),
                PortFields(host_id=self._host_name()),
                PortFields(host_id=""),
                PortFields(admin_state_up=chance.random() < 0.6),
                PortFields(security_groups=some),
                PortFields(port_security_enabled=False, security_groups=()),
                PortFields(port_security_enabled=True),
                PortFields(mac_address=f"02:00:00:00:00:{chance.randrange(256):02x}"),
                PortFields(fixed_ips=()),
                PortFields(fixed_ips=tuple(self._fixed_ip(port) for _ in range(chance.randrange(1, 3)))),
                PortFields(allowed_address_pairs=tuple(self._pair() for _ in range(chance.randrange(3)))),
            )
        )
        await self._api().ports.update(self._admin(), port.id, fields, expected=None)

    async def delete_port(self) -> None:
        await self._api().ports.delete(self._admin(), (await self._one(Port)).id, expected=None)

    async def change_size(self) -> None:
        """Remove many ports of one network at once, as whoever empties it does."""
        ports = await self._all(Port)
        if len(ports) > PORTS_MAX // 2:
            for port in self._chance.sample(ports, min(len(ports), BATCH_MAX)):
                if port.device_owner != ROUTER_INTERFACE:
                    await self._api().ports.delete(self._admin(), port.id, expected=None)

    async def create_router(self) -> None:
        if len(await self._all(Router)) < 4:
            await self._api().routers.create(self._caller(), [RouterFields(name="router")])

    async def update_router(self) -> None:
        router = await self._one(Router)
        fields = RouterFields(admin_state_up=self._chance.random() < 0.7)
        await self._api().routers.update(self._admin(), router.id, fields, expected=None)

    async def delete_router(self) -> None:
        await self._api().routers.delete(self._admin(), (await self._one(Router)).id, expected=None)

    async def add_interface(self) -> None:
        router = await self._one(Router)
        fields = InterfaceFields(subnet_id=(await self._one(Subnet)).id)
        if self._chance.random() < 0.2:
            fields = InterfaceFields(port_id=(await self._one(Port)).id)
        await self._api().routers.add_interface(self._caller_of(router.project_id), router.id, fields)

    async def remove_interface(self) -> None:
        ports = [port for port in await self._all(Port) if port.device_owner == ROUTER_INTERFACE]
        if ports:
            port = self._chance.choice(ports)
            fields = InterfaceFields(port_id=port.id)
            await self._api().routers.remove_interface(self._admin(), port.device_id, fields)

    async def route(self) -> None:
        """Give a router a few extra routes through its own subnets, or none."""
        router = await self._one(Router)
        hops = [fixed.ip[:-1] + b"\x09" for leg in await self._legs_of(router) for fixed in leg.fixed_ips]
        some = [
            ExtraRoute(((bytes([172, 20]) + bytes(14))[: len(hop)], 14 + number), hop)
            for number, hop in enumerate(hops)
        ]
        routes = tuple(sorted(each for each in some if self._chance.random() < 0.6))
        await self._api().routers.update(self._admin(), router.id, RouterFields(routes=routes), expected=None)

    async def create_trunk(self) -> None:
        if len(await self._all(Trunk)) < 5:
            parent = await self._one(Port)
            fields = TrunkFields(port_id=parent.id, sub_ports=await self._sub_ports(3))
            await self._api().trunks.create(self._admin(), [fields])

    async def change_sub_ports(self) -> None:
        trunk = await self._one(Trunk)
        if trunk.sub_ports and self._chance.random() < 0.4:
            gone = [self._chance.choice(trunk.sub_ports).port_id]
            await self._api().trunks.remove(self._admin(), trunk.id, gone, expected=None)
        else:
            await self._api().trunks.add(self._admin(), trunk.id, await self._sub_ports(2), expected=None)

    async def delete_trunk(self) -> None:
        await self._api().trunks.delete(self._admin(), (await self._one(Trunk)).id, expected=None)

    async def _sub_ports(self, most: int) -> tuple[SubPort, ...]:
        ports = await self._all(Port)
        drawn = self._chance.sample(ports, min(len(ports), self._chance.randrange(most)))
        return tuple(SubPort(self._chance.randrange(1, 40), port.id) for port in drawn)

    async def _legs_of(self, router: Router) -> list[Port]:
        where = {"device_id": (router.id,), "device_owner": (ROUTER_INTERFACE,)}
        return await self._cloud.store.select(Port, Query(where=where))

    async def create_port_group(self) -> None:
        if len(await self._all(Port)) > PORTS_MAX:
            return
        network = await self._one(Network)
        fields = PortGroupFields(
            network_id=network.id, count=self._chance.randrange(1, BATCH_MAX), port=PortFields()
        )
        await self._api().port_groups.create(
            self._caller_of(network.project_id), fields, live_hosts=sorted(self._cloud.hosts)
        )

    async def delete_port_group(self) -> None:
        group = await self._one(PortGroup)
        await self._api().port_groups.delete(self._admin(), group.id, expected=None)

    async def wait_in_force(self) -> None:
        """Make ports and wait for them, as `?wait=in_force` does."""
        controller = self._cloud.controller
        revision, ports = await self._create_ports(await self._one(Network))
        if controller is None:
            return
        until = self._chance.choice(("in_force", "active"))
        ids = [port.id for port in ports]
        await controller.convergence.wait(ids, revision=revision, until=until, timeout_s=WAIT_S)  # type: ignore[arg-type]

    async def _all(self, kind: type[R]) -> list[R]:
        return await self._cloud.store.select(kind, Query())

    async def _one(self, kind: type[R]) -> R:
        found = await self._all(kind)
        if not found:
            raise errors.Missing(f"there is no {kind.__name__}")
        return self._chance.choice(found)

    async def _groups_of(self, project_id: str) -> Sequence[str]:
        found = await self._cloud.store.select(SecurityGroup, Query(where={"project_id": (project_id,)}))
        return [group.id for group in found]

    def _port_fields(self, network: Network, groups: Sequence[str]) -> PortFields:
        chance = self._chance
        fields = PortFields(network_id=network.id, host_id=self._host_name())
        draw = chance.random()
        if draw < 0.3 and groups and network.port_security_enabled:
            some = tuple(sorted(chance.sample(groups, min(len(groups), 2))))
            fields = PortFields(network_id=network.id, host_id=self._host_name(), security_groups=some)
        elif draw < 0.4:
            fields = PortFields(network_id=network.id, host_id=self._host_name(), admin_state_up=False)
        return fields

    def _addresses(self) -> tuple[Cidr, ...]:
        chance = self._chance
        texts = [
            chance.choice(
                (
                    f"10.{chance.randrange(3)}.{chance.randrange(2)}.0/{chance.choice((24, 32))}",
                    f"2001:db8:0:{chance.randrange(6)}::/{chance.choice((64, 128))}",
                )
            )
            for _ in range(3)
        ]
        return tuple(Cidr.from_text(text) for text in texts)[: chance.randrange(1, 4)]

    def _fixed_ip(self, port: Port) -> FixedIpFields:
        if port.fixed_ips and self._chance.random() < 0.6:
            return FixedIpFields(subnet_id=self._chance.choice(port.fixed_ips).subnet_id)
        chance, number = self._chance, self._chance.randrange(2, 15)
        ipv4 = f"10.{chance.randrange(3)}.{chance.randrange(4)}.{number}"
        return FixedIpFields(ip_address=chance.choice((ipv4, f"2001:db8:0:{chance.randrange(6)}::{number}")))

    def _pair(self) -> AddressPairFields:
        """Draw one of few, so that several ports share an address."""
        chance = self._chance
        ipv4 = f"10.{chance.randrange(3)}.{chance.randrange(4)}.{chance.choice(('200', '201', '192/28'))}"
        return AddressPairFields(ip_address=chance.choice((ipv4, f"2001:db8:0:{chance.randrange(6)}::200")))

    def _host_name(self) -> str:
        draw = self._chance.random()
        if draw < 0.05:
            return ""
        return GHOST if draw < 0.08 else self._host_id()

    def _host_id(self) -> HostId:
        return self._chance.choice(list(self._cloud.hosts))

    def _caller(self) -> Caller:
        return self._caller_of(self._chance.choice(("blue", "red")))

    def _caller_of(self, project_id: str) -> Caller:
        return Caller(ProjectId(project_id), False, new_request_id())

    def _admin(self) -> Caller:
        return Caller(ProjectId("admin"), True, new_request_id())
