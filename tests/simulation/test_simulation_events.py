"""At least a million simulated events, on one core, in about a minute: see `--until-events`."""

import os
import re
import subprocess
import sys

import pytest

EVENTS = 1_000_000
LIMIT_S = 600.0  # ten times what it takes on an idle core
BEGIN = 101
ON_DEMAND_EVERY = 3


@pytest.mark.slow
def test_nothing_goes_wrong_in_a_million_events() -> None:
    options = {"--seed": BEGIN, "--until-events": EVENTS, "--on-demand-every": ON_DEMAND_EVERY}
    words = [word for name, value in options.items() for word in (name, str(value))]
    command = [sys.executable, "-m", "alcor.simulation", *words]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    counted = re.search(r"^(\d+) events in all, 0 seeds failed$", done.stdout, re.MULTILINE)
    assert counted is not None, done.stdout[-4000:]
    assert int(counted.group(1)) >= EVENTS
    away = re.search(r"^(\d+) values kept for hosts away, (\d+) read when", done.stdout, re.MULTILINE)
    assert away is not None, done.stdout[-4000:]
    assert int(away.group(1)) > 100, "hosts are away long enough that changes are kept for them"
    assert int(away.group(2)) > 100, "and find them when they are back"
    seeds = [line for line in done.stdout.splitlines() if line.startswith("seed ")]
    on_demand = [line for line in seeds if line.endswith(" on demand")]
    assert len(on_demand) >= len(seeds) // ON_DEMAND_EVERY > 0


def test_a_fence_that_lets_everybody_write_is_found_out() -> None:
    """The checks see what they are for: without the fence's judgement there are two writers."""
    broken = (
        "import sys\n"
        "from alcor.data_plane.ovs import fence\n"
        "from alcor.simulation import run\n"
        "fence.judge = lambda recorded, bid, lapsed=None: bid.token\n"
        "for seed in range(1, 6):\n"
        "    found = run.run(seed, 2000).violations\n"
        "    if any('wrote after' in each or 'went back' in each for each in found):\n"
        "        sys.exit(0)\n"
        "sys.exit(1)\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run([sys.executable, "-c", broken], env=environment, timeout=LIMIT_S, check=False)
    assert done.returncode == 0
