"""The region's own servers come back when they were killed, also after the system refused them something."""

import asyncio
import io
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from alcor.adapters.certificates import Authority
from alcor.adapters.nats.embedded import EmbeddedNats
from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.model import errors
from alcor.processes.region import keep_running
from alcor.runtime.event_log import EventLog
from doubles.waiting import eventually

Server = EmbeddedNats | EmbeddedPostgres


def nats(directory: Path) -> EmbeddedNats:
    Authority.open(directory / "authority")
    return EmbeddedNats(directory / "nats", directory / "authority")


def postgres(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "postgres")


@pytest.mark.parametrize("make", [nats, postgres])
async def test_a_killed_server_comes_back_once_the_system_lets_it(
    tmp_path: Path, make: Callable[[Path], Server]
) -> None:
    server = make(tmp_path)
    await server.start()
    async with watched(server) as log:
        words = tmp_path / make.__name__ / "server.log"
        words.unlink()
        words.mkdir()  # what no process can open, whoever it runs as
        kill(server)
        await eventually(lambda: "server_does_not_start" in log.getvalue())
        assert "Is a directory" in log.getvalue()
        words.rmdir()
        await eventually(lambda: "server_restarted" in log.getvalue())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a disk of its own")
@pytest.mark.parametrize(("make", "size"), [(nats, "3m"), (postgres, "200m")])
async def test_a_killed_server_comes_back_on_a_full_disk(
    tmp_path: Path, make: Callable[[Path], Server], size: str
) -> None:
    with disk(tmp_path / make.__name__, size=size) as filler:
        server = make(tmp_path)
        await server.start()
        async with watched(server) as log:
            fill(filler)
            kill(server)
            await eventually(lambda: "server_restarted" in log.getvalue(), timeout_s=30)


@pytest.mark.parametrize("make", [nats, postgres])
async def test_a_directory_has_one_server(tmp_path: Path, make: Callable[[Path], Server]) -> None:
    server = make(tmp_path)
    await server.start()
    with pytest.raises(errors.Conflict, match="in use"):
        await make(tmp_path).start()
    await server.stop()
    assert not server.is_running
    assert server.pid is None


@asynccontextmanager
async def watched(server: Server) -> AsyncIterator[io.StringIO]:
    """Have a server watched as a region does; give the log."""
    log = io.StringIO()
    watch = asyncio.create_task(keep_running("server", server, EventLog(stream=log)))
    try:
        yield log
        assert not watch.done()
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await server.stop()


@contextmanager
def disk(directory: Path, *, size: str) -> Iterator[Path]:
    """Mount a small disk; give the file to fill it with."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)], check=True)
    try:
        yield directory / "filler"
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


def kill(server: Server) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
