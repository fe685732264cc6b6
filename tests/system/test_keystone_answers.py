"""Answers of something that is not quite a Keystone, over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from alcor.adapters import keystone
from alcor.adapters.keystone import KeystoneValidator
from alcor.management_plane.identity.keystone import UNREACHABLE
from alcor.model import errors
from alcor.model.roles import Level
from alcor.runtime.event_log import SILENT

TOKEN: dict[str, Any] = {
    "user": {"id": "u"},
    "expires_at": "2036-01-02T03:04:05.000000Z",
    "project": {"id": "p"},
    "roles": [{"name": "admin"}],
}


@asynccontextmanager
async def answering(status: str, body: object, *more: str) -> AsyncIterator[KeystoneValidator]:
    """Serve one answer to every question."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *more])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + b"\r\n\r\n" + content)
        writer.close()

    async with serving(answer) as validator:
        yield validator


@asynccontextmanager
async def serving(answer: Callable[..., Any]) -> AsyncIterator[KeystoneValidator]:
    """Ask a server of our own."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    validator = KeystoneValidator(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", SILENT)
    try:
        yield validator
    finally:
        await validator.close()
        server.close()


async def test_a_token_is_read_with_its_end() -> None:
    async with answering("200 OK", {"token": TOKEN}) as validator:
        validated = await validator.validate("t")
    assert (validated.identity.project_id, validated.identity.user_id) == ("p", "u")
    assert validated.identity.level is Level.ADMIN
    assert validated.expires_at == 2_082_855_845_000_000


@pytest.mark.parametrize(
    ("more", "level"),
    [
        ({"is_admin_project": False}, Level.MEMBER),
        ({"is_admin_project": True}, Level.ADMIN),
        ({"roles": [{"name": "reader"}]}, Level.READER),
        ({"roles": []}, Level.ANYONE),
    ],
)
async def test_roles_give_the_level(more: dict[str, Any], level: Level) -> None:
    async with answering("200 OK", {"token": TOKEN | more}) as validator:
        assert (await validator.validate("t")).identity.level is level


@pytest.mark.parametrize("status", ["400 Bad", "401 Unauthorized", "403 Forbidden", "404 Not Found"])
async def test_what_keystone_does_not_know_is_nobody(status: str) -> None:
    async with answering(status, {}) as validator:
        with pytest.raises(errors.Invalid) as refused:
            await validator.validate("t")
    assert refused.value.reason == "HTTPUnauthorized"


@pytest.mark.parametrize(
    ("status", "body", "means_away"),
    [
        ("500 Broken", {}, False),
        ("429 Slower", {}, False),
        ("302 Found", {}, False),
        ("503 Away", {}, True),
        ("502 Away", {}, True),
        ("200 OK", b"<html>", False),
        ("200 OK", {"token": {}}, False),
        ("200 OK", {"token": TOKEN | {"expires_at": "soon"}}, False),
        ("200 OK", {"token": TOKEN | {"expires_at": None}}, False),
        ("200 OK", b"\xff\xfe", False),
    ],
)
async def test_what_is_no_answer_lets_nobody_in(status: str, body: object, means_away: bool) -> None:
    async with answering(status, body, "Location: http://192.0.2.1/") as validator:
        with pytest.raises(errors.Unavailable) as told:
            await validator.validate("t")
    assert (told.value.reason == UNREACHABLE) is means_away


async def test_a_keystone_that_hangs_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystone, "TIMEOUT_S", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serving(hang) as validator:
        async with asyncio.timeout(30.0):
            with pytest.raises(errors.Unavailable) as told:
                await validator.validate("t")
    assert told.value.reason == UNREACHABLE
