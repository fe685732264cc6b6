"""OpenStack's own clients, unchanged, against the API on loopback."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.management_plane.api.application import create_application
from alcor.management_plane.identity.believed_headers import BelievedHeaders
from alcor.model import quota as quotas
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.convergence import ConvergenceDouble
from doubles.identity import PROJECTS, identity_service

START_TIMEOUT_S = 20.0
COMMAND_TIMEOUT_S = 60.0
OPENSTACK = Path(sys.executable).with_name("openstack")

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, on names of their own


@pytest.fixture(scope="module")
def api_url() -> Iterator[str]:
    """Serve the API in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    servers: list[uvicorn.Server] = []

    def serve() -> None:
        async def run() -> None:
            store = MemoryStore()
            convergence = ConvergenceDouble(store)
            convergence.add_host("host-1", zone="zone-1")
            application = create_application(
                store,
                MemoryAllocator(store),
                convergence,
                SystemClock(),
                SILENT,
                identities=BelievedHeaders(),
            )
            config = uvicorn.Config(application, log_level="error", lifespan="off", access_log=False)
            servers.append(uvicorn.Server(config))
            await servers[0].serve(sockets=[listener])

        asyncio.run(run())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (servers and servers[0].started):
        assert time.monotonic() < deadline, "the API did not start"
        time.sleep(0.01)
    yield url
    servers[0].should_exit = True
    thread.join(START_TIMEOUT_S)


class CommandLine:
    """The `openstack` command, within this process: its imports cost three seconds, its work a tenth of one."""

    def __init__(self, api_url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._api_url = api_url
        self._capsys = capsys

    def __call__(self, *arguments: str, as_json: bool = True) -> Any:
        """Run a command that must succeed; give what it prints."""
        from openstackclient import shell

        form = ["-f", "json"] if as_json else []
        argv = ["--os-auth-type", "none", "--os-endpoint", self._api_url, *arguments, *form]
        self._capsys.readouterr()
        status = shell.main(argv)
        printed = self._capsys.readouterr()
        assert not status, f"{arguments}: {printed.out}{printed.err}"
        return json.loads(printed.out) if as_json else printed.out


def run(api_url: str, *arguments: str) -> Any:
    """Run the `openstack` command as users do, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    command = [str(OPENSTACK), "--os-auth-type", "none", "--os-endpoint", api_url, *arguments, "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_openstack_command_lists_networks(api_url: str) -> None:
    assert run(api_url, "network", "list") == []
    assert run(api_url, "ip", "availability", "list") == []


def test_the_command_line_client_makes_shows_changes_and_deletes(
    api_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = CommandLine(api_url, capsys)
    assert cli("network", "create", "blue")["name"] == "blue"
    subnet = cli("subnet", "create", "--network", "blue", "--subnet-range", "10.1.0.0/24", "blue-a")
    assert subnet["gateway_ip"] == "10.1.0.1"
    cli("router", "create", "hub")
    cli("router", "add", "subnet", "hub", "blue-a", as_json=False)
    cli("security", "group", "create", "web")
    rule = cli("security", "group", "rule", "create", "--protocol", "tcp", "--dst-port", "80:81", "web")
    assert (rule["port_range_min"], rule["port_range_max"]) == (80, 81)
    port = cli("port", "create", "--network", "blue", "--security-group", "web", "--host", "host-1", "nic")
    assert port["binding_vif_type"] == "ovs"
    assert [fixed["ip_address"] for fixed in port["fixed_ips"]] == ["10.1.0.2"]
    assert [each["Name"] for each in cli("network", "list")] == ["blue"]
    assert [each["Subnet"] for each in cli("subnet", "list")] == ["10.1.0.0/24"]
    assert {each["Name"] for each in cli("port", "list")} == {"nic", ""}
    assert [each["Name"] for each in cli("router", "list")] == ["hub"]
    assert {"web", "default"} <= {each["Name"] for each in cli("security", "group", "list")}
    assert len(cli("security", "group", "rule", "list", "web")) == 3
    assert [each["Host"] for each in cli("network", "agent", "list")] == ["host-1"]
    (availability,) = run(api_url, "ip", "availability", "list")
    assert [availability[name] for name in ("Network Name", "Total IPs", "Used IPs")] == ["blue", 253, 2]
    assert run(api_url, "ip", "availability", "show", "blue")["used_ips"] == 2
    cli("network", "set", "--description", "ours", "blue", as_json=False)
    assert cli("network", "show", "blue")["description"] == "ours"
    cli("port", "set", "--name", "card", "nic", as_json=False)
    assert cli("port", "show", "card")["id"] == port["id"]
    assert cli("router", "show", "hub")["interfaces_info"]
    cli("subnet", "set", "--dns-nameserver", "192.0.2.53", "blue-a", as_json=False)
    assert cli("subnet", "show", "blue-a")["dns_nameservers"] == ["192.0.2.53"]
    cli("router", "set", "--disable", "hub", as_json=False)
    cli("security", "group", "set", "--description", "for web", "web", as_json=False)
    cli("port", "delete", "card", as_json=False)
    cli("router", "remove", "subnet", "hub", "blue-a", as_json=False)
    cli("router", "delete", "hub", as_json=False)
    cli("subnet", "delete", "blue-a", as_json=False)
    cli("network", "delete", "blue", as_json=False)
    cli("security", "group", "rule", "delete", rule["id"], as_json=False)
    cli("security", "group", "delete", "web", as_json=False)
    assert cli("network", "list") == []
    assert cli("port", "list") == []


def test_the_sdk_makes_shows_changes_and_deletes(api_url: str) -> None:
    import openstack

    cloud = openstack.connection.Connection(auth_type="none", endpoint=api_url)
    network = cloud.network.create_network(name="green", tags=["a"])
    assert list(network.tags) == ["a"]
    subnet = cloud.network.create_subnet(
        network_id=network.id, ip_version=4, cidr="10.2.0.0/24", name="green-a"
    )
    ports = cloud.network.create_ports(
        [{"network_id": network.id, "name": f"g{number}"} for number in range(3)]
    )
    assert len(list(ports)) == 3
    port = cloud.network.find_port("g1")
    assert cloud.network.update_port(port, description="new").description == "new"
    assert {each.name for each in cloud.network.ports(network_id=network.id)} == {"g0", "g1", "g2"}
    assert len(list(cloud.network.ports(network_id=network.id, limit=1))) == 3
    router = cloud.network.create_router(name="green-hub")
    cloud.network.add_interface_to_router(router, subnet_id=subnet.id)
    cloud.network.remove_interface_from_router(router, subnet_id=subnet.id)
    group = cloud.network.create_security_group(name="db")
    rule = cloud.network.create_security_group_rule(
        security_group_id=group.id,
        direction="ingress",
        protocol="tcp",
        port_range_min=5432,
        port_range_max=5432,
    )
    cloud.network.set_tags(network, ["b", "c"])
    assert list(cloud.network.get_network(network.id).tags) == ["b", "c"]
    removals: list[Callable[[], object]] = [
        *(
            lambda each=each: cloud.network.delete_port(each)
            for each in cloud.network.ports(network_id=network.id)
        ),
        lambda: cloud.network.delete_security_group_rule(rule),
        lambda: cloud.network.delete_security_group(group),
        lambda: cloud.network.delete_router(router),
        lambda: cloud.network.delete_subnet(subnet),
        lambda: cloud.network.delete_network(network),
    ]
    for remove in removals:
        remove()
    assert cloud.network.find_network("green") is None


def test_the_command_line_client_knows_security_groups_in_full(
    api_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = CommandLine(api_url, capsys)
    made = cli("address", "group", "create", "--address", "10.0.0.0/24", "--address", "192.0.2.1/32", "friends")
    assert made["addresses"] == ["10.0.0.0/24", "192.0.2.1/32"]
    cli("address", "group", "set", "--address", "198.51.100.0/24", "--name", "peers", "friends", as_json=False)
    cli("address", "group", "unset", "--address", "10.0.0.0/24", "peers", as_json=False)
    assert cli("address", "group", "show", "peers")["addresses"] == ["192.0.2.1/32", "198.51.100.0/24"]
    assert [each["Name"] for each in cli("address", "group", "list")] == ["peers"]
    assert cli("security", "group", "create", "--stateless", "quick")["stateful"] is False
    rule = cli(
        *("security", "group", "rule", "create", "--protocol", "sctp", "--dst-port", "80:81"),
        *("--remote-address-group", "peers", "quick"),
    )
    assert (rule["protocol"], rule["remote_address_group_id"]) == ("sctp", made["id"])
    cli("security", "group", "set", "--stateful", "quick", as_json=False)
    assert cli("security", "group", "show", "quick")["stateful"] is True
    listed = cli("security", "group", "rule", "list", "quick")
    assert sorted(each["Remote Address Group"] or "" for each in listed) == ["", "", made["id"]]
    assert len(cli("default", "security", "group", "rule", "list")) == 4
    template = cli("default", "security", "group", "rule", "create", "--protocol", "tcp", "--for-custom-sg")
    assert (template["used_in_default_sg"], template["used_in_non_default_sg"]) == (False, True)
    cli("default", "security", "group", "rule", "delete", template["id"], as_json=False)
    cli("security", "group", "delete", "quick", as_json=False)
    cli("address", "group", "delete", "peers", as_json=False)


def test_the_sdk_knows_security_groups_in_full(api_url: str) -> None:
    import openstack

    network = openstack.connection.Connection(auth_type="none", endpoint=api_url).network
    group = network.create_address_group(name="sdk", addresses=["10.0.0.0/24"])
    assert network.add_addresses_to_address_group(group, ["192.0.2.0/24"]).addresses == [
        "10.0.0.0/24",
        "192.0.2.0/24",
    ]
    assert network.remove_addresses_from_address_group(group, ["10.0.0.0/24"]).addresses == ["192.0.2.0/24"]
    assert network.update_address_group(group, description="d").description == "d"
    assert [each.name for each in network.address_groups(name="sdk")] == ["sdk"]
    stateless = network.create_security_group(name="sdk", stateful=False)
    assert network.get_security_group(stateless.id).stateful is False
    rule = network.create_security_group_rule(
        security_group_id=stateless.id, direction="ingress", remote_address_group_id=group.id
    )
    assert rule.remote_address_group_id == group.id
    with pytest.raises(openstack.exceptions.ConflictException, match="in use on one or more"):
        network.delete_address_group(group)
    template = network.create_default_security_group_rule(
        direction="ingress",
        protocol="icmp",
        remote_group_id="PARENT",
        used_in_default_sg=False,
        used_in_non_default_sg=True,
    )
    assert network.get_default_security_group_rule(template.id).remote_group_id == "PARENT"
    assert len(list(network.default_security_group_rules())) == 5
    network.delete_default_security_group_rule(template)
    network.delete_security_group(stateless)
    network.delete_address_group(group)
    assert network.find_address_group("sdk") is None


def test_long_bodies_are_refused_on_a_real_connection_and_the_next_request_works(api_url: str) -> None:
    with httpx.Client(base_url=api_url, timeout=30.0) as client:
        body = b'{"network": {"name": "' + b"x" * 10_000_000 + b'"}}'
        typed = {"content-type": "application/json"}
        for _ in range(2):
            refused = client.post("/v2.0/networks", content=body, headers=typed)
            assert refused.status_code == 413
            assert refused.json()["NeutronError"]["type"] == "HTTPRequestEntityTooLarge"
            assert client.get("/v2.0/networks").status_code == 200
    host, _, port = api_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10.0) as connection:
        head = f"POST /v2.0/ports HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {1 << 40}\r\n\r\n{{".encode())
        assert b" 413 " in connection.recv(4096).splitlines()[0]


def test_the_openstack_command_sets_shows_lists_and_deletes_quotas(api_url: str) -> None:
    with identity_service(api_url) as auth_url:

        def quota(*arguments: str) -> str:
            credentials = ["--os-auth-url", auth_url, "--os-username", "admin", "--os-password", "x"]
            credentials += ["--os-project-name", "admin", "--os-user-domain-id", "default"]
            credentials += ["--os-project-domain-id", "default", "--os-identity-api-version", "3"]
            command = [str(OPENSTACK), *credentials, "quota", *arguments]
            environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, env=environment
            )
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
            return done.stdout

        def shown(*arguments: str) -> dict[str, int]:
            listed = json.loads(quota("show", "--network", *arguments, "-f", "json"))
            return {each["Resource"]: each["Limit"] for each in listed}

        defaults = shown("--default", "blue")
        assert defaults["ports"] == quotas.DEFAULT_LIMITS["port"]
        quota("set", "--ports", "7", "--secgroups", "3", "blue")
        assert shown("blue") == {**defaults, "ports": 7, "security_groups": 3}
        (listed,) = json.loads(quota("list", "--network", "-f", "json"))
        assert (listed["Project ID"], listed["Ports"]) == (PROJECTS["blue"], 7)
        used = json.loads(quota("show", "--network", "--usage", "blue", "-f", "json"))
        assert {"Resource": "ports", "Limit": 7, "In Use": 0, "Reserved": 0} in used
        quota("delete", "--network", "blue")
        assert shown("blue") == defaults


def test_the_sdk_sets_shows_lists_and_deletes_quotas(api_url: str) -> None:
    import openstack

    cloud = openstack.connection.Connection(auth_type="none", endpoint=api_url)
    default = cloud.network.get_quota_default("green").ports
    assert default == quotas.DEFAULT_LIMITS["port"]
    changed = cloud.network.update_quota("green", ports=3, check_limit=True)
    assert (changed.ports, changed.networks) == (3, quotas.DEFAULT_LIMITS["network"])
    assert cloud.network.get_quota("green").ports == 3
    assert cloud.network.get_quota("green", details=True).ports == {"limit": 3, "used": 0, "reserved": 0}
    assert [(each.project_id, each.ports) for each in cloud.network.quotas()] == [("green", 3)]
    cloud.network.delete_quota("green")
    assert cloud.network.get_quota("green").ports == default
    assert list(cloud.network.quotas()) == []


def test_the_clients_give_a_router_extra_routes(api_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    import openstack

    cli = CommandLine(api_url, capsys)
    cloud = openstack.connection.Connection(auth_type="none", endpoint=api_url)
    network = cloud.network.create_network(name="routed")
    subnet = cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.3.0.0/24")
    router = cloud.network.create_router(name="far")
    cloud.network.add_interface_to_router(router, subnet_id=subnet.id)
    route = {"destination": "172.20.0.0/16", "nexthop": "10.3.0.9"}
    cli("router", "add", "route", "far", "--route", "destination=172.20.0.0/16,gateway=10.3.0.9", as_json=False)
    assert cli("router", "show", "far")["routes"] == [route]
    other = {"destination": "172.21.0.0/16", "nexthop": "10.3.0.9"}
    cloud.network.add_extra_routes_to_router(router, {"router": {"routes": [other]}})
    cloud.network.remove_extra_routes_from_router(router, {"router": {"routes": [route]}})
    assert cloud.network.get_router(router.id).routes == [other]
    cloud.network.update_router(router, routes=[])
    cloud.network.remove_interface_from_router(router, subnet_id=subnet.id)
    cloud.network.delete_router(router)
    cloud.network.delete_network(network)
