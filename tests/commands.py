"""Commands as users type them, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ALCOR = Path(sys.executable).with_name("alcor")
OPENSTACK = Path(sys.executable).with_name("openstack")
TIMEOUT_S = 60.0


def run(*command: str | Path, status: int = 0, **environment: str) -> str:
    """Run a command that must end with a status; give what it prints, when that is 0 on standard output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "ALCOR_"))}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=clean | environment,
    )
    assert done.returncode == status, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout if status == 0 else done.stderr


def run_python(program: str, *arguments: str, **environment: str) -> str:
    """Run a small program that must succeed."""
    return run(sys.executable, "-c", program, *arguments, **environment)
