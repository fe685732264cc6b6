"""After any sequence of subnets and ports that come, change and go at once: every port has what follows.

The law: a port of a workload has exactly one address of each subnet that serves it and whose addresses follow
from MAC addresses, made from its own; and no address is held twice.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.contracts.store import Query, R, Write
from alcor.management_plane.caller import Caller
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.port.fixed_ips import FixedIpFields
from alcor.management_plane.port.service import PortService
from alcor.management_plane.router.decisions import InterfaceFields, RouterFields
from alcor.management_plane.router.service import RouterService
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet.service import SubnetService
from alcor.model import errors
from alcor.model.addressing import Cidr, derived_ip
from alcor.model.ids import NetworkId, ProjectId, RequestId, Vni
from alcor.model.records import IPV6_MODES, ROUTER_INTERFACE, Network, Port, RecordSet, Subnet
from alcor.runtime.clock import SystemClock

NETWORK = Network(id=NetworkId("00000000-0000-7000-8001-000000000000"), project_id=ProjectId("p"), vni=Vni(1))
OWNERS = ("", "compute:a")
CALLER = Caller(ProjectId("p"), is_admin=False, request_id=RequestId("r"))

_number = st.integers(0, 20)
_one = st.one_of(
    st.tuples(st.just("subnet"), _number, st.sampled_from(("", *IPV6_MODES)), st.booleans()),
    st.tuples(st.just("subnet4"), _number),
    st.tuples(st.just("port"), st.sampled_from(OWNERS), st.sampled_from(("unsaid", "none", "one")), _number),
    st.tuples(st.just("mac"), _number, _number),
    st.tuples(st.just("fixed"), _number, st.sampled_from(("none", "one", "held")), _number),
    st.tuples(st.just("join"), _number),
    st.tuples(st.just("delete_port"), _number),
    st.tuples(st.just("delete_subnet"), _number),
)
_steps = st.lists(st.lists(_one, min_size=1, max_size=4), max_size=15)  # those of one step run at once


class SlowStore(MemoryStore):
    """A store whose answers take a while, longer or shorter, so that others come between."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def get(self, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
        await self._wait()
        found = await super().get(kind, ids)
        await self._wait()
        return found

    async def select(self, kind: type[R], query: Query) -> list[R]:
        await self._wait()
        found = await super().select(kind, query)
        await self._wait()
        return found

    async def commit(self, write: Write) -> int:
        await self._wait()
        return await super().commit(write)

    async def _wait(self) -> None:
        for _ in range(self._chance.randrange(4)):
            await asyncio.sleep(0)


class World:
    """Services over one store, as one process has them."""

    def __init__(self, chance: random.Random) -> None:
        self.store = SlowStore(chance)
        clock, allocator = SystemClock(), MemoryAllocator(self.store)
        self.subnets = SubnetService(self.store, clock)
        self.ports = PortService(self.store, allocator, clock)
        self.routers = RouterService(self.store, allocator, clock)
        self.router_id = ""

    async def begin(self) -> None:
        inserts = RecordSet(networks=(NETWORK,))
        await self.store.commit(Write(request_id=RequestId("b"), project_id=ProjectId("p"), inserts=inserts))
        _, (router,) = await self.routers.create(CALLER, [RouterFields()])
        self.router_id = router.id

    async def do(self, name: str, *what: Any) -> None:
        match name, what:
            case "subnet", (number, mode, is_for_some):
                fields = SubnetFields(
                    network_id=NETWORK.id,
                    ip_version=6,
                    cidr=Cidr.from_text(f"2001:db8:0:{number}::/64"),
                    ra_mode=mode,
                    service_types=("compute:a",) if is_for_some else (),
                )
                await self.subnets.create(CALLER, [fields])
            case "subnet4", (number,):
                cidr = Cidr.from_text(f"10.{number}.0.0/24")
                await self.subnets.create(
                    CALLER, [SubnetFields(network_id=NETWORK.id, ip_version=4, cidr=cidr)]
                )
            case "port", (owner, asked, number):
                asked_ips = await self._asked(asked, number)
                one = PortFields(network_id=NETWORK.id, device_owner=owner, fixed_ips=asked_ips)
                await self.ports.create(CALLER, [one] * 2)
            case "mac", (number, mac) if port := await self._some(Port, number):
                fields_ = PortFields(mac_address=f"fa:16:3e:00:00:{mac:02x}")
                await self.ports.update(CALLER, port.id, fields_, expected=None)
            case "fixed", (number, asked, which) if port := await self._some(Port, number):
                asked_ips = await self._asked(asked, which, port)
                await self.ports.update(CALLER, port.id, PortFields(fixed_ips=asked_ips), expected=None)
            case "join", (number,) if subnet := await self._some(Subnet, number):
                await self.routers.add_interface(CALLER, self.router_id, InterfaceFields(subnet_id=subnet.id))
            case "delete_port", (number,) if port := await self._some(Port, number):
                await self.ports.delete(CALLER, port.id, expected=None)
            case "delete_subnet", (number,) if subnet := await self._some(Subnet, number):
                await self.subnets.delete(CALLER, subnet.id, expected=None)

    async def _asked(self, asked: str, number: int, port: Port | None = None) -> Any:
        if asked == "held" and port is not None:
            return tuple(FixedIpFields(subnet_id=fixed.subnet_id) for fixed in port.fixed_ips)
        subnet = await self._some(Subnet, number)
        if asked == "one" and subnet is not None:
            return (FixedIpFields(subnet_id=subnet.id),)
        return () if asked == "none" else UNSET

    async def _some(self, kind: type[R], number: int) -> R | None:
        found = await self.store.select(kind, Query())
        return found[number % len(found)] if found else None

    async def check(self) -> None:
        subnets = {it.id: it for it in await self.store.select(Subnet, Query())}
        held = [
            (it.subnet_id, it.ip) for port in await self.store.select(Port, Query()) for it in port.fixed_ips
        ]
        assert len(set(held)) == len(held)
        for port in await self.store.select(Port, Query()):
            following = [it for it in port.fixed_ips if subnets[it.subnet_id].is_derived]
            if port.device_owner == ROUTER_INTERFACE:
                assert len(port.fixed_ips) == 1
                continue
            assert all(it.ip == derived_ip(subnets[it.subnet_id].cidr[0], port.mac) for it in following)
            assert {it.subnet_id for it in following} == {
                subnet.id
                for subnet in subnets.values()
                if subnet.is_derived and (not subnet.service_types or port.device_owner in subnet.service_types)
            }


@given(_steps, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_every_port_has_what_follows_from_its_mac_address(
    steps: list[list[tuple[Any, ...]]], chance: random.Random
) -> None:
    async def run() -> None:
        world = World(chance)
        await world.begin()

        async def one(operation: tuple[Any, ...]) -> None:
            with contextlib.suppress(errors.AlcorError):
                await world.do(*operation)

        for together in steps:
            await asyncio.gather(*map(one, together))
            await world.check()

    asyncio.run(run())
