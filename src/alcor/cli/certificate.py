"""`alcor certificate`: name a host to its region, and its region to it."""

from pathlib import Path

import click

from alcor.cli.up import default_data_dir


@click.command("certificate")
@click.option("--host", required=True, help="Name of the host, as its agent says it.")
@click.option(
    "--out",
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write ca.pem, agent.pem/.key and switch.pem/.key.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_data_dir,
    show_default="/var/lib/alcor as root",
    help="The region's data directory, where `alcor up` keeps its authority.",
)
def command(host: str, directory: Path, data_dir: Path) -> None:
    """Issue the certificates of a host: `alcor agent --certificates DIR` uses them.

    \b
    alcor certificate --host compute-7 --out ./compute-7
    scp -r ./compute-7 compute-7:/etc/alcor/certificates
    """
    from alcor.adapters.certificates import Authority

    Authority.open(data_dir.absolute() / "authority").issue_host(host, directory.absolute())
    click.echo(f"Certificates of {host} are in {directory}. The keys are secret: move them, do not copy them.")
