"""The options of `alcor up` that say who may call the API, and how often."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from alcor.management_plane.api.limits import ATTEMPTS, Rate
from alcor.processes.identity import IdentitySettings, Kind

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(dir_okay=False, path_type=Path)

_OPTIONS = (
    click.option(
        "--identity",
        "kind",
        type=click.Choice([kind.value for kind in Kind]),
        default=Kind.NONE.value,
        show_default=True,
        help="Who knows the callers: nobody (loopback only), a file of tokens (`alcor token`), or Keystone.",
    ),
    click.option("--tokens", type=_FILE, show_default="DATA_DIR/tokens.json", help="The file of tokens."),
    click.option("--keystone-url", metavar="URL", default="", help="Keystone, for example https://HOST:5000."),
    click.option("--keystone-cacert", "keystone_ca", type=_FILE, help="Authority of Keystone's certificate."),
    click.option("--tls-cert", "certificate", type=_FILE, help="Certificate of the API with its chain, PEM."),
    click.option("--tls-key", "key", type=_FILE, help="Its key, PEM, without a password."),
    click.option(
        "--allow-plain-http",
        is_flag=True,
        help="Listen without TLS off loopback too: for a proxy on a trusted network that does TLS.",
    ),
    click.option(
        "--rate-limit",
        type=click.FloatRange(0),
        default=0.0,
        metavar="PER_S",
        show_default="off",
        help="Requests a second that a project may send, twice as many at once. Not for administrators.",
    ),
    click.option(
        "--attempt-limit",
        type=click.FloatRange(0),
        default=ATTEMPTS.per_s,
        show_default=True,
        metavar="PER_S",
        help="Requests a second with an unknown token that an address may send, ten times as many at once.",
    ),
)


def all_of_them(command: F) -> F:
    """Give the command one `identity` instead of these options."""

    @functools.wraps(command)
    def with_identity(
        kind: str,
        tokens: Path | None,
        keystone_url: str,
        keystone_ca: Path | None,
        certificate: Path | None,
        key: Path | None,
        allow_plain_http: bool,
        rate_limit: float,
        attempt_limit: float,
        **others: Any,
    ) -> Any:
        if (certificate is None) != (key is None):
            raise click.UsageError("--tls-cert and --tls-key belong together")
        if (kind == Kind.KEYSTONE) != bool(keystone_url):
            raise click.UsageError("--identity keystone and --keystone-url belong together")
        if keystone_url and not keystone_url.startswith(("http://", "https://")):
            raise click.UsageError(f"--keystone-url wants http:// or https://, not '{keystone_url}'")
        settings = IdentitySettings(
            kind=Kind(kind),
            tokens=tokens,
            keystone_url=keystone_url,
            keystone_ca=keystone_ca,
            certificate=certificate,
            key=key,
            allow_plain_http=allow_plain_http,
            project_rate=Rate(rate_limit, 2 * rate_limit),
            attempt_rate=Rate(attempt_limit, 10 * attempt_limit),
        )
        return command(identity=settings, **others)

    for option in reversed(_OPTIONS):
        with_identity = option(with_identity)
    return cast(F, with_identity)  # the same command, seen from click: wraps keeps its parameters
