"""Where a worker listens, and the certificates that it shows there."""

import socket
import ssl
from typing import TYPE_CHECKING

from omni_grpc.settings import Settings, SettingsError

if TYPE_CHECKING:
    from omni_grpc.storage.certificates import CertificateFiles


def bind(address: str, *, share: bool) -> socket.socket:
    """A TCP socket bound to host:port; `share` lets several processes listen on the same port.

    Raises:
        OSError: the address is taken, or is not this machine's.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, int(port)))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {address}: {error.strerror or error}") from None
    listener.setblocking(False)
    return listener


def certificates_of(settings: Settings) -> "CertificateFiles | None":
    """What TLS is served with; None where it is not.

    Raises:
        SettingsError: the files cannot be used.
    """
    chain, key, clients = (
        settings.tls_cert_file,
        settings.tls_key_file,
        settings.tls_client_ca_file,
    )
    if chain is None and key is None and clients is None:
        return None
    if chain is None or key is None:
        raise SettingsError(
            ["OMNI_TLS_CERT_FILE, OMNI_TLS_KEY_FILE: TLS needs both, the certificate and its key"]
        )
    from omni_grpc.storage.certificates import CertificateError, CertificateFiles

    try:
        return CertificateFiles(chain, key, clients)
    except CertificateError as error:
        raise SettingsError([f"TLS: {fault}" for fault in error.faults]) from None


def tls_context(files: "CertificateFiles", _config: object, _default: object) -> ssl.SSLContext:
    """As uvicorn asks for it."""
    return files.context()
