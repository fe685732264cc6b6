"""Requests beyond the rate, as clients see their refusal."""

import asyncio

from alcor.contracts.identity import unauthorized
from alcor.management_plane.api.limits import UNLIMITED, Limits, Rate
from alcor.runtime.clock import SystemClock
from api_scene import error_of, scene

NEVER_MORE = Rate(0.001, 3)


async def test_a_project_beyond_its_rate_is_told_when_to_come_again() -> None:
    limits = Limits(SystemClock(), projects=NEVER_MORE, attempts=NEVER_MORE)
    async with scene(limits=limits) as s:
        for _ in range(3):
            await s.ask("GET", "/networks", expect=200)
        refused = await s.ask("POST", "/networks", {"network": {}})
        assert error_of(refused) == (429, "RequestRateExceeded")
        assert 900 < int(refused.headers["retry-after"]) <= 1000
        assert (await s.client.get("/healthz")).status_code == 200
        await s.ask("GET", "/networks", project="green", expect=200)
        await s.ask("GET", "/networks", admin=True, expect=200)


async def test_an_address_that_never_says_who_it_is_is_told_when_to_come_again() -> None:
    limits = Limits(SystemClock(), projects=NEVER_MORE, attempts=NEVER_MORE)

    class Locked:
        challenge = None
        ways = ((),)

        def known(self, headers: object) -> None:
            return None

        async def identify(self, headers: object) -> None:
            raise unauthorized("no")

    async with scene(identities=Locked(), limits=limits) as s:  # type: ignore[arg-type]
        statuses = [
            (await s.ask("GET", path)).status_code for path in ("/networks", "/x", "/ports", "/hosts", "/y")
        ]
        assert statuses == [401, 401, 401, 429, 429]


async def test_a_project_has_so_many_requests_under_way_and_no_more() -> None:
    limits = Limits(SystemClock(), projects=UNLIMITED, attempts=UNLIMITED, at_once=3)
    async with scene(limits=limits) as s:
        network_id, _ = await s.wired_network()
        gate = asyncio.Event()

        async def wait(*_: object, **__: object) -> bool:
            await gate.wait()
            return True

        s.convergence.wait = wait  # type: ignore[method-assign,assignment]
        body = {"port": {"network_id": network_id}}
        waiting = [asyncio.create_task(s.ask("POST", "/ports?wait=in_force", body)) for _ in range(3)]
        while len((await s.ask("GET", "/ports", admin=True)).json()["ports"]) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        refused = await s.ask("GET", "/ports")
        assert error_of(refused) == (429, "RequestRateExceeded")
        assert refused.headers["retry-after"] == "1"
        await s.ask("GET", "/ports", project="red", expect=200)
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [201] * 3
        await s.ask("GET", "/ports", expect=200)
