"""A shared address in a real region: API, PostgreSQL, controller and agents follow a fail-over."""

import asyncio
from pathlib import Path

from region_scene import emulated, eventually, network, region

from alcor.client.api import ApiClient
from alcor.data_plane.pipeline import pairs
from alcor.data_plane.simulated import exchange, packet
from alcor.model.addressing import ip_from_int, ip_from_text, ip_to_int
from alcor.model.ids import HostId, PortId

SHARED = "10.0.200.1"
FAIL_OVER_S = 10.0  # it takes milliseconds; the machine may be busy


async def test_a_shared_address_follows_a_fail_over_and_outlives_the_region(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # the embedded database runs as another user
    shared = ip_to_int(ip_from_text(SHARED))
    async with region(tmp_path) as process, emulated(process, 3) as hosts:
        async with ApiClient(process.url) as api:
            network_id, _ = await network(api)
            pair = [{"ip_address": SHARED}]
            bodies = [
                {
                    "network_id": network_id,
                    "binding:host_id": f"host-{number}",
                    "allowed_address_pairs": pair if number < 2 else [],
                }
                for number in range(3)
            ]
            made = (await api.post("/v2.0/ports?wait=in_force&timeout=30", {"ports": bodies}))["ports"]
        for number, port in enumerate(made):
            hosts.data_planes[HostId(f"host-{number}")].plug(PortId(port["id"]))
        client = exchange.workload(hosts.fabric, PortId(made[2]["id"]))

        def reached() -> str:
            mac, _ = exchange.resolve(hosts.fabric, client, shared)
            assert mac == pairs.virtual_mac(ip_from_int(shared)), "the same, whoever holds the address"
            sent = packet.ipv4(client.mac, mac, client.ip, shared, 17, udp_src=1000, udp_dst=2000)
            delivered = hosts.fabric.inject(client.port_id, sent).delivered
            return delivered[0].port_id if delivered else ""

        async def leads_to(number: int) -> None:
            async def is_so() -> bool:
                return reached() == made[number]["id"]

            await eventually(is_so, f"the address leads to port {number}", timeout_s=FAIL_OVER_S)

        for master in (1, 0, 1):
            station = exchange.workload(hosts.fabric, PortId(made[master]["id"]))
            hosts.fabric.inject(station.port_id, packet.arp_request(station.mac, shared, shared))
            await leads_to(master)
        await process.stop()
        assert reached() == made[1]["id"], "what forwards goes on"
        await process.start()
        await asyncio.sleep(0)
        await leads_to(1)
