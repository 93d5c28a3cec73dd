"""`GET /v1/balance`, `/v1/transactions` and `/v1/calls/{id}`: what the caller's own account shows.

Amounts stand twice: as integers of nano-USD, and as decimal texts of dollars without loss, since
many JSON readers round integers above 2^53.
"""

from typing import Final
from uuid import UUID

import msgspec

from omni_grpc.billing import AttemptRecord, EntryKind, Ledger, LedgerEntry
from omni_grpc.billing.usage import RoutedCall, UsageReports
from omni_grpc.completion import Account, Accounts, Call, PageTokens, page_size
from omni_grpc.core.ids import CallId
from omni_grpc.core.missing import no_call
from omni_grpc.core.money import usd_text
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.identity import Principal
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange, page_size_asked

BALANCE_PATH: Final = "/v1/balance"
TRANSACTIONS_PATH: Final = "/v1/transactions"
CALL_PATH: Final = "/v1/calls/{id}"

_KINDS: Final = {
    EntryKind.CHARGE: "charge",
    EntryKind.GRANT: "grant",
    EntryKind.REFUND: "refund",
    EntryKind.EXPIRY: "expiry",
    EntryKind.REVERSAL: "reversal",
}
_NO_USAGE: Final = Usage()

_JsonObject = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode


class BillingRoutes:
    """Shows the ledger to the door. Reads come from the primary database."""

    def __init__(
        self, ledger: Ledger, accounts: Accounts, tokens: PageTokens, usage: UsageReports
    ) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._tokens = tokens
        self._usage = usage

    async def get_balance(self, exchange: Exchange, call: Call) -> None:
        """What the account can spend, and what is set aside."""
        account = await self._own(call)
        balance = await self._ledger.balance(account.id)
        body: _JsonObject = {"object": "balance", "account": account.name}
        _add_amount(body, "posted", balance.posted)
        _add_amount(body, "held", balance.held)
        _add_amount(body, "unresolved", balance.unresolved)
        _add_amount(body, "available", balance.available)
        body["read_time"] = balance.read_time
        await _answer(exchange, call, body)

    async def list_transactions(self, exchange: Exchange, call: Call) -> None:
        """Changes of the posted balance, newest first, in pages.

        Raises:
            FieldInvalid: of `page_size` or `page_token`.
        """
        account = await self._own(call)
        fields = exchange.query()
        size = page_size(page_size_asked(fields))
        query = ("transactions", account.name)
        before = self._tokens.open_number(query, fields.get("page_token", ""))
        entries = await self._ledger.entries(account.id, before, size + 1)
        more = len(entries) > size
        body: _JsonObject = {
            "object": "list",
            "data": [_transaction(account.name, entry) for entry in entries[:size]],
            "has_more": more,
            "next_page_token": self._tokens.seal(query, entries[size - 1].position) if more else "",
        }
        await _answer(exchange, call, body)

    async def get_call(self, exchange: Exchange, call: Call) -> None:
        """What a call used and cost, also while it runs, and what is noted of it.

        Raises:
            NotFound: there was none of this id, or it is not the caller's.
        """
        text = exchange.path_id
        try:
            call_id = CallId(UUID(text))
        except ValueError:
            raise no_call(repr(text[:64])) from None
        record, account = await self._accounts.usage(_principal(call), call_id)
        found = await self._usage.call(record)
        body: _JsonObject = {"id": str(record.call_id), "object": "call", "account": account}
        body["create_time"] = found.start
        body["key"] = found.key or None
        _add_amount(body, "cost", record.cost)
        body["attempts"] = [_attempt(attempt) for attempt in record.attempts]
        body["call_report"] = None if found.routed is None else _call_report(found.routed)
        await _answer(exchange, call, body)

    async def _own(self, call: Call) -> Account:
        return await self._accounts.named(_principal(call), "", field="account")


async def _answer(exchange: Exchange, call: Call, body: _JsonObject) -> None:
    headers = [(b"x-request-id", call.name.encode()), *JSON_HEADERS]
    await exchange.answer(200, headers, _encode(body))


def _principal(call: Call) -> Principal:
    if call.principal is None:
        raise RuntimeError("the call did not come through the auth gate")
    return call.principal


def _add_amount(body: _JsonObject, name: str, amount: int | None) -> None:
    body[f"{name}_nanousd"] = amount
    body[f"{name}_usd"] = None if amount is None else usd_text(amount)


def _transaction(account: str, entry: LedgerEntry) -> _JsonObject:
    found: _JsonObject = {
        "id": f"{account}/ledgerEntries/{entry.position}",
        "object": "transaction",
        "kind": _KINDS[entry.kind],
    }
    _add_amount(found, "amount", entry.amount)
    _add_amount(found, "balance_after", entry.balance_after)
    found["reference"] = entry.reference_in(account)
    found["create_time"] = entry.create_time
    return found


def _call_report(routed: RoutedCall) -> _JsonObject:
    """What is noted of a call beside the ledger; null where there is none of a thing."""
    found: _JsonObject = {
        "requested_model": routed.asked,
        "task": routed.task or None,
        "complexity": routed.complexity or None,
        "policy": routed.policy or None,
        "experiment": routed.experiment or None,
        "arm": routed.arm or None,
        "premium_model": routed.premium_model,
        "premium_price_version": routed.premium_version,
    }
    _add_amount(found, "premium", routed.premium_nanousd)
    _add_amount(found, "saved", routed.saved_nanousd)
    found["single_model"] = routed.single_model
    _add_amount(found, "single", routed.single_nanousd)
    found |= {
        "first_token_ms": routed.first_token_ms,
        "duration_ms": routed.duration_ms,
        "reason": routed.reason,
        "tags": routed.tags,
        "end_user": routed.end_user or None,
    }
    return found


def _attempt(attempt: AttemptRecord) -> _JsonObject:
    usage = attempt.usage or _NO_USAGE
    found: _JsonObject = {
        "attempt_number": attempt.number,
        "model": attempt.model,
        "outcome": attempt.outcome,
    }
    _add_amount(found, "held", attempt.held)
    _add_amount(found, "cost", attempt.cost)
    found |= {
        "price_version": attempt.price_version,
        "markup_ppm": attempt.markup_ppm,
        "prompt_token_count": usage.prompt,
        "cached_read_token_count": usage.cached_read,
        "cached_write_token_count": usage.cached_write,
        "prompt_audio_token_count": usage.prompt_audio,
        "completion_token_count": usage.completion,
        "reasoning_token_count": usage.reasoning,
        "completion_audio_token_count": usage.completion_audio,
        "estimated": usage.source is UsageSource.ESTIMATE,
        "end_time": attempt.end_time,
        "provider_ref": attempt.provider_ref,
    }
    rare = {
        "cached_write_1h_token_count": usage.cached_write_1h,
        "prompt_image_token_count": usage.prompt_image,
        "completion_image_token_count": usage.completion_image,
        "image_count": usage.image,
        "second_count": usage.second,
        "character_count": usage.character,
    }
    if attempt.credential is not None:
        found["credential"] = attempt.credential
    found |= {name: count for name, count in rare.items() if count is not None}
    return found
