"""A command's exit status is what it says, so that scripts may go by it."""

import click
import pytest

from alcor.cli.main import carry_out
from alcor.model import errors


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (None, 0),
        (click.exceptions.Exit(1), 1),
        (click.exceptions.Exit(130), 130),
        (click.exceptions.Abort(), 130),
        (click.UsageError("no"), 2),
        (click.ClickException("no"), 1),
        (errors.Missing("no"), 1),
        (errors.Unavailable("no", retry_after_s=1), 69),
    ],
)
def test_the_status_is_that_of_how_it_ended(raised: Exception | None, status: int) -> None:
    @click.command()
    def command() -> None:
        if raised is not None:
            raise raised

    assert carry_out(command, []) == status
    group = click.Group(commands={"command": command})
    assert carry_out(group, ["command"]) == status
