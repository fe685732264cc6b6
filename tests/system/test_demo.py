"""The demonstration as it is run by hand: what it says, and that nothing of it is left, however it ends."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_remains import lab_of, processes_with, remains_of
from ovs_scene import needs_ovs

from commands import ALCOR

pytestmark = [pytest.mark.ovs, needs_ovs]

SIZES = {
    "--ports": 48,
    "--serial-ports": 4,
}  # the least with which every kind of workload is among those plugged
LIMIT_S = 240.0
INTERRUPTED = 130


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give a place for all that it makes: its database runs as another user, who must come there."""
    path = Path(tempfile.mkdtemp(prefix="alcor-test-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Demo:
    """The command as a process. Owner of it; `mark`: what all that it starts has in its environment."""

    def __init__(self, directory: Path, *options: str, hosts: int) -> None:
        self.mark = str(directory)
        self.labs: set[str] = set()
        self._output = directory / "output"
        words = [str(word) for pair in SIZES.items() for word in pair]
        command = [
            ALCOR,
            "demo",
            "--hosts",
            str(hosts),
            *words,
            "--chart",
            str(directory / "chart.svg"),
            *options,
        ]
        environment = {**os.environ, "TMPDIR": self.mark}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)

    def until(self, words: str) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + LIMIT_S
        while words not in self.said:
            assert self._process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            self._look()

    def interrupt(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Wait for its end; give its status."""
        deadline = time.monotonic() + LIMIT_S
        while (status := self._process.poll()) is None:
            if time.monotonic() > deadline:
                self._process.kill()
                pytest.fail(f"it did not end: {self.said}")
            self._look()
        return status

    @property
    def said(self) -> str:
        return self._output.read_text()

    def left(self) -> list[str]:
        """Name what is left of it."""
        assert self.labs, "it had a lab"
        kept = {"output", "chart.svg", "demo.json"}
        found = [entry.name for entry in Path(self.mark).iterdir() if entry.name not in kept]
        found += [what for lab in sorted(self.labs) for what in remains_of(lab)]
        return found + processes_with("TMPDIR", self.mark)

    def _look(self) -> None:
        if (lab := lab_of(self._process.pid)) is not None:
            self.labs.add(lab)
        time.sleep(0.05)


def test_an_interrupt_leaves_nothing(directory: Path) -> None:
    demo = Demo(directory, "--once", hosts=1)
    demo.until("region up with 1 hosts")
    demo.interrupt()
    assert demo.end() == INTERRUPTED, demo.said
    assert demo.left() == []


@pytest.mark.slow
def test_it_shows_all_paths_with_plausible_numbers_and_leaves_nothing(directory: Path) -> None:
    """Right after the one that was interrupted: on the same ports, with the same addresses."""
    results = directory / "demo.json"
    demo = Demo(directory, "--once", "--show", "all", "--json", str(results), hosts=2)
    assert demo.end() == 0, demo.said
    assert demo.left() == []
    found = json.loads(results.read_bytes())
    assert (found["data_plane"], found["hosts"]) == ("ovs", 2)
    assert found["batched"]["in_force"] == found["batched"]["ports"] == SIZES["--ports"]
    assert found["plug"]["ports"] == 48
    _check_packets(found["packets"])
    assert found["packets"]["ipv6"]["reached"] > 0
    paths = found["paths"]
    assert set(paths) == {"fast", "queue", "rescue"}
    for name in ("fast", "queue"):
        path = paths[name]
        assert path["ports"] > 10
        assert 0 < path["in_force_p50_ms"] <= path["in_force_p99_ms"]
        assert 0 < path["acknowledged_p50_ms"] <= path["acknowledged_p99_ms"]
        assert name == "fast" or path["acknowledged_p50_ms"] < path["in_force_p99_ms"]
    _check_packets(paths["queue"]["packets"])
    rescue = paths["rescue"]
    _check_packets(rescue["packets"])
    assert rescue["rescuer"] == "h2"
    # A dead agent is noticed by silence or by its connection's end, then somebody writes, then workloads ping.
    assert 0 < rescue["detected_ms"] <= rescue["rescued_ms"] < rescue["first_ping_ms"] < 60_000
    assert rescue["lost_packets_of_established"] == len(rescue["lost_after_ms"])
    assert rescue["lost_while_plugging"] <= rescue["lost_packets_of_established"]
    assert rescue["lost_packets_of_established"] < rescue["packets_of_established"] / 10


def _check_packets(packets: dict[str, Any]) -> None:
    """Hold what was tried against itself: nothing is wrong, and both kinds of outcome are among it."""
    assert packets["wrong"] == []
    assert packets["reached"] == packets["expected_reach"] > 0
    assert packets["blocked"] == packets["expected_blocked"] > 0
    assert packets["pairs"] == packets["reached"] + packets["blocked"]
