"""A server that is a child process of this one, in a directory that it has to itself.

What the system refuses (a full disk, no memory, no more files or processes) is Unavailable: it may be granted
later.
"""

import asyncio
import contextlib
import fcntl
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from alcor.model import errors

POLL_S = 0.01
WORDS_MAX = 2000  # of a server's log that are told when it does not start


class DirectoryLock:
    """Keeps a directory to one process at a time. Owner of its file `lock`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: TextIO | None = None

    @property
    def is_taken(self) -> bool:
        """Have we taken it?"""
        return self._file is not None

    def take(self) -> None:
        """Take it. Raises Conflict when another process has it, Unavailable."""
        with granted(f"{self._directory} cannot be locked"):
            file = (self._directory / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise errors.Conflict(f"{self._directory} is in use by another region: stop it first") from error
        self._file = file

    def release(self) -> None:
        """Let go of it."""
        if self._file is not None:
            self._file.close()
            self._file = None


class ServerProcess:
    """Owner of one child process, which may be started again when it has ended."""

    def __init__(self, log: Path, *, stop_signal: signal.Signals, stop_s: float) -> None:
        """`log`: where the server's own words go, anew with each start. `stop_s`: after that it is killed."""
        self._log = log
        self._stop_signal = stop_signal
        self._stop_s = stop_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None when it is not started."""
        return self._process.pid if self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, command: Sequence[str]) -> None:
        """Start it; it need not answer yet. Raises Unavailable."""
        with granted(f"{command[0]} cannot be started"), self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )

    async def stop(self) -> None:
        """Have it end, and end it if it does not."""
        if self._process is not None and self.is_running:
            self._process.send_signal(self._stop_signal)
            if not await self._ended():
                self._process.kill()
                self._process.wait()
        self._process = None

    def last_words(self) -> str:
        """Give the end of its log."""
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")[-WORDS_MAX:]
        return f"{self._log} cannot be read"

    async def _ended(self) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._stop_s
        while self.is_running and loop.time() < deadline:  # noqa: ASYNC110 - only the kernel knows
            await asyncio.sleep(POLL_S)
        return not self.is_running


@contextlib.contextmanager
def granted(refusal: str) -> Iterator[None]:
    """Do what the system may refuse. Raises Unavailable with this refusal and its reason."""
    try:
        yield
    except OSError as error:
        raise errors.Unavailable(f"{refusal}: {error}", retry_after_s=1.0) from error
