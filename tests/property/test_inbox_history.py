"""Any duplication, loss and reordering of a random history ends in its last state, and never goes back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.host_agent import inbox
from alcor.host_agent.inbox import Decision
from alcor.model.goal_state import (
    GroupChange,
    HostState,
    NetworkChange,
    Placement,
    RouterChange,
    RouterInterface,
    Rule,
    Section,
    SectionChange,
    SectionKey,
    SectionUpdate,
    apply_change,
    empty_section_for,
)
from alcor.model.ids import NetworkId, PortId, RuleId, Vni
from alcor.model.version import Version

KEYS = tuple(SectionKey(key) for key in ("network:a", "network:b", "router:a", "group:a"))
NAMES = st.lists(st.sampled_from(["1", "2", "3"]), max_size=3, unique=True)


def make_change(key: SectionKey, put: list[str], gone: list[str], flag: bool) -> SectionChange:
    gone = [name for name in gone if name not in put]
    if key.startswith("network:"):
        placements = tuple(Placement(PortId(name), int(flag), (), b"") for name in put)
        return NetworkChange(set_placements=placements, gone_placements=tuple(map(PortId, gone)))
    if key.startswith("router:"):
        cidr = (b"\x0a\x00\x00\x00", 24)
        legs = tuple(RouterInterface(PortId(n), NetworkId("n"), Vni(1), cidr, b"", 1) for n in put)
        return RouterChange(flag, legs, tuple((PortId(name), cidr) for name in gone))
    return GroupChange(
        stateful=flag,
        set_rules=tuple(Rule(RuleId(n), True, 4, None, None, None, None, None) for n in put),
        gone_rules=tuple(map(RuleId, gone)),
    )


# key, remove the section, what it sets, what goes, a value that may flip, whether a new controller begins
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.integers(0, 5).map(lambda n: n == 0),
        NAMES,
        NAMES,
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=15,
)


class Sender:
    """What a controller wants of the host: applies the history and tells each step as an update."""

    def __init__(self) -> None:
        self.state = HostState()
        self.states: dict[tuple[SectionKey, Version], SectionChange | None] = {}
        self._epoch = 1
        self._revision = 0

    def step(self, key: SectionKey, remove: bool, change: SectionChange, take_over: bool) -> SectionUpdate:
        self._epoch += int(take_over)
        self._revision += 1
        version = Version(self._epoch, self._revision)
        base = self.state.versions.get(key) if key in self.state.sections else None
        section: Section | None = self.state.sections.get(key)
        self.state.versions[key] = version
        if remove:
            self.state.sections.pop(key, None)
            self.states[key, version] = None
            return SectionUpdate(key, None, version, None)
        if section is None:
            section = empty_section_for(change)
            self.state.sections[key] = section
        apply_change(section, change)
        self.states[key, version] = section.full()
        return SectionUpdate(key, base, version, change if base else section.full())

    def full(self, key: SectionKey) -> SectionUpdate:
        section = self.state.sections.get(key)
        return SectionUpdate(key, None, self.state.versions[key], section.full() if section else None)


def content(state: HostState, key: SectionKey) -> SectionChange | None:
    section = state.sections.get(key)
    return section.full() if section else None


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, data=st.data())
def test_any_delivery_ends_in_the_last_state_and_never_goes_back(
    steps: list[tuple[SectionKey, bool, list[str], list[str], bool, bool]], data: st.DataObject
) -> None:
    sender = Sender()
    sent = [
        sender.step(key, remove, make_change(key, put, gone, flag), take_over)
        for key, remove, put, gone, flag, take_over in steps
    ]
    order = data.draw(st.lists(st.integers(0, len(sent) - 1), max_size=3 * len(sent)), label="delivery")
    host = HostState()
    for index in order:
        update = sent[index]
        before = host.versions.get(update.key)
        decision = inbox.receive(host, update)
        after = host.versions.get(update.key)
        assert before is None or (after is not None and after >= before)
        if decision in (Decision.APPLY, Decision.CONFIRM):
            assert after == update.version
        if after is not None:  # what is held is exactly what was wanted at that version, tombstones included
            assert content(host, update.key) == sender.states[update.key, after]
    # At last the controller sends the newest update of each section; "send all" is answered by a full one.
    for update in {update.key: update for update in sent}.values():
        if inbox.receive(host, update) is Decision.SEND_ALL:
            assert inbox.receive(host, sender.full(update.key)) is not Decision.SEND_ALL
    assert host.versions == sender.state.versions
    assert host.full_updates() == sender.state.full_updates()


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, data=st.data())
def test_delivering_everything_again_changes_nothing(
    steps: list[tuple[SectionKey, bool, list[str], list[str], bool, bool]], data: st.DataObject
) -> None:
    sender = Sender()
    sent = [
        sender.step(key, remove, make_change(key, put, gone, flag), take_over)
        for key, remove, put, gone, flag, take_over in steps
    ]
    host = HostState()
    for update in sent:
        assert inbox.receive(host, update) is not Decision.SEND_ALL  # in order, nothing is ever asked for
    before = host.full_updates()
    for update in data.draw(st.permutations(sent)):
        assert inbox.receive(host, update) is Decision.HELD
    assert host.full_updates() == before
