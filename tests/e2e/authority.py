"""A certificate authority for tests: certificates for localhost, and for clients."""

import datetime as dt
import ipaddress
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates; `pem` is its own."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, days=30, is_authority=True)
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def server(self, folder: Path, *, days: int = 30) -> tuple[Path, Path]:
        """Files with a new certificate for this machine, and its key."""
        key, chain = self._pair("localhost", days)
        paths = folder / "chain.pem", folder / "key.pem"
        for path, content in zip(paths, (chain, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        return paths

    def client_pair(self) -> tuple[bytes, bytes]:
        """A client's key and certificate."""
        return self._pair("client", 30)

    def client(self, pair: tuple[bytes, bytes] | None = None) -> ssl.SSLContext:
        """A client that trusts this authority, perhaps with a certificate of its own."""
        context = ssl.create_default_context(cadata=self.pem.decode())
        if pair is not None:
            with tempfile.NamedTemporaryFile() as file:
                file.write(b"".join(pair))
                file.flush()
                context.load_cert_chain(file.name)
        return context

    def locked_key(self) -> bytes:
        """A key with a password."""
        key = ec.generate_private_key(ec.SECP256R1())
        secret = BestAvailableEncryption(b"secret")
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)

    def _pair(self, name: str, days: int) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        chain = self._sign(subject, key, days=days).public_bytes(Encoding.PEM)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), chain

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: int,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=40))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if is_authority:
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
            made = made.add_extension(usage, critical=True)
        return made.sign(self._key, hashes.SHA256())
