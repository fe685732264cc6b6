"""Two writers on one real switch: whoever has the older token is refused by the switch itself."""

import asyncio
import ctypes
import datetime
import io
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from ovs_scene import Events, hold, needs_ovs

from alcor.adapters import certificates
from alcor.adapters.certificates import Authority
from alcor.contracts.data_plane import HostFacts
from alcor.data_plane.ovs import endpoint, fence
from alcor.data_plane.ovs.driver import OvsDataPlane
from alcor.data_plane.ovs.endpoint import SwitchEndpoints
from alcor.data_plane.ovs.fence import Bid
from alcor.data_plane.ovs.openflow import OpenFlowConnection, Stale
from alcor.data_plane.ovs.ovsdb import OvsdbConnection, WaitFailed
from alcor.data_plane.ovs.probe import greet, probe
from alcor.data_plane.ovs.setup import Exposure
from alcor.lab.host import SWITCH, EmulatedHost
from alcor.lab.inside import enter
from alcor.lab.laboratory import Laboratory
from alcor.model.addressing import ip_to_text
from alcor.model.errors import Invalid, Unavailable
from alcor.model.goal_state import (
    HostState,
    LocalPort,
    NetworkChange,
    NetworkEntry,
    SectionUpdate,
    network_key,
)
from alcor.model.ids import NetworkId, PortId, SubnetId, Vni
from alcor.model.records import FixedIp
from alcor.model.version import Version
from alcor.runtime import tls
from alcor.runtime.event_log import EventLog

pytestmark = [pytest.mark.ovs, needs_ovs]
libc = ctypes.CDLL(None)


class Writer:
    """A driver with what it tells, for a host that may not be its own."""

    def __init__(
        self,
        host: EmulatedHost,
        place: Path | SwitchEndpoints,
        name: str,
        token: int,
        *,
        exposure: Exposure | None = None,
        lease_ms: int = 0,
    ) -> None:
        self.events = Events()
        self.fenced = asyncio.Event()
        self.events.fenced = lambda _: self.fenced.set()  # type: ignore[method-assign]
        facts = HostFacts(host.name, host.vtep, 0x0E0000000001)
        log = EventLog(stream=io.StringIO())
        self.driver = OvsDataPlane(facts, place, log, bid=Bid(token, name, lease_ms), exposure=exposure)
        self.state = HostState()

    async def until_ready(self) -> None:
        """Wait until it may write, and synchronise."""
        await asyncio.wait_for(self.events.is_ready.wait(), 15.0)
        await self.driver.synchronise(self.state, remove=False)

    async def claimed(self, token: int) -> None:
        """Wait until it writes under a token."""
        while True:
            if self.driver.token == token:
                await self.driver.synchronise(self.state, remove=False)
                return
            await asyncio.sleep(0.01)

    async def write(self, number: int) -> None:
        """Put one more port in force: flows that were not there before. Raises Unavailable."""
        name = f"n{number}"
        port = LocalPort(PortId(name), number, (FixedIp(SubnetId("s"), b"\x0a\x00\x00\x05"),), (), True, True)
        network = NetworkEntry(NetworkId(name), Vni(number), 1450, True)
        change = NetworkChange(network=network, set_ports=(port,))
        update = SectionUpdate(network_key(name), None, Version(1, number), change)
        hold(self.state, update)
        assert not await self.driver.apply(self.state, [update])


class Pair:
    """A host of a lab with its own writer, and a neighbour that may write to it, over TLS."""

    def __init__(self, lab: Laboratory) -> None:
        self.host, self.neighbour = lab.hosts
        directory = lab.directory / "certificates"
        authority = Authority.open(lab.directory / "authority")
        for host in lab.hosts:
            authority.issue_host(host.name, directory / host.name)
        own = directory / self.host.name
        files = (str(own / name) for name in ("switch.key", "switch.pem", tls.RESCUERS))
        self.exposure = Exposure(ip_to_text(self.host.vtep), *files)
        self.authority = authority
        self.own_directory = own
        self.neighbour_directory = directory / self.neighbour.name
        self.remote = self.remote_with(self.ordered_to(self.host.name))
        self.writers: list[Writer] = []

    def ordered_to(self, target: str) -> ssl.SSLContext:
        """Connect with what an order to rescue a host brings the neighbour."""
        key = certificates.agent_key(self.neighbour_directory)
        certificate = self.authority.certify_rescuer(target, self.neighbour.name, key.public)
        return tls.RescuerContext(self.neighbour_directory, key, certificate).context

    def remote_with(self, context: ssl.SSLContext) -> SwitchEndpoints:
        return endpoint.remote(self.host.name, self.host.vtep, context)

    async def own(self, token: int = 0) -> Writer:
        return await self._add(
            Writer(self.host, self.host.run_dir, self.host.name, token, exposure=self.exposure)
        )

    async def rescuer(self, token: int, name: str = "neighbour", *, lease_ms: int = 0) -> Writer:
        return await self._add(Writer(self.host, self.remote, name, token, lease_ms=lease_ms))

    async def close(self) -> None:
        await asyncio.gather(*(writer.driver.close() for writer in self.writers))

    async def _add(self, writer: Writer) -> Writer:
        self.writers.append(writer)
        await writer.driver.start(writer.events)
        return writer


@pytest_asyncio.fixture
async def pair() -> AsyncIterator[Pair]:
    with Laboratory(hosts=2) as lab:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        made = Pair(lab)
        try:
            # As the neighbour's agent would: from its own namespace, over the underlay.
            enter(made.neighbour.namespace)
            yield made
        finally:
            await made.close()
            libc.setns(home, 0)
            os.close(home)


async def test_the_newer_token_writes_and_the_older_one_is_refused_at_once(pair: Pair) -> None:
    own = await pair.own()
    await own.until_ready()
    await own.write(101)
    rescuer = await pair.rescuer(token=5)
    await rescuer.until_ready()
    await rescuer.write(102)
    await asyncio.wait_for(own.fenced.wait(), 5)
    with pytest.raises(Unavailable):
        await own.write(103)
    own.driver.grant(6)
    await own.until_ready()
    await own.write(104)
    await asyncio.wait_for(rescuer.fenced.wait(), 5)
    with pytest.raises(Unavailable):
        await rescuer.write(105)
    recorded = await asyncio.to_thread(pair.host.vsctl, ["get", "bridge", "br-int", "external_ids"])
    assert f'{fence.TOKEN}="6"' in recorded
    assert f"{fence.WRITER}={pair.host.name}" in recorded


async def test_who_claims_after_another_wrote_is_told_so_even_under_a_token_that_was_newer_all_along(
    pair: Pair,
) -> None:
    former = await pair.own()
    await former.until_ready()
    await former.driver.close()
    rescuer = await pair.rescuer(token=5)
    await rescuer.until_ready()
    own = await pair.own(token=9)  # granted before the rescuer came, and claimed only now
    await own.until_ready()
    assert own.fenced.is_set()
    await own.write(101)


async def test_what_was_granted_is_claimed_before_the_next_write(pair: Pair) -> None:
    own = await pair.own(token=3)
    await own.until_ready()
    own.driver.grant(7)
    await own.write(101)
    assert own.driver.token == 7


async def test_an_older_token_is_refused_before_it_writes_and_over_a_restart_of_the_switch(pair: Pair) -> None:
    own = await pair.own(token=9)
    await own.until_ready()
    late = await pair.rescuer(token=8)
    await asyncio.wait_for(late.fenced.wait(), 5)
    await asyncio.to_thread(pair.host.kill, SWITCH)  # it forgets generations; the database does not
    await asyncio.to_thread(pair.host.start_switch)
    late.driver.grant(7)  # older than its own: changes nothing
    later = await pair.rescuer(token=8, name="other")
    await asyncio.wait_for(later.fenced.wait(), 5)
    await own.until_ready()
    await own.write(101)
    assert not late.events.is_ready.is_set()
    assert not later.events.is_ready.is_set()


async def test_the_switch_refuses_a_stale_master_and_a_stale_transaction_by_itself(pair: Pair) -> None:
    own = await pair.own(token=9)
    await own.until_ready()
    switch = await OpenFlowConnection.open(pair.remote.bridge, on_packet=print, on_lost=lambda _: None)
    database = await OvsdbConnection.open(pair.remote.database, on_update=print, on_lost=lambda _: None)
    try:
        with pytest.raises(Stale):
            await switch.become_master(8)
        write = {"op": "update", "table": "Bridge", "where": [], "row": {"mcast_snooping_enable": True}}
        with pytest.raises(WaitFailed):
            await database.transact([fence.guard("br-int", 8, "neighbour"), write])
        assert await database.transact([fence.guard("br-int", 9, pair.host.name)])
    finally:
        switch.close()
        database.close()


async def test_a_lease_that_is_renewed_keeps_others_away_and_one_that_is_not_lets_them_in(pair: Pair) -> None:
    own = await pair.own()
    await own.until_ready()
    rescuer = await pair.rescuer(token=6, lease_ms=1000)
    await rescuer.until_ready()
    await asyncio.wait_for(own.fenced.wait(), 5)
    await asyncio.sleep(4.0)  # more than twice the time after which it would lapse
    await rescuer.write(101)
    with pytest.raises(Unavailable):
        await own.write(102)
    own.events.is_ready.clear()
    await rescuer.driver.close()  # as one that died: the record stays
    await own.until_ready()  # nobody granted anything
    await own.write(103)
    recorded = await asyncio.to_thread(pair.host.vsctl, ["get", "bridge", "br-int", "external_ids"])
    assert f'{fence.TOKEN}="7"' in recorded
    assert fence.LEASE not in recorded


async def test_two_that_write_without_pause_never_write_at_the_same_time(pair: Pair) -> None:
    """Each is granted newer tokens in turn; what one wrote after the other's claim must not be there."""
    own, rescuer = await pair.own(), await pair.rescuer(token=1)
    refused = written = 0
    for turn in range(2, 12):
        holder, other = (own, rescuer) if turn % 2 else (rescuer, own)
        holder.driver.grant(turn)
        await asyncio.wait_for(holder.claimed(turn), 10)
        before = await asyncio.to_thread(pair.host.ofctl, "dump-flows")
        try:
            await other.write(1000 + turn)
            refused -= 1000  # nobody with an older token may succeed
        except Unavailable:
            refused += 1
        assert await asyncio.to_thread(pair.host.ofctl, "dump-flows") == before
        await holder.write(2000 + turn)
        written += 1
    assert (refused, written) == (10, 10)


async def test_only_who_was_ordered_to_that_host_is_let_in_by_its_switch(pair: Pair) -> None:
    own = await pair.own()
    await own.until_ready()
    await probe(pair.remote)
    misnamed = endpoint.remote("another-host", pair.host.vtep, pair.ordered_to(pair.host.name))
    with pytest.raises(Unavailable):
        await probe(misnamed)
    strangers = Authority.open(pair.own_directory.parent / "strangers")
    strangers.issue_host("h2", pair.own_directory.parent / "stranger")
    stranger = tls.agent_context(pair.own_directory.parent / "stranger")
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    as_switch = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    as_switch.load_verify_locations(pair.own_directory / tls.AUTHORITY)
    as_switch.load_cert_chain(pair.own_directory / "switch.pem", pair.own_directory / "switch.key")
    for context in (
        stranger,
        as_switch,
        tls.agent_context(pair.neighbour_directory),  # an agent of the region, which has no order
        tls.agent_context(pair.own_directory),  # nor has the host's own, which comes by socket files
        pair.ordered_to("another-host"),
        tls.greeting_context(pair.neighbour_directory),
    ):
        assert not any(await lets_in(pair.remote_with(context)))
    assert all(await lets_in(pair.remote))


async def test_an_order_s_certificate_opens_no_new_connection_once_it_has_expired(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await pair.own()
    await own.until_ready()
    life = datetime.timedelta(seconds=4)
    monkeypatch.setattr(certificates, "RESCUER_LIFE", life)
    context = pair.ordered_to(pair.host.name)
    remote = pair.remote_with(context)
    session = _speak(remote.database, context, None)
    database = await OvsdbConnection.open(remote.database, on_update=print, on_lost=lambda _: None)
    try:
        assert all(await lets_in(remote))
        await asyncio.sleep(life.total_seconds() + 1)
        assert not any(await lets_in(remote))
        with pytest.raises(
            ConnectionError
        ):  # nor does a session of before it expired, which TLS could go on with
            _speak(remote.database, context, session)
        assert await database.transact([fence.guard("br-int", 0, pair.host.name)])  # it has its connection
    finally:
        database.close()
    assert all(await lets_in(pair.remote))


async def test_a_renewed_certificate_is_used_for_connections_from_then_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = await pair.own()
    await own.until_ready()
    key = certificates.agent_key(pair.neighbour_directory)
    with monkeypatch.context() as short:
        short.setattr(certificates, "RESCUER_LIFE", datetime.timedelta(seconds=-1))
        expired = pair.authority.certify_rescuer(pair.host.name, pair.neighbour.name, key.public)
    held = tls.RescuerContext(pair.neighbour_directory, key, expired)
    remote = pair.remote_with(held.context)
    assert not any(await lets_in(remote))
    held.renew(pair.authority.certify_rescuer(pair.host.name, pair.neighbour.name, key.public))
    assert all(await lets_in(remote))
    with pytest.raises(Invalid):  # of another key
        held.renew(
            pair.authority.certify_rescuer(
                pair.host.name, pair.neighbour.name, certificates.agent_key(pair.own_directory).public
            )
        )
    assert all(await lets_in(remote))


async def test_a_switch_proves_that_it_is_at_work_to_a_neighbour_that_it_does_not_let_in(pair: Pair) -> None:
    own = await pair.own()
    await own.until_ready()
    greeted = pair.remote_with(tls.greeting_context(pair.neighbour_directory))
    await greet(greeted)
    misnamed = endpoint.remote("another-host", pair.host.vtep, tls.greeting_context(pair.neighbour_directory))
    with pytest.raises(Unavailable):
        await greet(misnamed)
    await asyncio.to_thread(pair.host.kill, SWITCH)
    with pytest.raises(Unavailable):
        await greet(greeted)


async def lets_in(place: SwitchEndpoints) -> tuple[bool, bool]:
    """Do database and bridge have a word with whoever connects so?"""
    found = []
    for ask in (_ask_database, _ask_bridge):
        try:
            await ask(place)
            found.append(True)
        except Unavailable:
            found.append(False)
    return found[0], found[1]


def _speak(
    place: endpoint.Endpoint, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    """Have a word with a database, going on with a TLS session if one is given. Raises ConnectionError."""
    try:
        with (
            socket.create_connection((place.address, place.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=place.name, session=session) as secured,
        ):
            secured.sendall(b'{"method": "list_dbs", "params": [], "id": 0}')
            if not secured.recv(4096):
                raise ConnectionError("it does not answer")
            return secured.session
    except ssl.SSLError as error:
        raise ConnectionError("it does not let us in") from error


async def _ask_database(place: SwitchEndpoints) -> None:
    database = await OvsdbConnection.open(place.database, on_update=print, on_lost=lambda _: None)
    try:
        await database.transact([])
    finally:
        database.close()


async def _ask_bridge(place: SwitchEndpoints) -> None:
    switch = await OpenFlowConnection.open(place.bridge, on_packet=print, on_lost=lambda _: None)
    switch.close()
