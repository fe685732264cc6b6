"""A host that a change concerns: what it is sent for it, and which flows that changes."""

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import Ask, Update, Want
from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.model.goal_state import SectionUpdate
from alcor.model.ids import HostId, Vni
from alcor.model.records import Port
from doubles.control_plane import AgentDouble
from doubles.waiting import eventually

BYTES_MAX = 200


class Concerned:
    """A host that the new member is not on: what it was sent, and what its flows did."""

    def __init__(self, agent: AgentDouble) -> None:
        self._agent = agent
        self.program = FlowProgram(HostFacts(HostId(agent.host), agent.vtep, 0x02AC10000001), 1)
        self.program.replace(agent.state)
        assert agent.controller_end is not None
        self._sent = agent.controller_end.frames_sent
        self._seen = len(self._sent)

    def news(self) -> tuple[int, list[SectionUpdate]]:
        """Give the bytes and the sections sent since the last look."""
        frames, self._seen = self._sent[self._seen :], len(self._sent)
        found = [(frame, update) for frame in frames if isinstance(update := packed_ids.read(frame), Update)]
        return sum(len(frame) for frame, _ in found), [one for _, update in found for one in update.sections]

    async def ask(self, port: Port) -> None:
        """Ask where a port is, and take the answer."""
        self._agent.say(Ask(1, (Want(Vni(1), port.fixed_ips[0].ip),)))
        await eventually(lambda: self.news()[1])

    def flows_changed(self, sections: list[SectionUpdate]) -> int:
        change = self.program.change(self._agent.state, sections)
        return len(change.install) + len(change.remove)
