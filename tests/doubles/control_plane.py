"""Doubles for the control plane's tests: channels in memory, a tiny agent, and builders of records."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import (
    Acknowledgement,
    Beat,
    BeatsInFrames,
    Farewell,
    FromAgent,
    Held,
    Hello,
    Outcome,
    Plugs,
    SectionResult,
    Update,
    Welcome,
)
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Write
from alcor.control_plane.controller import Controller
from alcor.host_agent import inbox
from alcor.host_agent.inbox import Decision
from alcor.model import goal_state
from alcor.model.goal_state import HostState, SectionKey, SectionUpdate
from alcor.model.ids import GroupId, HostId, NetworkId, PortId, ProjectId, RequestId, RuleId, SubnetId, Vni
from alcor.model.records import FixedIp, Network, Port, RecordSet, SecurityGroup, SecurityGroupRule, Subnet

_encoder = msgspec.msgpack.Encoder()
PROJECT = ProjectId("project")
Start = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class MemoryChannel(BeatsInFrames):
    """One end of a channel in memory. Frames arrive in order, at once."""

    def __init__(self) -> None:
        self.peer: MemoryChannel | None = None
        self._frames: deque[bytes | None] = deque()
        self._wake = asyncio.Event()
        self.close_reason: str | None = None
        self.frames_sent: list[bytes] = []
        self.backlog_bytes = 0
        self.beat_at_s = 0.0

    async def receive(self) -> bytes | None:
        while not self._frames:
            if self.close_reason is not None:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._frames.popleft()

    def send(self, frame_body: bytes) -> None:
        assert self.peer is not None
        if self.close_reason is None:
            self.frames_sent.append(frame_body)
            self.peer._frames.append(frame_body)
            self.peer._wake.set()

    def close(self, reason: str = "") -> None:
        assert self.peer is not None
        for end in (self, self.peer):
            if end.close_reason is None:
                end.close_reason = reason
            end._wake.set()


def channel_pair() -> tuple[MemoryChannel, MemoryChannel]:
    one, other = MemoryChannel(), MemoryChannel()
    one.peer, other.peer = other, one
    return one, other


class AgentDouble:
    """Holds what it is sent, by the rules of the model, and answers. Survives its streams.

    `refuses`: section -> reason. `mute`: it holds what it is sent but does not answer.
    `reads_packed`: an agent of an earlier release reads ids as text only.
    """

    def __init__(self, host: str, vtep: bytes) -> None:
        self.host = HostId(host)
        self.vtep = vtep
        self.zone = ""
        self.state = HostState()
        self.plugged: set[PortId] = set()
        self.refuses: dict[SectionKey, str] = {}
        self.mute = False
        self.reads_packed = True
        self.unanswered: list[Acknowledgement] = []
        self.updates: list[Update] = []
        self.complete = asyncio.Event()
        self.farewell = ""
        self.channel: MemoryChannel | None = None
        self.controller_end: MemoryChannel | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def connect(self, controller: Controller, *, start: Start = asyncio.create_task) -> None:
        """Open a stream and say Hello. `start`: runs what serves it."""
        self.channel, self.controller_end = channel_pair()
        self.complete = asyncio.Event()
        self.updates = []
        self._tasks.append(start(controller.serve_channel(self.controller_end)))
        self._tasks.append(asyncio.create_task(self._follow(self.channel)))
        self.say(self.hello())

    def held_sections(self) -> tuple[Held, ...]:
        return tuple(
            Held(key, self.state.versions[key], goal_state.digest(section.full()))
            for key, section in sorted(self.state.sections.items())
            if key not in self.refuses
        )

    def hello(self) -> Hello:
        return Hello(
            1,
            self.host,
            self.vtep,
            self.zone,
            "double",
            "1",
            7,
            self.held_sections(),
            tuple(sorted(self.plugged)),
            reads_packed=self.reads_packed,
        )

    def say(self, message: FromAgent) -> None:
        assert self.channel is not None
        self.channel.send(_encoder.encode(message))

    def plug(self, *ports: str) -> None:
        self.plugged.update(PortId(port) for port in ports)
        self.say(Plugs(plugged=tuple(PortId(port) for port in ports)))

    def unplug(self, *ports: str) -> None:
        self.plugged.difference_update(PortId(port) for port in ports)
        self.say(Plugs(unplugged=tuple(PortId(port) for port in ports)))

    def speak_again(self) -> None:
        """Send the answers kept back while mute."""
        self.mute = False
        for answer in self.unanswered:
            self.say(answer)
        self.unanswered = []

    async def disconnect(self) -> None:
        assert self.channel is not None
        self.channel.close("agent gone")
        await asyncio.gather(*self._tasks)
        self._tasks = []

    async def _follow(self, channel: MemoryChannel) -> None:
        while (frame := await channel.receive()) is not None:
            match packed_ids.read(frame):
                case Update() as update:
                    self.updates.append(update)
                    answer = Acknowledgement(update.number, tuple(map(self.take, update.sections)))
                    if self.mute:
                        self.unanswered.append(answer)
                    elif channel.close_reason is None:
                        channel.send(_encoder.encode(answer))
                    if update.complete:
                        self.complete.set()
                case Farewell(reason=reason):
                    self.farewell = reason
                case Welcome() | Beat():
                    pass

    def take(self, update: SectionUpdate) -> SectionResult:
        """Judge one section update as agents do."""
        if inbox.receive(self.state, update) is Decision.SEND_ALL:
            return SectionResult(update.key, update.version, Outcome.SEND_ALL)
        if update.key in self.refuses:
            return SectionResult(update.key, update.version, Outcome.REFUSED, self.refuses[update.key])
        return SectionResult(update.key, update.version, Outcome.IN_FORCE)

    def held(self) -> dict[SectionKey, goal_state.SectionChange]:
        return {key: section.full() for key, section in self.state.sections.items()}


async def commit(store: MemoryStore, **groups: tuple[object, ...]) -> int:
    """Commit inserts (`ports=...`), updates (`updates=`) and deletes (`deletes=`) as one write."""
    updates = groups.pop("updates", RecordSet())
    deletes = groups.pop("deletes", RecordSet())
    write = Write(
        request_id=RequestId("req-1"),
        project_id=PROJECT,
        inserts=RecordSet(**groups),  # type: ignore[arg-type]
        updates=updates,  # type: ignore[arg-type]
        deletes=deletes,  # type: ignore[arg-type]
    )
    return await store.commit(write)


def network(number: int = 1) -> Network:
    return Network(id=NetworkId(f"net-{number}"), project_id=PROJECT, vni=Vni(number))


def subnet(number: int = 1, of: int | None = None) -> Subnet:
    return Subnet(
        id=SubnetId(f"sub-{number}"),
        project_id=PROJECT,
        network_id=NetworkId(f"net-{of or number}"),
        cidr=(bytes([10, number, 0, 0]), 16),
    )


def port(number: int, host: str = "", *, net: int = 1, groups: tuple[str, ...] = (), **more: object) -> Port:
    ip = ((10 << 24) + (net << 20) + number).to_bytes(4, "big")
    return Port(
        id=PortId(f"port-{number:06}"),
        project_id=PROJECT,
        network_id=NetworkId(f"net-{net}"),
        mac=number,
        fixed_ips=(FixedIp(SubnetId(f"sub-{net}"), ip),),
        security_groups=tuple(GroupId(group) for group in groups),
        host=HostId(host),
        **more,  # type: ignore[arg-type]
    )


def group(name: str) -> SecurityGroup:
    return SecurityGroup(id=GroupId(name), project_id=PROJECT)


def rule(name: str, of: str, remote: str | None = None) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=RuleId(name),
        project_id=PROJECT,
        security_group_id=GroupId(of),
        direction="ingress",
        remote_group_id=GroupId(remote) if remote else None,
    )
