"""`alcor up`: start a region and stay until told to stop."""

from pathlib import Path

import click
import uvloop

from alcor.cli import api_options, options, running
from alcor.control_plane.region import OnDemandBounds
from alcor.processes.api_server import ApiSettings
from alcor.processes.identity import Kind
from alcor.processes.nova import NovaSettings
from alcor.processes.region import EMBEDDED, NO_QUEUE, Region, RegionSettings
from alcor.runtime.event_log import EventLog, Level


@click.command("up")
@api_options.all_of_them
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
    "--agents",
    "agent_urls",
    multiple=True,
    default=("tcp://127.0.0.1:9697",),
    show_default=True,
    help="Where agents dial in: tcps://ADDRESS:PORT, unix:///PATH, or tcp:// on loopback. May be given several "
    "times.",
)
@click.option(
    "--allow-plain-agents",
    is_flag=True,
    help="Take agents without certificates off loopback, too: any machine there can speak for any host.",
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
    "--api-processes",
    "api_process_urls",
    multiple=True,
    metavar="URL",
    help="Where other API processes (`alcor api`) dial in: unix:///PATH, tcps://ADDRESS:PORT, or tcp:// on "
    "loopback. May be given several times.",
)
@click.option(
    "--nova-url",
    metavar="URL",
    help="Tell this Nova (http://HOST:8774/v2.1) of its servers' ports: plugged, unplugged, changed, deleted.",
)
@click.option(
    "--nova-credentials",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With which to log in for it: a file of OS_... variables (openrc). None: only on loopback.",
)
@click.option("--verbose", is_flag=True, help="Log debug events too.")
def command(
    api: ApiSettings,
    database: str | None,
    queue: str,
    queue_credentials: Path | None,
    agent_urls: tuple[str, ...],
    allow_plain_agents: bool,
    on_demand_above: int,
    api_process_urls: tuple[str, ...],
    nova_url: str | None,
    nova_credentials: Path | None,
    verbose: bool,
) -> None:
    """Start a region: store, API and controller, until Ctrl-C.

    \b
    alcor up                          everything embedded, API on http://127.0.0.1:9696
    alcor up --data-dir ./region      data under ./region
    alcor up --database URL           another PostgreSQL (16 or newer)
    alcor up --identity tokens --listen 0.0.0.0:9696 --tls-cert api.pem --tls-key api.key
    """
    if queue not in (EMBEDDED, NO_QUEUE) and "://" not in queue:
        raise click.UsageError(f"--queue wants the URL of a NATS server or 'none', not '{queue}'")
    if nova_credentials is not None and nova_url is None:
        raise click.UsageError("--nova-credentials is for --nova-url")
    if nova_url is not None and not nova_url.startswith(("http://", "https://")):
        raise click.UsageError(f"--nova-url wants http:// or https://, not '{nova_url}'")
    settings = RegionSettings(
        api=api,
        database=database,
        queue=queue,
        queue_credentials=queue_credentials,
        agent_urls=agent_urls,
        allow_plain_agents=allow_plain_agents,
        api_process_urls=api_process_urls,
        on_demand=OnDemandBounds(above=on_demand_above, below=on_demand_above * 3 // 4),
        nova=None if nova_url is None else NovaSettings(url=nova_url, credentials=nova_credentials),
    )
    log = EventLog(level=Level.DEBUG if verbose else Level.INFO)
    uvloop.run(_run(settings, log))


async def _run(settings: RegionSettings, log: EventLog) -> None:
    region = Region(settings, log)
    await running.until_told(region, lambda: _say(region, settings))


def _say(region: Region, settings: RegionSettings) -> None:
    click.echo(f"Alcor is up. API: {region.api_url}   agents: {' '.join(region.agent_urls)}")
    if region.api_process_urls:
        click.echo(f"API processes: {' '.join(region.api_process_urls)}")
    click.echo(f"Try: {_first_command(region.api_url, settings.api.identity.kind)}")


def _first_command(url: str, kind: Kind) -> str:
    match kind:
        case Kind.NONE:
            return f"openstack --os-auth-type none --os-endpoint {url} network list"
        case Kind.TOKENS:
            return "alcor token create --project PROJECT --user NAME"
        case Kind.KEYSTONE:
            return f"openstack endpoint create network public {url}"
