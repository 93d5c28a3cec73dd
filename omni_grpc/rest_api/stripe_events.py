"""`POST /v1/webhooks/stripe`: what Stripe has to say. Its signature is all that lets it in.

An event that cannot be acted upon now is refused, so that Stripe sends it again.
"""

from typing import Final

import structlog

from omni_grpc.core.errors import Internal, OmniError
from omni_grpc.core.ids import new_call_id
from omni_grpc.rest_api.exchange import JSON_HEADERS, ClientGoneError, Exchange
from omni_grpc.topups import CardDesk

PATH: Final = "/v1/webhooks/stripe"
EVENT_BYTES_MAX: Final = 512 * 1024
"""Stripe's events have some kilobytes."""

log = structlog.get_logger(__name__)


class StripeEventsRoute:
    """Takes events."""

    def __init__(self, desk: CardDesk) -> None:
        self._desk = desk

    async def __call__(self, exchange: Exchange) -> None:
        """200 when it was acted upon, or was nothing to act upon."""
        call_id = str(new_call_id())
        try:
            body = await exchange.body(EVENT_BYTES_MAX)
            await self._desk.told(body, exchange.header(b"stripe-signature"))
        except ClientGoneError:
            return
        except OmniError as error:
            log.warning("stripe_event_refused", reason=error.reason, call_id=call_id)
            await exchange.fail(error, call_id)
            return
        except Exception:
            log.exception("stripe_event_failed", call_id=call_id)
            await exchange.fail(Internal("The event could not be acted upon."), call_id)
            return
        await exchange.answer(200, JSON_HEADERS, b'{"received":true}')
