"""Two projects on one network in a real region: API, PostgreSQL, controller, agents and packets."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from region_scene import emulated, eventually, network, region

from alcor.client.api import ApiClient
from alcor.data_plane.simulated import exchange
from alcor.lab.region_process import RegionProcess
from alcor.model import errors
from alcor.model.addressing import ip_from_text, ip_to_int
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLIENTS = 32
Running = tuple[RegionProcess, EmulatedHosts]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    directory: Path = tmp_path_factory.mktemp("sharing")
    directory.chmod(0o755)  # the embedded database runs as another user
    async with region(directory / "region") as process, emulated(process, 2) as hosts:
        yield process, hosts


class Ports:
    """Ports by name, each with its address. Owner of none of the clients."""

    def __init__(self, hosts: EmulatedHosts, admin: ApiClient) -> None:
        self._hosts = hosts
        self._admin = admin
        self._made: dict[str, Any] = {}

    async def add(self, name: str, api: ApiClient, host: int, network_id: str, **said: Any) -> str:
        """Make a port as a project does, bind it as the compute service does, and plug it."""
        made = (await api.post("/v2.0/ports", {"port": {"network_id": network_id, **said}}))["port"]
        bound = {"port": {"binding:host_id": f"host-{host}"}}
        await self._admin.put(f"/v2.0/ports/{made['id']}?wait=in_force&timeout=30", bound)
        self._hosts.data_planes[HostId(f"host-{host}")].plug(PortId(made["id"]))
        self._made[name] = made
        return str(made["id"])

    def reach(self, one: str, other: str) -> bool:
        """Does a ping come back?"""
        to_ip = ip_to_int(ip_from_text(self._made[other]["fixed_ips"][0]["ip_address"]))
        return exchange.ping(self._hosts.fabric, PortId(self._made[one]["id"]), to_ip).succeeded

    def address(self, name: str) -> str:
        return str(self._made[name]["fixed_ips"][0]["ip_address"])


async def share(api: ApiClient, object_id: str, target: str, kind: str = "network") -> str:
    body = {"object_type": kind, "object_id": object_id, "action": "access_as_shared", "target_tenant": target}
    return str((await api.post("/v2.0/rbac-policies", {"rbac_policy": body}))["rbac_policy"]["id"])


async def in_force(api: ApiClient, path: str, body: Any) -> Any:
    return await api.post(f"{path}?wait=in_force&timeout=30", body)


async def test_ports_of_two_projects_talk_as_their_groups_allow(running: Running) -> None:
    process, hosts = running
    async with (
        ApiClient(process.url) as admin,
        ApiClient(process.url, project="owner") as owner,
        ApiClient(process.url, project="guest") as guest,
    ):
        network_id, _ = await network(owner, cidr="10.7.0.0/24")
        await share(owner, network_id, "guest")
        ports = Ports(hosts, admin)
        await ports.add("own", owner, 0, network_id)
        await ports.add("guest", guest, 1, network_id)
        await ports.add("guest's other", guest, 0, network_id)
        # One domain, and each in the default group of its own project: they see members of their own only.
        assert ports.reach("guest", "guest's other")
        assert not ports.reach("own", "guest")
        assert not ports.reach("guest", "own")
        # A group that the owner shares holds ports of both.
        group = (await owner.post("/v2.0/security-groups", {"security_group": {"name": "club"}}))[
            "security_group"
        ]
        rule = {"direction": "ingress", "security_group_id": group["id"], "remote_group_id": group["id"]}
        await owner.post("/v2.0/security-group-rules", {"security_group_rule": rule})
        policy_id = await share(owner, group["id"], "guest", "security_group")
        await ports.add("own member", owner, 0, network_id, security_groups=[group["id"]])
        member_id = await ports.add("guest member", guest, 1, network_id, security_groups=[group["id"]])
        assert ports.reach("own member", "guest member")
        assert ports.reach("guest member", "own member")
        assert not ports.reach("guest", "own member")
        # The guest lets the members of the owner's group in, by a rule of its own.
        own_groups = (await guest.get("/v2.0/security-groups", name="default"))["security_groups"]
        (own_group,) = [each for each in own_groups if each["project_id"] == "guest"]
        remote = {
            "direction": "ingress",
            "security_group_id": own_group["id"],
            "remote_group_id": group["id"],
        }
        await in_force(guest, "/v2.0/security-group-rules", {"security_group_rule": remote})

        async def let_in() -> bool:
            return ports.reach("own member", "guest")

        await eventually(let_in, "the members of the owner's group are let in")
        # How a packet fares is told, but not what another project's port has.
        asked = {"port_id": member_id, "to_ip": ports.address("own"), "protocol": "icmp"}
        told = (await guest.post("/v2.0/trace", {"trace": asked}))["trace"]
        assert (told["delivered"], told["steps"], told["to_port"], told["far_end"]) == (False, [], None, None)
        assert told["decided_by"] == "refused by the security groups of a port of another project"
        asked["to_ip"] = ports.address("guest's other")
        assert (await guest.post("/v2.0/trace", {"trace": asked}))["trace"]["steps"]
        with pytest.raises(errors.Conflict) as held:
            await owner.delete(f"/v2.0/rbac-policies/{policy_id}")
        assert held.value.reason == "RbacPolicyInUse"
        await guest.put(f"/v2.0/ports/{member_id}?wait=in_force&timeout=30", {"port": {"security_groups": []}})
        await owner.delete(f"/v2.0/rbac-policies/{policy_id}")

        async def shut() -> bool:
            return not ports.reach("guest member", "own member")

        await eventually(shut, "the port that left the group is let in no more")


async def end(api: ApiClient, policy_id: str) -> str:
    """Remove a policy; give why not, or that it is done."""
    try:
        await api.delete(f"/v2.0/rbac-policies/{policy_id}")
    except (errors.Conflict, errors.Missing) as refused:
        return refused.reason
    return "ended"


async def come(url: str, project: str, network_id: str) -> str:
    """Make a port; give why not, or its id."""
    async with ApiClient(url, project=project) as api:
        try:
            made = await api.post("/v2.0/ports", {"port": {"network_id": network_id}})
        except errors.Missing as refused:
            return refused.reason
        return str(made["port"]["id"])


@pytest.mark.parametrize("target", ["racer-0", "*"])
async def test_of_a_policy_s_end_and_guests_at_the_same_moment_one_wins(running: Running, target: str) -> None:
    process, _ = running
    async with ApiClient(process.url, project="host") as owner, ApiClient(process.url) as admin:
        network_id, _ = await network(owner, cidr="10.8.0.0/20")
        policy_id = await share(admin, network_id, target)
        projects = [f"racer-{number if target == '*' else 0}" for number in range(CLIENTS)]
        asks = [come(process.url, project, network_id) for project in projects]
        asks[CLIENTS // 2 : CLIENTS // 2] = [end(admin, policy_id), end(admin, policy_id)]
        outcomes = await asyncio.gather(*asks)
        ports = (await owner.get("/v2.0/ports", network_id=network_id))["ports"]
        came = {each for each in outcomes if each.count("-") == 4}
        assert {port["id"] for port in ports} == came
        assert len(came) + outcomes.count("NetworkNotFound") == CLIENTS
        assert (outcomes.count("ended") == 1) == (not came), outcomes
        assert (outcomes.count("RbacPolicyInUse") > 0) == bool(came), outcomes
        for port in ports:
            await owner.delete(f"/v2.0/ports/{port['id']}")
        if came:
            assert await end(admin, policy_id) == "ended"
