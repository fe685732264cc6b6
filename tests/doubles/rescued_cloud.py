"""Rescues of a region whose hosts come, leave and report when told to, in time that is given."""

import io

from alcor.contracts.agent_channel import Hello, Rescue, RescueEnd, RescueOutcome, RescueRenewal, RescueReport
from alcor.contracts.audit import Entry
from alcor.contracts.convergence import HostStatus
from alcor.control_plane.health.rescue import Powers, Rescues
from alcor.control_plane.health.rescue_trail import RescueTrail
from alcor.control_plane.nodes import HostNode
from alcor.control_plane.region import OnDemandBounds, Region
from alcor.model.ids import HostId, ProjectId
from alcor.model.records import Host
from alcor.runtime.event_log import EventLog


class HandClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def now_us(self) -> int:
        return int(self.now_s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.now_s


class Cloud:
    """Rescues with hosts `h0` ... that are all connected. Keeps what is sent."""

    def __init__(
        self, hosts: int, *, epoch: int = 1, helps: bool = True, come: bool = True, key: bytes = b"region"
    ) -> None:
        self.clock = HandClock()
        self.region = Region(OnDemandBounds())
        self.sent: list[tuple[str, Rescue | RescueRenewal | RescueEnd]] = []
        self.events = io.StringIO()
        self.kept: list[Entry] = []
        self.rescues = Rescues(
            self.region,
            lambda host, message: self.sent.append((host, message)),
            self.clock,
            RescueTrail(self.kept.append, self.clock, EventLog(stream=self.events)),
            epoch=epoch,
            powers=Powers(key, lambda target, by, own: f"{target} {by} {own.decode()}".encode()),
        )
        self.helps = helps
        for number in range(hosts):
            name = HostId(f"h{number}")
            node = self.region.hosts[name] = HostNode(name)
            node.record = Host(
                id=name,
                project_id=ProjectId(""),
                name=name,
                created_at=0,
                updated_at=0,
                revision_number=1,
                vtep=(0x0A000000 + number).to_bytes(4, "big"),
                zone="z",
                data_plane="ovs",
            )
            if come:
                self.come(name)

    def come(
        self,
        host: str,
        *,
        rescuer: str = "",
        token: int = 0,
        warrant: bytes = b"",
        helped: tuple[str, ...] = (),
    ) -> int:
        hello = Hello(
            1,
            HostId(host),
            b"\n\0\0\1",
            "z",
            "ovs",
            "1",
            0,
            rescuer=HostId(rescuer),
            token=token,
            helps=self.helps and not rescuer,
            helped=tuple(map(HostId, helped)),
            warrant=warrant,
            public_key=b"" if rescuer else f"key of {host}".encode(),
        )
        self.rescues.admit(hello)
        return self.rescues.connected(hello)

    def leave(self, host: str, reason: str = "closed by the peer", *, is_silent: bool = False) -> None:
        self.rescues.left(HostId(host), reason, heard_at_s=self.clock.now_s, is_silent=is_silent)

    def pass_s(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.rescues.look(self.clock.now_s)

    def order(self, number: int = -1) -> tuple[str, Rescue]:
        orders = [(host, message) for host, message in self.sent if isinstance(message, Rescue)]
        return orders[number]

    @property
    def orders(self) -> int:
        return sum(isinstance(message, Rescue) for _, message in self.sent)

    def renewals(self) -> list[tuple[str, RescueRenewal]]:
        return [(host, message) for host, message in self.sent if isinstance(message, RescueRenewal)]

    def report(self, outcome: RescueOutcome) -> None:
        host, order = self.order()
        self.rescues.reported(HostId(host), RescueReport(order.target, order.token, outcome, "because"))

    def described(self, host: str) -> HostStatus:
        record = self.region.hosts[HostId(host)].record
        assert record is not None
        return self.rescues.described(HostStatus(record, True, None, None, 0, 0, 0, 0, 0, "as ever"))
