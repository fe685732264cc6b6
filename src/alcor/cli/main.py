"""The entry point: the group of all commands, and one way to show an error."""

import importlib
import sys
from collections.abc import Sequence

import click

from alcor import __version__
from alcor.model import errors

# Where each command lives. Imported when asked for: `alcor --help` must not load a database driver.
COMMANDS = {
    "up": "alcor.cli.up",
    "api": "alcor.cli.api",
    "agent": "alcor.cli.agent",
    "fleet": "alcor.cli.fleet",
    "status": "alcor.cli.status",
    "hosts": "alcor.cli.hosts",
    "events": "alcor.cli.events",
    "audit": "alcor.cli.audit",
    "trace": "alcor.cli.trace",
    "bench": "alcor.cli.bench",
    "certificate": "alcor.cli.certificate",
    "token": "alcor.cli.token",
    "demo": "alcor.cli.demo",
}
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h: the region does not answer


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name]).command
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def alcor() -> None:
    """Alcor: the network control plane of a cloud.

    Start a region with `alcor up`, a host's agent with `alcor agent`, or see it all work with `alcor demo`.
    """


def main() -> None:
    """Run the command that was typed."""
    sys.exit(carry_out(alcor))


def carry_out(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run a command and turn Alcor's errors into one line; give its exit status. `arguments` None: as typed."""
    try:
        status = command.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE if isinstance(error, click.UsageError) else EXIT_FAILED
    except errors.AlcorError as error:
        click.echo(f"alcor: {error.message}", err=True)
        return EXIT_UNAVAILABLE if isinstance(error, errors.Unavailable) else EXIT_FAILED
    return status or 0  # click gives the status of an `Exit` back instead of raising it
