"""A seed that fails, by whatever it may be, prints one command, and that command fails in the same way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

OPERATIONS = 60
LIMIT_S = 60.0
# What each breaks, in every process that finds it on its path: exceptions where nothing expects any.
FAULTS = {
    "in the checks after an operation": """
        from alcor.control_plane.region_convergence import RegionConvergence as broken
        broken.hosts = after(20, broken.hosts)
    """,
    "where it converges": """
        from alcor.simulation import checks as broken
        broken.differences = after(0, broken.differences)
    """,
    "in the loop itself": """
        from alcor.simulation.virtual_time import VirtualLoop as broken
        broken._run_once = after(500, broken._run_once)
    """,
    "where a controller begins": """
        from alcor.simulation.term import SimulatedTerm as broken
        broken.start = after(0, broken.start)
    """,
    "in a callback": """
        from alcor.simulation.wire import WireEnd as broken
        broken.arrive = after(10, broken.arrive)
    """,
    "where all ends": """
        from alcor.simulation.cloud import Cloud as broken
        broken.stop = after(0, broken.stop)
    """,
    "where it is reported": """
        from alcor.simulation.run import _Run as broken
        broken._fault_counts = after(0, broken._fault_counts)
    """,
}
BREAKS = """
def after(calls, function):
    def raises(*arguments, **options):
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise ZeroDivisionError("injected")
        return function(*arguments, **options)
    return raises
"""
# A task without which a rescue goes on, until its lease ends: nobody but the log hears of it.
FAILING_RENEWAL = """
from alcor.data_plane.ovs.tenure import Tenure
async def fails(self):
    raise KeyError("injected")
Tenure._renew_lease = fails
"""
SEED_WITH_RESCUES, SEVERAL_OPERATIONS = 1, 300


@pytest.mark.parametrize("where", FAULTS)
def test_the_command_that_a_failing_seed_prints_fails_in_the_same_way(where: str, tmp_path: Path) -> None:
    lines = FAULTS[where].strip("\n").split("\n")
    (tmp_path / "sitecustomize.py").write_text(BREAKS + "\n".join(line.strip() for line in lines))
    first = _run(f"python -m alcor.simulation --seed 7 --seeds 2 --operations {OPERATIONS}", tmp_path)
    assert first.returncode == 1, first.stderr
    assert "ZeroDivisionError('injected')" in first.stdout
    assert "Traceback (most recent call last)" in first.stdout
    commands = [
        line.partition("again: ")[2] for line in first.stdout.splitlines() if line.startswith("  again: ")
    ]
    assert len(commands) == 2, "each seed names its own"
    again = _run(commands[0], tmp_path)
    assert again.returncode == 1
    assert _violations(again.stdout) == _violations(first.stdout)


def test_a_task_that_fails_unheeded_in_a_part_is_a_violation(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAILING_RENEWAL)
    command = f"python -m alcor.simulation --seed {SEED_WITH_RESCUES} --operations {SEVERAL_OPERATIONS}"
    first = _run(command, tmp_path)
    assert first.returncode == 1, first.stderr
    assert "the task 'switch lease' failed" in first.stdout
    assert "KeyError: 'injected'" in first.stdout
    assert f"again: {command}" in first.stdout
    assert _violations(_run(command, tmp_path).stdout) == _violations(first.stdout)


def _run(command: str, path: Path) -> "subprocess.CompletedProcess[str]":
    """Have a shell do it, as whoever copies the line does."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
    )


def _violations(output: str) -> list[str]:
    """Give what went wrong with the first seed: the lines between its own and the command."""
    lines = output.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("seed "))
    last = next(number for number, line in enumerate(lines) if line.startswith("  again: "))
    named = lines[first + 1 : last]
    return [line for line in named if not line.startswith(("events: ", "outcomes: ", "faults: "))]
