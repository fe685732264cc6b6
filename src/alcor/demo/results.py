"""What the demonstration measured, in the form of `--json`."""

import msgspec


class Serial(msgspec.Struct, frozen=True):
    """Ports created one call at a time. Times in milliseconds, from the call."""

    ports: int
    api_p50_ms: float
    api_p99_ms: float
    in_force_p50_ms: float
    in_force_p99_ms: float


class Batched(msgspec.Struct, frozen=True):
    """Ports created in one call."""

    ports: int
    in_force: int
    api_ms: float
    all_in_force_ms: float


class Plug(msgspec.Struct, frozen=True):
    """Workloads plugged: from the interface's appearance on the bridge."""

    ports: int
    active_p50_ms: float
    active_p99_ms: float
    first_ping_p50_ms: float
    first_ping_p99_ms: float
    first_ping_min_ms: float


class Packets(msgspec.Struct, frozen=True):
    """The truth by packets. `wrong`: attempts whose outcome differs from the expected, in words.

    `ipv6`: of all these, those over IPv6; the others are over IPv4.
    """

    pairs: int
    expected_reach: int
    reached: int
    expected_blocked: int
    blocked: int
    wrong: tuple[str, ...]
    ipv6: "Packets | None" = None


class Results(msgspec.Struct, frozen=True):
    """Everything."""

    data_plane: str
    hosts: int
    serial: Serial
    batched: Batched
    plug: Plug
    packets: Packets
    setup_s: float
    total_s: float
    paths: dict[str, msgspec.Struct] = {}  # what was shown of single paths, by name
