"""Keys, statements and credentials of the queue; that a server takes them is tested with a server."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alcor.adapters.nats import access, subjects
from alcor.adapters.nats.access import Credentials
from alcor.adapters.nats.accounts import Accounts
from alcor.adapters.nats.nkeys import Key, Kind
from alcor.model import errors
from alcor.model.ids import HostId


@pytest.mark.parametrize(("kind", "letter"), [(Kind.OPERATOR, "O"), (Kind.ACCOUNT, "A"), (Kind.USER, "U")])
def test_a_key_is_read_from_its_seed_and_says_what_it_is_for(kind: Kind, letter: str) -> None:
    key = Key.new(kind)
    assert key.seed.startswith("S" + letter)
    assert key.name.startswith(letter)
    again = Key.from_seed(key.seed)
    assert (again.kind, again.name, again.sign(b"x")) == (kind, key.name, key.sign(b"x"))


def test_no_damaged_seed_is_taken_for_a_key() -> None:
    seed = Key(Kind.USER, Ed25519PrivateKey.from_private_bytes(bytes(range(32)))).seed
    for position in range(len(seed)):
        other = "A" if seed[position] != "A" else "B"
        with pytest.raises(errors.Invalid):
            Key.from_seed(seed[:position] + other + seed[position + 1 :])
    for text in ("", "S", "SU", "no seed", seed[:-1], seed + "A", Key.new(Kind.USER).name):
        with pytest.raises(errors.Invalid):
            Key.from_seed(text)


def test_a_host_s_statement_names_its_own_subjects_and_no_others(tmp_path: Path) -> None:
    host = HostId("a.b*>")
    given = Accounts.open(tmp_path).host(host)
    claims = json.loads(base64.urlsafe_b64decode(given.statement.split(".")[1] + "=="))
    assert claims["name"] == host
    assert claims["sub"] == given.key.name
    assert claims["exp"] > claims["iat"]
    allowed = claims["nats"]["pub"]["allow"] + claims["nats"]["sub"]["allow"]
    own = subjects.encoded(host)
    assert own == "a=2Eb=2A=3E"
    assert all(f".{own}." in subject or subject == subjects.beat("0") for subject in allowed)


def test_credentials_are_read_as_they_are_written_and_damage_is_said(tmp_path: Path) -> None:
    given = Accounts.open(tmp_path).host(HostId("h1"))
    read = Credentials.parse("a note\n\n" + given.text())
    assert (read.statement, read.key.seed) == (given.statement, given.key.seed)
    for text in ("", given.text().replace("SEED", "TREE"), given.text().replace("JWT", "CAR")):
        with pytest.raises(errors.Invalid):
            Credentials.parse(text)
    with pytest.raises(errors.Invalid, match="No such file"):
        access.of_cluster("nats://127.0.0.1", tmp_path / "none")


def test_the_same_region_keeps_its_keys(tmp_path: Path) -> None:
    one, other = Accounts.open(tmp_path), Accounts.open(tmp_path)
    names = [[line.split(".")[0] for line in each.server_lines()[1:3]] for each in (one, other)]
    assert names[0] == names[1]
    (tmp_path / "queue.keys").write_text("{}")
    with pytest.raises(errors.Unavailable):
        Accounts.open(tmp_path)
