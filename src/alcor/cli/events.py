"""`alcor events`: what changed, and what changes."""

import asyncio
from typing import Any

import click
import msgspec

from alcor.cli import options
from alcor.client.api import ApiClient, Endpoint
from alcor.model import errors
from alcor.model.records import KINDS

RETRY_S = 1.0


@click.command("events")
@options.region
@click.option("--since", type=click.IntRange(0), help="Begin after this revision; otherwise with what comes.")
@click.option("--follow", is_flag=True, help="Stay, and show what changes; resumes when the connection breaks.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(tuple(KINDS)), help="Only these kinds.")
@options.as_json
def command(region: Endpoint, since: int | None, follow: bool, kinds: tuple[str, ...], as_json: bool) -> None:
    """Show what changed after a revision, from the change log.

    \b
    alcor events --since 0              all that is kept
    alcor events --follow               what changes from now on
    """
    if since is None and not follow:
        raise click.UsageError("say --since REVISION, or --follow")
    asyncio.run(_show(region, since, kinds, is_followed=follow, as_json=as_json))


async def _show(
    region: Endpoint, since: int | None, kinds: tuple[str, ...], *, is_followed: bool, as_json: bool
) -> None:
    async with ApiClient(region) as api:
        has_begun = False
        while True:
            place = {} if since is None else {"since": since}
            try:
                async for event in api.events(follow=is_followed, kind=kinds, **place):
                    since, has_begun = event.last_id, True
                    if event.name == "end":
                        click.echo(f"the stream ended: {event.data['message']}", err=True)
                        _check_end(event.data)
                    elif event.name:
                        click.echo(msgspec.json.encode(event.data) if as_json else _line(event.data))
            except errors.Unavailable:
                if not (is_followed and has_begun):
                    raise
            if not is_followed:
                return
            await asyncio.sleep(RETRY_S)


def _check_end(data: dict[str, Any]) -> None:
    if data["reason"] not in ("Stopping", "TooSlow", "ServiceUnavailable"):
        raise errors.Invalid(data["message"], reason=data["reason"])


def _line(data: dict[str, Any]) -> str:
    return f"{data['revision']:>8}  {data['committed_at']}  {data['kind']}.{data['operation']}  {data['id']}"
