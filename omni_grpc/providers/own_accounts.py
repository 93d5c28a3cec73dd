"""Tenants' own accounts at providers, ready to be called, and whose turn it is among them.

An account is a proof and an address; its connections are one pool for each provider, of which the
service's own calls use none. Accounts and turns that were not used for long are forgotten and made
anew, so that thousands of tenants cost no more memory than those who call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from omni_grpc.core.clock import Clock
from omni_grpc.providers.balancing import Balance, may_move
from omni_grpc.providers.calls import ChatProvider
from omni_grpc.providers.chat import DialectChat
from omni_grpc.providers.errors import Misconfigured, ProviderFault, RateLimited
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.http import Pool, Upstream
from omni_grpc.providers.media_call import MediaProvider
from omni_grpc.providers.own_form import OwnAccountFault, OwnForms, secrets_of
from omni_grpc.providers.records import Records
from omni_grpc.providers.registry import DIALECTS, MEDIA_DIALECTS

ACCOUNTS_MAX: Final = 4_096
"""Accounts of a worker that are kept ready, some 4 kB each."""

TURNS_MAX: Final = 4_096
"""Sets of accounts whose turns are remembered, some 1 kB each."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class OwnAccount:
    """An account at a provider. Its name may be told; `faults` makes what names it."""

    name: str
    address: str
    chat: ChatProvider
    media: MediaProvider | None
    records: Records | None
    faults: Faults


class OwnAccounts:
    """The accounts of all tenants that call. For one event loop; close it at the end."""

    def __init__(self, forms: OwnForms, clock: Clock) -> None:
        self._forms = forms
        self._clock = clock
        self._pools: dict[str, Pool] = {}
        self._accounts: _Recent[Hashable, OwnAccount] = _Recent(ACCOUNTS_MAX)
        self._turns: _Recent[Hashable, Balance] = _Recent(TURNS_MAX)

    async def account(
        self,
        key: Hashable,
        *,
        name: str,
        provider: str,
        secret: str,
        variables: Mapping[str, str],
    ) -> OwnAccount:
        """An account, kept under a key that changes with its content.

        Raises:
            OwnAccountFault: it cannot be used here.
        """
        found = self._accounts.get(key)
        if found is None:
            form = self._forms.get(provider)
            if form.is_slow:
                found = await asyncio.to_thread(self._made, name, provider, secret, variables)
            else:
                found = self._made(name, provider, secret, variables)
            self._accounts.put(key, found)
        return found

    def balance(self, key: Hashable, weights: Sequence[int]) -> Balance:
        """Whose turn it is among accounts, kept under a key that changes with them."""
        found = self._turns.get(key)
        if found is None:
            found = Balance(weights, self._clock)
            self._turns.put(key, found)
        return found

    def unusable(self, provider: str, name: str, why: str) -> Misconfigured:
        """The fault of an account that cannot be used; nothing was sent."""
        return Faults(provider, (), self._clock, name).misconfigured(why)

    async def close(self) -> None:
        """Close every connection; calls that still run fail."""
        for pool in self._pools.values():
            await pool.close()

    def _made(
        self, name: str, provider: str, secret: str, variables: Mapping[str, str]
    ) -> OwnAccount:
        form = self._forms.get(provider)
        spec = form.spec
        address = form.address(variables)
        credentials = form.credentials(secret, variables)
        faults = Faults(provider, secrets_of(credentials), self._clock, name)
        pool = self._pools.setdefault(provider, Pool(spec))
        upstream = Upstream(spec, address, credentials, faults, pool)
        media = MEDIA_DIALECTS.get(spec.dialect)
        return OwnAccount(
            name=name,
            address=str(address),
            chat=DialectChat(upstream, DIALECTS[spec.dialect]()),
            media=None if media is None else MediaProvider(upstream, media(spec)),
            records=None if spec.records is None else Records(upstream),
            faults=faults,
        )


def others(fault: ProviderFault, of: OwnAccount, rest: Mapping[int, OwnAccount]) -> list[int]:
    """The places of the accounts at which that fault need not be met again.

    Another key where the key is at fault, another address where the address is.
    """
    if isinstance(fault, RateLimited | Misconfigured):
        return sorted(rest)
    if not may_move(fault, bills_on=of.chat.spec.bills_after_cancel):
        return []
    return sorted(place for place, one in rest.items() if one.address != of.address)


class _Recent(Generic[K, V]):
    """Values by key; the least recently used goes first."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: K, value: V) -> None:
        self._kept[key] = value
        if len(self._kept) > self._size_max:
            self._kept.popitem(last=False)


__all__ = ["OwnAccount", "OwnAccountFault", "OwnAccounts", "others"]
