"""A region's own small certificate authority: who is a controller, an agent, a switch of this region.

    ca.pem, ca.key (0600)          made once, under the region's data directory
    controller.pem/.key            serverAuth: agents ask for the name `alcor-controller`
    queue.pem/.key                 serverAuth: who connects to the queue asks for the name `alcor-queue`
    queue-client.pem/.key          clientAuth: the controller, to the queue
    api.pem/.key                   clientAuth: an API process, to the controller
    agent.pem/.key of a host       clientAuth: speaks to the controller
    hosts/NAME.pem of a fleet      the same for each of its emulated hosts, with its key (0600)
    switch.pem/.key of a host      serverAuth: what Open vSwitch shows to a neighbour
    rescuers.pem of a host         an authority of its own: whom its Open vSwitch lets in, and nobody else

A certificate says no more than its role needs: with a switch's certificate nobody can connect to anything, and
with an agent's nobody can pretend to be a switch or the controller, nor connect to any switch. The key
of a host's own authority is in no file but derived from the region's: so any controller can certify, for some
minutes, whom it orders to write to that host (`docs/decisions/0029-rescue-certificates.md`).
"""

import contextlib
import datetime
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from alcor.model import errors
from alcor.runtime import tls

ORGANISATION = "Alcor"
FLEET_NAME = "alcor-fleet"
AUTHORITY_LIFE = datetime.timedelta(days=365 * 10)
CERTIFICATE_LIFE = datetime.timedelta(days=365 * 2)
# A controller certifies a rescuer anew every five minutes (`health.rescue`), so that ten are left at any time:
# for a controller's restart, and for hosts' clocks that are not quite right.
RESCUER_LIFE = datetime.timedelta(minutes=15)
_BACKDATED = datetime.timedelta(hours=1)  # a host's clock may be behind ours
_HOST_NAME_MAX = 63  # bytes of a common name, and of a label
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # SEC 2, 2.4.2


class Role(msgspec.Struct, frozen=True):
    """What a certificate is for. `name` is also its organisational unit and the stem of its files."""

    name: str
    usage: x509.ObjectIdentifier


CONTROLLER = Role("controller", ExtendedKeyUsageOID.SERVER_AUTH)
AGENT = Role(tls.AGENT, ExtendedKeyUsageOID.CLIENT_AUTH)
API = Role(tls.API, ExtendedKeyUsageOID.CLIENT_AUTH)
SWITCH = Role("switch", ExtendedKeyUsageOID.SERVER_AUTH)
QUEUE = Role("queue", ExtendedKeyUsageOID.SERVER_AUTH)
QUEUE_CLIENT = Role(tls.QUEUE_CLIENT, ExtendedKeyUsageOID.CLIENT_AUTH)
RESCUER = Role("rescuer", ExtendedKeyUsageOID.CLIENT_AUTH)


class Authority:
    """The authority in a directory of its own. Owner of its key."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._certificate: x509.Certificate
        self._key: ec.EllipticCurvePrivateKey

    @classmethod
    def open(cls, directory: Path) -> "Authority":
        """Take up the authority kept there, or make one. Raises Unavailable."""
        authority = cls(directory)
        try:
            if not (directory / tls.AUTHORITY).exists():
                authority._make()
            authority._load()
        except (OSError, ValueError) as error:
            raise errors.Unavailable(
                f"the authority in {directory} cannot be used: {error}", retry_after_s=1
            ) from error
        return authority

    def issue_host(self, host: str, directory: Path) -> None:
        """Write an agent's and a switch's certificate for a host, with both authorities'. Raises Invalid."""
        _require_name(host)
        self._issue(AGENT, host, directory)
        self._issue(SWITCH, host, directory)
        key = self._rescuers_key(host)
        _write(directory / tls.RESCUERS, _certificate_bytes(_authority(_rescuers(host), key)), mode=0o644)

    def certify_rescuer(self, target: str, neighbour: str, public_key: bytes) -> bytes:
        """Give the certificate (PEM) with which a neighbour is let in by a host's switch for RESCUER_LIFE.

        `public_key`: the neighbour's own, a SubjectPublicKeyInfo (DER). Raises Invalid.
        """
        _require_name(target)
        _require_name(neighbour)
        try:
            key = serialization.load_der_public_key(public_key)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise errors.Invalid(f"'{neighbour}' has no key to certify: {error}") from error
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise errors.Invalid(f"the key of '{neighbour}' is of another kind")
        issuer = (_rescuers(target), self._rescuers_key(target))
        return _certificate_bytes(_certify(RESCUER, neighbour, key, issuer, RESCUER_LIFE))

    def issue_controller(self) -> Path:
        """Write the controller's certificate beside the authority's; gives the directory."""
        self._issue(CONTROLLER, tls.CONTROLLER_NAME, self._directory)
        return self._directory

    def issue_fleet(self, directory: Path, hosts: Iterable[str] = ()) -> None:
        """Write a certificate for the connections that emulated hosts share, and one for each of the hosts.

        The shared one names none of them. A host's is like that of any agent, in a file with its key. Raises
        Invalid.
        """
        self._issue(AGENT, FLEET_NAME, directory)
        for host in hosts:
            _require_name(host)
            file = tls.emulated_file(directory, host)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            key, certificate = self._pair(AGENT, host)
            _write(file, _certificate_bytes(certificate) + _key_bytes(key), mode=0o600)

    def issue_api(self, directory: Path) -> None:
        """Write a certificate for an API process."""
        self._issue(API, tls.API_NAME, directory)

    def issue_queue(self) -> Path:
        """Write those of the queue's server and of the controller as its client; gives the directory."""
        self._issue(QUEUE, tls.QUEUE_NAME, self._directory)
        self._issue(QUEUE_CLIENT, tls.CONTROLLER_NAME, self._directory)
        return self._directory

    def derive_key(self, purpose: str, size: int = 32) -> bytes:
        """Give a secret for one purpose: the same wherever this authority is opened (RFC 5869)."""
        secret = self._key.private_numbers().private_value.to_bytes(32, "big")
        return HKDF(hashes.SHA256(), size, salt=None, info=purpose.encode()).derive(secret)

    def _rescuers_key(self, host: str) -> ec.EllipticCurvePrivateKey:
        """Give the key of a host's own authority. It is written nowhere."""
        number = int.from_bytes(
            self.derive_key(f"rescuers of {host}", 48), "big"
        )  # 128 bits more: even chances
        return ec.derive_private_key(number % (_P256_ORDER - 1) + 1, ec.SECP256R1())

    def _make(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _authority(_name("authority", "Alcor region authority"), key)
        _write(self._directory / "ca.key", _key_bytes(key), mode=0o600)
        _write(self._directory / tls.AUTHORITY, _certificate_bytes(certificate), mode=0o644)

    def _load(self) -> None:
        self._certificate = x509.load_pem_x509_certificate((self._directory / tls.AUTHORITY).read_bytes())
        key = serialization.load_pem_private_key((self._directory / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("its key is of another kind")
        self._key = key

    def _issue(self, role: Role, host: str, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key, certificate = self._pair(role, host)
        _write(directory / f"{role.name}.key", _key_bytes(key), mode=0o600)
        _write(directory / f"{role.name}.pem", _certificate_bytes(certificate), mode=0o644)
        _write(directory / tls.AUTHORITY, _certificate_bytes(self._certificate), mode=0o644)

    def _pair(self, role: Role, host: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = (self._certificate.subject, self._key)
        return key, _certify(role, host, key.public_key(), issuer, CERTIFICATE_LIFE)


def agent_key(directory: Path) -> tls.AgentKey:
    """Read that of the agent whose certificates are there. Raises Invalid."""
    path = directory / f"{AGENT.name}.key"
    try:
        private = path.read_bytes()
        public = serialization.load_pem_private_key(private, password=None).public_key()
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise errors.Invalid(f"{path} cannot be used: {error}") from error
    encoding, kind = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return tls.AgentKey(private, public.public_bytes(encoding, kind))


_Issuer = tuple[x509.Name, ec.EllipticCurvePrivateKey]


def _require_name(host: str) -> None:
    if not host.isascii() or not host or len(host) > _HOST_NAME_MAX or "/" in host:
        raise errors.Invalid(f"'{host}' cannot be named by a certificate")


def _rescuers(host: str) -> x509.Name:
    return _name("rescuers", host)


def _authority(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Make the certificate of an authority that vouches for itself."""
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key.public_key(), AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _certify(
    role: Role, host: str, public_key: ec.EllipticCurvePublicKey, issuer: _Issuer, life: datetime.timedelta
) -> x509.Certificate:
    issuer_name, issuer_key = issuer
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        _builder(_name(role.name, host), issuer_name, public_key, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([role.usage]), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _name(role: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def write_secret(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    _write(path, data, mode=0o600)


def write_secret_once(path: Path, data: bytes) -> None:
    """Write it unless it is there; of two at the same time one is written."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    write_secret(own, data)
    with contextlib.suppress(FileExistsError):
        os.link(own, path)
    own.unlink()


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that has its mode from the start: a key must not be readable even for a moment."""
    next_path = path.with_name(path.name + ".next")
    next_path.unlink(missing_ok=True)
    with open(os.open(next_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    next_path.rename(path)
