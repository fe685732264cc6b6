"""Network namespaces by the `ip` command: no thread of this process ever enters one."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from alcor.model.errors import Broken, Unavailable

COMMAND_S = 60.0
MOUNTS = Path("/run/netns")


def run(command: Sequence[str], *, text_in: str | None = None, deadline_s: float = COMMAND_S) -> str:
    """Run a command to its end and give what it printed. Raises Broken when it fails, Unavailable when late."""
    try:
        done = subprocess.run(
            command, input=text_in, capture_output=True, text=True, timeout=deadline_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command[0]} took more than {deadline_s} s", retry_after_s=1.0) from error
    if done.returncode != 0:
        raise Broken(f"{' '.join(command)[:400]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def batch(lines: Sequence[str], *, namespace: str | None = None) -> None:
    """Run many `ip` commands in one process, in one namespace or here. Stops at the first that fails."""
    if lines:
        inside = ["-n", namespace] if namespace else []
        run(["ip", *inside, "-batch", "-"], text_in="\n".join(lines) + "\n")


def inside(namespace: str, command: Sequence[str]) -> list[str]:
    """Give the command line that runs a command in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def existing(prefix: str) -> list[str]:
    """Name the namespaces whose name starts so, sorted."""
    if not MOUNTS.is_dir():
        return []
    return sorted(entry.name for entry in MOUNTS.iterdir() if entry.name.startswith(prefix))


def delete(names: Sequence[str]) -> None:
    """Delete namespaces and with them every device inside; those that are gone already are no matter.

    Deleting devices one by one is fifty times slower: the kernel waits for a grace period for each.
    """
    wanted = [name for name in names if (MOUNTS / name).exists()]
    if wanted:
        text = "\n".join(f"netns delete {name}" for name in wanted) + "\n"
        run(["ip", "-force", "-batch", "-"], text_in=text)
