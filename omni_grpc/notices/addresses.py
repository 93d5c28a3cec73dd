"""Where webhooks may lead: https, and addresses of the public Internet alone.

A URL is checked when it is set, for a clear answer. What counts is the check of each address when a
connection is made: a name can lead elsewhere by then.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from omni_grpc.core.errors import FieldInvalid

URL_CHARS_MAX: Final = 2_048

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""As getaddrinfo has it; the last part is the socket's address."""

_FORBIDDEN_V4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network; Linux connects to itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' networks, and one cloud's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # a cloud's host, to its guests
            "169.254.0.0/16",  # link-local, and most clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocols, among them Teredo, which embeds IPv4 addresses
            "2001:db8::/32",
            "2002::/16",  # 6to4, which embeds IPv4 addresses
            "3fff::/20",
        ),
    )
)
_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""How networks of IPv6 alone reach IPv4: the address stands in the last 32 bits."""


class PrivateAddressError(OSError):
    """A webhook leads to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet; False for what is no IP address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped
        if inner is None and found in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is None:
            return found in _PUBLIC_V6 and not any(found in net for net in _FORBIDDEN_V6)
        found = inner
    return not any(found in net for net in _FORBIDDEN_V4)


def public_socket(info: AddressInfo) -> socket.socket:
    """A socket for a connection to an address, if it is public.

    Raises:
        PrivateAddressError: it is not.
    """
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise PrivateAddressError("it leads to an address that is not public")
    return socket.socket(family, kind, protocol)


SocketFactory = Callable[[AddressInfo], socket.socket]


def check_url(url: str, *, private_hosts: bool, field: str) -> str:
    """A webhook's URL, if it can be one.

    Args:
        url: as its owner wrote it.
        private_hosts: whether http and private addresses are allowed.
        field: the request's name for it.

    Raises:
        FieldInvalid: it cannot be.
    """
    if not 0 < len(url) <= URL_CHARS_MAX:
        raise FieldInvalid(f"`{field}` must have 1 to {URL_CHARS_MAX} characters.", field=field)
    if not url.isascii() or any(c <= " " or c in "\\\x7f" for c in url):
        raise FieldInvalid(
            f"`{field}` must be of printable ASCII characters without spaces and backslashes; "
            "percent-encode others, and write a name in its xn-- form.",
            field=field,
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise FieldInvalid(f"`{field}` is no URL.", field=field) from None
    if parts.scheme != "https" and not (private_hosts and parts.scheme == "http"):
        raise FieldInvalid(f"`{field}` must begin with https://.", field=field)
    if not host or port == 0:
        raise FieldInvalid(f"`{field}` must name a host.", field=field)
    if parts.username is not None or parts.fragment:
        raise FieldInvalid(f"`{field}` must have no user name and no fragment.", field=field)
    if not private_hosts and (_is_local_name(host) or (_is_literal(host) and not is_public(host))):
        raise FieldInvalid(
            f"`{field}` must lead to a public address; this one does not.", field=field
        )
    return url


def _is_local_name(host: str) -> bool:
    name = host.rstrip(".")
    return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))


def _is_literal(host: str) -> bool:
    """Whether a host is an address in any notation, such as 127.1 or 0x7f000001."""
    last = host.rstrip(".").rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")
