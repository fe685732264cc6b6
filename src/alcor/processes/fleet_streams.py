"""How emulated hosts dial in: over TLS each shows its own certificate, as hosts of other machines do."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from ssl import SSLContext

from alcor.adapters import stream
from alcor.adapters.beat_sockets import BeatSender
from alcor.contracts.agent_channel import Channel
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.processes.fleet_faults import FaultMaker
from alcor.runtime import tls
from alcor.runtime.event_log import EventLog

# Hosts have a processor each; ours share one, which greets some hundreds a second. All at once, none would be
# done within its deadline. A controller that hangs still keeps ten thousand waiting for no more than minutes.
GREETING_MAX = 100


class FleetStreams:
    """Opens the streams of emulated hosts. Owner of their contexts, which are made when they are wanted.

    Owner also of what sends their beats. A context for each, as it holds the certificate that its streams show:
    some 27 KiB.
    """

    def __init__(self, certificates: Path | None, faults: FaultMaker | None, log: EventLog) -> None:
        self._certificates = certificates
        self._faults = faults
        self._contexts: dict[HostId, SSLContext] = {}
        self._room = asyncio.Semaphore(GREETING_MAX)
        self._sender = BeatSender(log)

    async def connect(self, host: HostId, url: str) -> Channel:
        """Open a host's stream. Raises Unavailable, Invalid."""
        if url.startswith("tcps:"):
            async with self._room:
                channel = await stream.connect(url, ssl=self._context(host), sender=self._sender)
        else:
            channel = await stream.connect(url, sender=self._sender)
        return channel if self._faults is None else self._faults.over(channel)

    def close(self) -> None:
        """Send no beats any longer."""
        self._sender.close()

    def _context(self, host: HostId) -> SSLContext | None:
        if self._certificates is None:
            return None
        context = self._contexts.get(host)
        if context is None:
            context = self._contexts[host] = tls.emulated_context(self._certificates, host)
        return context


def require_certificates(urls: Sequence[str], certificates: Path | None, hosts: Iterable[str]) -> None:
    """Refuse what these hosts could not be told apart with, before any is started. Raises Invalid."""
    if not any(url.startswith("tcps:") for url in urls):
        return
    if certificates is None:
        raise errors.Invalid("tcps:// controllers want --certificates")
    for host in hosts:
        if not tls.emulated_file(certificates, host).exists():
            raise errors.Invalid(
                f"{certificates} has no certificate for '{host}': issue them with `alcor certificate --fleet`, "
                "--hosts and --first as here"
            )
