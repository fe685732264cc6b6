"""Where the API listens: without authentication on loopback only, and elsewhere only with TLS."""

import ipaddress
import socket

from alcor.model import errors


def api_socket(host: str, port: int, *, is_authenticated: bool, is_encrypted: bool) -> socket.socket:
    """Bind the API's socket. Raises Invalid for an address that would lay the region open, Unavailable.

    `is_encrypted`: by ourselves, or the operator says that whoever is in front does it.
    """
    address = "127.0.0.1" if host == "localhost" else host
    if not _is_loopback(address):
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
    return _bound(address, port)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _bound(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
