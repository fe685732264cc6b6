"""All that names a host to its region and its region to it, in one directory: `alcor agent --certificates`."""

from collections.abc import Iterable
from pathlib import Path

from alcor.adapters import certificates
from alcor.adapters.certificates import Authority
from alcor.adapters.nats import access
from alcor.adapters.nats.accounts import Accounts
from alcor.model.ids import HostId


def issue_host(authority: Path, host: str, directory: Path) -> None:
    """Write a host's certificates, and its credentials for the queue. Raises Invalid, Unavailable."""
    Authority.open(authority).issue_host(host, directory)
    text = Accounts.open(authority).host(HostId(host)).text()
    certificates.write_secret(directory / access.FILE, text.encode())


def issue_api(authority: Path, directory: Path) -> None:
    """Write what lets an API process speak to the controller. Raises Unavailable."""
    Authority.open(authority).issue_api(directory)


def issue_fleet(authority: Path, directory: Path, hosts: Iterable[str] = ()) -> None:
    """Write what emulated hosts share, and a certificate for each of these, which streams of its own want.

    With what they share all hosts' subjects are open. Raises Invalid, Unavailable.
    """
    Authority.open(authority).issue_fleet(directory, hosts)
    certificates.write_secret(directory / access.FILE, Accounts.open(authority).fleet().text().encode())
