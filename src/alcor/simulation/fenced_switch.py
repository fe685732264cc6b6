"""What a switch itself keeps of who writes to it, and whoever writes is held against it at every write.

    database     a record of token and writer; outlives the switch's restarts; changed by transactions whose
                 `wait` holds
    generation   of the newest master; forgotten at a restart
    master       one connection; a switch tells it at once when another becomes it, and takes writes of no other

The operations are those of `ovs.fence`, done as a database does them (RFC 7047, 5.2).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from alcor.data_plane.ovs.fence import Bid, Recorded
from alcor.data_plane.ovs.fence import read as read_record
from alcor.data_plane.ovs.openflow import Stale
from alcor.data_plane.ovs.ovsdb import Operation, WaitFailed

BRIDGE = "br-int"


class Connection(Protocol):
    """Who is connected, as the switch sees it. It is told once that the connection ended."""

    def ended(self, reason: str) -> None: ...


class FencedSwitch:
    """Owner of the record, the generation and the master. `violation`: told of two writers."""

    def __init__(self, name: str, violation: Callable[[str], None], now_s: Callable[[], float]) -> None:
        self.is_down = False
        self.written = 0
        self.refused = 0  # writes of who is not the master
        self.takeovers = 0
        self.unattended_at: float | None = 0.0  # since when there is no master; None: there is one
        self.master: Connection | None = None
        self._name = name
        self._violation = violation
        self._now_s = now_s
        self._external_ids: dict[str, str] = {}
        self._generation: int | None = None
        self._connections: list[Connection] = []
        self._newest = Bid(0, "")  # who wrote last, under which token

    @property
    def recorded(self) -> Recorded:
        """Who is recorded as its writer."""
        return read_record(self._external_ids)

    def external_ids(self) -> Mapping[str, str]:
        return dict(self._external_ids)

    def connect(self, connection: Connection) -> None:
        self._connections.append(connection)

    def disconnect(self, connection: Connection) -> None:
        """Let a connection end; its end is not told to it."""
        if connection in self._connections:
            self._connections.remove(connection)
        if self.master is connection:
            self._lose_master()

    def transact(self, operations: Sequence[Operation]) -> None:
        """Do all of it or nothing. Raises WaitFailed."""
        external_ids = dict(self._external_ids)
        for operation in operations:
            if operation["op"] == "wait":
                _wait(external_ids, operation)
            else:
                _mutate(external_ids, operation)
        self._external_ids = external_ids

    def become_master(self, connection: Connection, token: int) -> None:
        """Make a connection the master. Raises Stale when a newer one was."""
        if self._generation is not None and token < self._generation:
            raise Stale("a newer master was here")
        former = self.master
        self._generation, self.master, self.unattended_at = token, connection, None
        if former is not None and former is not connection:
            self.takeovers += 1
            self._connections.remove(former)
            former.ended("another became the master")

    def write(self, connection: Connection, bid: Bid) -> bool:
        """Take a write of the master; False: it was refused."""
        if self.is_down or self.master is not connection:
            self.refused += 1
            return False
        self.written += 1
        if bid.token < self._newest.token:
            self._violation(f"{self._name}: {bid} wrote after {self._newest}")
        if bid.token == self._newest.token and self._newest.writer not in ("", bid.writer):
            self._violation(f"{self._name}: {bid} and {self._newest} wrote under one token")
        self._newest = bid
        return True

    def restart(self) -> None:
        """Lose all connections and forget the generation; the database stays."""
        self._generation = None
        if self.master is not None:
            self._lose_master()
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.ended("the switch has gone")

    def cut(self, connection: Connection) -> None:
        """Cut one connection; its end hears of it."""
        self.disconnect(connection)
        connection.ended("the connection was cut")

    def _lose_master(self) -> None:
        self.master, self.unattended_at = None, self._now_s()


def _wait(external_ids: Mapping[str, str], operation: Operation) -> None:
    row: dict[str, Any] = {"name": BRIDGE, "external_ids": dict(external_ids)}
    wanted = [_plain(each) for each in _list(operation["rows"])]
    holds = all(_holds(row, condition) for condition in map(_list, _list(operation["where"])))
    found = [{name: row[name] for name in map(str, _list(operation["columns"]))}] if holds else []
    if found != wanted:
        raise WaitFailed(f"{operation} does not hold")


def _holds(row: Mapping[str, Any], condition: list[Any]) -> bool:
    column, function, value = condition
    if function == "==":
        return bool(row[column] == value)
    assert function == "includes", f"{function} is not modelled"
    return bool(_map(value).items() <= row[column].items())


def _mutate(external_ids: dict[str, str], operation: Operation) -> None:
    assert operation["op"] == "mutate", f"{operation['op']} is not modelled"
    for column, mutator, value in map(_list, _list(operation["mutations"])):
        assert column == "external_ids", f"{column} is not modelled"
        if mutator == "delete":
            for key in _list(_list(value)[1]):
                external_ids.pop(key, None)
        else:
            for key, text in _map(value).items():
                external_ids.setdefault(key, text)  # an insertion replaces nothing (RFC 7047, 5.1)


def _plain(row: Any) -> dict[str, Any]:
    return {name: _map(value) if isinstance(value, list) else value for name, value in row.items()}


def _map(value: Any) -> dict[str, str]:
    assert value[0] == "map", "a map is written as such"
    return dict(value[1])


def _list(value: Any) -> list[Any]:
    assert isinstance(value, list)
    return value
