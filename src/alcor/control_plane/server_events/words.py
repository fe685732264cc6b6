"""What is still to be said to the compute service, one word for each port and server. Pure.

Of plugged and unplugged the last counts; a port's removal says all that there was to say of its changes. So
what waits never exceeds the ports there are, and removals beyond a limit are read from the change log later.
"""

from collections.abc import Iterable
from itertools import islice

import msgspec

from alcor.contracts.server_events import DELETED, PLUGGED, ServerEvent
from alcor.model.ids import HostId, PortId

CHANGES_MAX = 10_000  # that wait; from then on they are read from the change log when there is room

Key = tuple[PortId, str]  # a port and its server


class Word(msgspec.Struct):
    """An event that waits. `left`: hosts where the port is told to be plugged until this was said."""

    event: ServerEvent
    host: HostId
    left: tuple[HostId, ...] = ()
    revision: int = 0  # of the change it follows from; 0: it follows from none
    attempted: bool = False  # it may have been heard already, or what it replaces

    @property
    def key(self) -> Key:
        return PortId(self.event.tag), self.event.server_uuid

    @property
    def hosts(self) -> set[HostId]:
        """The hosts of which it tells something."""
        return {host for host in (self.host, *self.left) if host}


class Words:
    """Owner of the words that wait."""

    def __init__(self) -> None:
        self._plugs: dict[Key, Word] = {}
        self._changes: dict[Key, Word] = {}  # in the order of their revisions
        self._plugs_of: dict[HostId, int] = {}  # how many of the plugs concern a host

    def __len__(self) -> int:
        return len(self._plugs) + len(self._changes)

    @property
    def has_room(self) -> bool:
        """May what changed be added?"""
        return len(self._changes) < CHANGES_MAX

    @property
    def revision_open(self) -> int | None:
        """The oldest revision of which something waits; None: nothing of any."""
        first = next(iter(self._changes.values()), None)
        return None if first is None else first.revision

    def plug(self, key: Key) -> Word | None:
        """Give what waits to be said of a port's plug."""
        return self._plugs.get(key)

    def has_plugs_of(self, host: HostId) -> bool:
        """Does anything wait to be said of plugs on a host?"""
        return host in self._plugs_of

    def put_plug(self, word: Word) -> None:
        """Have a port's plug told, instead of what waited. O(1)."""
        former = self.withdraw(word.key)
        if former is not None:
            word.left = tuple(dict.fromkeys((*former.left, *word.left)))
            word.attempted = former.attempted
        self._plugs[word.key] = word
        for host in word.hosts:
            self._plugs_of[host] = self._plugs_of.get(host, 0) + 1

    def withdraw(self, key: Key) -> Word | None:
        """Take back what waits to be said of a port's plug."""
        word = self._plugs.pop(key, None)
        for host in word.hosts if word is not None else ():
            self._plugs_of[host] -= 1
            if not self._plugs_of[host]:
                del self._plugs_of[host]
        return word

    def put_change(self, word: Word) -> None:
        """Have a change or removal told. One that waits speaks for both, unless it is under way. O(1)."""
        former = self._changes.get(word.key)
        if former is not None:
            if former.event.name == DELETED or (word.event.name != DELETED and not former.attempted):
                return
            word.revision = former.revision  # it keeps that one's place: the oldest is first
        self._changes[word.key] = word

    def batch(self, limit: int) -> list[Word]:
        """Give the next words to say; they wait until `said`. Plugs first: servers wait for them."""
        words = list(islice(self._plugs.values(), limit))
        words += islice(self._changes.values(), limit - len(words))
        return words

    def said(self, words: Iterable[Word]) -> None:
        """Forget words that were heard, unless something else is to be said of the same port now."""
        for word in words:
            if self._plugs.get(word.key) is word:
                self.withdraw(word.key)
            elif self._changes.get(word.key) is word:
                del self._changes[word.key]


def is_plugged(word: Word) -> bool:
    """Does the word make the compute service believe that the port is plugged?"""
    return word.event.name == PLUGGED and word.event.status == "completed"
