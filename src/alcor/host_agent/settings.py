"""What an agent can be told, and the times it keeps."""

import msgspec

from alcor.contracts.agent_channel import BEAT_S, SILENCE_S


class AgentTiming(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's times, in seconds."""

    beat_s: float = BEAT_S
    silence_s: float = SILENCE_S
    reconnect_min_s: float = 0.1
    reconnect_max_s: float = 2.0  # ten thousand agents make 8,000 attempts a second, spread out
    refused_retry_s: float = 10.0
    refused_retry_min_s: float = 1.0  # with the next change, but a big refused section not with each of them
    data_plane_retry_s: float = 1.0
    data_plane_answer_s: float = 60.0  # forty times what 100,000 flows take; more is a data plane that hangs

    steady_s: float = 5.0  # a stream that lasts so long is trusted
    audit_s: float = 60.0  # between two sections whose digest is told unasked: a digest costs O(section)
    queue_retry_s: float = 0.5  # between attempts to speak over the queue

    def over_queue(self) -> "AgentTiming":
        """Give the times of a session over the queue: beats there cost a server's work, too."""
        return msgspec.structs.replace(self, beat_s=3 * self.beat_s, silence_s=3 * self.silence_s)


USUAL = AgentTiming()
