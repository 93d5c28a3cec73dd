"""What the simulated processor knows: sessions, intents, refunds, disputes, events, by their ids.

Cards go by their last digits: 4242 pays, 0002 is refused, 3155 wants its owner (so a charge without
him is refused), 0077 is paid and disputed at once, 9995 has no funds.
"""

import secrets
import time
from typing import Any, Final

Thing = dict[str, Any]
"""An object of Stripe's API, as JSON has it."""

LIVE: Final = False
REFUSALS: Final = {
    "0002": ("card_declined", "Your card was declined."),
    "9995": ("card_declined", "Your card has insufficient funds."),
}


class RefusedError(Exception):
    """Stripe's answer to what it does not do."""

    def __init__(self, status: int, error: Thing) -> None:
        super().__init__(error.get("message", ""))
        self.status = status
        self.error = error


class Books:
    """All objects. Times are Unix seconds; amounts cents."""

    def __init__(self) -> None:
        self.sessions: dict[str, Thing] = {}
        self.intents: dict[str, Thing] = {}
        self.charges: dict[str, Thing] = {}
        self.refunds: dict[str, Thing] = {}
        self.disputes: dict[str, Thing] = {}
        self.events: list[Thing] = []
        self.saved: dict[str, str] = {}
        """Cards by the names of their payment methods."""

    # --- checkout -----------------------------------------------------------------------------
    def new_session(self, params: Thing, origin: str) -> Thing:
        """A checkout page that somebody may pay."""
        if params.get("mode") != "payment":
            raise invalid("mode", "This simulator knows the mode payment alone.")
        items = _listed(params.get("line_items"))
        if not items:
            raise invalid("line_items", "You must provide line_items.")
        price = items[0].get("price_data") or {}
        amount = _positive(price.get("unit_amount"), "line_items[0][price_data][unit_amount]")
        amount *= _positive(items[0].get("quantity", "1"), "line_items[0][quantity]")
        session_id = _new("cs_test")
        self.sessions[session_id] = session = {
            "id": session_id,
            "object": "checkout.session",
            "amount_total": amount,
            "client_reference_id": params.get("client_reference_id"),
            "created": int(time.time()),
            "currency": price.get("currency", "usd"),
            "customer": None,
            "customer_creation": params.get("customer_creation", "if_required"),
            "expires_at": int(time.time()) + 24 * 3600,
            "livemode": LIVE,
            "metadata": params.get("metadata") or {},
            "mode": "payment",
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "success_url": params.get("success_url"),
            "url": f"{origin}/pay/{session_id}",
        }
        session["_intent"] = params.get("payment_intent_data") or {}
        return session

    def pay(self, session_id: str, card: str) -> Thing:
        """Somebody enters a card on the page; returns the session."""
        session = self.get(self.sessions, session_id, "session")
        if session["status"] != "open":
            raise invalid("session", "This checkout session is no longer open.")
        given = session["_intent"]
        saved = given.get("setup_future_usage") == "off_session"
        session["customer"] = _new("cus") if saved else None
        intent = self._new_intent(
            amount=session["amount_total"],
            currency=session["currency"],
            metadata=given.get("metadata") or {},
            customer=session["customer"],
            method=_new("pm"),
        )
        session["payment_intent"] = intent["id"]
        self.saved[intent["payment_method"]] = card
        self._try(intent, card, present=True)
        if intent["status"] == "succeeded":
            session["status"], session["payment_status"] = "complete", "paid"
            self.happen("checkout.session.completed", session)
        return session

    def expire(self, session_id: str) -> None:
        """Nobody paid in time."""
        session = self.get(self.sessions, session_id, "session")
        session["status"] = "expired"
        self.happen("checkout.session.expired", session)

    # --- saved cards ---------------------------------------------------------------------------
    def new_intent(self, params: Thing) -> Thing:
        """A charge of a saved card, without its owner."""
        method = str(params.get("payment_method", ""))
        if method not in self.saved:
            raise invalid("payment_method", f"No such PaymentMethod: '{method}'")
        intent = self._new_intent(
            amount=_positive(params.get("amount"), "amount"),
            currency=str(params.get("currency", "usd")),
            metadata=params.get("metadata") or {},
            customer=params.get("customer"),
            method=method,
        )
        if params.get("confirm") == "true":
            self._try(intent, self.saved[method], present=params.get("off_session") != "true")
            if intent["last_payment_error"] is not None:
                raise RefusedError(
                    402, {**intent["last_payment_error"], "payment_intent": public(intent)}
                )
        return intent

    def _new_intent(
        self, *, amount: int, currency: str, metadata: Thing, customer: Any, method: str
    ) -> Thing:
        intent_id = _new("pi")
        self.intents[intent_id] = intent = {
            "id": intent_id,
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "created": int(time.time()),
            "currency": currency,
            "customer": customer,
            "last_payment_error": None,
            "latest_charge": None,
            "livemode": LIVE,
            "metadata": metadata,
            "payment_method": method,
            "status": "requires_confirmation",
        }
        return intent

    def _try(self, intent: Thing, card: str, *, present: bool) -> None:
        last = card[-4:]
        refusal = REFUSALS.get(last)
        if last == "3155" and not present:
            refusal = ("authentication_required", "This card's owner must confirm the payment.")
        if refusal is not None:
            code, message = refusal
            intent["status"] = "requires_payment_method"
            intent["last_payment_error"] = {"type": "card_error", "code": code, "message": message}
            self.happen("payment_intent.payment_failed", intent)
            return
        charge_id = _new("ch")
        self.charges[charge_id] = {
            "id": charge_id,
            "object": "charge",
            "amount": intent["amount"],
            "amount_refunded": 0,
            "payment_intent": intent["id"],
            "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": last}},
        }
        intent |= {
            "status": "succeeded",
            "amount_received": intent["amount"],
            "latest_charge": charge_id,
            "last_payment_error": None,
        }
        self.happen("payment_intent.succeeded", intent)
        if last == "0077":
            self.dispute(intent["id"])

    # --- what is taken back ----------------------------------------------------------------------
    def refund(self, intent_id: str, amount: int | None = None) -> Thing:
        """The operator gives money back on the processor's own pages."""
        intent = self.get(self.intents, intent_id, "payment_intent")
        charge = self.charges[intent["latest_charge"]]
        left = charge["amount"] - charge["amount_refunded"]
        taken = left if amount is None else amount
        if not 0 < taken <= left:
            raise invalid(
                "amount", f"Refund amount ({taken}) is greater than what is left ({left})."
            )
        charge["amount_refunded"] += taken
        refund_id = _new("re")
        self.refunds[refund_id] = refund = {
            "id": refund_id,
            "object": "refund",
            "amount": taken,
            "charge": charge["id"],
            "created": int(time.time()),
            "currency": intent["currency"],
            "payment_intent": intent_id,
            "status": "succeeded",
        }
        self.happen("refund.created", refund)
        self.happen("charge.refunded", charge)
        return refund

    def dispute(self, intent_id: str) -> Thing:
        """The card's owner asks for his money, and the bank takes it."""
        intent = self.get(self.intents, intent_id, "payment_intent")
        dispute_id = _new("du")
        self.disputes[dispute_id] = dispute = {
            "id": dispute_id,
            "object": "dispute",
            "amount": intent["amount_received"],
            "charge": intent["latest_charge"],
            "created": int(time.time()),
            "currency": intent["currency"],
            "payment_intent": intent_id,
            "status": "needs_response",
        }
        self.happen("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def win(self, dispute_id: str) -> Thing:
        """The bank gives the money back to the operator."""
        dispute = self.get(self.disputes, dispute_id, "dispute")
        dispute["status"] = "won"
        self.happen("charge.dispute.funds_reinstated", dispute)
        return dispute

    # --- events ----------------------------------------------------------------------------------
    def happen(self, kind: str, thing: Thing) -> Thing:
        """Notes an event, newest last, with the object as it is now."""
        event = {
            "id": _new("evt"),
            "object": "event",
            "api_version": "2026-10-28.endive",
            "created": int(time.time()),
            "data": {"object": public(thing)},
            "livemode": LIVE,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        self.events.append(event)
        return event

    def get(self, shelf: dict[str, Thing], thing_id: str, what: str) -> Thing:
        """An object by its id.

        Raises:
            RefusedError: there is none.
        """
        found = shelf.get(thing_id)
        if found is None:
            raise RefusedError(
                404,
                {
                    "type": "invalid_request_error",
                    "code": "resource_missing",
                    "message": f"No such {what}: '{thing_id}'",
                    "param": "id",
                },
            )
        return found


def public(thing: Thing) -> Thing:
    """An object without what the simulator keeps for itself."""
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def invalid(param: str, message: str) -> RefusedError:
    """What Stripe says of a parameter that cannot be."""
    return RefusedError(400, {"type": "invalid_request_error", "param": param, "message": message})


def _new(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def _positive(value: Any, param: str) -> int:
    text = str(value or "")
    if not text.isdecimal() or int(text) <= 0:
        raise invalid(param, f"Invalid integer: {text}")
    return int(text)


def _listed(value: Any) -> list[Thing]:
    """Stripe's forms number their lists: `line_items[0][quantity]`."""
    if isinstance(value, dict):
        return [value[key] for key in sorted(value, key=int)]
    return list(value or [])
