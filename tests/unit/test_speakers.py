"""What is believed of agents by how their names are known. A controller with powers, channels in memory."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from alcor.contracts.agent_channel import Beat, Farewell, FromController, Hello, Pace, Rescue, Welcome
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.health.rescue import Powers
from alcor.model.ids import HostId
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import AgentDouble, MemoryChannel, channel_pair
from doubles.queue import QueueDouble

decoder = msgspec.msgpack.Decoder(FromController)
VICTIM, HELPER = HostId("victim"), HostId("helper")
ORDER_S = 1.5  # after the grace of a stream that ended; where no order may come


class Scene:
    """A controller, and who says Hello to it."""

    def __init__(self) -> None:
        self.queue = QueueDouble()
        powers = Powers(
            b"key", lambda target, neighbour, public_key: b"%s by %s" % (target.encode(), public_key)
        )
        self.controller = Controller(MemoryStore(), SystemClock(), SILENT, powers=powers, queue=self.queue)
        self.tasks: list[asyncio.Task[None]] = []

    async def come(
        self,
        host: HostId,
        *,
        certified: str | None = None,
        is_local: bool = False,
        helps: bool = False,
        rescuer: str = "",
        token: int = 0,
    ) -> tuple[MemoryChannel, FromController]:
        """Say Hello, and give the channel and the first answer."""
        ours, theirs = channel_pair()
        serving = self.controller.serve_channel(theirs, certified=certified, is_local=is_local)
        self.tasks.append(asyncio.create_task(serving))
        hello = Hello(
            1,
            host,
            bytes([10, 0, 0, len(host)]),
            "z",
            "ovs",
            "1",
            0,
            helps=helps,
            public_key=b"key of " + host.encode() if helps else b"",
            rescuer=HostId(rescuer),
            token=token,
        )
        ours.send(msgspec.msgpack.encode(hello))
        frame = await asyncio.wait_for(ours.receive(), 5)
        assert frame is not None
        return ours, decoder.decode(frame)

    async def order(self, channel: MemoryChannel) -> Rescue | None:
        """Give the order that comes there; None: none does."""
        try:
            async with asyncio.timeout(ORDER_S):
                while (frame := await channel.receive()) is not None:
                    message = decoder.decode(frame)
                    if isinstance(message, Rescue):
                        return message
                    assert isinstance(message, (Beat, Pace)) or type(message).__name__ == "Update"
        except TimeoutError:
            pass
        return None


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.controller.start()
    yield made
    await made.controller.stop()
    await asyncio.gather(*made.tasks)


async def test_who_only_says_its_name_is_welcome_but_gets_no_orders(scene: Scene) -> None:
    victim, _ = await scene.come(VICTIM, certified="victim")
    plain, answer = await scene.come(HELPER, helps=True)
    assert isinstance(answer, Welcome)
    victim.close()
    assert await scene.order(plain) is None


@pytest.mark.parametrize("how", [{"certified": "helper"}, {"is_local": True}])
async def test_whose_name_is_known_is_ordered_and_certified(scene: Scene, how: dict[str, object]) -> None:
    victim, _ = await scene.come(VICTIM, certified="victim")
    helper, _ = await scene.come(HELPER, helps=True, **how)  # type: ignore[arg-type]
    victim.close()
    order = await scene.order(helper)
    assert order is not None
    assert (order.target, order.certificate) == (VICTIM, b"victim by key of helper")
    _, answer = await scene.come(VICTIM, rescuer="helper", token=order.token)
    assert isinstance(answer, Farewell)  # tokens can be guessed
    assert "no certificate" in answer.reason
    _, answer = await scene.come(VICTIM, rescuer="helper", token=order.token, **how)  # type: ignore[arg-type]
    assert isinstance(answer, Welcome)
    _, answer = await scene.come(VICTIM, certified="victim")
    assert isinstance(answer, Welcome)


async def test_a_session_with_a_certificate_is_not_replaced_by_one_without(scene: Scene) -> None:
    victim, _ = await scene.come(VICTIM, certified="victim")
    _, answer = await scene.come(VICTIM)
    assert isinstance(answer, Farewell)
    assert "with a certificate" in answer.reason
    assert victim.close_reason is None
    for how in ({"certified": "victim"}, {"is_local": True}):
        former, (victim, answer) = victim, await scene.come(VICTIM, **how)  # type: ignore[arg-type]
        assert isinstance(answer, Welcome)
        assert former.close_reason is not None


async def test_sessions_without_certificates_replace_each_other(scene: Scene) -> None:
    for _ in range(2):
        _, answer = await scene.come(VICTIM)
        assert isinstance(answer, Welcome)


async def test_at_the_queue_a_host_speaks_in_its_own_place_only_and_disturbs_nobody_else(scene: Scene) -> None:
    victim, _ = await scene.come(VICTIM, certified="victim")
    evil = AgentDouble("evil", b"\x0a\0\0\x09")
    for hello in (
        msgspec.structs.replace(evil.hello(), host=VICTIM, session=1),
        msgspec.structs.replace(evil.hello(), host=VICTIM, rescuer=HostId("evil"), session=2),
    ):
        scene.queue.answer(HostId("evil"), msgspec.msgpack.encode(hello), session=hello.session)
        await asyncio.sleep(0.05)
    assert victim.close_reason is None
    assert scene.controller.convergence.is_alive(VICTIM)
