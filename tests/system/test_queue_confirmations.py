"""What a real queue confirms: all that is kept for hosts away, of what is heard live enough to know."""

from pathlib import Path

from alcor.adapters.nats.embedded import EmbeddedNats
from alcor.adapters.nats.goal_queue import NatsGoalQueue
from alcor.contracts.queue import AWAY
from alcor.model.goal_state import network_key
from alcor.model.ids import HostId
from alcor.runtime.event_log import SILENT
from doubles.waiting import eventually

MESSAGES = 500


async def _confirmed(queue: NatsGoalQueue, session: int) -> int:
    """Publish messages of a session; count what the queue's server says about them."""
    heard = queue.client.stats["in_msgs"]
    for number in range(MESSAGES):
        assert queue.publish(HostId("host-0"), network_key(str(number)), b"goal", session=session)
    await eventually(lambda: queue.state.unconfirmed == 0)
    return queue.client.stats["in_msgs"] - heard


async def test_of_messages_heard_live_few_are_confirmed_and_for_hosts_away_all(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path / "nats", tmp_path / "authority")
    await server.start()
    queue = NatsGoalQueue(server.controller_access(), SILENT)
    queue.start()
    try:
        await eventually(lambda: queue.is_up)
        assert 1 <= await _confirmed(queue, session=7) <= MESSAGES // 50
        assert 1 <= await _confirmed(queue, session=8) <= MESSAGES // 50
        assert await _confirmed(queue, AWAY) == MESSAGES
    finally:
        await queue.close()
        await server.stop()
