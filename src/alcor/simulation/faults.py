"""What befalls hosts, controllers, the queue and what lies between them: drawn like operations."""

import asyncio
import random

from alcor.model.ids import HostId
from alcor.simulation.cloud import PLACES, Cloud
from alcor.simulation.compute_host import ComputeHost
from alcor.simulation.operations import Operation
from alcor.simulation.term import SimulatedTerm

STORE_AWAY_MAX_S = 4.0


class Faults:
    """Makes things go wrong, and well again: most are ended by the next draw for the same part."""

    def __init__(self, cloud: Cloud, chance: random.Random) -> None:
        self._cloud = cloud
        self._chance = chance

    @property
    def table(self) -> list[tuple[int, Operation]]:
        """Give all of them with weights."""
        return [
            (12, self.restart_agent),
            (6, self.hang_agent),
            (5, self.reboot_host),
            (5, self.cut_stream),
            (4, self.silence_stream),
            (8, self.isolate_host),
            (4, self.lose_switch),
            (3, self.restart_switch),
            (3, self.cut_writer),
            (5, self.refuse_section),
            (4, self.restart_controller),
            (3, self.take_over),
            (3, self.hang_controller),
            (3, self.end_former),
            (4, self.cut_from_store),
            (4, self.cut_from_queue),
            (8, self.part_host_and_controller),
            (3, self.crash_store),
            (4, self.crash_api),
            (4, self.fail_queue),
            (2, self.lose_queue_of_controller),
        ]

    # Hosts

    async def restart_agent(self) -> None:
        """Kill an agent, or start one that is gone; its journal may be lost meanwhile."""
        host = self._host()
        if not host.is_running:
            host.start_agent()
            return
        await host.stop_agent()
        if self._chance.random() < 0.3:
            host.disk.wipe()
            self._cloud.network.forget_old(host.id)
        if self._chance.random() < 0.5 and not host.is_running:
            host.start_agent()

    async def hang_agent(self) -> None:
        """Let an agent's process stand still, or go on; its stream stays open."""
        host = self._host()
        if host.part.hung_at is not None:
            host.part.resume()
        elif host.is_running:
            host.part.hang()

    async def reboot_host(self) -> None:
        host = self._host()
        self._cloud.network.silence(host.id)
        self._cloud.network.forget_old(host.id)
        moved = self._chance.random() < 0.3
        await host.reboot(self._cloud.new_vtep() if moved else host.facts.vtep)
        if self._chance.random() < 0.7 and not host.is_running:
            host.start_agent()

    async def cut_stream(self) -> None:
        self._cloud.network.cut(self._host().id)

    async def silence_stream(self) -> None:
        self._cloud.network.silence(self._host().id)

    async def isolate_host(self) -> None:
        """Take a machine off the network, or put it back."""
        host_id = self._host().id
        if host_id in self._cloud.unreachable:
            self._cloud.unreachable.discard(host_id)
        else:
            self._cloud.isolate(host_id)

    async def lose_switch(self) -> None:
        """Take a host's switch from all who write to it, or give it back."""
        host = self._host()
        if host.fence.is_down:
            host.restart_switch()
        else:
            host.lose_switch()

    async def restart_switch(self) -> None:
        self._host().restart_switch()

    async def cut_writer(self) -> None:
        """Cut the connection of whoever writes to a switch."""
        fence = self._host().fence
        if fence.master is not None:
            fence.cut(fence.master)

    async def refuse_section(self) -> None:
        """Let a switch refuse a section, or take all it refused before."""
        host = self._host()
        if host.refuses or not host.state.sections:
            host.refuses.clear()
        else:
            host.refuses.add(self._chance.choice(sorted(host.state.sections)))

    # Controllers

    async def restart_controller(self) -> None:
        """End the newest; whatever supervises it starts another."""
        if self._cloud.terms:
            await self._cloud.stop_controller(self._cloud.terms[-1], crash=self._chance.random() < 0.7)

    async def take_over(self) -> None:
        """Begin a newer term while the one before is alive: it may be cut off, hung, or in best health."""
        if self._cloud.terms:
            draw = self._chance.random()
            former = self._cloud.terms[-1]
            if draw < 0.4:
                former.session.is_cut = True
            elif draw < 0.6:
                former.part.hang()
            await self._cloud.start_controller()

    async def end_former(self) -> None:
        """End a controller that another has taken over from."""
        if len(self._cloud.terms) > 1:
            await self._cloud.stop_controller(self._cloud.terms[0], crash=self._chance.random() < 0.7)

    async def hang_controller(self) -> None:
        """Let a controller's process stand still, or go on."""
        term = self._term()
        if term is not None and term.part.hung_at is None:
            term.part.hang()
        elif term is not None:
            term.part.resume()

    async def cut_from_store(self) -> None:
        """Part a controller and the store, or end that."""
        if (term := self._term()) is not None:
            term.session.is_cut = not term.session.is_cut

    async def cut_from_queue(self) -> None:
        """Part a controller and the queue, or end that."""
        term = self._term()
        if term is not None and self._chance.random() < 0.5:
            term.queue_end.cut()
        elif term is not None:
            term.queue_end.join()

    async def part_host_and_controller(self) -> None:
        """Let a machine and a controller's place not meet, or end that."""
        between = self._host().id, self._chance.choice(PLACES)
        if between in self._cloud.partitions:
            self._cloud.partitions.discard(between)
        else:
            self._cloud.partitions.add(between)
            self._cloud.network.silence(*between)

    # The store and the API's processes

    async def crash_store(self) -> None:
        """Let the store's server crash, and come back a moment later."""
        server = self._cloud.store_server
        if server.is_up:
            server.crash()
            await asyncio.sleep(self._chance.uniform(0.05, STORE_AWAY_MAX_S))
            server.come_back()

    async def crash_api(self) -> None:
        """Kill an API process; whatever supervises it starts another at once."""
        self._cloud.crash_api(self._chance.choice(self._cloud.apis))

    # The queue

    async def fail_queue(self) -> None:
        """End the queue's server, or start it again; what it kept may be wiped."""
        queue = self._cloud.queue
        if queue.is_up:
            queue.fail(wipe=self._chance.random() < 0.5)
        else:
            queue.come_back()

    async def lose_queue_of_controller(self) -> None:
        if (term := self._term()) is not None:
            term.queue_end.lose()

    # Choosing

    def _host(self) -> ComputeHost:
        hosts: list[HostId] = list(self._cloud.hosts)
        return self._cloud.hosts[self._chance.choice(hosts)]

    def _term(self) -> SimulatedTerm | None:
        return self._chance.choice(self._cloud.terms) if self._cloud.terms else None
