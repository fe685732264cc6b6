"""Creates the demonstration's ports, one call at a time and in one call, and takes the times."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alcor.client.api import ApiClient
from alcor.demo import scenario
from alcor.demo.results import Batched, Serial
from alcor.demo.tenants import Vpc
from alcor.lab.percentiles import percentile
from alcor.model import errors

IN_FORCE_TIMEOUT_S = 30


def endpoint_of(port: Mapping[str, Any], place: scenario.Placing) -> scenario.Endpoint:
    """Join what was asked with what the API gave."""
    addresses = [fixed["ip_address"] for fixed in port["fixed_ips"]]
    return scenario.Endpoint(
        port_id=port["id"],
        tenant=place.tenant,
        subnet=place.subnet,
        group=place.group,
        host=place.host,
        ip=next(ip for ip in addresses if ":" not in ip),
        ipv6=next(ip for ip in addresses if ":" in ip),
        mac=port["mac_address"],
    )


async def serially(
    api: ApiClient,
    vpcs: Mapping[str, Vpc],
    hosts: Sequence[str],
    *,
    count: int,
    progress: Callable[[int], None],
) -> tuple[Serial, list[scenario.Endpoint]]:
    """Create ports one call at a time, each followed until it is in force on every host concerned."""
    answered, in_force, endpoints = [], [], []
    for number in range(count):
        place = scenario.placing(number, hosts)
        started = time.perf_counter()
        answer, headers = await api.call("POST", "/v2.0/ports", body={"port": _port_body(vpcs, place, number)})
        answered.append((time.perf_counter() - started) * 1000)
        await _until_in_force(api, headers)
        in_force.append((time.perf_counter() - started) * 1000)
        endpoints.append(endpoint_of(answer["port"], place))
        progress(1)
    times = (percentile(values, fraction) for values in (answered, in_force) for fraction in (0.5, 0.99))
    return Serial(count, *times), endpoints


async def batched(
    api: ApiClient, vpcs: Mapping[str, Vpc], hosts: Sequence[str], *, first: int, count: int
) -> tuple[Batched, list[scenario.Endpoint]]:
    """Create ports in one call, followed until all are in force on every host concerned."""
    places = [scenario.placing(first + number, hosts) for number in range(count)]
    body = {"ports": [_port_body(vpcs, place, first + index) for index, place in enumerate(places)]}
    started = time.perf_counter()
    answer, headers = await api.call("POST", "/v2.0/ports", body=body)
    answered = (time.perf_counter() - started) * 1000
    await _until_in_force(api, headers)
    all_in_force = (time.perf_counter() - started) * 1000
    endpoints = [endpoint_of(port, place) for port, place in zip(answer["ports"], places, strict=True)]
    wanted = {endpoint.port_id for endpoint in endpoints}
    listed = (await api.get("/v2.0/ports", fields=["id", "alcor:in_force"]))["ports"]
    held = sum(port["alcor:in_force"] for port in listed if port["id"] in wanted)
    return Batched(count, held, answered, all_in_force), endpoints


def _port_body(vpcs: Mapping[str, Vpc], place: scenario.Placing, number: int) -> dict[str, Any]:
    vpc = vpcs[place.tenant]
    return {
        "name": f"demo-{number}",
        "project_id": place.tenant,
        "network_id": vpc.network,
        "fixed_ips": vpc.fixed_ips(place.subnet),
        "security_groups": [vpc.groups[place.group]],
        "binding:host_id": place.host,
    }


async def _until_in_force(api: ApiClient, headers: Mapping[str, str]) -> None:
    revision = headers["X-Alcor-Revision"]
    receipt = await api.get(f"/v2.0/changes/{revision}", wait="in_force", timeout=IN_FORCE_TIMEOUT_S)
    if not receipt["change"]["in_force"]:
        late = [host for host in receipt["change"]["hosts"] if host["state"] != "in_force"]
        raise errors.Broken(f"revision {revision} is not in force after {IN_FORCE_TIMEOUT_S} s on {late}")
