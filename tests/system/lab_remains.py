"""What a lab left on the machine: namespaces, its directory, processes."""

import os
from pathlib import Path

from alcor.lab import cleanup


def remains_of(lab_id: str) -> list[str]:
    found = [entry.name for entry in Path("/run/netns").iterdir() if entry.name.startswith(lab_id)]
    found += [str(entry) for entry in [cleanup.LABS / lab_id] if entry.exists()]
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if lab_id.encode() in command:
                found.append(command.decode())
    return found


def lab_of(pid: int) -> str | None:
    """Name the lab that a process owns; None: it has none yet, or no longer."""
    for entry in cleanup.LABS.iterdir() if cleanup.LABS.is_dir() else ():
        try:
            owner = (entry / cleanup.OWNER).read_text()
        except OSError:
            continue
        if owner.split(" ")[0] == str(pid):
            return entry.name
    return None


def processes_with(name: str, value: str) -> list[str]:
    """Name the processes in whose environment a variable has a value, as what a command starts inherits it."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                if f"{name}={value}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found
