"""A region's own small certificate authority: who is a controller, an agent, a switch of this region.

    ca.pem, ca.key (0600)          made once, under the region's data directory
    controller.pem/.key            serverAuth: agents ask for the name `alcor-controller`
    queue.pem/.key                 serverAuth: who connects to the queue asks for the name `alcor-queue`
    queue-client.pem/.key          clientAuth: the controller, to the queue
    api.pem/.key                   clientAuth: an API process, to the controller
    agent.pem/.key of a host       clientAuth: speaks to the controller and to its neighbours' switches
    switch.pem/.key of a host      serverAuth: what Open vSwitch shows to a neighbour

A certificate says no more than its role needs: with a switch's certificate nobody can connect to anything, and
with an agent's nobody can pretend to be a switch or the controller.
"""

import contextlib
import datetime
import os
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from alcor.model import errors
from alcor.runtime import tls

ORGANISATION = "Alcor"
FLEET_NAME = "alcor-fleet"
AUTHORITY_YEARS = 10
CERTIFICATE_YEARS = 2
_BACKDATED = datetime.timedelta(hours=1)  # a host's clock may be behind ours
_HOST_NAME_MAX = 63  # bytes of a common name, and of a label


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
        """Write an agent's and a switch's certificate for a host, with the authority's. Raises Invalid."""
        if not host.isascii() or not host or len(host) > _HOST_NAME_MAX or "/" in host:
            raise errors.Invalid(f"'{host}' cannot be named by a certificate")
        self._issue(AGENT, host, directory)
        self._issue(SWITCH, host, directory)

    def issue_controller(self) -> Path:
        """Write the controller's certificate beside the authority's; gives the directory."""
        self._issue(CONTROLLER, tls.CONTROLLER_NAME, self._directory)
        return self._directory

    def issue_fleet(self, directory: Path) -> None:
        """Write a certificate for emulated hosts, which share connections. It names none of them."""
        self._issue(AGENT, FLEET_NAME, directory)

    def issue_api(self, directory: Path) -> None:
        """Write a certificate for an API process."""
        self._issue(API, tls.API_NAME, directory)

    def issue_queue(self) -> Path:
        """Write those of the queue's server and of the controller as its client; gives the directory."""
        self._issue(QUEUE, tls.QUEUE_NAME, self._directory)
        self._issue(QUEUE_CLIENT, tls.CONTROLLER_NAME, self._directory)
        return self._directory

    def derive_key(self, purpose: str) -> bytes:
        """Give a secret for one purpose: the same wherever this authority is opened (RFC 5869)."""
        secret = self._key.private_numbers().private_value.to_bytes(32, "big")
        return HKDF(hashes.SHA256(), 32, salt=None, info=purpose.encode()).derive(secret)

    def _make(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("authority", "Alcor region authority")
        builder = _builder(name, name, key.public_key(), years=AUTHORITY_YEARS)
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
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
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
        key = ec.generate_private_key(ec.SECP256R1())
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(
                _name(role.name, host), self._certificate.subject, key.public_key(), years=CERTIFICATE_YEARS
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([role.usage]), critical=True)
            .add_extension(authority_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        _write(directory / f"{role.name}.key", _key_bytes(key), mode=0o600)
        _write(directory / f"{role.name}.pem", _certificate_bytes(certificate), mode=0o644)
        _write(directory / tls.AUTHORITY, _certificate_bytes(self._certificate), mode=0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, *, years: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=365 * years))
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
