"""What an agent tells its controller: acknowledgements, plugs, and what it holds. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import alcor
from alcor.contracts.agent_channel import (
    PROTOCOL,
    UNANSWERED_S,
    Acknowledgement,
    Held,
    Hello,
    Learned,
    Outcome,
    Plugs,
    SectionResult,
)
from alcor.contracts.data_plane import HostFacts
from alcor.host_agent.digests import Digests
from alcor.host_agent.inbox import Decision
from alcor.host_agent.rescue_duty import NeighborHelp, RescueDuty
from alcor.model.goal_state import HostState, NetworkSection, SectionKey, SectionUpdate
from alcor.model.ids import HostId, PortId

# Within which a controller that lives has passed on what it was told, or kept that it must. It may be heard by
# datagrams while a stream passes nothing, until that ends.
PASSED_ON_S = UNANSWERED_S + 10.0


def results(
    updates: Sequence[SectionUpdate], decisions: Sequence[Decision], refused: Mapping[SectionKey, str]
) -> tuple[SectionResult, ...]:
    """Answer each section update, after the data plane confirmed all that it does not refuse."""
    return tuple(
        _result(update, decision, refused) for update, decision in zip(updates, decisions, strict=True)
    )


def news_of_refused(
    state: HostState, before: Mapping[SectionKey, str], after: Mapping[SectionKey, str]
) -> Acknowledgement | None:
    """Tell what was refused and is in force now, and the reverse; None when nothing is new."""
    news = [
        SectionResult(
            key,
            state.versions[key],
            Outcome.REFUSED if key in after else Outcome.IN_FORCE,
            after.get(key, ""),
        )
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and key in state.versions
    ]
    return Acknowledgement(0, tuple(news)) if news else None


def held(state: HostState, refused: Mapping[SectionKey, str], digests: Digests) -> tuple[Held, ...]:
    """Name all sections held with their digests, in key order. Cost: O(sections, and entries of changed ones).

    What the data plane refuses has an empty digest, which equals no content: it is named all the same, because
    a controller removes only what is named, and the data plane may take it later.
    """
    return tuple(
        Held(
            key,
            state.versions[key],
            b"" if key in refused else digests.of(key, state.sections[key]),
        )
        for key in sorted(state.sections)
    )


def learned(state: HostState) -> tuple[Learned, ...]:
    """Name the placements held because they were asked for. Cost: O(placements of on-demand networks)."""
    found = []
    for key in sorted(state.sections):
        section = state.sections[key]
        if isinstance(section, NetworkSection) and section.network is not None and section.network.on_demand:
            ports = tuple(port_id for port_id in section.placements if port_id not in section.ports)
            if ports:
                found.append(Learned(section.network.id, ports))
    return tuple(found)


class Hold(NamedTuple):
    """What a Hello says is in force."""

    sections: tuple[Held, ...]
    plugged: tuple[PortId, ...]
    anew: tuple[PortId, ...]  # plugged since the controller was heard last, or shortly before


NOTHING = Hold((), (), ())


def hello(
    facts: HostFacts,
    zone: str,
    *,
    data_plane: str,
    started_at: int,
    hold: Hold,
    learned: tuple[Learned, ...],
    help_of: NeighborHelp,
    rescue: RescueDuty | None,
    epoch: int,
    session: int,
    has_queue: bool,
) -> Hello:
    """Say who we are, what is held, and whom we help: the first message of a session.

    `epoch`: the newest that is known. `session`: its number at the queue.
    """
    return Hello(
        protocol=PROTOCOL,
        host=facts.host,
        vtep=facts.vtep,
        zone=zone,
        data_plane=data_plane,
        agent_version=alcor.__version__,
        started_at=started_at,
        held=hold.sections,
        plugged=hold.plugged,
        learned=learned,
        rescuer=rescue.rescuer if rescue is not None else HostId(""),
        token=rescue.token if rescue is not None else 0,
        helps=help_of.helps,
        helped=help_of.helped(),
        session=session,
        queue=has_queue,
        epoch=epoch,
        warrant=rescue.warrant if rescue is not None else b"",
        anew=hold.anew,
        public_key=help_of.public_key,
        reads_packed=True,
    )


class PlugReport:
    """Plugs and unplugs not yet told; of several of one port only the last counts.

    Plugs are remembered for a while after they were told: a controller that ends may not have passed them on.
    """

    def __init__(self) -> None:
        self._news: dict[PortId, bool] = {}
        self._plugged_at_s: dict[PortId, float] = {}  # in this order

    def note(self, port_id: PortId, *, is_plugged: bool, now_s: float, heard_at_s: float) -> bool:
        """Remember an event. True when it is the first since `take`. `heard_at_s`: the controller, last."""
        self._forget(heard_at_s)
        self._plugged_at_s.pop(port_id, None)
        if is_plugged:
            self._plugged_at_s[port_id] = now_s
        first = not self._news
        self._news[port_id] = is_plugged
        return first

    def take(self) -> Plugs | None:
        """Give what was noted, and forget it."""
        if not self._news:
            return None
        news, self._news = self._news, {}
        return Plugs(_with(news.items(), is_plugged=True), _with(news.items(), is_plugged=False))

    def anew(self, heard_at_s: float) -> tuple[PortId, ...]:
        """Name what was plugged since the controller was heard last, or shortly before."""
        self._forget(heard_at_s)
        return tuple(self._plugged_at_s)

    def _forget(self, heard_at_s: float) -> None:
        while self._plugged_at_s:
            port_id, at_s = next(iter(self._plugged_at_s.items()))
            if at_s >= heard_at_s - PASSED_ON_S:
                return
            del self._plugged_at_s[port_id]


def _with(news: Iterable[tuple[PortId, bool]], *, is_plugged: bool) -> tuple[PortId, ...]:
    return tuple(port_id for port_id, value in news if value is is_plugged)


def _result(update: SectionUpdate, decision: Decision, refused: Mapping[SectionKey, str]) -> SectionResult:
    if decision is Decision.SEND_ALL:
        return SectionResult(update.key, update.version, Outcome.SEND_ALL)
    reason = refused.get(update.key)
    if reason is not None:
        return SectionResult(update.key, update.version, Outcome.REFUSED, reason)
    return SectionResult(update.key, update.version, Outcome.IN_FORCE)
