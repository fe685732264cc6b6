"""The API over a store in memory, with clients that say who they are."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.convergence import Tracer
from alcor.contracts.identity import IdentitySource
from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.contracts.store import AddressAllocator, Store, Write
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.management_plane.api.application import create_application
from alcor.management_plane.api.limits import Limits
from alcor.management_plane.audit.trail import AuditTrail
from alcor.management_plane.identity.believed_headers import BelievedHeaders
from alcor.model.ids import ProjectId
from alcor.model.records import RecordSet
from alcor.runtime.clock import SystemClock, new_request_id
from alcor.runtime.event_log import SILENT
from documented import Documented
from doubles.convergence import ConvergenceDouble

ADMIN = {"X-Project-Id": "admin", "X-Roles": "admin"}


class Scene:
    """A region without hosts' agents: the real API over a store, in memory or not."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        store: Any,
        convergence: ConvergenceDouble,
        application: Starlette,
        documented: Documented,
    ) -> None:
        self.client = client
        self.application = application
        self.store = store
        self.convergence = convergence
        self.documented = documented

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        project: str | None = "blue",
        admin: bool = False,
        headers: dict[str, str] | None = None,
        expect: int | None = None,
    ) -> httpx.Response:
        """Send a request as a project (None: without any identity); check the status when one is expected."""
        sent = dict(headers or {})
        if project is not None:
            sent["X-Project-Id"] = project
        if admin:
            sent["X-Roles"] = "admin"
        response = await self.client.request(method, f"/v2.0{path}", json=body, headers=sent)
        if expect is not None:
            assert response.status_code == expect, response.text
        return response

    async def make(self, singular: str, **attributes: Any) -> Any:
        """Create an object and give it."""
        who = {name: attributes.pop(name) for name in ("project", "admin") if name in attributes}
        path = f"/{singular.replace('_', '-')}s"
        body = {singular: {name.replace("__", ":"): value for name, value in attributes.items()}}
        response = await self.ask("POST", path, body, expect=201, **who)
        return response.json()[singular]

    async def add_dead_host(self, name: str, *, zone: str = "") -> None:
        """Have a host that was introduced once, and whose agent is gone."""
        hosts = RecordSet(hosts=(self.convergence.add_host(name, is_alive=False, zone=zone),))
        await self.store.commit(Write(request_id=new_request_id(), project_id=ProjectId(""), inserts=hosts))

    async def wired_network(self, cidr: str = "10.0.0.0/24", **who: Any) -> tuple[str, str]:
        """Create a network with a subnet; give their ids."""
        network = await self.make("network", name="net", **who)
        subnet = await self.make("subnet", network_id=network["id"], ip_version=4, cidr=cidr, **who)
        return network["id"], subnet["id"]


@asynccontextmanager
async def scene(
    *,
    store: Store | None = None,
    allocator: AddressAllocator | None = None,
    tracer: Tracer | None = None,
    trail: AuditTrail | None = None,
    identities: IdentitySource | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Scene]:
    """Open a scene with three live hosts; by default in memory."""
    memory = MemoryStore()
    store = store or memory
    identities = identities or BelievedHeaders()
    convergence = ConvergenceDouble(store)
    for name in ("host-1", "host-2", "host-3"):
        convergence.add_host(name)
    application = create_application(
        store,
        allocator or MemoryAllocator(memory),
        convergence,
        SystemClock(),
        SILENT,
        identities=identities,
        limits=limits,
        tracer=tracer,
        trail=trail,
    )
    transport = httpx.ASGITransport(app=application, raise_app_exceptions=False)
    documented = Documented(application, identities)
    hooks = {"response": [documented.check]}  # no answer that the document does not have
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", event_hooks=hooks) as client:
        yield Scene(client, store, convergence, application, documented)


@asynccontextmanager
async def stored_scene(store: PostgresStore, *, trail: AuditTrail | None = None) -> AsyncIterator[Scene]:
    """Open a scene over PostgreSQL, with addresses leased as a process does."""
    allocator = LeasedAllocator(store.leases(), SystemClock())
    store.listen(allocator.on_commit)
    async with scene(store=store, allocator=allocator, trail=trail) as opened:
        yield opened
    await allocator.close()


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Give status and type of an answer that must be an error in Neutron's form."""
    error = response.json()["NeutronError"]
    assert set(error) == {"type", "message", "detail"}
    assert "Traceback" not in response.text
    return response.status_code, error["type"]
