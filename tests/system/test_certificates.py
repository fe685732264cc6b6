"""Certificates: who may speak to the controller, and in whose name."""

import asyncio
import datetime
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from alcor.adapters import certificates, stream
from alcor.adapters.certificates import Authority
from alcor.cli import certificate
from alcor.contracts.agent_channel import PROTOCOL, Channel, Farewell, FromController, Hello, Welcome
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.runtime import tls
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT

RAW = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
decoder = msgspec.msgpack.Decoder(FromController)


@asynccontextmanager
async def controller_at(authority: Authority) -> AsyncIterator[str]:
    controller = Controller(MemoryStore(), SystemClock(), SILENT)
    await controller.start()

    async def serve(channel: Channel) -> None:
        await controller.serve_channel(channel, certified=stream.peer_name(channel))

    context = tls.controller_context(authority.issue_controller())
    server = await stream.serve(["tcps://127.0.0.1:0"], serve, SILENT, ssl=context)
    try:
        yield server.urls[0]
    finally:
        await server.close()
        await controller.stop()


async def answer_to(url: str, context: ssl.SSLContext, **hello: object) -> FromController | None:
    """Say Hello and give the first answer; None when there is none."""
    channel = await stream.connect(url, ssl=context)
    try:
        given: dict[str, object] = {
            "protocol": PROTOCOL,
            "host": "h1",
            "vtep": b"\x0a\0\0\1",
            "zone": "",
            "data_plane": "ovs",
            "agent_version": "1",
            "started_at": 0,
        }
        channel.send(msgspec.msgpack.encode(Hello(**(given | hello))))  # type: ignore[arg-type]
        frame = await asyncio.wait_for(channel.receive(), 5)
        return None if frame is None else decoder.decode(frame)
    finally:
        channel.close()


async def test_a_host_speaks_under_its_own_name_only(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "authority")
    authority.issue_host("h1", tmp_path / "h1")
    async with controller_at(authority) as url:
        context = tls.agent_context(tmp_path / "h1")
        assert isinstance(await answer_to(url, context), Welcome)
        refused = await answer_to(url, context, host=HostId("h2"))
        assert isinstance(refused, Farewell)
        assert "names 'h1'" in refused.reason
        refused = await answer_to(url, context, host=HostId("h3"), rescuer=HostId("h2"), token=1)
        assert isinstance(refused, Farewell)
        assert "names 'h1'" in refused.reason
        unordered = await answer_to(url, context, host=HostId("h3"), rescuer=HostId("h1"), token=1)
        assert isinstance(unordered, Farewell)
        assert "no order" in unordered.reason


async def test_an_emulated_host_speaks_under_its_own_name_only(tmp_path: Path) -> None:
    data_dir, out = tmp_path / "data", tmp_path / "out"
    arguments = ["--fleet", "--hosts", "2", "--first", "3", "--out", str(out), "--data-dir", str(data_dir)]
    done = CliRunner().invoke(certificate.command, arguments)
    assert done.exit_code == 0, done.output
    both = CliRunner().invoke(certificate.command, ["--host", "h1", "--hosts", "2", "--out", str(out)])
    assert "are for a --fleet" in both.output
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (out / "hosts").iterdir()}
    assert files == {"host-3.pem": 0o600, "host-4.pem": 0o600}
    async with controller_at(Authority.open(data_dir / "authority")) as url:
        own = tls.emulated_context(out, "host-3")
        assert isinstance(await answer_to(url, own, host=HostId("host-3")), Welcome)
        for context, name in ((own, "host-3"), (tls.agent_context(out), certificates.FLEET_NAME)):
            refused = await answer_to(url, context, host=HostId("host-4"))
            assert isinstance(refused, Farewell)
            assert f"names '{name}'" in refused.reason
    with pytest.raises(errors.Invalid):
        tls.emulated_context(out, "host-5")


async def test_strangers_and_switches_are_nobody_s_agents(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "authority")
    authority.issue_host("h1", tmp_path / "h1")
    Authority.open(tmp_path / "other").issue_host("h1", tmp_path / "stranger")
    async with controller_at(authority) as url:
        with pytest.raises(errors.Unavailable):  # it does not believe the controller
            await stream.connect(url, ssl=tls.agent_context(tmp_path / "stranger"))
        with pytest.raises(errors.Invalid):
            await stream.connect(url)
        for name in ("stranger/agent", "h1/switch"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(tmp_path / "h1" / tls.AUTHORITY)
            context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
            assert await _is_refused(url, context), name


async def test_an_agent_believes_only_the_controller(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "authority")
    authority.issue_host("h1", tmp_path / "h1")
    pretender = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pretender.load_cert_chain(tmp_path / "h1" / "switch.pem", tmp_path / "h1" / "switch.key")

    async def serve(channel: Channel) -> None:
        await channel.receive()

    server = await stream.serve(["tcps://127.0.0.1:0"], serve, SILENT, ssl=pretender)
    try:
        with pytest.raises(errors.Unavailable):
            await stream.connect(server.urls[0], ssl=tls.agent_context(tmp_path / "h1"))
    finally:
        await server.close()


def test_keys_are_for_their_owner_only_and_the_authority_stays_the_same(tmp_path: Path) -> None:
    data_dir, out = tmp_path / "data", tmp_path / "out"
    for _ in range(2):
        arguments = ["--host", "h1", "--out", str(out), "--data-dir", str(data_dir)]
        done = CliRunner().invoke(certificate.command, arguments)
        assert done.exit_code == 0, done.output
    assert (out / tls.AUTHORITY).read_bytes() == (data_dir / "authority" / tls.AUTHORITY).read_bytes()
    for key in (data_dir / "authority" / "ca.key", out / "agent.key", out / "switch.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((data_dir / "authority").stat().st_mode) == 0o700
    tls.agent_context(out)


def test_what_the_switch_of_a_host_lets_in_is_its_own_authority_s_and_no_file_has_its_key(
    tmp_path: Path,
) -> None:
    authority = Authority.open(tmp_path / "authority")
    authority.issue_host("h1", tmp_path / "h1")
    first = x509.load_pem_x509_certificate((tmp_path / "h1" / tls.RESCUERS).read_bytes())
    own_key = certificates.agent_key(tmp_path / "h1").public
    for again in (Authority.open(tmp_path / "authority"), authority):
        made = x509.load_pem_x509_certificate(again.certify_rescuer("h1", "h2", own_key))
        made.verify_directly_issued_by(first)
        assert made.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < datetime.timedelta(minutes=16)
        elsewhere = x509.load_pem_x509_certificate(again.certify_rescuer("h3", "h2", own_key))
        with pytest.raises((ValueError, InvalidSignature)):
            elsewhere.verify_directly_issued_by(first)
    region = x509.load_pem_x509_certificate((tmp_path / "h1" / tls.AUTHORITY).read_bytes())
    with pytest.raises((ValueError, InvalidSignature)):  # so the controller lets no rescuer's certificate in
        first.verify_directly_issued_by(region)
    secret = authority._rescuers_key("h1").private_numbers().private_value.to_bytes(32, "big")
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        keys = [file.read_bytes()]
        if file.suffix == ".key":
            key = serialization.load_pem_private_key(file.read_bytes(), None)
            keys.append(key.private_bytes(*RAW))
        assert not any(secret in held for held in keys), file


def test_orders_for_the_key_that_hello_named_serve_also_when_the_files_were_issued_anew(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "authority")
    authority.issue_host("h2", tmp_path / "h2")
    key = certificates.agent_key(tmp_path / "h2")
    contexts = tls.RescuerContexts(tmp_path / "h2", key)
    authority.issue_host("h2", tmp_path / "h2")  # the agent runs on
    for _ in range(2):  # an order, and its renewal
        contexts.take("h1", authority.certify_rescuer("h1", "h2", contexts.public_key))
    newer = certificates.agent_key(tmp_path / "h2").public
    with pytest.raises(errors.Invalid):
        contexts.take("h1", authority.certify_rescuer("h1", "h2", newer))
    held = contexts.context("h1")
    contexts.drop("h1")
    contexts.take("h1", authority.certify_rescuer("h1", "h2", key.public))
    assert contexts.context("h1") is not held
    assert "PRIVATE" not in repr(key)


def test_a_key_that_is_none_is_not_certified(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "authority")
    for key in (b"", b"no key"):
        with pytest.raises(errors.Invalid):
            authority.certify_rescuer("h1", "h2", key)


def test_a_host_that_no_certificate_can_name_is_refused(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "authority")
    for name in ("", "x" * 64, "a/b", "höst"):
        with pytest.raises(errors.Invalid):
            authority.issue_host(name, tmp_path / "out")


async def _is_refused(url: str, context: ssl.SSLContext) -> bool:
    """With TLS 1.3 a client hears only after the handshake that its certificate was not taken."""
    context.check_hostname = True
    try:
        return await answer_to(url, context) is None
    except errors.Unavailable:
        return True
