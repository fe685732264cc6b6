"""`alcor api`: one more API process of a region."""

from pathlib import Path

import click
import uvloop

from alcor.cli import api_options, running
from alcor.processes.api import ApiProcess, ApiProcessSettings
from alcor.processes.api_server import ApiSettings
from alcor.runtime.event_log import EventLog, Level


@click.command("api")
@click.option(
    "--database",
    metavar="URL",
    help="The PostgreSQL of `alcor up --database`; without it, the embedded one of the same --data-dir.",
)
@click.option(
    "--controller",
    "controller_urls",
    multiple=True,
    required=True,
    metavar="URL",
    help="Where the controller listens: what `alcor up --api-processes` says. More than one: tried in turn.",
)
@click.option(
    "--certificates",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="What `alcor certificate --api` wrote: for tcps:// controllers.",
)
@api_options.all_of_them
@click.option("--verbose", is_flag=True, help="Log debug events too.")
def command(
    api: ApiSettings,
    database: str | None,
    controller_urls: tuple[str, ...],
    certificates: Path | None,
    verbose: bool,
) -> None:
    """Serve the API of a region from one more process, until Ctrl-C.

    Any number of them, and the region's own, answer alike: put a load balancer before them, or let them share
    an address. Give all the same --identity, --quota and --audit-days.

    \b
    alcor up --database URL --api-processes unix:///run/alcor/api.sock --listen 127.0.0.1:9695
    alcor api --database URL --controller unix:///run/alcor/api.sock --listen 127.0.0.1:9696 --share-address
    """
    if any(url.startswith("tcps:") for url in controller_urls) and certificates is None:
        raise click.UsageError("tcps:// controllers want --certificates")
    settings = ApiProcessSettings(
        database=database,
        controller_urls=controller_urls,
        api=api,
        certificates=certificates.absolute() if certificates is not None else None,
    )
    log = EventLog(level=Level.DEBUG if verbose else Level.INFO)
    uvloop.run(_run(settings, log))


async def _run(settings: ApiProcessSettings, log: EventLog) -> None:
    process = ApiProcess(settings, log)
    await running.until_told(process, lambda: click.echo(f"The API is up: {process.url}"))
