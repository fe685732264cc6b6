"""Agents as real processes and real streams: crashes, restarts on either side, ends."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from alcor.adapters import stream
from alcor.contracts.agent_channel import Channel, Hello, Outcome
from alcor.contracts.data_plane import router_mac
from alcor.host_agent import inbox
from alcor.host_agent.settings import AgentTiming
from alcor.model.goal_state import HostState, NetworkChange, SectionUpdate, digest
from alcor.model.version import Version
from alcor.processes.agent import EXIT_CLEAN, EXIT_FAILED, EXIT_SETTINGS
from alcor.processes.fleet import EmulatedHosts
from alcor.runtime.event_log import SILENT
from doubles.agent import Conversation, delta, full, key
from doubles.waiting import eventually

AGENT = """
import sys
from pathlib import Path
from alcor.host_agent.settings import AgentTiming
from alcor.processes.agent import AgentSettings, main
from alcor.runtime.event_log import EventLog
host, url, state_dir = sys.argv[1:]
sys.exit(main(AgentSettings(
    host=host, vtep=bytes([10, 0, 0, 1]), controller_urls=(url,), data_plane="simulated",
    state_dir=Path(state_dir), timing=AgentTiming(reconnect_min_s=0.01, reconnect_max_s=0.1),
), EventLog()))
"""


class Controller:
    """A controller that can go and come back at the same address with its next epoch."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.epoch = 0
        self.conversations: list[Conversation] = []
        self._server: stream.Server | None = None

    async def start(self) -> None:
        self.epoch += 1
        self._server = await stream.serve([self.url], self._on_channel, SILENT)
        self.url = self._server.urls[0]

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()

    async def met(self, number: int) -> tuple[Conversation, Hello]:
        """Give the conversation with this number, from 1, and its Hello."""
        await eventually(lambda: len(self.conversations) >= number and self.conversations[number - 1].hello)
        conversation = self.conversations[number - 1]
        assert conversation.hello is not None
        return conversation, conversation.hello

    async def _on_channel(self, channel: Channel) -> None:
        conversation = Conversation(channel, epoch=self.epoch, beat_s=0.5)
        self.conversations.append(conversation)
        await conversation.run()


@asynccontextmanager
async def controller_at(url: str = "tcp://127.0.0.1:0") -> AsyncIterator[Controller]:
    controller = Controller(url)
    await controller.start()
    try:
        yield controller
    finally:
        await controller.stop()


@asynccontextmanager
async def agent_process(
    controller: Controller, state_dir: Path, host: str = "host-1"
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AGENT, host, controller.url, str(state_dir)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_an_agent_killed_in_the_middle_holds_what_it_acknowledged_and_converges(tmp_path: Path) -> None:
    names = [f"port-{number}" for number in range(300)]
    updates = [full("a", 1, *names)] + [delta("a", n, n + 1, f"new-{n}", *names[:n]) for n in range(1, 150)]
    wanted = HostState()
    contents = {}
    for update in updates:
        inbox.receive(wanted, update)
        contents[update.version] = digest(wanted.sections[key("a")].full())
    async with controller_at(f"unix://{tmp_path}/controller") as controller:
        async with agent_process(controller, tmp_path / "state") as agent:
            first, hello = await controller.met(1)
            assert hello.held == ()
            for update in updates:
                first.update(update)
            await eventually(lambda: len(first.acknowledgements) > 3)
            agent.send_signal(signal.SIGKILL)
            await agent.wait()
        acknowledged = max(one.results[0].version for one in first.acknowledgements)
        async with agent_process(controller, tmp_path / "state") as agent:
            second, hello = await controller.met(2)
            assert [one.key for one in hello.held] == [key("a")]
            version = hello.held[0].version
            assert version >= acknowledged
            assert hello.held[0].digest == contents[version]
            for update in updates:  # all of them again: it takes what it lacks
                assert await second.outcomes(update) == [Outcome.IN_FORCE]
            await second.outcomes(complete=True)
            agent.send_signal(signal.SIGTERM)
            assert await agent.wait() == EXIT_CLEAN
        async with agent_process(controller, tmp_path / "state"):
            _, hello = await controller.met(3)
            assert (hello.held[0].version, hello.held[0].digest) == (
                updates[-1].version,
                contents[updates[-1].version],
            )


async def test_an_agent_finds_a_controller_that_starts_again_and_follows_its_epoch(tmp_path: Path) -> None:
    async with controller_at() as controller, agent_process(controller, tmp_path):
        first, _ = await controller.met(1)
        await first.outcomes(full("a", 1, "p"), complete=True)
        await controller.stop()
        await controller.start()
        second, hello = await controller.met(2)
        assert [one.version for one in hello.held] == [Version(1, 1)]
        confirmation = SectionUpdate(key("a"), Version(1, 1), Version(2, 1), NetworkChange())
        assert await second.outcomes(confirmation, complete=True) == [Outcome.IN_FORCE]
        assert await second.outcomes(delta("a", 1, 2, "q", epoch=2)) == [Outcome.IN_FORCE]


async def test_a_second_agent_for_the_same_host_does_not_start(tmp_path: Path) -> None:
    async with controller_at() as controller, agent_process(controller, tmp_path):
        await controller.met(1)
        async with agent_process(controller, tmp_path) as second:
            assert await asyncio.wait_for(second.wait(), 10) == EXIT_FAILED


async def test_settings_that_cannot_be_right_are_told_by_the_exit_status(tmp_path: Path) -> None:
    async with controller_at() as controller, agent_process(controller, tmp_path, host="") as agent:
        assert await asyncio.wait_for(agent.wait(), 10) == EXIT_SETTINGS


async def test_many_emulated_hosts_connect_and_acknowledge_from_one_process() -> None:
    async with controller_at() as controller:
        hosts = EmulatedHosts(100, (controller.url,), SILENT, timing=AgentTiming(reconnect_min_s=0.01))
        hosts.start()
        try:
            await controller.met(100)
            await eventually(lambda: all(one.hello for one in controller.conversations))
            told = {one.hello.host: one.hello.vtep for one in controller.conversations if one.hello}
            assert len(told) == len(set(told.values())) == 100
            numbers = [one.update(full("a", 1, "p"), complete=True) for one in controller.conversations]
            for conversation, number in zip(controller.conversations, numbers, strict=True):
                answer = await conversation.answer(number)
                assert [one.outcome for one in answer.results] == [Outcome.IN_FORCE]
            assert not hosts.failed.is_set()
        finally:
            await hosts.stop()
        await eventually(lambda: all(one.channel.close_reason for one in controller.conversations))


@pytest.mark.parametrize("host", ["host-0", "host-1", "compute-1.example.org"])
def test_a_router_mac_is_local_unicast_and_the_same_at_every_start(host: str) -> None:
    assert router_mac(host) == router_mac(host)
    assert router_mac(host) >> 40 & 0x03 == 0x02
    assert router_mac(host) != router_mac(f"{host}x")
