"""Where a switch answers: on its own host by socket files, for a neighbour by TLS over the underlay."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from ssl import SSLContext
from typing import NamedTuple

from alcor.contracts.data_plane import RESCUE_DATABASE_PORT, RESCUE_OPENFLOW_PORT
from alcor.model.addressing import ip_to_text


class Endpoint(NamedTuple):
    """One listener: a socket file, or an address with the name that its certificate must have."""

    path: str = ""
    address: str = ""
    port: int = 0
    name: str = ""
    ssl: SSLContext | None = None

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.path else f"ssl:{self.address}:{self.port}"

    async def connect(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Connect. Raises OSError; a certificate that does not fit is one."""
        loop = asyncio.get_running_loop()
        if self.path:
            await loop.create_unix_connection(make, self.path)
            return
        await loop.create_connection(
            make, self.address, self.port, ssl=self.ssl, server_hostname=self.name if self.ssl else None
        )


class SwitchEndpoints(NamedTuple):
    """The two listeners of a host's Open vSwitch."""

    database: Endpoint
    bridge: Endpoint

    @property
    def is_remote(self) -> bool:
        return not self.database.path


def local(run_dir: Path, bridge: str) -> SwitchEndpoints:
    """On this host: `db.sock` and `<bridge>.mgmt` in Open vSwitch's directory."""
    return SwitchEndpoints(
        Endpoint(path=str(run_dir / "db.sock")), Endpoint(path=str(run_dir / f"{bridge}.mgmt"))
    )


def remote(host: str, vtep: bytes, ssl: SSLContext) -> SwitchEndpoints:
    """On another host, whose switch must show a certificate with that host's name."""
    address = ip_to_text(vtep)
    return SwitchEndpoints(
        Endpoint(address=address, port=RESCUE_DATABASE_PORT, name=host, ssl=ssl),
        Endpoint(address=address, port=RESCUE_OPENFLOW_PORT, name=host, ssl=ssl),
    )
