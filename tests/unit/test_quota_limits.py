"""Default limits: every kind that tenants make has one, and the operator sets others."""

import pytest
from click.testing import CliRunner

from alcor.cli import up
from alcor.model.quota import DEFAULT_LIMITS, UNLIMITED, is_over
from alcor.model.records import KINDS

OPERATORS = {"host", "project", "default_security_group_rule"}  # made by agents and by the operator


def test_every_kind_that_tenants_make_is_counted() -> None:
    assert set(DEFAULT_LIMITS) == set(KINDS) - OPERATORS, "say in model/quota.py how many a project may have"


def test_a_limit_allows_itself_and_unlimited_allows_all() -> None:
    assert [is_over(used, 2) for used in (1, 2, 3)] == [False, False, True]
    assert is_over(1, 0)
    assert not is_over(10**9, UNLIMITED)


@pytest.mark.parametrize(
    "value", ["port", "port=", "port=many", "port=-2", "port=1.5", f"port={2**31}", "host=1", "=3"]
)
def test_a_default_that_cannot_be_is_refused_before_anything_starts(value: str) -> None:
    result = CliRunner().invoke(up.command, ["--quota", value])
    assert result.exit_code == 2
    assert "is not counted" in result.output or "a limit is a number" in result.output
