"""Which events the compute service is owed: from what changes, what hosts report, and what it was told.

    change log, in order --> changed, deleted ------------------+
    plugs, acknowledgements --> ACTIVE, or no longer (law 1) ---+--> words --> teller
    marks kept of what was told, against Hello of a host -------+

A port is told to be plugged when it is ACTIVE, and unplugged when its host says that it is not, or it is not to
be there. Of a host that is not heard nothing is told: silence is not an unplugged port.

Each host's ports that were told to be plugged make a mark of eight bytes, which is kept; while something waits
to be told of the host, DOUBT is. After a restart a host whose ports make the mark that is kept needs no word
but of what was plugged anew, or changed meanwhile; of any other all is told again
(docs/decisions/0025-server-events.md).
"""

import hashlib
import uuid
from collections.abc import Iterable, Sequence

import msgspec

from alcor.contracts.server_events import (
    CHANGED,
    DELETED,
    PLUGGED,
    UNPLUGGED,
    EventName,
    ServerEvent,
    Told,
)
from alcor.contracts.store import Change
from alcor.control_plane.port_watch import StateOf
from alcor.control_plane.region import Region
from alcor.control_plane.server_events.words import Word, Words, is_plugged
from alcor.model.ids import HostId, PortId
from alcor.model.records import Port

COMPUTE = "compute:"  # what the owners of servers' ports begin with; their zone follows
DOUBT = 1  # a mark that no ports make


class _Server(msgspec.Struct, frozen=True, gc=False):
    """Whose port it is, and where."""

    uuid: bytes
    host: HostId


class _HostPorts:
    """What the compute service was told of one host's ports in this term."""

    __slots__ = ("failed", "mark", "told", "waiting")

    def __init__(self) -> None:
        self.told: dict[PortId, int] = {}  # told to be plugged; with their part of the mark
        self.waiting: dict[PortId, bool] = {}  # plugged, not yet in force; True: to be told even if it was told
        self.failed: set[PortId] = set()  # of these: told that the host refuses them
        self.mark = 0

    def forget(self, port_id: PortId) -> None:
        """Wait for the port no longer."""
        self.waiting.pop(port_id, None)
        self.failed.discard(port_id)

    def tell(self, port_id: PortId, mark: int) -> None:
        self.mark ^= mark ^ self.told.get(port_id, 0)
        self.told[port_id] = mark

    def untell(self, port_id: PortId, mark: int) -> None:
        if self.told.get(port_id) == mark:  # not told of another server since
            self.mark ^= self.told.pop(port_id)


class ServerPorts:
    """Owner of what the compute service was told in this term and what it is owed. No I/O."""

    def __init__(self, region: Region, state_of: StateOf, told: Told | None) -> None:
        """`told`: what is kept from former terms; None: nothing was told, and the past will not be."""
        self._region = region
        self._state_of = state_of
        self._loaded = 0  # the revision at which the region was loaded
        self._kept_marks = dict(told.marks) if told is not None else {}
        self._servers: dict[PortId, _Server] = {}
        self._hosts: dict[HostId, _HostPorts] = {}
        self._moved: dict[HostId, None] = {}  # hosts whose mark is to be kept, once nothing waits
        self._uncertain: set[PortId] = set()  # changed while we were away: what is told of them is not known
        self._doubted: dict[HostId, bool] = {}  # hosts of which something waits; False: that is not kept yet
        self._seen = told.revision if told is not None else None  # the last revision that words were made of
        self.words = Words()

    # What happens

    def loaded(self, ports: Iterable[Port]) -> None:
        """Hear of ports that were there when the region was loaded."""
        self._loaded = self._region.revision
        for port in ports:
            self._remember(port)

    def changed(self, change: Change) -> None:
        """Hear of a change that the region has taken in. O(records in it)."""
        if self._seen_before(change.revision) == change.revision - 1 and self.words.has_room:
            self._note_changes(change)
        for port in change.puts.ports:
            before = self._servers.get(port.id)
            now = self._remember(port)
            if before is not None and before != now:
                self._left(port.id, before)
            if now is not None:
                self._look(port.id)
        for port in change.deletes.ports:
            self._uncertain.discard(port.id)
            before = self._servers.pop(port.id, None)
            if before is not None and (node := self._hosts.get(before.host)) is not None:
                node.forget(port.id)

    def came(self, host: HostId, plugged: Iterable[PortId], anew: Iterable[PortId]) -> None:
        """Hear what is plugged on a host that begins to speak, and what of it anew. O(its ports)."""
        ours = [port_id for port_id in plugged if self._may_be_active(port_id, host)]
        node = self._hosts.get(host)
        if node is None:
            node = self._hosts[host] = _HostPorts()
            kept = self._kept_marks.pop(host, 0)
            if kept == _mark_of_all(marks := {it: _mark(it, self._servers[it].uuid) for it in ours}):
                node.told, node.mark = marks, kept
            else:
                self._doubt(host, node, set(ours), was_told=bool(kept))
        for port_id in self._bound(host):
            self._look(port_id)
        self.plugs(host, anew, ())

    def plugs(self, host: HostId, plugged: Iterable[PortId], unplugged: Iterable[PortId]) -> None:
        """Hear what was plugged and unplugged on a host; plugged anew counts, too. O(ports named)."""
        for port_id in unplugged:
            self._look(port_id)
        for port_id in plugged:
            if self._may_be_active(port_id, host):
                self._look(port_id, anew=True)

    def moved(self, host: HostId) -> None:
        """Hear that more is in force on a host. O(its ports that are plugged and not in force)."""
        node = self._hosts.get(host)
        if node is not None and node.waiting:
            for port_id, anew in list(node.waiting.items()):
                self._look(port_id, anew=anew)

    # What was said

    def said(self, words: Sequence[Word]) -> None:
        """Hear that the compute service was told."""
        self.words.said(words)
        for word in words:
            port_id, server = word.key
            mark = _mark(port_id, uuid.UUID(server).bytes)
            for host in word.hosts & self._hosts.keys():
                if host in word.left:
                    self._hosts[host].untell(port_id, mark)
                if host == word.host and is_plugged(word):
                    self._hosts[host].tell(port_id, mark)
                self._moved[host] = None

    @property
    def missed_after(self) -> int | None:
        """The revision after which the log is to be read, now that there is room; None: nothing is missed."""
        revision = self._region.revision
        seen = self._seen_before(revision + 1)
        return seen if seen < revision and self.words.has_room else None

    def read(self, changes: Iterable[Change]) -> None:
        """Take up what was missed, in order, from the log."""
        for change in changes:
            if self._seen == change.revision - 1 < self._region.revision:
                self._note_changes(change)
                if change.revision <= self._loaded:
                    self._doubt_ports(port.id for port in change.puts.ports if port.revision_number > 1)

    def skip(self) -> None:
        """Give up what was missed: the log does not have it any more."""
        self._seen = self._region.revision

    def progress(self) -> Told:
        """Give what is to be kept now; of hosts those whose mark moved since the last time."""
        settled = [host for host in self._moved if not self.words.has_plugs_of(host)]
        for host in settled:
            del self._moved[host]
            self._doubted.pop(host, None)
        marks = {host: self._hosts[host].mark for host in settled}
        return Told(self._revision_told, marks)

    def unkept(self, told: Told) -> None:
        """Hear that it could not be kept."""
        self._moved = dict.fromkeys(told.marks) | self._moved

    def doubts(self) -> Told | None:
        """Give what is to be kept before more is said: of which hosts something waits. None: of no others."""
        hosts = [host for host, is_kept in self._doubted.items() if not is_kept]
        self._doubted.update(dict.fromkeys(hosts, True))
        return Told(self._revision_told, dict.fromkeys(hosts, DOUBT)) if hosts else None

    # Helpers, in the order of use

    @property
    def _revision_told(self) -> int:
        seen, unsaid = self._seen_before(self._region.revision + 1), self.words.revision_open
        return seen if unsaid is None else min(seen, unsaid - 1)

    def _say(self, word: Word) -> None:
        self._settle_instead(self.words.plug(word.key), word)
        self.words.put_plug(word)
        for host in word.hosts:
            self._doubted.setdefault(host, False)

    def _settle_instead(self, former: Word | None, word: Word) -> None:
        """Of hosts that only the former word was about nothing more is said: their marks may be kept."""
        for host in (former.hosts - word.hosts) & self._hosts.keys() if former is not None else ():
            self._moved[host] = None

    def _seen_before(self, revision: int) -> int:
        if self._seen is None:
            self._seen = revision - 1
        return self._seen

    def _remember(self, port: Port) -> _Server | None:
        server = server_of(port)
        if server is None:
            self._servers.pop(port.id, None)
            return None
        row = self._region.ports.get(port.id)
        found = _Server(server, row.host if row is not None else port.host)  # the region's text, kept once
        self._servers[port.id] = found
        return found

    def _note_changes(self, change: Change) -> None:
        self._seen = change.revision
        for port in change.puts.ports:
            if port.revision_number > 1 and (server := server_of(port)) is not None:
                self.words.put_change(_word(CHANGED, port.id, server, port.host, revision=change.revision))
        for port in change.deletes.ports:
            if (server := server_of(port)) is None:
                continue
            word = _word(DELETED, port.id, server, port.host, revision=change.revision)
            former = self.words.withdraw(word.key)
            word.left = (port.host, *(former.left if former is not None else ()))
            self._settle_instead(former, word)
            self.words.put_change(word)

    def _left(self, port_id: PortId, before: _Server) -> None:
        """A port is no longer that server's, or no longer there."""
        node = self._hosts.get(before.host)
        if node is not None:
            node.forget(port_id)
            if self._is_believed(port_id, before):
                self._say_unplugged(port_id, before)

    def _may_be_active(self, port_id: PortId, host: HostId) -> bool:
        """Is it a server's port that is to be on this host, and up?"""
        row = self._region.ports.get(port_id)
        return port_id in self._servers and row is not None and row.host == host and row.admin_state_up

    def _bound(self, host: HostId) -> list[PortId]:
        """Name the ports of servers that are to be on a host."""
        node = self._region.hosts.get(host)
        rows = node.networks.values() if node is not None else ()
        return [port_id for network in rows for port_id in network if port_id in self._servers]

    def _doubt(self, host: HostId, node: _HostPorts, plugged: set[PortId], *, was_told: bool) -> None:
        """Nobody knows what was told of this host: tell all of it again."""
        node.waiting = dict.fromkeys(plugged, True)
        self.moved(host)
        if not was_told:
            return
        unplugged = [port_id for port_id in self._bound(host) if port_id not in plugged]
        for port_id in unplugged:
            self._say_unplugged(port_id, self._servers[port_id])
        if not (plugged or unplugged):
            self._moved[host] = None  # nothing to say: what is kept is out of date

    def _doubt_ports(self, port_ids: Iterable[PortId]) -> None:
        """Nobody knows what was told of these ports: tell it again, once their hosts say how they are."""
        for port_id in port_ids:
            server = self._servers.get(port_id)
            if server is not None and server.host:
                self._uncertain.add(port_id)
                self._look(port_id)
            elif server is not None:
                self._say(_word(UNPLUGGED, port_id, server.uuid, server.host))

    def _look(self, port_id: PortId, *, anew: bool = False) -> None:
        """Compare what a port is with what was told of it. `anew`: it was plugged, whatever was told."""
        server = self._servers.get(port_id)
        node = self._hosts.get(server.host) if server is not None else None
        state = self._state_of(port_id) if node is not None else None
        if server is None or node is None or state is None:
            return
        is_uncertain = port_id in self._uncertain
        believed = is_uncertain or self._is_believed(port_id, server)
        is_owed = anew or is_uncertain or not believed
        if state.status == "ACTIVE":
            self._uncertain.discard(port_id)
            node.forget(port_id)
            if is_owed:
                self._say(_word(PLUGGED, port_id, server.uuid, server.host))
        elif state.plugged and state.status in ("BUILD", "ERROR"):
            node.waiting[port_id] = is_owed
            if state.status == "ERROR" and is_owed and port_id not in node.failed:
                node.failed.add(port_id)
                self._say(_word(PLUGGED, port_id, server.uuid, server.host, failed=True))
        else:
            self._uncertain.discard(port_id)
            node.forget(port_id)
            if is_uncertain:
                self._say(_word(UNPLUGGED, port_id, server.uuid, server.host, left=(server.host,)))
            elif believed:
                self._say_unplugged(port_id, server)

    def _is_believed(self, port_id: PortId, server: _Server) -> bool:
        """Does the compute service take the port for plugged there, once all that waits is said?"""
        word = self.words.plug((port_id, _text(server.uuid)))
        if word is not None:
            return is_plugged(word) and word.host == server.host
        node = self._hosts.get(server.host)
        return node is not None and node.told.get(port_id) == _mark(port_id, server.uuid)

    def _say_unplugged(self, port_id: PortId, server: _Server) -> None:
        node = self._hosts[server.host]
        word = self.words.plug((port_id, _text(server.uuid)))
        if word is not None and not word.attempted and not word.left and port_id not in node.told:
            self.words.withdraw(word.key)  # it never heard that it was plugged
            self._moved[server.host] = None
            return
        self._say(_word(UNPLUGGED, port_id, server.uuid, server.host, left=(server.host,)))


def server_of(port: Port) -> bytes | None:
    """Give the server that a port belongs to, as Neutron tells it: a compute owner, and a UUID as device."""
    if not port.device_owner.startswith(COMPUTE):
        return None
    try:
        return uuid.UUID(port.device_id).bytes
    except ValueError:
        return None


def _word(
    name: EventName,
    port_id: PortId,
    server: bytes,
    host: HostId,
    *,
    left: tuple[HostId, ...] = (),
    revision: int = 0,
    failed: bool = False,
) -> Word:
    event = ServerEvent(name, _text(server), port_id, "failed" if failed else "completed")
    return Word(event, host, left, revision)


def _text(server: bytes) -> str:
    return str(uuid.UUID(bytes=server))


def _mark(port_id: PortId, server: bytes) -> int:
    digest = hashlib.blake2b(port_id.encode() + server, digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _mark_of_all(marks: dict[PortId, int]) -> int:
    mark = 0
    for part in marks.values():
        mark ^= part
    return mark
