"""`alcor certificate`: name a host to its region, and its region to it."""

from pathlib import Path

import click
from click.core import ParameterSource

from alcor.cli import options


@click.command("certificate")
@click.option("--host", help="Name of the host, as its agent says it.")
@click.option(
    "--fleet", is_flag=True, help="For `alcor fleet`: what its emulated hosts share, and each one's own."
)
@options.emulated_hosts
@click.option("--api", "is_api", is_flag=True, help="For `alcor api`.")
@click.option(
    "--out",
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write them: ca.pem, and agent.pem/.key, switch.pem/.key, queue.creds, or api.pem/.key.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=options.default_data_dir,
    show_default="/var/lib/alcor as root",
    help="The region's data directory, where `alcor up` keeps its authority.",
)
@click.pass_context
def command(
    context: click.Context,
    host: str | None,
    fleet: bool,
    count: int,
    first: int,
    is_api: bool,
    directory: Path,
    data_dir: Path,
) -> None:
    """Issue the certificates of a host or of an API process: what `--certificates DIR` names.

    With them a host can rescue neighbours, and with queue.creds go on over the queue, on its own subjects.

    \b
    alcor certificate --host compute-7 --out ./compute-7
    scp -r ./compute-7 compute-7:/etc/alcor/certificates
    """
    from alcor.adapters import identity
    from alcor.processes.fleet import emulated_names

    if (host is not None) + fleet + is_api != 1:
        raise click.UsageError("name a --host, or say --fleet or --api")
    said = (context.get_parameter_source(name) for name in ("count", "first"))
    if not fleet and any(source is not ParameterSource.DEFAULT for source in said):
        raise click.UsageError("--hosts and --first are for a --fleet")
    authority = data_dir.absolute() / "authority"
    if host is not None:
        identity.issue_host(authority, host, directory.absolute())
    elif fleet:
        identity.issue_fleet(authority, directory.absolute(), emulated_names(count, first=first))
    else:
        identity.issue_api(authority, directory.absolute())
    whose = host or ("a fleet" if fleet else "an API process")
    click.echo(f"Certificates of {whose} are in {directory}. The keys are secret: move them, do not copy them.")
