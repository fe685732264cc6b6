"""A region with `--identity tokens`, over TLS, as operators and clients meet it: processes, files, commands."""

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from region_scene import eventually

from alcor.lab.region_process import RegionProcess
from alcor.model import errors
from alcor.processes import listening
from commands import ALCOR, OPENSTACK, run, run_python

TAKEN_UP_S = 20.0  # a look takes place twice a second; the rest is for a busy machine


def new_token(directory: Path, project: str, *more: str) -> dict[str, Any]:
    """Make a token with the command."""
    made = run(
        *(ALCOR, "token", "--data-dir", directory, "create", "--project", project, "--user", "alice"),
        *(*more, "--json"),
    )
    token: dict[str, Any] = json.loads(made)
    return token


def self_signed(directory: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate for loopback that vouches for itself."""
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file


class Guarded:
    """A region that asks who calls, and the operator's token."""

    def __init__(self, process: RegionProcess, operator: dict[str, Any]) -> None:
        self.process = process
        self.operator = operator
        self.ca_file = process.endpoint.ca_file
        self.directory = process.directory

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Ask with these headers alone."""
        async with self.client() as client:
            return await client.get(path, headers=headers)

    def client(self, ca_file: Path | None = None) -> httpx.AsyncClient:
        """Open a client that trusts one authority alone."""
        context = ssl.create_default_context(cafile=str(ca_file or self.ca_file))
        return httpx.AsyncClient(base_url=self.process.url, verify=context)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    certificate, key = self_signed(tmp_path / "tls", "first")
    operator = new_token(tmp_path / "data", "ops", "--role", "admin")
    process = RegionProcess(
        tmp_path / "data",
        queue="none",
        options=("--identity", "tokens", "--tls-cert", str(certificate), "--tls-key", str(key)),
        token=operator["token"],
        ca_file=certificate,
    )
    await process.start()
    try:
        yield Guarded(process, operator)
    finally:
        await process.stop()


async def test_a_region_asks_for_tokens_and_takes_up_new_and_revoked_ones(guarded: Guarded) -> None:
    nobody = await guarded.get("/v2.0/networks")
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"] == 'Basic realm="alcor"'
    believed = await guarded.get("/v2.0/networks", **{"X-Project-Id": "blue", "X-Roles": "admin"})
    assert believed.status_code == 401
    assert (await guarded.get("/healthz")).status_code == 200

    made = new_token(guarded.directory, "blue", "--role", "reader")
    shown = {"X-Auth-Token": made["token"], "X-Roles": "admin", "X-Project-Id": "green"}
    assert (await guarded.get("/v2.0/networks", **shown)).status_code == 200
    assert (await guarded.get("/v2.0/hosts", **shown)).status_code == 403, "X-Roles is believed"
    kept = (guarded.directory / "tokens.json").read_text()
    assert made["token"].rpartition("_")[2] not in kept
    assert (guarded.directory / "tokens.json").stat().st_mode & 0o777 == 0o600

    listed = json.loads(run(ALCOR, "token", "--data-dir", guarded.directory, "list", "--json"))
    assert {each["id"]: each["state"] for each in listed} == {
        made["id"]: "in force",
        guarded.operator["id"]: "in force",
    }
    assert made["id"] in run(ALCOR, "token", "--data-dir", guarded.directory, "list")
    run(ALCOR, "token", "--data-dir", guarded.directory, "revoke", made["id"])
    run(ALCOR, "token", "--data-dir", guarded.directory, "revoke", made["id"], status=1)

    async def is_revoked() -> bool:
        return (await guarded.get("/v2.0/networks", **shown)).status_code == 401

    await eventually(is_revoked, "the token is worthless", timeout_s=TAKEN_UP_S)
    assert (await guarded.get("/v2.0/hosts", **{"X-Auth-Token": guarded.operator["token"]})).status_code == 200


async def test_alcors_own_commands_send_the_token(guarded: Guarded) -> None:
    url, ca_file = guarded.process.url, str(guarded.ca_file)
    locked = run(ALCOR, "hosts", "--url", url, "--cacert", ca_file, status=1)
    assert "requires authentication" in locked
    token = guarded.operator["token"]
    assert json.loads(run(ALCOR, "hosts", "--url", url, "--cacert", ca_file, "--token", token, "--json")) == []
    environment = {"ALCOR_URL": url, "ALCOR_TOKEN": token, "ALCOR_CACERT": ca_file}
    assert json.loads(run(ALCOR, "status", "--json", **environment))["hosts"] == 0
    assert "CERTIFICATE_VERIFY_FAILED" in run(ALCOR, "hosts", "--url", url, "--token", token, status=69)


async def test_openstacks_command_and_sdk_come_in_with_tokens_in_both_styles(guarded: Guarded) -> None:
    made = new_token(guarded.directory, "blue")
    reader = new_token(guarded.directory, "blue", "--role", "reader")
    styles = {
        "admin_token": ("--os-token", made["token"]),
        "http_basic": ("--os-username", "alice", "--os-password", made["token"]),
    }
    for style, secret in styles.items():
        command = (OPENSTACK, "--os-auth-type", style, "--os-endpoint", guarded.process.url, *secret)
        command = (*command, "--os-cacert", str(guarded.ca_file))
        network = json.loads(run(*command, "network", "create", f"by-{style}", "-f", "json"))
        assert network["project_id"] == "blue"
        listed = json.loads(run(*command, "network", "list", "-f", "json"))
        assert f"by-{style}" in {each["Name"] for each in listed}
    refused = run(
        *(OPENSTACK, "--os-auth-type", "admin_token", "--os-endpoint", guarded.process.url),
        *("--os-token", reader["token"], "--os-cacert", str(guarded.ca_file)),
        *("network", "create", "never"),
        status=1,
    )
    assert "The role member is needed" in refused
    for options in (
        {"auth_type": "admin_token", "auth": {"endpoint": guarded.process.url, "token": made["token"]}},
        {
            "auth_type": "http_basic",
            "auth": {"endpoint": guarded.process.url, "username": "alice", "password": made["token"]},
        },
    ):
        found = run_python(_BY_SDK, json.dumps({**options, "verify": str(guarded.ca_file)}))
        assert json.loads(found) == ["blue"]


_BY_SDK = """
import json, sys, openstack
cloud = openstack.connection.Connection(**json.loads(sys.argv[1]))
made = cloud.network.create_network(name="sdk")
print(json.dumps(sorted({each.project_id for each in cloud.network.networks(name="sdk")})))
cloud.network.delete_network(made)
"""


async def test_guessing_is_slowed_down_and_known_tokens_are_not(guarded: Guarded) -> None:
    statuses = [
        (await guarded.get("/v2.0/networks", **{"X-Auth-Token": f"alcor_x_{number}"})).status_code
        for number in range(4)
    ]
    assert statuses == [401] * 4
    async with guarded.client() as client:
        async with asyncio.timeout(TAKEN_UP_S):
            while True:
                answers = await asyncio.gather(
                    *(client.get("/v2.0/networks", headers={"X-Auth-Token": "wrong"}) for _ in range(20))
                )
                limited = [each for each in answers if each.status_code == 429]
                if limited:
                    break
        assert int(limited[0].headers["retry-after"]) >= 1
        known = await client.get("/v2.0/networks", headers={"X-Auth-Token": guarded.operator["token"]})
        assert known.status_code == 200


async def test_a_renewed_certificate_is_shown_without_a_restart(guarded: Guarded, tmp_path: Path) -> None:
    second, second_key = self_signed(tmp_path / "other", "second")

    async def is_shown() -> bool:
        try:
            async with guarded.client(second) as client:
                return (await client.get("/healthz")).status_code == 200
        except httpx.ConnectError:
            return False

    assert not await is_shown()
    (tmp_path / "tls" / "first.key").write_bytes(second_key.read_bytes())
    (tmp_path / "tls" / "first.pem").write_bytes(second.read_bytes())
    await eventually(is_shown, "the new certificate is shown", timeout_s=TAKEN_UP_S)


def test_a_region_that_would_lie_open_does_not_start(tmp_path: Path) -> None:
    up = (ALCOR, "up", "--data-dir", tmp_path, "--queue", "none", "--listen")
    certificate, key = self_signed(tmp_path, "api")
    assert "without authentication" in run(*up, "0.0.0.0:0", status=1)
    assert "clear text" in run(*up, "0.0.0.0:0", "--identity", "tokens", status=1)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    assert "without authentication" in run(*up, "0.0.0.0:0", *tls, status=1)
    assert "belong together" in run(*up, "127.0.0.1:0", "--tls-cert", certificate, status=2)
    assert "not possible" in run(*up, "127.0.0.1:0", "--tls-cert", key, "--tls-key", key, status=1)
    tokens = tmp_path / "tokens.json"
    tokens.write_text("{}")
    assert "cannot be read" in run(*up, "127.0.0.1:0", "--identity", "tokens", status=1)
    tokens.chmod(0o666)
    assert "others may write" in run(*up, "127.0.0.1:0", "--identity", "tokens", status=1)
    tokens.unlink()
    for wrong in (("--expires-in", "never"), ("--role", "root"), ("--expires-in", "0d")):
        run(ALCOR, "token", "--data-dir", tmp_path, "create", "--project", "p", "--user", "u", *wrong, status=2)
    assert not tokens.exists()


def test_off_loopback_the_api_binds_with_authentication_and_tls_and_not_otherwise() -> None:
    for is_authenticated, is_encrypted in ((False, False), (True, False), (False, True)):
        with pytest.raises(errors.Invalid):
            listening.api_socket("0.0.0.0", 0, is_authenticated=is_authenticated, is_encrypted=is_encrypted)
    with listening.api_socket("0.0.0.0", 0, is_authenticated=True, is_encrypted=True) as bound:
        assert bound.getsockname()[0] == "0.0.0.0"
    for host in ("127.0.0.1", "localhost", "::1"):
        listening.api_socket(host, 0, is_authenticated=False, is_encrypted=False).close()
    with pytest.raises(errors.Invalid):
        listening.api_socket("localhost.example", 0, is_authenticated=False, is_encrypted=False)


def test_two_commands_at_the_same_time_lose_no_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda number: new_token(tmp_path, f"p{number}")["id"], range(8)))
    listed = json.loads(run(ALCOR, "token", "--data-dir", tmp_path, "list", "--json"))
    assert {each["id"] for each in listed} == set(made)


async def test_a_file_that_is_damaged_meanwhile_changes_nothing(guarded: Guarded) -> None:
    (guarded.directory / "tokens.json").write_text("{")
    log = guarded.directory / "region.log"

    async def is_refused() -> bool:
        return "token_file_refused" in log.read_text()

    await eventually(is_refused, "the log says so", timeout_s=TAKEN_UP_S)
    operator = {"X-Auth-Token": guarded.operator["token"]}
    assert (await guarded.get("/v2.0/hosts", **operator)).status_code == 200
    assert log.read_text().count("token_file_refused") == 1


async def test_the_rate_of_projects_is_an_option_of_the_region(tmp_path: Path) -> None:
    process = RegionProcess(tmp_path, queue="none", options=("--rate-limit", "0.01"))
    await process.start()
    try:
        async with httpx.AsyncClient(base_url=process.url, headers={"X-Project-Id": "blue"}) as client:
            answers = [await client.get("/v2.0/networks") for _ in range(2)]
        assert [each.status_code for each in answers] == [200, 429]
        assert 1 <= int(answers[1].headers["retry-after"]) <= 100
    finally:
        await process.stop()
