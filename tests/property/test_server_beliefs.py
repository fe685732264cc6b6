"""Whatever happens, in the end the compute service believes of each server's port what is true."""

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alcor.contracts.convergence import PortState
from alcor.contracts.server_events import DELETED, PLUGGED, UNPLUGGED, ServerEvent, Told
from alcor.contracts.store import Change
from alcor.control_plane.region import Region
from alcor.control_plane.server_events.ports import ServerPorts
from alcor.model.ids import HostId, NetworkId, PortId, ProjectId, RequestId
from alcor.model.records import Port, RecordSet

HOSTS = ("a", "b", "")
SERVERS = tuple(f"00000000-0000-4000-8000-00000000000{number}" for number in range(2))
PORTS = ("port-0", "port-1")


class World:
    """A region, its hosts and the compute service; the control plane between them may restart."""

    def __init__(self) -> None:
        self.log: list[Change] = []
        self.records: dict[str, Port] = {}
        self.plugged: dict[str, set[PortId]] = {"a": set(), "b": set()}
        self.heard: set[str] = set()
        self.unacknowledged: set[str] = set()
        self.refused: set[str] = set()  # names
        self.believed: dict[tuple[str, str], bool] = {}  # by port and server: is it plugged?
        self.deleted: set[tuple[str, str]] = set()
        self.to_delete: set[tuple[str, str]] = set()
        self.told = Told(0, {})
        self.recent: dict[
            PortId, None
        ] = {}  # plugged since something was said, or while the host was not heard
        self.owed_plugs: set[PortId] = set()  # plugged, and not heard of since
        self.generations = dict.fromkeys(PORTS, 0)  # ids are not given twice
        self.region = Region()
        self.start()
        for number, name in enumerate(PORTS):
            self.put(name, "a", SERVERS[number], up=True)
        self.wake()

    def wake(self) -> None:
        """Both hosts speak, and have acknowledged everything."""
        for host in ("a", "b"):
            if host not in self.heard:
                self.come(host)
        self.acknowledge()

    def start(self) -> None:
        self.region = Region()
        self.owed = ServerPorts(self.region, self.state_of, self.told)
        ports = tuple(self.records.values())
        self.region._put(RecordSet(ports=ports), len(self.log))
        self.region.revision = len(self.log)
        self.owed.loaded(ports)
        self.heard.clear()

    def state_of(self, port_id: PortId) -> PortState | None:
        row = self.region.ports.get(port_id)
        if row is None or row.host not in self.heard:
            return None
        plugged = port_id in self.plugged[row.host]
        if port_id.partition(".")[0] in self.refused:
            return PortState("ERROR", False, plugged, None, "")
        if port_id in self.unacknowledged:
            return PortState("BUILD", False, plugged, None, "")
        return PortState("ACTIVE" if plugged and row.admin_state_up else "DOWN", True, plugged, 1, "")

    def named(self, name: str) -> str:
        return f"{name}.{self.generations[name]}"

    def put(self, name: str, host: str, server: str, *, up: bool) -> None:
        port_id = self.named(name)
        before = self.records.get(port_id)
        port = Port(
            id=PortId(port_id),
            project_id=ProjectId("p"),
            network_id=NetworkId("net"),
            mac=1,
            host=HostId(host),
            device_id=server,
            device_owner="compute:nova" if server else "",
            admin_state_up=up,
            revision_number=1 if before is None else before.revision_number + 1,
        )
        self.records[port_id] = port
        if before is not None and before.host and before.host != host:
            self.plugged[before.host].discard(port.id)  # its host takes it away
            self.owed_plugs.discard(port.id)
            self.recent.pop(port.id, None)
        self.unacknowledged.add(port_id)
        self.commit(puts=RecordSet(ports=(port,)), deletes=RecordSet())

    def delete(self, name: str) -> None:
        port_id = self.named(name)
        self.generations[name] += 1
        port = self.records.pop(port_id, None)
        if port is None:
            return
        if port.device_id:
            self.to_delete.add((port_id, port.device_id))
        for plugged in (*self.plugged.values(), self.owed_plugs):
            plugged.discard(PortId(port_id))
        self.recent.pop(PortId(port_id), None)
        self.commit(puts=RecordSet(), deletes=RecordSet(ports=(port,)))

    def commit(self, **records: RecordSet) -> None:
        change = Change(len(self.log) + 1, 0, RequestId("r"), ProjectId("p"), **records)
        self.log.append(change)
        self.region.fold(change)
        self.owed.changed(change)

    def acknowledge(self) -> None:
        self.unacknowledged.clear()
        for host in self.heard:
            self.owed.moved(HostId(host))

    def refuse(self, name: str, *, is_refused: bool) -> None:
        (self.refused.add if is_refused else self.refused.discard)(name)
        for host in self.heard:
            self.owed.moved(HostId(host))

    def come(self, host: str) -> None:
        self.heard.add(host)
        anew = [port_id for port_id in self.recent if port_id in self.plugged[host]]
        self.owed.came(HostId(host), sorted(self.plugged[host]), anew)

    def plug(self, name: str, *, is_plugged: bool) -> None:
        port_id = self.named(name)
        port = self.records.get(port_id)
        if port is None or not port.host:
            return
        named = PortId(port_id)
        self.owed_plugs.discard(named)
        self.recent.pop(named, None)
        (self.plugged[port.host].add if is_plugged else self.plugged[port.host].discard)(named)
        if is_plugged:
            self.recent[named] = None
            self.owed_plugs.add(named)
        if port.host in self.heard:
            self.owed.plugs(port.host, [named] if is_plugged else [], [] if is_plugged else [named])

    def say(self, limit: int, outcome: str) -> None:
        while (after := self.owed.missed_after) is not None:
            self.owed.read(self.log[after : after + 2])
        words = self.owed.words.batch(limit)
        for word in words:
            word.attempted = True
        if words and (doubts := self.owed.doubts()) is not None:
            self.keep(doubts)
        for port_id in list(self.recent):
            if self.records[port_id].host in self.heard:
                del self.recent[port_id]
        if outcome != "lost on the way":
            for word in words:
                self.hear(word.event)
        if outcome in ("heard", "not kept"):
            self.owed.said(words)
        if outcome == "heard":
            self.keep(self.owed.progress())

    def keep(self, told: Told) -> None:
        marks = {host: mark for host, mark in {**self.told.marks, **told.marks}.items() if mark}
        self.told = msgspec.structs.replace(told, marks=marks)

    def hear(self, event: ServerEvent) -> None:
        key = (event.tag, event.server_uuid)
        if event.name == DELETED:
            self.deleted.add(key)
            self.believed.pop(key, None)
        elif event.name == PLUGGED:
            self.believed[key] = event.status == "completed"
            self.owed_plugs.discard(PortId(event.tag))
        elif event.name == UNPLUGGED:
            self.believed[key] = False

    def settle(self) -> None:
        self.refused.clear()
        self.wake()
        while self.owed.words or self.owed.missed_after is not None:
            self.say(3, "heard")
        self.keep(self.owed.progress())


OPERATIONS = st.one_of(
    st.tuples(
        st.just("put"),
        st.sampled_from(PORTS),
        st.sampled_from(HOSTS),
        st.sampled_from((*SERVERS, "")),
        st.sampled_from((True, True, False)),
    ),
    st.tuples(st.just("delete"), st.sampled_from(PORTS)),
    st.tuples(st.just("plug"), st.sampled_from(PORTS), st.booleans()),
    st.tuples(st.just("plug"), st.sampled_from(PORTS), st.just(True)),
    st.tuples(st.just("refuse"), st.sampled_from(PORTS), st.booleans()),
    st.tuples(st.just("wake")),
    st.tuples(st.just("come"), st.sampled_from(("a", "b"))),
    st.tuples(st.just("leave"), st.sampled_from(("a", "b"))),
    st.tuples(st.just("acknowledge")),
    st.tuples(
        st.just("say"),
        st.integers(1, 4),
        st.sampled_from(("heard", "heard", "lost on the way", "answer lost", "not kept")),
    ),
    st.tuples(st.just("restart")),
)


def run(world: World, operations: list[tuple[Any, ...]]) -> None:
    for operation, *arguments in operations:
        match operation:
            case "put":
                world.put(arguments[0], arguments[1], arguments[2], up=arguments[3])
            case "plug":
                world.plug(arguments[0], is_plugged=arguments[1])
            case "refuse":
                world.refuse(arguments[0], is_refused=arguments[1])
            case "leave":
                world.heard.discard(arguments[0])
            case "restart":
                world.start()
            case _:
                getattr(world, operation)(*arguments)


@settings(max_examples=300)
@given(st.lists(OPERATIONS, max_size=30))
def test_in_the_end_what_is_believed_is_true(operations: list[tuple[Any, ...]]) -> None:
    world = World()
    run(world, operations)
    world.settle()
    for port_id, port in world.records.items():
        if port.device_id and port.host:
            state = world.state_of(port.id)
            assert state is not None
            believed = world.believed.get((port_id, port.device_id), False)
            assert believed == (state.status == "ACTIVE"), port_id
            if state.status == "ACTIVE":
                assert port.id not in world.owed_plugs, "it was plugged anew, and nobody told"
    assert world.to_delete <= world.deleted
    world.start()
    world.come("a")
    world.come("b")
    world.acknowledge()
    assert not world.owed.words  # what was told is known, and not told again
    assert world.owed.missed_after is None


@settings(max_examples=100)
@example(
    [
        ("refuse", "port-1", True),
        ("plug", "port-1", True),
        ("put", "port-0", "b", "00000000-0000-4000-8000-000000000000", True),
        ("put", "port-1", "b", "00000000-0000-4000-8000-000000000001", True),
    ]
)
@given(st.lists(OPERATIONS, max_size=30))
def test_marks_are_kept_of_hosts_with_told_ports_only(operations: list[tuple[Any, ...]]) -> None:
    world = World()
    run(world, operations)
    for name in PORTS:
        world.delete(name)
    world.settle()
    assert world.told.marks == {}
