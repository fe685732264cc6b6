"""What a show finds when the main job is done."""

from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console

from alcor.client.api import ApiClient
from alcor.demo.hosts import DemoHosts
from alcor.demo.scenario import Endpoint
from alcor.demo.tenants import Vpc


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The region as the main job left it. `sample`: the endpoints whose workloads are plugged."""

    api: ApiClient
    hosts: DemoHosts
    vpcs: Mapping[str, Vpc]
    sample: Sequence[Endpoint]
    ports: int  # that exist
    console: Console
