"""Access tokens: what is shown, what is kept, and who is known by them."""

import base64

import pytest

from alcor.contracts.identity import Identity
from alcor.management_plane.identity import credentials, tokens
from alcor.management_plane.identity.tokens import TokenRecord, TokenTable
from alcor.model import errors
from alcor.model.roles import Level, level_of

NOW_US = 1_800_000_000_000_000


class _Clock:
    now = NOW_US

    def now_us(self) -> int:
        return self.now

    def monotonic_s(self) -> float:
        return self.now / 1_000_000


def _issued(role: str = "member", *, lifetime_s: int = 60) -> tuple[str, TokenRecord]:
    return tokens.issue(project_id="blue", user_id="alice", roles=[role], now_us=NOW_US, lifetime_s=lifetime_s)


def _table(*records: TokenRecord) -> tuple[TokenTable, _Clock, list[TokenRecord]]:
    clock, held = _Clock(), list(records)
    table = TokenTable(clock, lambda: tuple(held))
    table.reload()
    return table, clock, held


def _basic(user: str, token: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def _level(identity: Identity | None) -> Level | None:
    return None if identity is None else identity.level


def test_what_is_kept_does_not_hold_the_token() -> None:
    token, record = _issued()
    assert len(token.rpartition("_")[2]) == 64, "256 bits"
    assert token.rpartition("_")[2] not in repr(record)
    assert record.id in token
    assert _issued()[0] != token


def test_a_token_is_known_in_both_styles_until_it_expires() -> None:
    token, record = _issued(lifetime_s=60)
    table, clock, _ = _table(record)
    known = table.known({"x-auth-token": token})
    assert known == Identity(record.project_id, "alice", ("member",), Level.MEMBER)  # type: ignore[arg-type]
    assert table.known(_basic("alice", token)) == known
    clock.now += 60_000_000 - 1
    assert table.known({"x-auth-token": token}) == known
    clock.now += 1
    assert table.known({"x-auth-token": token}) is None


@pytest.mark.parametrize("role", ["reader", "member", "admin"])
def test_a_role_gives_its_level(role: str) -> None:
    token, record = _issued(role)
    assert _level(_table(record)[0].known({"x-auth-token": token})) == Level[role.upper()]


def test_other_roles_count_for_nothing_and_the_highest_counts() -> None:
    assert level_of(["heat_stack_owner"]) is Level.ANYONE
    assert level_of([]) is Level.ANYONE
    assert level_of(["reader", "Admin", "member"]) is Level.ADMIN


def test_what_is_not_exactly_the_token_is_not_known() -> None:
    token, record = _issued()
    other, _ = _issued()
    table, _, _ = _table(record)
    head, _, secret = token.rpartition("_")
    wrong = [
        {},
        {"x-auth-token": ""},
        {"x-auth-token": head},
        {"x-auth-token": head + "_"},
        {"x-auth-token": f"{head}_{'0' * 64}"},
        {"x-auth-token": f"{head}_{secret.upper()}x"},
        {"x-auth-token": token + "_"},
        {"x-auth-token": other},
        {"x-auth-token": f"{head}_{other.rpartition('_')[2]}"},
        {"x-auth-token": record.sha256},
        {"x-auth-token": "x" * 100_000},
        {"x-auth-token": token[:-1] + "\xe9"},
        {"authorization": "Basic"},
        {"authorization": "Basic ="},
        {"authorization": "Basic " + base64.b64encode(b"\xff:x").decode()},
        {"authorization": f"Bearer {token}"},
        _basic("bob", token),
        {"x-project-id": "blue", "x-roles": "admin"},
    ]
    for headers in wrong:
        assert table.known(headers) is None, headers
    assert credentials.shown({"authorization": "basic " + base64.b64encode(b"a:b:c").decode()}) is not None


async def test_a_new_token_works_at_once_and_a_revoked_one_no_more_after_a_reload() -> None:
    table, _, held = _table()
    token, record = _issued()
    headers = {"x-auth-token": token}
    with pytest.raises(errors.Invalid):
        await table.identify(headers)
    held.append(record)
    assert table.known(headers) is None
    assert (await table.identify(headers)).user_id == "alice"
    held.clear()
    table.reload()
    assert table.known(headers) is None


def test_records_that_cannot_be_are_refused() -> None:
    _, record = _issued()
    for records in (
        [record, record],
        [TokenRecord(**{**_fields(record), "sha256": "00"})],
        [TokenRecord(**{**_fields(record), "sha256": "z" * 64})],
        [TokenRecord(**{**_fields(record), "project_id": ""})],
    ):
        with pytest.raises(errors.Invalid):
            tokens.checked(records)
    for wrong in ({"project_id": ""}, {"user_id": "a:b"}, {"roles": []}, {"roles": ["root"]}):
        asked = {"project_id": "blue", "user_id": "alice", "roles": ["member"], **wrong}
        with pytest.raises(errors.Invalid):
            tokens.issue(now_us=NOW_US, lifetime_s=1, **asked)  # type: ignore[arg-type]


def _fields(record: TokenRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}
