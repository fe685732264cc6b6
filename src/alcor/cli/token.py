"""`alcor token`: make, list and revoke the access tokens of a region with `--identity tokens`."""

import re
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Column, Table

from alcor.adapters import token_file
from alcor.adapters.token_file import TokenFile
from alcor.cli import options
from alcor.management_plane.api import moments
from alcor.management_plane.identity import tokens
from alcor.management_plane.identity.tokens import TokenRecord
from alcor.model import errors
from alcor.model.roles import ROLES
from alcor.runtime.clock import SystemClock

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LIFETIME_MAX_S = 10 * 365 * 86_400


class _Lifetime(click.ParamType[int]):
    name = "TIME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([0-9]{1,9})([smhd])", value)
        seconds = int(found[1]) * _UNITS_S[found[2]] if found else 0
        if not 0 < seconds <= LIFETIME_MAX_S:
            self.fail(f"'{value}': say a number and s, m, h or d, up to 3650d", param, ctx)
        return seconds


@click.group("token")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=options.default_data_dir,
    show_default="/var/lib/alcor as root",
    help="The region's data directory.",
)
@click.option(
    "--tokens",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    show_default="DATA_DIR/tokens.json",
    help="The file of tokens, if `alcor up --tokens` names another.",
)
@click.pass_context
def command(context: click.Context, data_dir: Path, path: Path | None) -> None:
    """Access tokens of a region with `alcor up --identity tokens`. It takes up changes within a second.

    \b
    alcor token create --project blue --user alice --role member --expires-in 90d
    alcor token list
    alcor token revoke ID

    Exit status 0: done; 1: no such token, or the file cannot be used; 2: wrong usage; 69: it cannot be written.
    """
    context.obj = TokenFile(path or data_dir.absolute() / token_file.NAME)


@command.command("create")
@click.option("--project", required=True, help="Project that the token is for: its id, as objects carry it.")
@click.option("--user", required=True, help="Who gets it; also the user name in `http_basic` style.")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(ROLES), default=("member",), show_default=True
)
@click.option(
    "--expires-in", type=_Lifetime(), default="90d", show_default=True, help="For example 12h or 30d."
)
@options.as_json
@click.pass_obj
def create(
    file: TokenFile, project: str, user: str, roles: tuple[str, ...], expires_in: int, as_json: bool
) -> None:
    """Make a token and print it: this once, only its hash is kept."""
    token, record = tokens.issue(
        project_id=project,
        user_id=user,
        roles=roles,
        now_us=SystemClock().now_us(),
        lifetime_s=expires_in,
    )
    with file.replacing() as records:
        records.append(record)
    if as_json:
        click.echo(msgspec.json.encode({**_shown(record), "token": token}))
    else:
        click.echo(token)
        click.echo(f"{record.id} expires {moments.text(record.expires_at)}. It is not shown again.", err=True)


@command.command("list")
@options.as_json
@click.pass_obj
def show(file: TokenFile, as_json: bool) -> None:
    """List the tokens, without what would let anybody use them."""
    records = sorted(file.read(), key=lambda record: (record.project_id, record.created_at, record.id))
    if as_json:
        click.echo(msgspec.json.encode([_shown(record) for record in records]))
        return
    table = Table(Column("id", no_wrap=True), "project", "user", "roles", "created", "expires", "state")
    for record in records:
        shown = {**_shown(record), "roles": ", ".join(record.roles)}
        table.add_row(*(str(value) for value in shown.values()))
    Console().print(table)


@command.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@options.as_json
@click.pass_obj
def revoke(file: TokenFile, ids: tuple[str, ...], as_json: bool) -> None:
    """Make tokens worthless, all that are named or none."""
    with file.replacing() as records:
        absent = sorted(set(ids) - {record.id for record in records})
        if absent:
            raise errors.Missing(f"there is no token {', '.join(absent)}")
        records[:] = [record for record in records if record.id not in ids]
    click.echo(msgspec.json.encode({"revoked": sorted(set(ids))}) if as_json else f"revoked {', '.join(ids)}")


def _shown(record: TokenRecord) -> dict[str, object]:
    is_over = record.expires_at <= SystemClock().now_us()
    return {
        "id": record.id,
        "project_id": record.project_id,
        "user_id": record.user_id,
        "roles": record.roles,
        "created_at": moments.text(record.created_at),
        "expires_at": moments.text(record.expires_at),
        "state": "expired" if is_over else "in force",
    }
