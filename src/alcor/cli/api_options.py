"""The options of whatever serves the API: where, for whom, and within which limits."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from alcor.cli import identity_options, options
from alcor.model import quota
from alcor.processes.api_server import ApiSettings
from alcor.processes.identity import IdentitySettings

F = TypeVar("F", bound=Callable[..., Any])

_BEFORE = (
    click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=options.default_data_dir,
        show_default="/var/lib/alcor as root",
        help="Where the region keeps what is its own: the embedded store, the authority, the tokens.",
    ),
    click.option(
        "--listen",
        default="127.0.0.1:9696",
        show_default=True,
        help="Address of the API; another than loopback needs --identity and TLS.",
    ),
    click.option(
        "--share-address",
        "shares_address",
        is_flag=True,
        help="Several processes of this machine listen on the same address; each gets some of the connections.",
    ),
)
_AFTER = (
    click.option(
        "--quota",
        "quotas",
        multiple=True,
        metavar="KIND=LIMIT",
        callback=lambda _context, _parameter, values: _quotas(values),
        help="What a project may have unless it is told otherwise: port=50000, network=-1 (any number), ... "
        "May be given several times.",
    ),
    click.option(
        "--audit-days",
        type=click.IntRange(1, 36_500),
        default=90,
        show_default=True,
        help="How long it is kept who did what (`alcor audit export`).",
    ),
)


def all_of_them(command: F) -> F:
    """Give the command one `api` instead of these options."""

    @functools.wraps(command)
    def with_api(
        data_dir: Path,
        listen: str,
        shares_address: bool,
        identity: IdentitySettings,
        quotas: Mapping[str, int],
        audit_days: int,
        **others: Any,
    ) -> Any:
        host, _, port = listen.rpartition(":")
        if not host or not port.isdigit():
            raise click.UsageError(f"--listen wants ADDRESS:PORT, not '{listen}'")
        settings = ApiSettings(
            data_dir=data_dir.absolute(),
            host=host.strip("[]"),
            port=int(port),
            shares_address=shares_address,
            identity=identity,
            audit_days=audit_days,
            quotas=quotas,
        )
        return command(api=settings, **others)

    for option in reversed(_AFTER):
        with_api = option(with_api)
    with_api = identity_options.all_of_them(with_api)
    for option in reversed(_BEFORE):
        with_api = option(with_api)
    return cast(F, with_api)  # the same command, seen from click: wraps keeps its parameters


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
