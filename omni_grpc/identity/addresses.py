"""Which network address calls, and how often it may: bounds that hold before a caller is known.

Counts are kept in memory, each worker its own, of a bounded number of addresses. An address that
is refused costs a look into a table and no more.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import RateLimited

SLOT_SECONDS: Final = 5.0
SLOTS: Final = 13
"""A minute is counted in slots; any sixty seconds lie within thirteen of them, so that never more
than the limit fall into one."""

ADDRESSES_MAX: Final = 16_384
"""Addresses counted at once, some 5 MB; beyond it the one that was silent longest is forgotten."""

HOPS_MAX: Final = 16
"""Most proxies one after another that are believed."""

_IPV6_PREFIX: Final = 64
"""One subscriber has at least so much of IPv6 for itself: it counts as one address."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TrustedProxies:
    """Finds the caller behind proxies of one's own.

    Of X-Forwarded-For the part that a trusted proxy wrote is believed: read from the right, the
    first address that is none of ours. What stands left of it anyone may have written.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        """Takes addresses and networks.

        Raises:
            ValueError: one of them is neither.
        """
        self._networks: tuple[Network, ...] = tuple(
            ipaddress.ip_network(text, strict=False) for text in networks
        )

    def caller(self, peer: str, forwarded_for: str) -> str:
        """The caller's address: `peer` itself where it is no proxy of ours."""
        found = _parsed(peer)
        if found is None or not self._trusts(found):
            return peer
        for text in reversed(forwarded_for.split(",")[-HOPS_MAX:]):
            hop = _parsed(_without_port(text.strip()))
            if hop is None:
                break  # what no address is, no proxy of ours wrote
            found = hop
            if not self._trusts(hop):
                break
        return str(found)

    def _trusts(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


class AddressLimits:
    """Refuses addresses that ask, or fail to say who they are, too often.

    Args:
        failures_per_minute: failed sign-ins; 0 for any number.
        requests_per_minute: requests of any kind; 0 for any number.
        clock: whose monotonic time counts.
    """

    def __init__(
        self, *, failures_per_minute: int = 0, requests_per_minute: int = 0, clock: Clock
    ) -> None:
        self._failures = _Counts(failures_per_minute) if failures_per_minute else None
        self._requests = _Counts(requests_per_minute) if requests_per_minute else None
        self._clock = clock

    def admit(self, address: str, *, was_good: bool = False) -> None:
        """Lets a request of an address in; one without an address always.

        Args:
            address: whose.
            was_good: whether what it presents was good before: others' failures do not count then.

        Raises:
            RateLimited: the address has had its number.
        """
        failures, requests = self._failures, self._requests
        if (not failures and requests is None) or not address:
            return
        key, slot = address_key(address), int(self._clock.monotonic() / SLOT_SECONDS)
        if failures and not was_good and failures.is_full(key, slot):
            raise _refusal(
                failures, key, slot, "failed too often to say who calls, or signed up too often"
            )
        if requests is not None:
            if requests.is_full(key, slot):
                raise _refusal(requests, key, slot, "has sent as many requests as it may")
            requests.add(key, slot)

    def failed(self, address: str) -> None:
        """Counts that an address failed to say who it is, or signed up as somebody new."""
        if self._failures is not None and address:
            slot = int(self._clock.monotonic() / SLOT_SECONDS)
            self._failures.add(address_key(address), slot)


class _Counts:
    """How often each address did something in the last minute."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._slots: OrderedDict[str, OrderedDict[int, int]] = OrderedDict()  # longest silent first

    def __len__(self) -> int:
        return len(self._slots)

    def is_full(self, key: str, slot: int) -> bool:
        found = self._slots.get(key)
        if found is None:
            return False
        while found and next(iter(found)) <= slot - SLOTS:
            found.popitem(last=False)
        if not found:
            del self._slots[key]
            return False
        return sum(found.values()) >= self.limit

    def add(self, key: str, slot: int) -> None:
        found = self._slots.setdefault(key, OrderedDict())
        found[slot] = found.get(slot, 0) + 1
        self._slots.move_to_end(key)
        if len(found) > SLOTS:
            found.popitem(last=False)
        if len(self._slots) > ADDRESSES_MAX:
            self._slots.popitem(last=False)

    def wait_s(self, key: str, slot: int) -> float:
        """Until so many of its slots are over that there is room again."""
        left = sum(self._slots[key].values())
        for old, count in self._slots[key].items():
            left -= count
            if left < self.limit:
                return (old + SLOTS - slot) * SLOT_SECONDS
        return SLOTS * SLOT_SECONDS


@lru_cache(maxsize=4_096)
def address_key(address: str) -> str:
    """What of an address is counted as one: an IPv4 address, or the network of an IPv6 one."""
    found = _parsed(address)
    if found is None or found.version == 4:  # noqa: PLR2004 - the version's own number
        return address if found is None else str(found)
    return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))


def _parsed(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _without_port(text: str) -> str:
    """`10.0.0.1:5000` and `[::1]:5000` as some proxies write them."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _refusal(counts: _Counts, key: str, slot: int, why: str) -> RateLimited:
    return RateLimited(
        f"This network address {why} ({counts.limit} in a minute). Try again later.",
        retry_after_s=counts.wait_s(key, slot),
        metadata={"limit": str(counts.limit)},
    )
