"""With whose account each attempt is made: the service's, or one of the caller's own.

A caller who brought credentials of a provider is called there with those and with nothing else:
where each of them is refused or cannot be used, the attempt has failed, by the credential's name,
and the plan goes on to what it has left. How an own account did is remembered for it alone; it
tells nothing of the service's.
"""

from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

import structlog

from omni_grpc.catalog import Offer
from omni_grpc.completion.call import Call
from omni_grpc.completion.watch import AttemptWatch
from omni_grpc.core.clock import Clock
from omni_grpc.core.money import PPM
from omni_grpc.core.usage import Usage
from omni_grpc.providers import (
    Balance,
    OwnAccount,
    OwnAccountFault,
    OwnAccounts,
    ProviderFault,
    others,
)
from omni_grpc.routing import OwnAccess
from omni_grpc.vault import CredentialSet, Opened, Vault

log = structlog.get_logger(__name__)

HOUSE: Final = "house"
"""What the ledger calls the service's own account at a provider."""

SPARE_TRIES_MAX: Final = 8
"""How often one call goes on to another credential of a set: with the attempts of its plan, fewer
than the holds that a call can number."""


class _Planned(Protocol):
    @property
    def offer(self) -> Offer: ...


A = TypeVar("A", bound=_Planned)


class Try(Generic[A]):
    """One attempt of a plan with one account; its end is told to `watch`, or to this."""

    __slots__ = ("_turns", "account", "attempt", "fault", "is_last", "markup_ppm", "refused")

    def __init__(
        self,
        attempt: A,
        *,
        is_last: bool,
        account: OwnAccount | None = None,
        markup_ppm: int | None = None,
        turns: "_Turns | None" = None,
        refused: ProviderFault | None = None,
    ) -> None:
        self.attempt = attempt
        self.account = account
        """The caller's own; None for the service's."""
        self.markup_ppm = markup_ppm
        """What is paid on top of the price; None for what everybody pays."""
        self.is_last = is_last
        """Whether nobody else is asked after it."""
        self.refused = refused
        """Why it cannot even be begun; None if it can."""
        self.fault: ProviderFault | None = None
        self._turns = turns

    @property
    def credential(self) -> str:
        """Whose account it is, as the ledger names it."""
        return HOUSE if self.account is None else self.account.name

    def failed(self, fault: ProviderFault) -> None:
        """It failed by its provider's fault."""
        self.fault = fault
        if self._turns is not None:
            self._turns.failed(fault)

    def answered(self, begun_at: float) -> None:
        """It was answered, begun then."""
        if self._turns is not None:
            self._turns.answered(begun_at)


class OwnWatch(AttemptWatch):
    """An attempt with an account of the caller's own: routing is told nothing of it."""

    __slots__ = ("_turn",)

    def __init__(self, clock: Clock, turn: Try[A]) -> None:
        super().__init__(None, clock, turn.attempt.offer)
        self._turn = turn

    def answered(self, usage: Usage | None) -> None:
        """It was answered whole."""
        del usage
        if self._ends() and self._begun_at is not None:
            self._turn.answered(self._begun_at)

    def failed(self, fault: ProviderFault) -> None:
        """It failed."""
        if self._ends():
            self._turn.failed(fault)


class Own:
    """What a call's caller brought."""

    __slots__ = ("_sets", "access")

    def __init__(self, sets: Sequence[CredentialSet] = ()) -> None:
        self._sets = {one.provider: one for one in sets}
        self.access = tuple(OwnAccess(one.provider, _dearest(one)) for one in sets)
        """As routing knows it."""

    def at(self, provider: str) -> CredentialSet | None:
        """The credentials of a provider; None where the service's account is used."""
        return self._sets.get(provider)


NOTHING: Final = Own()


class OwnCredentials:
    """Finds the accounts of calls. One instance serves all calls of a worker."""

    def __init__(self, vault: Vault | None = None, accounts: OwnAccounts | None = None) -> None:
        """Without a vault nobody has brought any."""
        self._vault = vault
        self._accounts = accounts

    async def look_up(self, call: Call) -> None:
        """Puts into a call what its caller brought, before it is planned.

        Raises:
            LedgerUnavailable: the database is away.
        """
        principal = call.principal
        if principal is None or not principal.has_credentials or self._vault is None:
            return
        sets = await self._vault.sets(principal.org_id, principal.team_id, principal.environment_id)
        call.own = Own(sets) if sets else NOTHING

    async def recorded(self, credential: str, generation_id: str) -> Usage | None:
        """What a generation used, by the record of the provider's that one credential opens.

        Returns:
            None where the provider has no record of it, or not yet.

        Raises:
            OwnAccountFault: the credential is gone, cannot be opened here, or opens no records.
            ProviderFault: the provider could not be asked, or its answer is no record.
            LedgerUnavailable: the database is away.
        """
        found = None if self._vault is None else await self._vault.named(credential)
        if found is None or self._accounts is None:
            raise OwnAccountFault("name", "it is there no more")
        records = (await _account(found, self._accounts)).records
        if records is None:
            raise OwnAccountFault("provider", "its provider keeps no records")
        return await records.usage(generation_id)

    async def close(self) -> None:
        """Closes the connections of all accounts."""
        if self._accounts is not None:
            await self._accounts.close()

    async def callable_at(self, call: Call, providers: frozenset[str]) -> frozenset[str]:
        """The providers that can be called for a caller, of which the service has `providers`.

        Raises:
            LedgerUnavailable: the database is away.
        """
        await self.look_up(call)
        if call.own is None:
            return providers
        return providers.union(one.provider for one in call.own.access)

    def tries(self, call: Call, attempts: Sequence[A]) -> "Tries[A]":
        """The attempts of a plan, each with the accounts that it may use."""
        return Tries(attempts, call.own or NOTHING, self._accounts)


class Tries(Generic[A]):
    """The attempts of one call, in order: ask for the `next` until there is none."""

    def __init__(self, attempts: Sequence[A], own: Own, accounts: OwnAccounts | None) -> None:
        self._attempts = attempts
        self._own = own
        self._accounts = accounts
        self._next = 0
        self._spare = SPARE_TRIES_MAX
        self._turns: _Turns | None = None
        self._current: Try[A] | None = None

    async def next(self) -> Try[A] | None:
        """The next try: another account of the same offer, where that may help; else the plan's."""
        current, turns = self._current, self._turns
        if current is not None and turns is not None and current.fault and self._spare:
            self._spare -= 1
            if turns.go_on(current.fault):
                self._current = self._try(current.attempt, turns)
                return self._current
        if self._next == len(self._attempts):
            return None
        attempt = self._attempts[self._next]
        self._next += 1
        brought = self._own.at(attempt.offer.provider) if self._accounts is not None else None
        if brought is None or self._accounts is None:
            self._turns = None
            self._current = Try(attempt, is_last=self._is_last_attempt)
            return self._current
        found = await _opened(brought, self._accounts)
        if isinstance(found, ProviderFault):
            self._turns = None
            self._current = Try(attempt, is_last=self._is_last_attempt, refused=found)
        else:
            self._turns = found
            self._current = self._try(attempt, found)
        return self._current

    def _try(self, attempt: A, turns: "_Turns") -> Try[A]:
        return Try(
            attempt,
            is_last=self._is_last_attempt and (turns.is_last or not self._spare),
            account=turns.account,
            markup_ppm=turns.markup_ppm,
            turns=turns,
        )

    @property
    def _is_last_attempt(self) -> bool:
        return self._next == len(self._attempts)


class _Turns:
    """The accounts of a set for one attempt: the one whose turn it is, and those not tried yet."""

    def __init__(
        self, accounts: dict[int, OwnAccount], markups: Sequence[int | None], balance: Balance
    ) -> None:
        self._rest = dict(accounts)
        self._markups = markups
        self._balance = balance
        self._place = balance.first()
        self.account = self._rest.pop(self._place)

    @property
    def markup_ppm(self) -> int | None:
        """Of the account whose turn it is."""
        return self._markups[self._place]

    @property
    def is_last(self) -> bool:
        """Whether all others were tried."""
        return not self._rest

    def go_on(self, fault: ProviderFault) -> bool:
        """Passes the turn on after a fault; False where no other account may help."""
        place = self._balance.next(others(fault, self.account, self._rest))
        if place is None:
            return False
        self._place = place
        self.account = self._rest.pop(place)
        return True

    def failed(self, fault: ProviderFault) -> None:
        """The account whose turn it is failed."""
        seconds = self._balance.failed(self._place, fault)
        if seconds is not None:
            log.warning(
                "credential_set_aside",
                credential=self.account.name,
                seconds=round(seconds, 3),
                because=fault.message,
            )

    def answered(self, begun_at: float) -> None:
        """It answered."""
        self._balance.answered(self._place, begun_at)


async def _opened(found: CredentialSet, accounts: OwnAccounts) -> "_Turns | ProviderFault":
    """The accounts of a set, or why none of them can be used."""
    usable: list[tuple[Opened, OwnAccount]] = []
    refused: ProviderFault | None = None
    for member in found.members:
        try:
            usable.append((member, await _account(member, accounts)))
        except OwnAccountFault as fault:
            refused = refused or accounts.unusable(found.provider, member.name, fault.message)
    if not usable:
        return refused or accounts.unusable(found.provider, "", "there is none")
    key = tuple((member.id, member.revision, member.weight) for member, _ in usable)
    balance = accounts.balance(key, [member.weight for member, _ in usable])
    by_place = {place: account for place, (_, account) in enumerate(usable)}
    return _Turns(by_place, [_markup(member) for member, _ in usable], balance)


async def _account(member: Opened, accounts: OwnAccounts) -> OwnAccount:
    if member.secret is None:
        raise OwnAccountFault(
            "secret", "it cannot be opened here; store its secret anew, or tell the operator"
        )
    return await accounts.account(
        (member.id, member.revision),
        name=member.name,
        provider=member.provider,
        secret=member.secret.text,
        variables=member.secret.variables,
    )


def _markup(member: Opened) -> int | None:
    return None if member.fee_ppm is None else member.fee_ppm - PPM


def _dearest(found: CredentialSet) -> int | None:
    """What a set's calls cost at most; a fee is never above the whole price."""
    markups = [_markup(member) for member in found.members]
    known = [one for one in markups if one is not None]
    return max(known) if len(known) == len(markups) else None
