"""How advertisements leave a host: at once, so many a second, and never while the switch does not answer."""

import asyncio

from alcor.data_plane import answering
from alcor.data_plane.advertising import PERIOD_MAX_S
from alcor.data_plane.ovs.advertiser import AT_ONCE, BETWEEN_S, NOT_NOW_S, Advertiser
from alcor.model.goal_state import NetworkChange, NetworkEntry, RouterChange
from alcor.simulation.virtual_time import VirtualClock, VirtualLoop, running
from doubles.advertised import MAC
from doubles.retold_host import FACTS, SUBNETS, Host, leg, port

PORTS = 200


class Scene:
    """A host with many plugged ports, and every frame that it sends, with its time."""

    def __init__(self) -> None:
        self.host = Host()
        self.is_up = True
        self.sent: list[tuple[float, str]] = []
        self.clock = VirtualClock(running())
        self.advertiser = Advertiser(
            told=lambda port_id: answering.told(self.host.program, FACTS, port_id),
            send=lambda port_id, _: self.sent.append((asyncio.get_running_loop().time(), port_id)),
            can_send=lambda: self.is_up,
            clock=self.clock,
        )
        self.host.program._retold = self.host.retold = self.advertiser.retold
        ports = tuple(port(f"p{number:03}", "n", MAC + number) for number in range(PORTS))
        change = NetworkChange(
            network=NetworkEntry("n", 7, 1450, True), set_subnets=(SUBNETS["n"],), set_ports=ports
        )
        self.host.apply("network:n", change, full=True)

    def plug(self, count: int) -> None:
        for number in range(count):
            self.host.program.attach(f"p{number:03}", number + 10)
        self.look()

    def join(self) -> None:
        change = RouterChange(set_interfaces=(leg("n"),))
        self.host.follow("router:r", change)
        self.look()

    def look(self, *, is_complete: bool = True) -> None:
        self.advertiser.look(self.host.program, is_complete=is_complete)

    async def for_s(self, seconds: float) -> list[tuple[float, str]]:
        """Let time go by, and give what was sent: since when, to which port."""
        loop, before = asyncio.get_running_loop(), len(self.sent)
        began_s = loop.time()
        await asyncio.sleep(seconds)
        return [(at_s - began_s, port_id) for at_s, port_id in self.sent[before:]]


def played(play) -> None:
    """Run a scene in virtual time."""

    async def run() -> None:
        scene = Scene()
        task = asyncio.create_task(scene.advertiser.run())
        try:
            await play(scene)
        finally:
            task.cancel()

    loop = VirtualLoop()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def test_the_first_are_told_at_once_and_all_soon() -> None:
    async def play(scene: Scene) -> None:
        await scene.for_s(1.0)
        scene.plug(PORTS)
        sent = await scene.for_s(10.0)
        assert len({port_id for _, port_id in sent}) == len(sent) == PORTS
        assert sum(at_s == 0 for at_s, _ in sent) == AT_ONCE
        assert max(at_s for at_s, _ in sent) <= PORTS / AT_ONCE * BETWEEN_S

    played(play)


def test_a_router_that_joins_is_told_to_all_within_a_moment() -> None:
    async def play(scene: Scene) -> None:
        scene.plug(PORTS)
        await scene.for_s(60.0)
        scene.join()
        sent = await scene.for_s(2.0)
        assert len(sent) == 2 * PORTS, "of the router, and of the host that is none"
        assert max(at_s for at_s, _ in sent) <= PORTS / AT_ONCE * BETWEEN_S

    played(play)


def test_repetitions_are_spread_over_their_period() -> None:
    async def play(scene: Scene) -> None:
        scene.plug(PORTS)
        await scene.for_s(60.0)
        sent = await scene.for_s(PERIOD_MAX_S)
        assert {port_id for _, port_id in sent} == {f"p{number:03}" for number in range(PORTS)}
        each_second = [int(at_s) for at_s, _ in sent]
        assert max(each_second.count(second) for second in set(each_second)) <= 10

    played(play)


def test_nothing_is_sent_while_the_switch_does_not_answer_and_nothing_is_lost() -> None:
    async def play(scene: Scene) -> None:
        scene.is_up = False
        scene.plug(3)
        assert await scene.for_s(10.0) == []
        scene.is_up = True
        assert {port_id for _, port_id in await scene.for_s(NOT_NOW_S + 0.1)} == {"p000", "p001", "p002"}

    played(play)


def test_nothing_is_taken_back_before_the_state_is_complete() -> None:
    async def play(scene: Scene) -> None:
        scene.join()
        scene.plug(1)
        await scene.for_s(60.0)
        scene.host.program.replace(type(scene.host.state)())  # of which nothing is known yet
        scene.look(is_complete=False)
        assert await scene.for_s(10.0) == []
        scene.look()
        assert await scene.for_s(10.0) != []

    played(play)


def test_another_workload_at_the_same_port_is_told_at_once() -> None:
    async def play(scene: Scene) -> None:
        scene.plug(1)
        await scene.for_s(60.0)
        scene.look()
        assert await scene.for_s(10.0) == []
        scene.advertiser.meet({"p000"})
        scene.look()
        assert [at_s for at_s, _ in await scene.for_s(10.0)] == [0.0]

    played(play)


def test_legs_that_only_another_writer_knew_are_taken_back() -> None:
    async def play(scene: Scene) -> None:
        scene.join()
        scene.plug(2)
        await scene.for_s(60.0)
        scene.advertiser.succeed(scene.host.program, {(7, leg("n").mac), (8, 5)})
        scene.look()
        assert await scene.for_s(10.0) == [], "one is there, the other is of another network"
        scene.advertiser.succeed(scene.host.program, {(7, 0x02BB0000DEAD)})
        scene.look()
        assert len(await scene.for_s(1.0)) == 2 * 2

    played(play)
