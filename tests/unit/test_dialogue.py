"""The socket to a switch or its database: who asked hears of every end, its owner of what nobody wanted."""

import asyncio

import pytest

from alcor.data_plane.ovs.dialogue import ANSWER_S, Dialogue
from alcor.model.errors import Unavailable

pytestmark = pytest.mark.virtual_time


class Socket(asyncio.Transport):
    """Keeps what is written to it, and ends as soon as it is told to."""

    def __init__(self, dialogue: Dialogue[str]) -> None:
        super().__init__()
        self.written = list[bytes]()
        self.dialogue = dialogue
        self.has_ended = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.has_ended

    def abort(self) -> None:
        self.end(None)

    def end(self, error: Exception | None) -> None:
        if not self.has_ended:
            self.has_ended = True
            self.dialogue.connection_lost(error)


class Scene:
    def __init__(self, greeting: bytes = b"") -> None:
        self.read = list[bytes]()
        self.lost = list[str]()
        self.ended = list[str]()
        self.dialogue: Dialogue[str] = Dialogue(
            "switch",
            on_data=self.read.append,
            on_lost=self.lost.append,
            on_end=self.ended.append,
            greeting=greeting,
        )
        self.socket = Socket(self.dialogue)
        self.dialogue.connection_made(self.socket)

    async def ask(self) -> str:
        async with self.dialogue.patience("it is late"):
            return await self.dialogue.ask(1, b"?")


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_greeting_is_sent_before_all_else() -> None:
    scene = Scene(b"hello")
    scene.dialogue.send(b"more")
    assert scene.socket.written == [b"hello", b"more"]


async def test_a_request_is_sent_and_answered(scene: Scene) -> None:
    asked = asyncio.create_task(scene.ask())
    await asyncio.sleep(0)
    scene.dialogue.data_received(b"!")
    assert (scene.socket.written, scene.read) == ([b"?"], [b"!"])
    scene.dialogue.pending.answer(1, "yes")
    assert await asked == "yes"
    assert not scene.lost


async def test_a_request_waits_until_the_other_end_reads(scene: Scene) -> None:
    scene.dialogue.pause_writing()
    asked = asyncio.create_task(scene.ask())
    await asyncio.sleep(1)
    assert not scene.socket.written
    scene.dialogue.resume_writing()
    await asyncio.sleep(0)
    assert scene.socket.written == [b"?"]
    scene.dialogue.pending.answer(1, "yes")
    assert await asked == "yes"


@pytest.mark.parametrize("reads", [True, False])
async def test_an_answer_that_is_late_ends_the_connection(scene: Scene, reads: bool) -> None:
    if not reads:
        scene.dialogue.pause_writing()
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable, match="it is late"):
        await scene.ask()
    assert asyncio.get_running_loop().time() - began_s == ANSWER_S
    assert scene.socket.has_ended
    assert scene.lost == ["it is late"]


async def test_an_end_that_nobody_wanted_is_told_to_all(scene: Scene) -> None:
    asked = asyncio.create_task(scene.ask())
    await asyncio.sleep(0)
    scene.socket.end(OSError("reset"))
    with pytest.raises(Unavailable, match="the connection to the switch ended: reset"):
        await asked
    assert scene.lost == scene.ended == ["the connection to the switch ended: reset"]
    scene.dialogue.close()
    assert len(scene.lost) == 1


async def test_who_lets_go_is_not_told_but_who_asked_is(scene: Scene) -> None:
    asked = asyncio.create_task(scene.ask())
    await asyncio.sleep(0)
    scene.dialogue.close()
    with pytest.raises(Unavailable, match="ended"):
        await asked
    assert not scene.lost
    with pytest.raises(Unavailable, match="is closed"):
        await scene.ask()
    scene.dialogue.send(b"dropped")
    assert scene.socket.written == [b"?"]
