"""What `alcor status` says of a restart."""

import io

from rich.console import Console

from alcor.cli import restart

HALF = {
    "epoch": 2,
    "hosts": 10,
    "away": 1,
    "waiting": 3,
    "synchronising": 1,
    "done": 5,
    "networks": 4,
    "networks_complete": 2,
    "bytes_left": 3 * 2**20,
}
ALL = HALF | {"away": 0, "waiting": 0, "synchronising": 0, "done": 10, "networks_complete": 4, "bytes_left": 0}


def test_what_is_left_of_a_restart_is_said() -> None:
    assert restart.words(HALF) == (
        "2/4 networks complete, 3 waiting, 1 synchronising, 1 away, about 3.0 MiB left"
    )
    assert restart.words(ALL) == "4/4 networks complete"


def test_a_restart_is_complete_when_every_host_is_synchronised() -> None:
    assert restart.is_complete(ALL)
    assert not restart.is_complete(HALF)
    assert restart.is_complete(ALL | {"hosts": 0, "done": 0})


def test_the_bar_shows_hosts_done_of_all() -> None:
    output = io.StringIO()
    restart.show(Console(file=output, width=120), HALF)
    assert "5/10" in output.getvalue()
