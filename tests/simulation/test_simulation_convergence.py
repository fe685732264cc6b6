"""Two thousand random operations under faults leave every host with exactly the full compilation."""

import os
import re
import subprocess
import sys

import pytest

OPERATIONS = 2000
LIMIT_S = 120.0
# Many more were run by hand; one that fails once is added here and kept.
SEEDS = (1, 2, 3, 126, 2104, 5021)
ON_DEMAND_SEEDS = (1, 2, 33, 2015, 3132, 4023)


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own, exactly as the command that repeats a seed does."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", "alcor.simulation", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_host_holds_the_full_compilation_of_the_final_state(seed: int) -> None:
    done = simulate("--seed", str(seed), "--operations", str(OPERATIONS))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"


def test_a_seed_repeats_its_history_exactly() -> None:
    first, second = (simulate("--seed", "5", "--operations", "400").stdout for _ in range(2))
    assert "trace" in first
    assert _trace(first) == _trace(second)
    assert _trace(first) != _trace(simulate("--seed", "6", "--operations", "400").stdout)


def _trace(output: str) -> str:
    return output.partition("trace ")[2].split()[0]


def test_every_host_holds_that_and_what_it_asked_for_where_networks_are_on_demand() -> None:
    asked = 0
    for seed in ON_DEMAND_SEEDS:
        done = simulate("--seed", str(seed), "--operations", str(OPERATIONS), "--on-demand")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
        asked += "'ask_sent'" in done.stdout
    assert asked, "not every history has networks that are large enough, but some have"


def test_a_run_has_ports_with_addresses_of_both_versions() -> None:
    done = simulate("--seed", "1", "--operations", str(OPERATIONS))
    counted = re.search(r" (\d+) dual-stack", done.stdout)
    assert counted is not None, done.stdout
    assert int(counted.group(1)) > 5


def test_a_run_has_every_kind_of_crash_and_hosts_that_wait_for_their_turn() -> None:
    done = simulate("--seed", "1", "--operations", str(OPERATIONS))
    counts = {name: int(count) for name, count in re.findall(r"'(\w+)': (\d+)", done.stdout)}
    assert counts["rescues"] > 5
    assert counts["takeovers"] > 0
    assert counts["terms"] > 5
    assert counts["store_crashes"] > 5
    assert counts["api_crashes"] > 5
    assert counts["resync_waits"] > 0
    assert counts["power_losses"] > 0
    assert counts["torn_records"] > 0
