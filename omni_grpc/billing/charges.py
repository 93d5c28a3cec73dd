"""Which hold was charged for a call: what a refund names."""

from omni_grpc.billing.ledger import Ledger
from omni_grpc.core.errors import FieldInvalid, NotFound
from omni_grpc.core.ids import ATTEMPTS_MAX, AccountId, CallId, HoldId, attempt_of, hold_id_of
from omni_grpc.core.missing import no_call


async def charge_of_call(
    ledger: Ledger, account_id: AccountId, call_id: CallId, attempt_number: int | None
) -> HoldId:
    """The charged hold of a call's attempt.

    Args:
        ledger: where to look.
        account_id: the account that was charged.
        call_id: the call.
        attempt_number: which attempt; None for the one that was charged.

    Raises:
        NotFound: the account has no such call, or nothing of it was charged.
        FieldInvalid: several attempts were charged and none is named, or there is none such.
    """
    if attempt_number is not None and not 1 <= attempt_number <= ATTEMPTS_MAX:
        raise FieldInvalid(
            f"attempt_number must be from 1 to {ATTEMPTS_MAX}.", field="attempt_number"
        )
    if attempt_of(call_id):  # an attempt's hold, from which only later attempts would be read
        raise no_call(call_id)
    record = await ledger.usage(call_id)
    if record.account_id != account_id:
        raise no_call(call_id)
    charged = [attempt.number for attempt in record.attempts if attempt.cost]
    if attempt_number is None:
        if len(charged) > 1:
            numbers = ", ".join(map(str, charged))
            raise FieldInvalid(
                f"Several attempts of the call were charged ({numbers}): name one of them.",
                field="attempt_number",
            )
    elif attempt_number not in charged:
        charged = []
    else:
        charged = [attempt_number]
    if not charged:
        raise NotFound("Nothing was charged for this call, or for this attempt of it.")
    return hold_id_of(call_id, charged[0])
