"""Child processes that end with us, however we end."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from alcor.model import errors

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)
STOP_TIMEOUT_S = 15.0


def alcor_command(*arguments: str) -> list[str]:
    """Give the command line of an `alcor` command, run by this interpreter."""
    return [sys.executable, "-m", "alcor", *arguments]


class Child:
    """One child process and its log file. Killed by the kernel should we die without stopping it.

    `log` None: what it says is shown where we say what we have to.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path | None,
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it; output goes to the log file (appended)."""
        with contextlib.ExitStack() as stack:
            output = None
            if self._log is not None:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(self._log.open("ab"))
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is for us; we stop the children in order
                preexec_fn=_die_with_parent,
            )

    async def stop(self) -> None:
        """Ask it to end, and end it when it does not."""
        if not self.alive:
            return
        assert self._process is not None
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def ended(self, within_s: float | None = None) -> int:
        """Wait until it ends, so long at most; give its exit status. Raises TimeoutError."""
        assert self._process is not None, "not started"
        async with asyncio.timeout(within_s):
            return await self._process.wait()

    def require_alive(self) -> None:
        """Raise Unavailable with the end of its log when it has ended."""
        if not self.alive:
            words = (
                self._log.read_text(errors="replace") if self._log is not None and self._log.exists() else ""
            )
            lines = words.splitlines()[-8:]
            raise errors.Unavailable(f"{self.name} ended by itself:\n" + "\n".join(lines), retry_after_s=1)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
