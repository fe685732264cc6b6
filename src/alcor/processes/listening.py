"""Where the API listens: without authentication on loopback only, and elsewhere only with TLS."""

import ipaddress
import socket
from pathlib import Path
from urllib.parse import urlsplit

from alcor.model import errors


def api_socket(
    host: str, port: int, *, is_authenticated: bool, is_encrypted: bool, is_shared: bool = False
) -> socket.socket:
    """Bind the API's socket. Raises Invalid for an address that would lay the region open, Unavailable.

    `is_encrypted`: by ourselves, or the operator says that whoever is in front does it.
    `is_shared`: others of our user may listen there too (SO_REUSEPORT); each gets some of the connections.
    """
    address = "127.0.0.1" if host == "localhost" else host
    if not is_loopback(address):
        if not is_authenticated:
            raise errors.Invalid(
                f"'{host}' is not a loopback address: without authentication the API binds to loopback only. "
                "Say --identity tokens or keystone"
            )
        if not is_encrypted:
            raise errors.Invalid(
                f"'{host}' is not a loopback address: tokens must not travel in clear text. Give "
                "--tls-cert and --tls-key, or say --allow-plain-http when a proxy on a trusted network does TLS"
            )
    return _bound(address, port, is_shared=is_shared)


def require_closed(url: str, whom: str, otherwise: str = "") -> None:
    """Raise Invalid for an address where anybody in the network could pose as one of ours.

    `whom`: is to dial in there. `otherwise`: what else the operator may do.
    """
    parts = urlsplit(url)
    if parts.scheme == "tcp" and not is_loopback(parts.hostname or ""):
        raise errors.Invalid(f"'{url}' is not a loopback address: off it, {whom} need tcps://{otherwise}")


def close_to_others(url: str) -> None:
    """Let only our own user connect to a socket file; other addresses stay as they are."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        Path(parts.path).chmod(0o600)


def is_loopback(address: str) -> bool:
    """Does the address, or `localhost`, stay on this machine?"""
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _bound(address: str, port: int, *, is_shared: bool) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise errors.Unavailable(
            f"cannot listen on {address}:{port} ({error.strerror or error}); is another region running? "
            "Choose another port with --listen",
            retry_after_s=1,
        ) from error
    return listener
