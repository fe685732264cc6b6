"""The way to the compute service: the settings, and what they name. Wiring only."""

import contextlib
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from alcor.adapters import keystone_login
from alcor.adapters.keystone_login import KeystoneLogin
from alcor.adapters.nova import NovaEvents
from alcor.adapters.postgres.store import PostgresStore
from alcor.control_plane.server_events.teller import Teller
from alcor.model import errors
from alcor.processes.listening import is_loopback
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog


class NovaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Nova is, and the file with which we log in to Keystone. None: it asks nobody; on loopback only."""

    url: str
    credentials: Path | None = None


async def teller(
    settings: NovaSettings, store: PostgresStore, clock: Clock, log: EventLog, stack: contextlib.AsyncExitStack
) -> Teller:
    """Make what tells Nova; the stack ends what it needs. Raises Invalid for settings that cannot be right."""
    host = urlsplit(settings.url).hostname or ""
    if settings.credentials is not None:
        login = KeystoneLogin(keystone_login.read(settings.credentials), clock)
        stack.push_async_callback(login.close)
        events = NovaEvents(settings.url, login, verify=login.verify)
    elif is_loopback(host):
        events = NovaEvents(settings.url)
    else:
        raise errors.Invalid(f"Nova at {host} asks who we are: name a file of credentials (--nova-credentials)")
    stack.push_async_callback(events.close)
    return await Teller.open(events, store.told(), store, clock, log)
