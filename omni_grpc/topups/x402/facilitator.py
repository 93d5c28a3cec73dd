"""What a facilitator is asked: which payments it settles, whether one is good, and to settle it.

Nothing is asked twice here: who asks decides what a missing answer means. A refusal with another
status than 200 is a refusal all the same where its body says so, as those of some facilitators do.
"""

from typing import Any, Final, TypeVar

import msgspec

from omni_grpc.topups.x402.wire import JsonService, ServiceAway

VERIFY_SECONDS_MAX: Final = 15.0
SETTLE_SECONDS_MAX: Final = 45.0
"""A facilitator waits up to 30 s for the chain itself; giving up sooner only makes work."""

T = TypeVar("T")
_OK: Final = 200


class Kind(msgspec.Struct, frozen=True, rename="camel"):
    """A way of payment that is settled."""

    x402_version: int
    scheme: str
    network: str
    extra: dict[str, Any] | None = None


class Supported(msgspec.Struct, frozen=True):
    """All that is settled."""

    kinds: tuple[Kind, ...]

    def fee_payer(self, version: int, network: str) -> str:
        """Who pays the chain's fee for such a payment; empty where it is not settled."""
        for kind in self.kinds:
            if (kind.x402_version, kind.scheme, kind.network) == (version, "exact", network):
                found = (kind.extra or {}).get("feePayer")
                return found if isinstance(found, str) else ""
        return ""


class Verdict(msgspec.Struct, frozen=True, rename="camel"):
    """Whether a payment would settle."""

    is_valid: bool
    invalid_reason: str | None = None
    invalid_message: str | None = None
    payer: str | None = None

    @property
    def why(self) -> str:
        """The reason, for people."""
        return _why(self.invalid_reason, self.invalid_message)


class Settled(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a settle, as the facilitator says."""

    success: bool
    error_reason: str | None = None
    error_message: str | None = None
    payer: str | None = None
    transaction: str | None = None
    network: str | None = None

    @property
    def why(self) -> str:
        """The reason, for people."""
        return _why(self.error_reason, self.error_message)


class FacilitatorClient:
    """Asks the facilitator at `url`."""

    def __init__(self, service: JsonService, url: str) -> None:
        self._service = service
        self._url = url.rstrip("/")

    async def close(self) -> None:
        """Closes the connections, which it may share."""
        await self._service.close()

    async def supported(self) -> Supported:
        """What it settles.

        Raises:
            ServiceAway: it does not say.
        """
        status, body = await self._service.ask(
            "GET", f"{self._url}/supported", seconds=VERIFY_SECONDS_MAX
        )
        return _read(status, body, Supported)

    async def verify(
        self, version: int, payment: dict[str, Any], requirements: dict[str, Any]
    ) -> Verdict:
        """Whether a payment would settle. Nothing is sent to the chain.

        Raises:
            ServiceAway: it does not say.
        """
        asked = _asked(version, payment, requirements)
        url = f"{self._url}/verify"
        status, body = await self._service.ask("POST", url, asked, seconds=VERIFY_SECONDS_MAX)
        found = _read(status, body, Verdict, refusal="isValid")
        return found if status == _OK else msgspec.structs.replace(found, is_valid=False)

    async def settle(
        self, version: int, payment: dict[str, Any], requirements: dict[str, Any]
    ) -> Settled:
        """Settles a payment.

        Raises:
            ServiceAway: it does not say; it may have settled it.
        """
        asked = _asked(version, payment, requirements)
        url = f"{self._url}/settle"
        status, body = await self._service.ask("POST", url, asked, seconds=SETTLE_SECONDS_MAX)
        found = _read(status, body, Settled, refusal="success")
        return found if status == _OK else msgspec.structs.replace(found, success=False)


def _asked(
    version: int, payment: dict[str, Any], requirements: dict[str, Any]
) -> dict[str, object]:
    return {"x402Version": version, "paymentPayload": payment, "paymentRequirements": requirements}


def _read(status: int, body: object, kind: type[T], refusal: str = "") -> T:
    if status != _OK and not (isinstance(body, dict) and refusal and body.get(refusal) is False):
        raise ServiceAway(f"it answered with the status {status}")
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError:
        raise ServiceAway("its answer cannot be read") from None


def _why(reason: str | None, message: str | None) -> str:
    """What a facilitator says, kept short: it is shown to callers."""
    text = ": ".join(dict.fromkeys(filter(None, (reason, message)))) or "it says no reason"
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]
