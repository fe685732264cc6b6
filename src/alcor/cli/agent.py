"""`alcor agent`: the agent of a compute host."""

import socket
import sys
from pathlib import Path
from typing import Literal

import click

from alcor.cli import options
from alcor.model.addressing import ip_from_text
from alcor.processes import agent
from alcor.runtime.event_log import EventLog, Level

DEFAULT_STATE_DIR = Path("/var/lib/alcor-agent")


@click.command("agent")
@click.option(
    "--host", default=socket.gethostname, show_default="this machine's name", help="Name of the host."
)
@click.option("--vtep", required=True, metavar="IP", help="Tunnel address of this host on the underlay.")
@options.controllers
@options.queue
@options.queue_credentials
@click.option("--queue-only", is_flag=True, help="Without streams: the queue is the only path.")
@click.option("--zone", default="", help="Availability zone of the host.")
@click.option("--data-plane", type=click.Choice(["ovs", "simulated"]), default="ovs", show_default=True)
@click.option(
    "--ovs-run-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=agent.OVS_RUN_DIR,
    show_default=True,
    help="Where Open vSwitch keeps its sockets.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_STATE_DIR,
    show_default=True,
    help="Where the agent keeps its journal, to know after a restart what it holds.",
)
@options.certificates
@click.option("--verbose", is_flag=True, help="Log debug events too.")
def command(
    host: str,
    vtep: str,
    controller_urls: tuple[str, ...],
    queue: str,
    queue_credentials: Path | None,
    queue_only: bool,
    zone: str,
    data_plane: Literal["ovs", "simulated"],
    ovs_run_dir: Path,
    state_dir: Path,
    certificates: Path | None,
    verbose: bool,
) -> None:
    """Run the agent of this host until told to stop. Forwarding goes on without it.

    It takes over the integration bridge br-int and touches only what carries its mark. Workloads are found by
    external_ids:iface-id of their interface, as libvirt, Nova and OVN set it.
    """
    if queue_only and not queue:
        raise click.UsageError("--queue-only wants --queue")
    try:
        packed = ip_from_text(vtep)
    except ValueError as error:
        raise click.UsageError(f"--vtep wants an IP address, not '{vtep}'") from error
    settings = agent.AgentSettings(
        host=host,
        vtep=packed,
        controller_urls=() if queue_only else controller_urls,
        queue_url=queue,
        queue_credentials=queue_credentials,
        zone=zone,
        data_plane=data_plane,
        ovs_run_dir=ovs_run_dir,
        state_dir=state_dir,
        certificates=certificates.absolute() if certificates is not None else None,
    )
    sys.exit(agent.main(settings, EventLog(level=Level.DEBUG if verbose else Level.INFO)))
