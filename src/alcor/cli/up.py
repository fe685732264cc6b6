"""`alcor up`: start a region and stay until told to stop."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import uvloop

from alcor.cli import identity_options, options
from alcor.control_plane.region import OnDemandBounds
from alcor.model import quota
from alcor.processes.identity import IdentitySettings, Kind
from alcor.processes.region import EMBEDDED, NO_QUEUE, Region, RegionSettings
from alcor.runtime.event_log import EventLog, Level


def default_data_dir() -> Path:
    return Path("/var/lib/alcor") if os.geteuid() == 0 else Path.home() / ".local" / "share" / "alcor"


@click.command("up")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_data_dir,
    show_default="/var/lib/alcor as root",
    help="Where the embedded store keeps its data; found again at the next start.",
)
@click.option(
    "--database", metavar="URL", help="Use this PostgreSQL (postgresql://...) instead of the embedded one."
)
@click.option(
    "--queue",
    metavar="URL",
    default=EMBEDDED,
    show_default=True,
    help="Use this NATS cluster (tls:// or nats://, 2.11 or newer, JetStream), or 'none': no queue path.",
)
@options.queue_credentials
@click.option(
    "--listen",
    default="127.0.0.1:9696",
    show_default=True,
    help="Address of the API; another than loopback needs --identity and TLS.",
)
@identity_options.all_of_them
@click.option(
    "--agents",
    "agent_urls",
    multiple=True,
    default=("tcp://127.0.0.1:9697",),
    show_default=True,
    help="Where agents dial in: tcp://ADDRESS:PORT or unix:///PATH. May be given several times.",
)
@click.option(
    "--on-demand-above",
    type=click.IntRange(0),
    default=OnDemandBounds().above,
    show_default=True,
    metavar="PORTS",
    help="In networks with more ports hosts ask for their neighbours, until fewer than 3/4 of it are left.",
)
@click.option(
    "--quota",
    "quotas",
    multiple=True,
    metavar="KIND=LIMIT",
    callback=lambda _context, _parameter, values: _quotas(values),
    help="What a project may have unless it is told otherwise: port=50000, network=-1 (any number), ... "
    "May be given several times.",
)
@click.option(
    "--audit-days",
    type=click.IntRange(1, 36_500),
    default=90,
    show_default=True,
    help="How long it is kept who did what (`alcor audit export`).",
)
@click.option("--verbose", is_flag=True, help="Log debug events too.")
def command(
    data_dir: Path,
    database: str | None,
    queue: str,
    queue_credentials: Path | None,
    listen: str,
    agent_urls: tuple[str, ...],
    on_demand_above: int,
    quotas: Mapping[str, int],
    identity: IdentitySettings,
    audit_days: int,
    verbose: bool,
) -> None:
    """Start a region: store, API and controller, until Ctrl-C.

    \b
    alcor up                          everything embedded, API on http://127.0.0.1:9696
    alcor up --data-dir ./region      data under ./region
    alcor up --database URL           another PostgreSQL (16 or newer)
    alcor up --identity tokens --listen 0.0.0.0:9696 --tls-cert api.pem --tls-key api.key
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise click.UsageError(f"--listen wants ADDRESS:PORT, not '{listen}'")
    if queue not in (EMBEDDED, NO_QUEUE) and "://" not in queue:
        raise click.UsageError(f"--queue wants the URL of a NATS server or 'none', not '{queue}'")
    settings = RegionSettings(
        data_dir=data_dir.absolute(),
        database=database,
        queue=queue,
        queue_credentials=queue_credentials,
        api_host=host.strip("[]"),
        api_port=int(port),
        agent_urls=agent_urls,
        identity=identity,
        on_demand=OnDemandBounds(above=on_demand_above, below=on_demand_above * 3 // 4),
        quotas=quotas,
        audit_days=audit_days,
    )
    log = EventLog(level=Level.DEBUG if verbose else Level.INFO)
    uvloop.run(_run(settings, log))


def _quotas(values: Sequence[str]) -> dict[str, int]:
    limits = dict(quota.DEFAULT_LIMITS)
    for value in values:
        kind, _, limit = value.partition("=")
        if kind not in limits:
            raise click.BadParameter(f"'{kind}' is not counted; these are: {', '.join(limits)}")
        if not limit.removeprefix("-").isdecimal() or not quota.UNLIMITED <= int(limit) <= quota.LIMIT_MAX:
            raise click.BadParameter(
                f"{kind}: a limit is a number, or {quota.UNLIMITED} for none, not '{limit}'"
            )
        limits[kind] = int(limit)
    return limits


async def _run(settings: RegionSettings, log: EventLog) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    region = Region(settings, log)
    await region.start()
    try:
        click.echo(f"Alcor is up. API: {region.api_url}   agents: {' '.join(region.agent_urls)}")
        click.echo(f"Try: {_first_command(region.api_url, settings.identity.kind)}")
        await _first(told_to_stop, region.failed)
        if region.failed.is_set():
            raise click.ClickException("a part of the region failed; see the event log above")
    finally:
        click.echo("Stopping.", err=True)
        await region.stop()


def _first_command(url: str, kind: Kind) -> str:
    match kind:
        case Kind.NONE:
            return f"openstack --os-auth-type none --os-endpoint {url} network list"
        case Kind.TOKENS:
            return "alcor token create --project PROJECT --user NAME"
        case Kind.KEYSTONE:
            return f"openstack endpoint create network public {url}"


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
