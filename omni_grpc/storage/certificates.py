"""The server's certificate, its key and its clients' authorities, as files that may be replaced.

They are looked at whenever a client connects, so a new certificate is served at once, without a
restart. Files that cannot be used are told of, and the ones before them go on being served.
"""

import ssl
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from omni_grpc.storage.file_signature import file_signature

FILE_BYTES_MAX: Final = 1024 * 1024
"""Largest file; a bundle of all public authorities has a fifth of that."""

log = structlog.get_logger(__name__)


class CertificateError(Exception):
    """The files cannot be used; `faults` says of each file why."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = list(faults)


class Certificates:
    """What the files held when they were read. It does not show the key when it is printed."""

    __slots__ = ("chain", "client_authorities", "context", "key")

    def __init__(
        self, chain: bytes, key: bytes, client_authorities: bytes | None, context: ssl.SSLContext
    ) -> None:
        self.chain = chain
        """The certificate and those between it and its authority, PEM."""
        self.key = key
        """The certificate's private key, PEM."""
        self.client_authorities = client_authorities
        """Who must have signed clients' certificates, PEM; None where clients need none."""
        self.context = context
        """The same, for TLS by the standard library."""


class CertificateFiles:
    """The files. May be asked from any thread.

    Args:
        chain: the certificate chain.
        key: its private key, not encrypted.
        client_authorities: whose certificates clients must have; None where they need none.

    Raises:
        CertificateError: they cannot be used.
    """

    def __init__(self, chain: Path, key: Path, client_authorities: Path | None) -> None:
        self._paths = (chain, key, client_authorities)
        self._lock = threading.Lock()
        self._seen = self._signatures()
        self._current = read_certificates(chain, key, client_authorities)

    @property
    def asks_clients(self) -> bool:
        """Whether clients must have certificates."""
        return self._paths[2] is not None

    def current(self) -> Certificates:
        """What is to be served now; the same object until the files change."""
        with self._lock:
            seen = self._signatures()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._current = read_certificates(*self._paths)
                except CertificateError as error:
                    # Perhaps one file is written and the next is not: its writing is seen too.
                    log.warning("certificates_not_replaced", faults=error.faults)
                else:
                    log.info("certificates_replaced", file=str(self._paths[0]))
            return self._current

    def context(self) -> ssl.SSLContext:
        """A context for servers, that serves what is current at each connection."""
        first = self.current().context

        def choose(connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
            connection.context = self.current().context

        first.sni_callback = choose  # also asked where a client names no server
        return first

    def _signatures(self) -> tuple[tuple[int, ...], ...]:
        return tuple(file_signature(path) for path in self._paths)


def read_certificates(chain: Path, key: Path, client_authorities: Path | None) -> Certificates:
    """What the files hold, checked.

    Raises:
        CertificateError: with all that is wrong with them.
    """
    faults: list[str] = []
    chain_pem, key_pem = _content(chain, faults), _content(key, faults)
    authorities = None if client_authorities is None else _content(client_authorities, faults)
    certificate = _first_certificate(chain, chain_pem, faults)
    private = _private_key(key, key_pem, faults)
    if client_authorities is not None:
        _first_certificate(client_authorities, authorities, faults)
    if certificate is not None and private is not None:
        if certificate.public_key() != private.public_key():
            faults.append(f"{key}: is not the private key of the certificate in {chain}")
        elif certificate.not_valid_after_utc <= datetime.now(UTC):
            log.warning("certificate_expired", file=str(chain))
    if faults or chain_pem is None or key_pem is None:
        raise CertificateError(faults)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(chain, key, password=_no_password)
        if authorities is not None:
            context.load_verify_locations(cadata=authorities.decode("ascii"))
            context.verify_mode = ssl.CERT_REQUIRED
            # A client that resumes a session is not asked for its certificate again.
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
    except (ssl.SSLError, OSError, ValueError) as error:
        raise CertificateError([f"{chain}: cannot be served: {error}"]) from None
    return Certificates(chain_pem, key_pem, authorities, context)


def _no_password() -> str:
    """OpenSSL would else ask for one at the terminal."""
    return ""


def _content(path: Path, faults: list[str]) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror or error}")
        return None
    if len(content) > FILE_BYTES_MAX:
        faults.append(f"{path}: is larger than {FILE_BYTES_MAX} bytes")
        return None
    return content


def _first_certificate(
    path: Path, content: bytes | None, faults: list[str]
) -> x509.Certificate | None:
    if content is None:
        return None
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except (ValueError, IndexError):
        faults.append(f"{path}: holds no certificate in PEM form")
        return None


def _private_key(path: Path, content: bytes | None, faults: list[str]) -> PrivateKeyTypes | None:
    if content is None:
        return None
    try:
        return load_pem_private_key(content, password=None)
    except TypeError:
        faults.append(f"{path}: is encrypted; give the key without a password")
    except ValueError:
        faults.append(f"{path}: holds no private key in PEM form")
    return None
