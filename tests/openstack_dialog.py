"""The `openstack` command in its interactive form: one process for many commands, told through pipes."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OPENSTACK = Path(sys.executable).with_name("openstack")
COMMAND_TIMEOUT_S = 60.0
_END = "@@: _relative_run_script"  # the last line that `shortcuts` prints: what came before is the answer


class Refused(Exception):
    """The command printed no JSON: what it said."""


class Dialog:
    """Owner of one process. Its imports cost three seconds, its commands a tenth of one."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, command: str) -> Any:
        """Run a command that prints an object or a list; give it. Raises Refused."""
        said = self._said(f"{command} -f json")
        try:
            return json.loads(said)
        except ValueError:
            raise Refused(f"{command}: {said}") from None

    def do(self, command: str) -> None:
        """Run a command that prints nothing if all is well. Raises Refused."""
        if said := self._said(command):
            raise Refused(f"{command}: {said}")

    def _said(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(COMMAND_TIMEOUT_S, self._process.kill)
        watchdog.start()
        lines = []
        try:
            self._process.stdin.write(f"{command}\nshortcuts\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                if line.strip() == _END:
                    del lines[-4:]  # the others that `shortcuts` prints
                    return "".join(lines).strip()
                lines.append(line)
        finally:
            watchdog.cancel()
        raise Refused(f"{command}: the client ended: {''.join(lines)}")


@contextmanager
def dialog(**settings: str) -> Iterator[Dialog]:
    """Start the client with these settings (`OS_ENDPOINT=...`), and end it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    process = subprocess.Popen(
        [str(OPENSTACK)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, **settings, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
    )
    try:
        yield Dialog(process)
    finally:
        process.kill()
        process.communicate()
