"""Whose account a caller may name: its own, or any for an administrator.

What is not the caller's answers as if it did not exist.
"""

import re
from dataclasses import dataclass

from omni_grpc.billing import Ledger, UsageRecord
from omni_grpc.core.errors import FieldInvalid, NotFound
from omni_grpc.core.ids import AccountId, CallId, attempt_of
from omni_grpc.core.missing import no_account, no_call
from omni_grpc.identity import Identity, Principal, Scope

_NAME = re.compile(r"accounts/([a-z][a-z0-9-]{1,62})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Account:
    """An account that the caller may use; its name is `accounts/{org}`."""

    id: AccountId
    name: str


class Accounts:
    """Resolves account names for a caller."""

    def __init__(self, identity: Identity, ledger: Ledger) -> None:
        self._identity = identity
        self._ledger = ledger

    async def named(self, principal: Principal, name: str, *, field: str) -> Account:
        """The account of a name; the caller's own for the empty name.

        Raises:
            FieldInvalid: not an account's name.
            NotFound: there is none, or it is not the caller's.
        """
        own = Account(principal.account_id, f"accounts/{principal.org_slug}")
        if name in ("", own.name):
            return own
        match = _NAME.fullmatch(name)
        if match is None:
            raise FieldInvalid(
                f"{field} must be an account's name, accounts/{{account}}.", field=field
            )
        if Scope.ADMIN not in principal.scopes:
            raise no_account(name)
        try:
            org = await self._identity.get_org(match.group(1))
        except NotFound:
            raise no_account(name) from None
        return Account(org.account_id, name)

    async def name_of(self, account_id: AccountId) -> str:
        """An account's name, for those who may see all of them."""
        return f"accounts/{(await self._identity.org_of_account(account_id)).slug}"

    async def usage(self, principal: Principal, call_id: CallId) -> tuple[UsageRecord, str]:
        """A call's usage record and its account's name.

        Raises:
            NotFound: there is none, or it is not the caller's.
        """
        if attempt_of(call_id):  # an attempt's hold, from which only later attempts would be read
            raise no_call(call_id)
        record = await self._ledger.usage(call_id)
        if record.account_id == principal.account_id:
            return record, f"accounts/{principal.org_slug}"
        if Scope.ADMIN not in principal.scopes:
            raise no_call(call_id)
        return record, await self.name_of(record.account_id)
