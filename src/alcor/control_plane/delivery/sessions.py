"""Makes what serves a host in one term: over its stream, over the queue, and while nobody hears it."""

from alcor.contracts.agent_channel import Channel, Hello
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.delivery.away_hosts import AwayHost
from alcor.control_plane.delivery.fast_path import HostStream
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.host_queue import HostQueue
from alcor.control_plane.delivery.ledger import Ledger
from alcor.control_plane.delivery.paths import HostSession
from alcor.control_plane.delivery.queue_lines import Line, Writer
from alcor.control_plane.delivery.queue_path import QueueChannel
from alcor.model.version import Version


class Sessions:
    """Knows what sessions need. Owner of nothing."""

    def __init__(self, *, epoch: int, interest: Interest, full: FullSections, ledger: Ledger) -> None:
        self._epoch = epoch
        self._interest = interest
        self._full = full
        self._ledger = ledger

    def new(self, hello: Hello, channel: Channel) -> HostSession:
        """Make the session that a Hello begins."""
        if not isinstance(channel, QueueChannel):
            return HostStream(
                hello,
                channel,
                epoch=self._epoch,
                interest=self._interest,
                full=self._full,
                ledger=self._ledger,
            )
        return HostQueue(hello, channel, channel, ledger=self._ledger, writer=self._writer(hello))

    def away(self, session: HostSession) -> AwayHost:
        """Make what goes on for a host that is heard no longer, from what it has acknowledged."""
        host = session.host
        known = self._ledger.account(host).acknowledged
        lines = {
            key: Line(base=Version(self._epoch, revision) if known.get(key) == revision else None)
            for key, revision in self._interest.wanted.get(host, {}).items()
        }
        return AwayHost(host, lines, self._writer(session), session=session.session)

    def _writer(self, of: Hello | HostSession) -> Writer:
        return Writer(
            of.host,
            epoch=self._epoch,
            interest=self._interest,
            full=self._full,
            reads_packed=of.reads_packed,
        )
