"""TLS with certificates on both sides, from the files that a region's authority wrote."""

import os
import ssl
from pathlib import Path

from alcor.model import errors

AUTHORITY = "ca.pem"
RESCUERS = "rescuers.pem"  # a host's own authority: whom its switch lets in
CONTROLLER_NAME = "alcor-controller"  # what the controller's certificate names: it may move, its name may not
API_NAME = "alcor-api"
# Roles that connect, as certificates say them: their organisational unit, and the stem of their files.
AGENT = "agent"
API = "api"
QUEUE_CLIENT = "queue-client"
QUEUE_NAME = "alcor-queue"  # likewise


def agent_context(directory: Path) -> ssl.SSLContext:
    """Connect as the agent of a host; the peer's certificate must name whom we ask for. Raises Invalid."""
    return client_context(directory, AGENT)


def client_context(directory: Path, role: str) -> ssl.SSLContext:
    """Connect in a role; the peer's certificate must name whom we ask for. Raises Invalid."""
    return _context(directory, ssl.PROTOCOL_TLS_CLIENT, role)


def emulated_file(directory: Path, host: str) -> Path:
    """Name the file with the certificate and key of an emulated host, in a fleet's directory."""
    return directory / "hosts" / f"{host}.pem"


def emulated_context(directory: Path, host: str) -> ssl.SSLContext:
    """Connect as the agent of an emulated host; else `agent_context`. Raises Invalid."""
    own = emulated_file(directory, host)
    return _context_of(directory, ssl.PROTOCOL_TLS_CLIENT, own, own)


def greeting_context(directory: Path) -> ssl.SSLContext:
    """See whether a peer is whom it should be, without a certificate of our own. Raises Invalid.

    With TLS 1.3 the peer proves itself before it asks for ours, and then ends the connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(directory / AUTHORITY)
    except OSError as error:
        raise errors.Invalid(f"the certificates in {directory} cannot be used: {error}") from error
    return context


class AgentKey:
    """An agent's private key (PEM) as it was read, and its public half (SubjectPublicKeyInfo, DER).

    Kept together: the files may be issued anew while the agent runs, and orders bring certificates for the
    public key that its Hello named.
    """

    __slots__ = ("private", "public")

    def __init__(self, private: bytes, public: bytes) -> None:
        self.private = private
        self.public = public


class RescuerContext:
    """Connects to one host's switch, with a certificate that is renewed. Owner of its context.

    The key is the agent's own: orders bring certificates for it and no secrets.
    """

    def __init__(self, directory: Path, key: AgentKey, certificate: bytes) -> None:
        """`directory`: with the region's authority. Raises Invalid when the certificate (PEM) does not fit."""
        self._directory = directory
        self._key = key
        self.context = self._new_context()
        self._load(self.context, certificate)

    def renew(self, certificate: bytes) -> None:
        """Show a newer one to whom is connected to from now on. Raises Invalid, and keeps the old."""
        self._load(self._new_context(), certificate)  # half a pair would break a context in use
        self._load(self.context, certificate)

    def _new_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self._directory / AUTHORITY)
        return context

    def _load(self, context: ssl.SSLContext, certificate: bytes) -> None:
        if not certificate:
            raise errors.Invalid("the order brings no certificate")
        try:
            # The module takes files only; this one is on no disk.
            with open(os.memfd_create("rescuer"), "w+b") as file:
                file.write(certificate + self._key.private)
                file.flush()
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        except OSError as error:  # ssl.SSLError is one
            raise errors.Invalid(f"the order's certificate cannot be used: {error}") from error


class RescuerContexts:
    """Those of the rescues under way. Implements `neighbor_help.SwitchCertificates`."""

    def __init__(self, directory: Path, key: AgentKey) -> None:
        self.public_key = key.public
        self._directory = directory
        self._key = key
        self._of: dict[str, RescuerContext] = {}

    def take(self, target: str, certificate: bytes) -> None:
        """Take a certificate for a host's switch, or a newer one. Raises Invalid, and keeps the old."""
        held = self._of.get(target)
        if held is not None:
            held.renew(certificate)
        else:
            self._of[target] = RescuerContext(self._directory, self._key, certificate)

    def drop(self, target: str) -> None:
        """Forget what lets us into a host's switch; connections that use it go on."""
        self._of.pop(target, None)

    def context(self, target: str) -> ssl.SSLContext:
        """Connect to a host's switch, for which a certificate was taken."""
        return self._of[target].context


def controller_context(directory: Path) -> ssl.SSLContext:
    """Accept agents of this region, and nobody without a certificate. Raises Invalid."""
    context = _context(directory, ssl.PROTOCOL_TLS_SERVER, "controller")
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # asyncio resumes no sessions, and tickets are a fifth of what a handshake costs us
    return context


class ServerCertificate:
    """The API's certificate and key, in files that are replaced when they are renewed. Owner of its context."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises Invalid when they cannot be used."""
        self._files = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._mark = self._look()
        self._load(self.context)

    def reload(self) -> bool:
        """Show new clients the files' content if it changed; was it so? Raises Invalid, and keeps the old."""
        mark = self._look()
        if mark == self._mark:
            return False
        # Loading half a pair into a context in use would break it: tried on another one first.
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self._load(self.context)
        self._mark = mark
        return True

    def _load(self, context: ssl.SSLContext) -> None:
        certificate, key = self._files
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise errors.Invalid(f"TLS with {certificate} and {key} is not possible: {error}") from error

    def _look(self) -> tuple[int, ...]:
        try:
            return tuple(
                number for path in self._files for number in (path.stat().st_mtime_ns, path.stat().st_ino)
            )
        except OSError as error:
            raise errors.Invalid(f"{error.filename}: {error.strerror}") from error


def _no_password() -> str:
    # Without this, OpenSSL asks the terminal and the region hangs.
    raise ValueError("the key must not be protected by a password")


def common_name(certificate: object) -> str | None:
    """Give whom a peer's certificate names, as `SSLSocket.getpeercert` describes it; None when nobody."""
    return _part_of_subject(certificate, "commonName")


def role(certificate: object) -> str | None:
    """Give the role that a peer's certificate was issued for; None when it says none."""
    return _part_of_subject(certificate, "organizationalUnitName")


def _part_of_subject(certificate: object, wanted: str) -> str | None:
    subject = certificate.get("subject") if isinstance(certificate, dict) else None
    for part in subject or ():
        for key, value in part:
            if key == wanted:
                return str(value)
    return None


def _context(directory: Path, protocol: int, role: str) -> ssl.SSLContext:
    return _context_of(directory, protocol, directory / f"{role}.pem", directory / f"{role}.key")


def _context_of(directory: Path, protocol: int, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(directory / AUTHORITY)
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise errors.Invalid(f"the certificates in {directory} cannot be used: {error}") from error
    return context
