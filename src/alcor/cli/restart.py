"""The restart of a region as a bar: hosts done of those whose agents are to come back."""

import asyncio
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from alcor.client.api import ApiClient

POLL_S = 0.5


def is_complete(resync: dict[str, Any]) -> bool:
    """Is every host that an agent ever introduced synchronised?"""
    return bool(resync["done"] >= resync["hosts"])


def words(resync: dict[str, Any]) -> str:
    """Say what is left."""
    left = [f"{resync[name]} {name}" for name in ("waiting", "synchronising", "away") if resync[name]]
    if resync["bytes_left"]:
        left.append(f"about {resync['bytes_left'] / 2**20:.1f} MiB left")
    networks = f"{resync['networks_complete']}/{resync['networks']} networks complete"
    return ", ".join([networks, *left])


def show(console: Console, resync: dict[str, Any]) -> None:
    """Draw the bar once."""
    with _bar(console) as progress:
        progress.add_task("restart", total=resync["hosts"], completed=resync["done"], words=words(resync))


async def watch(console: Console, api: ApiClient) -> None:
    """Draw the bar until every host is synchronised."""
    with _bar(console) as progress:
        task = progress.add_task("restart", total=None, words="")
        while True:
            resync = (await api.get("/v2.0/resync"))["resync"]
            progress.update(task, total=resync["hosts"], completed=resync["done"], words=words(resync))
            if is_complete(resync):
                return
            await asyncio.sleep(POLL_S)


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("hosts synchronised"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
    )
    return Progress(*columns, console=console)
