"""The benchmark of restarts: sizes that add up, and a floor that sends and reads all bytes."""

from pathlib import Path

import pytest

from alcor.bench import resync, streams_floor


def test_networks_have_sizes_within_the_bounds_that_add_up() -> None:
    low, high = resync.VPC_PORTS
    *sizes, last = resync.vpc_sizes(200_000)
    assert sum(sizes) + last == 200_000
    assert min(sizes) == low
    assert max(sizes) == high
    assert 0 < last <= high


@pytest.mark.parametrize("over_tls", [False, True])
async def test_the_floor_sends_over_all_streams_and_waits_for_all_answers(
    tmp_path: Path, *, over_tls: bool
) -> None:
    seconds, processor_s = await streams_floor.measure(
        tmp_path, streams=3, bytes_each=200_000, over_tls=over_tls
    )
    assert 0 < seconds < 10
    assert processor_s >= 0
