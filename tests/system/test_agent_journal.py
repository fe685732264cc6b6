"""The journal on a disk: restarts, torn tails, growth, and a disk that is full."""

import asyncio
import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from alcor.contracts.agent_channel import Update
from alcor.host_agent import inbox, journal
from alcor.host_agent.applier import Applier, Received
from alcor.host_agent.journal import FileJournal, NoJournal
from alcor.host_agent.settings import USUAL
from alcor.model import errors
from alcor.model.goal_state import HostState, SectionUpdate
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.agent import FailingDataPlane, delta, full, key


def frame(*sections: SectionUpdate) -> bytes:
    return msgspec.msgpack.encode(Update(1, sections))


def loaded(directory: Path) -> HostState:
    reader = FileJournal(directory)
    try:
        return reader.load()
    finally:
        reader.close()


def test_what_was_appended_is_there_after_a_restart_and_after_a_torn_tail(tmp_path: Path) -> None:
    writer = FileJournal(tmp_path / "state")
    writer.load()
    writer.append([frame(full("a", 1, "p")), frame(delta("a", 1, 2, "q"))])
    writer.close()
    path = tmp_path / "state" / "journal"
    assert loaded(tmp_path / "state").versions[key("a")].revision == 2
    path.write_bytes(path.read_bytes()[:-3])
    again = FileJournal(tmp_path / "state")
    assert again.load().versions[key("a")].revision == 1
    again.append([frame(delta("a", 1, 3, "r"))])  # goes where the torn record was
    again.close()
    assert loaded(tmp_path / "state").full_updates() == [full("a", 3, "p", "r")]


def test_only_its_owner_may_read_it_and_only_one_agent_may_use_it(tmp_path: Path) -> None:
    writer = FileJournal(tmp_path / "state")
    writer.load()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == {"journal": 0o600, "lock": 0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    with pytest.raises(errors.Unavailable, match="another agent"):
        loaded(tmp_path / "state")
    writer.close()
    loaded(tmp_path / "state")


def test_its_size_is_bounded_however_many_updates_come(tmp_path: Path) -> None:
    writer = FileJournal(tmp_path)
    state = writer.load()
    names = [f"port-{number}" for number in range(500)]
    compactions = 0
    for revision in range(1, 200):
        update = full("a", revision, *names)
        inbox.receive(state, update)
        writer.append([frame(update)])
        if writer.wants_compaction:
            writer.compact(state, lambda: True)
            compactions += 1
        size = (tmp_path / "journal").stat().st_size
        assert size <= max(journal.COMPACT_MIN_BYTES, 3 * len(journal.snapshot(state))) + 2 * len(frame(update))
    writer.append([frame(full("b", 1))])  # to the new file, not to the one that was replaced
    writer.close()
    assert 2 < compactions < 100
    assert loaded(tmp_path).full_updates() == [*state.full_updates(), full("b", 1)]


def test_a_compaction_that_was_cut_short_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    writer = FileJournal(tmp_path)
    state = writer.load()
    inbox.receive(state, full("a", 1, "p"))
    writer.append([frame(full("a", 1, "p"))])
    (tmp_path / "journal.next").mkdir()  # it cannot be written
    with pytest.raises(errors.Unavailable):
        writer.compact(state, lambda: True)
    writer.append([frame(delta("a", 1, 2, "q"))])
    writer.close()
    assert loaded(tmp_path).full_updates() == [full("a", 2, "p", "q")]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let files grow to so many bytes only, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("more", [0, 5])
def test_a_disk_that_takes_an_update_not_or_in_part_keeps_nothing_that_is_older(
    more: int, tmp_path: Path
) -> None:
    """A restart would put it in force on a switch that does what is newer."""
    writer = FileJournal(tmp_path)
    state = writer.load()
    writer.append([frame(full("a", 1, "p"))])
    with room_for((tmp_path / "journal").stat().st_size + more), pytest.raises(errors.Unavailable):
        writer.append([frame(full("a", 2, "p", "q"))])
    assert (tmp_path / "journal").stat().st_size == 0
    assert writer.wants_compaction
    inbox.receive(state, full("a", 2, "p", "q"))
    writer.compact(state, lambda: True)
    writer.append([frame(full("b", 1))])
    assert not writer.wants_compaction
    writer.close()
    assert loaded(tmp_path).full_updates() == [full("a", 2, "p", "q"), full("b", 1)]


def test_a_disk_that_stays_full_is_asked_to_take_all_ever_more_rarely(tmp_path: Path) -> None:
    writer = FileJournal(tmp_path)
    state = writer.load()
    inbox.receive(state, full("a", 1, "p"))
    tries = 0
    with room_for(0):
        for revision in range(1, 101):
            with pytest.raises(errors.Unavailable):
                writer.append([frame(full("a", revision, "p"))])
            if writer.wants_compaction:
                tries += 1
                with pytest.raises(errors.Unavailable):
                    writer.compact(state, lambda: True)
            assert not writer.wants_compaction
    assert tries == 7
    writer.append([frame(full("a", 101, "p"))])
    assert writer.wants_compaction, "there is room again"
    writer.close()


def test_what_is_forgotten_is_not_there_after_a_restart(tmp_path: Path) -> None:
    writer = FileJournal(tmp_path)
    writer.load()
    writer.append([frame(full("a", 1, "p"))])
    writer.forget()
    writer.append([frame(full("b", 1))])
    writer.close()
    assert loaded(tmp_path).full_updates() == [full("b", 1)]


class Gate:
    """Holds a thread where a function is called, until it is opened."""

    def __init__(self, patch: pytest.MonkeyPatch, where: object, name: str) -> None:
        self.met = threading.Event()
        self.opened = threading.Event()
        self._before = getattr(where, name)
        patch.setattr(where, name, self._call)

    def _call(self, *given: object) -> object:
        if threading.current_thread() is not threading.main_thread():
            self.met.set()
            assert self.opened.wait(5)
        return self._before(*given)


@pytest.mark.parametrize(("where", "name"), [(journal, "snapshot"), (os, "fsync"), (os, "rename")])
async def test_what_is_forgotten_while_the_journal_is_rewritten_stays_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    """An agent that is fenced knows that another wrote what is newer: a restart must not bring its own back."""
    kept = FileJournal(tmp_path)
    applier = Applier(FailingDataPlane(), kept, SystemClock(), SILENT, USUAL)
    applier.load()
    monkeypatch.setattr(journal, "COMPACT_MIN_BYTES", 10)
    gate = Gate(monkeypatch, where, name)
    await applier.apply([received(full("a", 1, "p"))])
    rewriting = asyncio.create_task(applier.compact())
    assert await asyncio.to_thread(gate.met.wait, 5)
    threading.Timer(0.1, gate.opened.set).start()  # what forgets may have to wait for it
    applier.forget()
    await rewriting
    assert applier.held() == ()
    await applier.apply([received(full("b", 2, "q"))])  # and it goes on in one piece
    kept.close()
    assert loaded(tmp_path).full_updates() == [full("b", 2, "q")]


async def test_a_journal_that_is_closed_while_it_is_rewritten_is_another_agent_s_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = FileJournal(tmp_path)
    state = first.load()
    inbox.receive(state, full("a", 1, "p"))
    first.append([frame(full("a", 1, "p"))])
    gate = Gate(monkeypatch, journal, "snapshot")
    rewriting = asyncio.create_task(asyncio.to_thread(first.compact, state, lambda: True))
    assert await asyncio.to_thread(gate.met.wait, 5)
    first.close()
    second = FileJournal(tmp_path)
    second.load()
    second.append([frame(delta("a", 1, 2, "q"))])
    gate.opened.set()
    await rewriting
    second.append([frame(delta("a", 2, 3, "r"))])
    second.close()
    assert loaded(tmp_path).full_updates() == [full("a", 3, "p", "q", "r")]


async def test_an_agent_that_forgets_while_the_data_plane_is_at_work_does_not_take_itself_for_complete() -> (
    None
):
    """Else it would remove all that the other one wrote as soon as it has the switch again (law 6)."""
    plane = FailingDataPlane()
    applier = Applier(plane, NoJournal(), SystemClock(), SILENT, USUAL)
    applier.load()
    plane.gate.clear()
    update = Update(1, (full("a", 1, "p"),), complete=True)
    applying = asyncio.create_task(applier.apply([Received(update, msgspec.msgpack.encode(update))]))
    await asyncio.sleep(0.01)
    applier.forget()
    plane.gate.set()
    await applying
    await applier.synchronise()
    assert plane.synchronised == [True, False]


def received(*sections: SectionUpdate) -> Received:
    return Received(Update(1, sections), frame(*sections))
