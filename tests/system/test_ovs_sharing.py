"""Two projects on one network over Open vSwitch: real packets, from the API to the switches."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from ovs_scene import needs_ovs
from region_scene import eventually
from rescue_scene import rescue_scene

from alcor.client.api import ApiClient
from alcor.lab import packets
from alcor.lab.packets import Probe

pytestmark = [pytest.mark.ovs, needs_ovs]


async def test_a_guest_s_workload_talks_with_the_owner_s_as_groups_allow() -> None:
    with tempfile.TemporaryDirectory(prefix="alcor-sharing-") as directory:
        async with rescue_scene(Path(directory), hosts=2) as scene:
            share = {
                "object_type": "network",
                "object_id": scene.network_id,
                "action": "access_as_shared",
                "target_tenant": "guest",
            }
            await scene.api.post("/v2.0/rbac-policies", {"rbac_policy": share})
            async with ApiClient(scene.region.url, project="guest") as guest:
                made = (await guest.post("/v2.0/ports", {"port": {"network_id": scene.network_id}}))["port"]
                await asyncio.gather(scene.plug("owner", "h1"), scene.plug("guest", "h2", made=made))
                assert await scene.reaches("guest", "owner"), "the owner's group lets everybody in"
                refused = [Probe(scene.workloads["owner"], scene.ips["guest"], "icmp")]
                assert await asyncio.to_thread(packets.probe_matrix, refused) == [False], "the guest's does not"
                rule = {
                    "security_group_id": made["security_groups"][0],
                    "direction": "ingress",
                    "remote_ip_prefix": f"{scene.ips['owner']}/32",
                }
                await guest.post("/v2.0/security-group-rules", {"security_group_rule": rule})
                await eventually(lambda: scene.reaches("owner", "guest"), "the guest's rule lets the owner in")
