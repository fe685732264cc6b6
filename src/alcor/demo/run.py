"""The demonstration from start to end: set up, provision, plug, try every packet, report."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from alcor.client.api import ApiClient
from alcor.demo import packet_check, provisioning, report, scenario, shows, tenants
from alcor.demo.hosts import DemoHosts
from alcor.demo.last_words import last_words
from alcor.demo.results import Results
from alcor.demo.scenario import Endpoint
from alcor.demo.stage import Stage
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors

SAMPLE_MIN = 40


class DemoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be chosen."""

    serial_ports: int
    batched_ports: int
    chart: Path
    api_port: int | None
    shows: Sequence[str] = ()


class Demo:
    """Owner of the region and the hosts of one demonstration."""

    def __init__(self, settings: DemoSettings, hosts: DemoHosts, console: Console) -> None:
        self._settings = settings
        self._hosts = hosts
        self._console = console
        self._directory = Path(tempfile.mkdtemp(prefix="alcor-demo-"))
        self._directory.chmod(0o755)  # the embedded database runs as another user
        self.region = RegionProcess(self._directory, api_port=settings.api_port)

    async def run(self) -> Results:
        """Do everything once. Raises the six kinds of error when a part does not come up."""
        try:
            return await self._run()
        except errors.Broken:
            for line in last_words([self._directory / "region.log", *self._hosts.logs()]):
                self._console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
            raise

    async def _run(self) -> Results:
        began = time.perf_counter()
        settings, names = self._settings, self._hosts.names
        with self._console.status("starting the region and its hosts"):
            await self.region.start()
            region = self.region
            await self._hosts.start(region.agent_url, region.authority, region.queue_url)
            async with ApiClient(self.region.url) as api:
                await hosts_alive(api, len(names))
            vpcs = await tenants.build(self.region.url)
        setup_s = time.perf_counter() - began
        self._console.print(
            f"region up with {len(names)} hosts ({self._hosts.data_plane} data plane) and "
            f"{len(vpcs)} tenants with the same addresses, in {setup_s:.1f} s"
        )
        async with ApiClient(self.region.url) as api:
            with self._progress() as progress:
                task = progress.add_task("one call each", total=settings.serial_ports)
                serial, serial_endpoints = await provisioning.serially(
                    api,
                    vpcs,
                    names,
                    count=settings.serial_ports,
                    progress=lambda steps: progress.advance(task, steps),
                )
                task = progress.add_task("one call for all", total=settings.batched_ports)
                batched, endpoints = await provisioning.batched(
                    api, vpcs, names, first=settings.serial_ports, count=settings.batched_ports
                )
                progress.advance(task, batched.in_force)
            sample = choose_sample(serial_endpoints + endpoints, hosts=len(names))
            with self._console.status(f"plugging {len(sample)} workloads, addresses by DHCP"):
                plug = await self._hosts.plug(api, sample)
        with self._console.status("trying every pair by ping and TCP"):
            packets = await packet_check.attempt_all(self._hosts, sample)
        async with ApiClient(self.region.url) as api:
            stage = Stage(
                api=api,
                hosts=self._hosts,
                vpcs=vpcs,
                sample=sample,
                ports=settings.serial_ports + settings.batched_ports,
                console=self._console,
            )
            paths = {name: await shows.SHOWS[name](stage) for name in settings.shows}
        return Results(
            data_plane=self._hosts.data_plane,
            hosts=len(names),
            serial=serial,
            batched=batched,
            plug=plug,
            packets=packets,
            setup_s=round(setup_s, 2),
            paths=paths,
            total_s=round(time.perf_counter() - began, 2),
        )

    async def stop(self) -> None:
        """Remove everything that was started."""
        with contextlib.suppress(errors.AlcorError):
            await self._hosts.stop()
        await self.region.stop()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def _progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description:<17}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )


def choose_sample(endpoints: Sequence[Endpoint], *, hosts: int) -> list[Endpoint]:
    """Take the last ports, so many that every tenant, subnet, group and host is among them.

    The second tenant's every other port is taken from the round before: so that half of the addresses are held
    by workloads of both tenants, and half by one only, where the other must not reach it.
    """
    combinations = len(scenario.TENANTS) * len(scenario.SUBNETS) * len(scenario.GROUPS) * hosts
    rounds = -(-SAMPLE_MIN // combinations)
    first = len(endpoints) - rounds * combinations
    sample = []
    for number, endpoint in enumerate(endpoints[first:]):
        from_before = endpoint.tenant == scenario.TENANTS[1] and number // len(scenario.TENANTS) % 2 == 1
        sample.append(
            endpoints[first + number - combinations] if from_before and first >= combinations else endpoint
        )
    return sample


def show(results: Results, settings: DemoSettings, console: Console) -> None:
    """Print the report and draw the chart."""
    report.show(results, console)
    report.write_chart(results, settings.chart)
    console.print(f"chart: {settings.chart}")
