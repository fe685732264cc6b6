"""A region with `--identity keystone` and a real Keystone: clients by catalogue, roles, and Keystone away."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from region_scene import eventually

from alcor.adapters.keystone import KeystoneValidator
from alcor.lab.region_process import RegionProcess
from alcor.management_plane.identity.keystone import KeystoneTokens, Patience
from alcor.model import errors
from alcor.model.roles import Level
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from commands import OPENSTACK, run, run_python
from keystone_server import PASSWORD, KeystoneServer

pytestmark = pytest.mark.slow
PLACES = {"alice": "member", "rita": "reader", "otto": "auditor"}


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeystoneServer]:
    server = KeystoneServer(tmp_path_factory.mktemp("keystone"))
    server.set_up()
    server.start()
    try:
        server.ask("POST", "/roles", {"role": {"name": "auditor"}})
        project_id = server.new_project("blue")
        for user, role in PLACES.items():
            server.new_user(user, project_id, role)
        yield server
    finally:
        server.kill()


@pytest.fixture
async def region(keystone: KeystoneServer, tmp_path: Path) -> AsyncIterator[RegionProcess]:
    process = RegionProcess(
        tmp_path,
        queue="none",
        options=("--identity", "keystone", "--keystone-url", keystone.url),
        token=keystone.token("admin", "admin"),
    )
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


async def _get(region: RegionProcess, path: str, token: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=region.url, timeout=30.0) as client:
        return await client.get(path, headers={"X-Auth-Token": token, **headers})


async def test_clients_find_the_region_in_the_catalogue_and_roles_hold(
    keystone: KeystoneServer, region: RegionProcess
) -> None:
    keystone.new_endpoint("network", region.url)

    def environment(user: str, project: str = "blue") -> dict[str, str]:
        return {
            "OS_AUTH_URL": keystone.url,
            "OS_USERNAME": user,
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
        }

    alice, rita, otto = (environment(user) for user in PLACES)
    made = json.loads(run(OPENSTACK, "network", "create", "vpc", "-f", "json", **alice))
    blue = keystone.ask("GET", "/projects?name=blue")["projects"][0]["id"]
    assert made["project_id"] == blue
    assert [each["Name"] for each in json.loads(run(OPENSTACK, "network", "list", "-f", "json", **rita))] == [
        "vpc"
    ]
    assert "The role member is needed" in run(OPENSTACK, "network", "delete", "vpc", status=1, **rita)
    assert "The role reader is needed" in run(OPENSTACK, "network", "list", status=1, **otto)
    admin = environment("admin", "admin")
    assert [each["Name"] for each in json.loads(run(OPENSTACK, "network", "list", "-f", "json", **admin))] == [
        "vpc"
    ]
    found = run_python(
        "import openstack, json\n"
        "cloud = openstack.connect()\n"
        "port = cloud.network.create_port(network_id=cloud.network.find_network('vpc').id)\n"
        "print(json.dumps(port.project_id))\n"
        "cloud.network.delete_port(port)\n",
        **alice,
    )
    assert json.loads(found) == blue
    run(OPENSTACK, "network", "delete", "vpc", **alice)


async def test_headers_are_not_believed_and_only_tokens_with_a_project_count(
    keystone: KeystoneServer, region: RegionProcess
) -> None:
    wrong = await _get(region, "/v2.0/networks", "wrong", **{"X-Project-Id": "blue", "X-Roles": "admin"})
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"] == f'Keystone uri="{keystone.url}"'
    alice = keystone.token("alice", "blue")
    assert (await _get(region, "/v2.0/networks", alice, **{"X-Roles": "admin"})).status_code == 200
    assert (await _get(region, "/v2.0/hosts", alice, **{"X-Roles": "admin"})).status_code == 403
    unscoped = await _get(region, "/v2.0/networks", keystone.token("alice", None))
    assert (unscoped.status_code, "not scoped" in unscoped.text) == (403, True)
    basic = httpx.get(f"{region.url}/v2.0/networks", auth=("alice", alice))  # noqa: ASYNC210 (one short question)
    assert basic.status_code == 401


async def test_while_keystone_is_away_known_tokens_go_on_and_unknown_ones_are_told_to_wait(
    keystone: KeystoneServer, region: RegionProcess
) -> None:
    known, unknown = keystone.token("alice", "blue"), keystone.token("rita", "blue")
    assert (await _get(region, "/v2.0/networks", known)).status_code == 200
    keystone.kill()
    try:
        for _ in range(3):
            told = await _get(region, "/v2.0/networks", unknown)
            assert told.status_code == 503
            assert int(told.headers["retry-after"]) >= 1
            assert (await _get(region, "/v2.0/networks", known)).status_code == 200
        assert (await _get(region, "/healthz", "")).status_code == 200
    finally:
        keystone.start()

    async def is_back() -> bool:
        return (await _get(region, "/v2.0/networks", unknown)).status_code == 200

    await eventually(is_back, "Keystone is asked again")


async def test_a_revoked_token_is_refused_when_keystone_is_asked_again(keystone: KeystoneServer) -> None:
    at_once = Patience(refresh_s=0.0, stale_s=0.0)
    validator = KeystoneValidator(keystone.url.removesuffix("/v3"), SILENT)
    source = KeystoneTokens(validator, SystemClock(), SILENT, at_once)
    try:
        shown = {"x-auth-token": keystone.token("alice", "blue")}
        identity = await source.identify(shown)
        assert (identity.level, "member" in identity.roles) == (Level.MEMBER, True)
        await asyncio.to_thread(lambda: keystone.ask("DELETE", "/auth/tokens", token=shown["x-auth-token"]))
        assert source.known(shown) is None
        with pytest.raises(errors.Invalid) as refused:
            await source.identify(shown)
        assert refused.value.reason == "HTTPUnauthorized"
    finally:
        await source.close()
        await validator.close()
