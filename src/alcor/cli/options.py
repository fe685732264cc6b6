"""Options that several commands share."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from alcor.client import api

F = TypeVar("F", bound=Callable[..., Any])


def region(command: F) -> F:
    """Where the region answers, and what opens it: one `region` instead of three options."""

    @functools.wraps(command)
    def with_region(url: str, token: str | None, ca_file: Path | None, **others: Any) -> Any:
        return command(region=api.Endpoint(url, token or None, ca_file), **others)

    for option in (
        click.option(
            "--cacert",
            "ca_file",
            envvar=api.CA_VARIABLE,
            type=click.Path(dir_okay=False, path_type=Path),
            show_default=f"${api.CA_VARIABLE}",
            help="Authority of the API's certificate, when the machine does not trust it by itself.",
        ),
        click.option(
            "--token",
            envvar=api.TOKEN_VARIABLE,
            show_default=f"${api.TOKEN_VARIABLE}",
            help="Access token, if the region asks for one. Others see it here: the variable is safer.",
        ),
        click.option(
            "--url",
            default=api.url_from_environment,
            show_default=f"${api.URL_VARIABLE} or {api.DEFAULT_URL}",
            help="Address of the region's API.",
        ),
    ):
        with_region = option(with_region)
    return cast(F, with_region)  # the same command, seen from click: wraps keeps its parameters


def default_data_dir() -> Path:
    return Path("/var/lib/alcor") if os.geteuid() == 0 else Path.home() / ".local" / "share" / "alcor"


def controllers(command: F) -> F:
    """Where agents dial in."""
    return click.option(
        "--controller",
        "controller_urls",
        multiple=True,
        default=("tcp://127.0.0.1:9697",),
        show_default=True,
        help="Where the controller listens: tcp://ADDRESS:PORT or unix:///PATH. More than one: tried in turn.",
    )(command)


def queue(command: F) -> F:
    """Where agents find the queue."""
    return click.option(
        "--queue",
        metavar="URL|FILE",
        default="",
        callback=_read_queue,
        help="The region's queue: its URL, or the file with it, DATA_DIR/nats/url of the region.",
    )(command)


def queue_credentials(command: F) -> F:
    """What lets into a queue that is not the region's own."""
    return click.option(
        "--queue-credentials",
        metavar="FILE",
        type=click.Path(dir_okay=False, exists=True, path_type=Path),
        help="Credentials (.creds) for a NATS cluster of your own; the region's own wants --certificates.",
    )(command)


def certificates(command: F) -> F:
    """What names the host."""
    return click.option(
        "--certificates",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        help="What `alcor certificate` wrote: for tcps:// controllers, the region's queue, and rescues.",
    )(command)


def _read_queue(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value or "://" in value:
        return value
    try:
        return Path(value).read_text().strip()
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}") from error


def emulated_hosts(command: F) -> F:
    """Which hosts of a fleet: `count` of them, from the number `first` on."""
    command = click.option(
        "--first", type=click.IntRange(0), default=0, show_default=True, help="Number of the first host."
    )(command)
    return click.option(
        "--hosts",
        "count",
        type=click.IntRange(1, 20_000),
        default=100,
        show_default=True,
        help="How many emulated hosts.",
    )(command)


def as_json(command: F) -> F:
    """Machine-readable output instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def json_file(command: F) -> F:
    """A file for the results."""
    return click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write the results to this file as JSON.",
    )(command)


def chart_file(command: F) -> F:
    """A file for a picture of the results."""
    return click.option(
        "--chart",
        "chart_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Draw the results into this file, PNG or SVG.",
    )(command)
