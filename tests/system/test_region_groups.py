"""Address groups and stateless groups in a real region: what the API says, hosts do, and go on doing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from region_scene import emulated, eventually, network, region

from alcor.client.api import ApiClient
from alcor.data_plane.simulated import exchange
from alcor.data_plane.simulated.exchange import Exchange, TcpConnection
from alcor.model.addressing import ip_from_text, ip_to_int
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts

WEB = 80


class Pair:
    """A client and a server of the region, as their packets see each other."""

    def __init__(self, hosts: EmulatedHosts, client: Any, server: Any) -> None:
        self._hosts = hosts
        self._client = client["id"]
        self.client_ip, self.server_ip = (port["fixed_ips"][0]["ip_address"] for port in (client, server))
        self._sport = 33_000
        for number, port in enumerate((client, server)):
            hosts.data_planes[HostId(f"host-{number}")].plug(PortId(port["id"]))

    def connect(self) -> Exchange:
        """Open a new connection from client to server."""
        self._sport += 1
        to_ip = ip_to_int(ip_from_text(self.server_ip))
        return exchange.connect_tcp(self._hosts.fabric, self._client, to_ip, WEB, sport=self._sport)

    def ask_without_answer(self) -> bool:
        """Does a question pass whose answer does not?"""
        self._sport += 1
        to_ip = ip_to_int(ip_from_text(self.server_ip))
        connection = TcpConnection(self._hosts.fabric, PortId(self._client), to_ip, WEB, self._sport)
        return connection.send(is_opening=True).succeeded and not connection.answer().succeeded


async def until(truth: Callable[[], bool], what: str) -> None:
    async def is_so() -> bool:
        return truth()

    await eventually(is_so, what)


async def group_with_rule(api: ApiClient, about: str, **said: Any) -> str:
    """Make a group that lets everything out, and web requests in from an address group."""
    group = (await api.post("/v2.0/security-groups", {"security_group": said}))["security_group"]["id"]
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp"}
    rule |= {"port_range_min": WEB, "port_range_max": WEB, "remote_address_group_id": about}
    await api.post("/v2.0/security-group-rules", {"security_group_rule": rule})
    return str(group)


async def test_address_groups_and_stateless_groups_are_in_force(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)  # the embedded database runs as another user
    async with region(tmp_path) as process, emulated(process, 2) as hosts, ApiClient(process.url) as api:
        network_id, _ = await network(api)
        friends = (await api.post("/v2.0/address-groups", {"address_group": {}}))["address_group"]["id"]
        tracked = await group_with_rule(api, friends, name="tracked")
        quick = await group_with_rule(api, friends, name="quick", stateful=False)
        bodies = [
            {"network_id": network_id, "binding:host_id": f"host-{number}", "security_groups": [tracked]}
            for number in range(2)
        ]
        made = (await api.post("/v2.0/ports?wait=in_force&timeout=30", {"ports": bodies}))["ports"]
        pair = Pair(hosts, *made)
        assert not pair.connect().succeeded, "nothing is in the address group"

        async def change(action: str) -> None:
            addresses = [f"{pair.client_ip}/32"]
            await api.put(f"/v2.0/address-groups/{friends}/{action}", {"addresses": addresses})

        await change("add_addresses")
        await until(lambda: pair.connect().succeeded, "who is in the address group gets in")
        await change("remove_addresses")
        await until(lambda: not pair.connect().succeeded, "who is no longer in it does not")
        await change("add_addresses")
        await until(lambda: pair.connect().succeeded, "nor for ever")
        await process.stop()
        assert pair.connect().succeeded, "what forwards goes on"
        await process.start()

        async def client_is_stateless() -> bool:
            body = {"port": {"security_groups": [quick]}}
            await api.put(f"/v2.0/ports/{made[0]['id']}", body)
            return True

        await eventually(client_is_stateless, "the region is back")
        await until(pair.ask_without_answer, "answers to a stateless port need a rule of their own")
        rule = {"security_group_id": quick, "direction": "ingress", "protocol": "tcp"}
        rule |= {"port_range_min": 1024, "port_range_max": 65535}
        await api.post("/v2.0/security-group-rules", {"security_group_rule": rule})
        await until(lambda: pair.connect().succeeded, "and pass with one")
        await change("remove_addresses")
        await until(lambda: not pair.connect().succeeded, "the address group is followed after a restart")
