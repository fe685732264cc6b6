"""OpenStack's own clients, unchanged, against the API on loopback."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from served_api import served

COMMAND_TIMEOUT_S = 60.0
OPENSTACK = Path(sys.executable).with_name("openstack")

pytest.importorskip("openstack")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, on names of their own


@pytest.fixture(scope="module")
def api_url() -> Iterator[str]:
    with served() as url:
        yield url


def run(api_url: str, *arguments: str) -> Any:
    """Run the `openstack` command as users do, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    command = [str(OPENSTACK), "--os-auth-type", "none", "--os-endpoint", api_url, *arguments, "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_openstack_command_lists_networks(api_url: str) -> None:
    assert run(api_url, "network", "list") == []


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
