"""What a controller knows for as long as its epoch lasts: made once, when it begins."""

from collections.abc import Callable, Mapping

from alcor.contracts.audit import Entry
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.delivery.agreement import Agreement
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.ledger import Ledger
from alcor.control_plane.delivery.paths import HostSession, Paths
from alcor.control_plane.delivery.sessions import Sessions
from alcor.control_plane.health.rescue import Powers, Rescues, Send
from alcor.control_plane.health.rescue_trail import RescueTrail
from alcor.control_plane.region import Region
from alcor.control_plane.region_convergence import RegionConvergence
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog


class Term:
    """Owner of nothing itself: each of these is the owner of its part, and all are of one epoch."""

    def __init__(
        self,
        epoch: int,
        region: Region,
        interest: Interest,
        full: FullSections,
        streams: Mapping[HostId, HostSession],
        paths: Paths,
        clock: Clock,
        log: EventLog,
        *,
        send: Send,
        ask: Callable[[HostSession], None],
        audit: Callable[[Entry], None],
        powers: Powers,
    ) -> None:
        """`send` orders rescues. `ask` has a session say what its host holds."""
        self.epoch = epoch
        self.ledger = Ledger(epoch=epoch)
        self.sessions = Sessions(epoch=epoch, interest=interest, full=full, ledger=self.ledger)
        self.rescues = Rescues(region, send, clock, RescueTrail(audit, clock, log), epoch=epoch, powers=powers)
        self.agreement = Agreement(streams, interest, full, self.ledger, clock, log, ask=ask)
        self.convergence = RegionConvergence(
            region, interest, self.ledger, streams, paths, describe=self.rescues.described
        )
