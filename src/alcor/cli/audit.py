"""`alcor audit export`: the audit trail as JSON lines in the words of CADF (DMTF DSP0262)."""

import asyncio
from typing import Any

import click
import msgspec

from alcor.cli import options
from alcor.client.api import ApiClient, Endpoint

PAGE = 1_000
_EVENT = "http://schemas.dmtf.org/cloud/audit/1.0/event"


@click.group("audit")
def command() -> None:
    """Who did what, when, from where, with which result."""


@command.command("export")
@options.region
@click.option(
    "--project", "project_id", help="Only what this project's people did; otherwise all that you may see."
)
@click.option("--kind", help="Only this kind of record: port, network, ...")
@click.option("--since", metavar="TIME", help="Like 2026-01-01T00:00:00Z.")
@click.option("--until", metavar="TIME", help="Likewise; not included.")
def export(region: Endpoint, **asked: str | None) -> None:
    """Write the trail, oldest first, one CADF event a line."""
    asyncio.run(_export(region, {name: value for name, value in asked.items() if value is not None}))


async def _export(region: Endpoint, asked: dict[str, str]) -> None:
    async with ApiClient(region) as api:
        marker: dict[str, str] = {}
        while True:
            page = await api.get("/v2.0/audit", **asked, **marker, limit=PAGE)
            for entry in page["audit"]:
                click.echo(msgspec.json.encode(as_cadf(entry)))
            if "audit_links" not in page:
                return
            marker = {"marker": page["audit"][-1]["id"]}


def as_cadf(entry: dict[str, Any]) -> dict[str, Any]:
    """Give an entry of the trail as a CADF event of type activity."""
    reason = {} if entry["status"] is None else {"reasonType": "HTTP", "reasonCode": str(entry["status"])}
    attachments = {
        name: entry[name]
        for name in ("request_id", "revision", "count", "targets", "repeats", "reason", "roles")
    }
    return {
        "typeURI": _EVENT,
        "id": entry["id"],
        "eventType": "activity",
        "eventTime": entry["time"],
        "action": entry["action"],
        "outcome": entry["outcome"],
        "reason": reason,
        "initiator": {
            "typeURI": "service/security/account/user",
            "id": entry["user_id"] or "unknown",
            "project_id": entry["project_id"],
            "host": {"address": entry["address"]},
        },
        "target": {
            "typeURI": f"service/network/{entry['kind']}",
            "id": entry["targets"][0] if entry["targets"] else "unknown",
        },
        "observer": {"typeURI": "service/network", "id": "alcor"},
        "requestPath": f"{entry['method']} {entry['path']}",
        "attachments": [
            {"name": name, "typeURI": "application/json", "content": value}
            for name, value in attachments.items()
        ],
    }
