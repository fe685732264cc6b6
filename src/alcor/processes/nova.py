"""The way to the compute service: the settings, and what they name. Wiring only."""

import contextlib
from pathlib import Path

import msgspec

from alcor.adapters import keystone_login
from alcor.adapters.keystone_login import KeystoneLogin
from alcor.adapters.nova import NovaEvents
from alcor.model import errors
from alcor.processes.listening import is_loopback
from alcor.runtime.clock import Clock


class NovaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Nova is, and the file with which we log in to Keystone. None: it asks nobody; on loopback only."""

    url: str
    credentials: Path | None = None


def events(settings: NovaSettings, clock: Clock, stack: contextlib.AsyncExitStack) -> NovaEvents:
    """Make the way to Nova; the stack ends it. Raises Invalid for settings that cannot be right."""
    login = None
    if settings.credentials is not None:
        login = KeystoneLogin(keystone_login.read(settings.credentials), clock)
        stack.push_async_callback(login.close)
    found = NovaEvents(settings.url, login, verify=True if login is None else login.verify)
    stack.push_async_callback(found.close)
    if login is None and not is_loopback(found.host):
        raise errors.Invalid(
            f"Nova at {found.host} asks who we are: name a file of credentials (--nova-credentials)"
        )
    return found
