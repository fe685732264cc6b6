"""Whatever order hosts come, answer, stall and leave in: never too many at once, and everybody gets a turn."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.control_plane.delivery.resync import ResyncLimits, ResyncSchedule
from alcor.model.ids import HostId

HOSTS = [HostId(f"host-{number}") for number in range(12)]
LIMITS = ResyncLimits(hosts=3, bytes=1000, turn_s=5.0)

events = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from(HOSTS), st.integers(0, 100), st.integers(0, 1500)),
        st.tuples(st.just("leave"), st.sampled_from(HOSTS)),
        st.tuples(st.just("pass"), st.floats(0, 8)),
    ),
    max_size=60,
)


class World:
    """The schedule beside a naive account of what it must hold."""

    def __init__(self) -> None:
        self.schedule = ResyncSchedule(LIMITS)
        self.now_s = 0.0
        self.sizes: dict[HostId, int] = {}  # of all that came and did not leave
        self.admitted: set[HostId] = set()

    def admit(self) -> None:
        while (host := self.schedule.admit(self.now_s)) is not None:
            assert host in self.sizes
            assert host not in self.admitted
            self.admitted.add(host)
        self.check()

    def check(self) -> None:
        assert len(self.admitted) <= LIMITS.hosts
        size = sum(self.sizes[host] for host in self.admitted)
        assert size <= LIMITS.bytes or len(self.admitted) == 1
        assert self.schedule.bytes_admitted == size
        assert self.schedule.bytes_waiting == sum(self.sizes.values()) - size
        assert self.schedule.admitted == len(self.admitted)
        assert self.schedule.waiting == len(self.sizes) - len(self.admitted)
        assert not self.sizes or self.admitted, "somebody waits and nobody has a turn"

    def leave(self, host: HostId) -> None:
        self.schedule.leave(host)
        self.sizes.pop(host, None)
        self.admitted.discard(host)


@given(events)
def test_bounds_hold_and_everybody_is_synchronised_in_the_end(history: list[tuple]) -> None:
    world = World()
    for event in history:
        match event:
            case ("wait", host, priority, size):
                world.leave(host)
                world.schedule.wait(host, priority=priority, size=size)
                world.sizes[host] = size
            case ("leave", host):
                world.leave(host)
            case ("pass", seconds):
                world.now_s += seconds
                for host in world.schedule.expire(world.now_s):
                    world.admitted.remove(host)
        world.admit()
    turns = 0
    while world.sizes:  # those that have a turn answer
        assert turns <= len(HOSTS)
        turns += 1
        for host in list(world.admitted):
            world.leave(host)
        world.admit()


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 900)), min_size=5, max_size=12), st.data())
def test_a_waiting_host_gets_its_turn_though_others_never_answer_and_new_ones_come(waits, data) -> None:
    world = World()
    for host, (priority, size) in zip(HOSTS, waits, strict=False):
        world.schedule.wait(host, priority=priority, size=size)
        world.sizes[host] = size
    had_turn: set[HostId] = set()
    for number in range(8 * len(waits)):
        world.admit()
        had_turn |= world.admitted
        newcomer = HostId(f"new-{number}")
        world.sizes[newcomer] = data.draw(st.integers(0, 900))
        world.schedule.wait(newcomer, priority=100, size=world.sizes[newcomer])
        world.now_s += LIMITS.turn_s
        world.admitted -= set(world.schedule.expire(world.now_s))
        for host in world.admitted - set(HOSTS):
            world.leave(host)
    assert had_turn >= set(HOSTS[: len(waits)])
