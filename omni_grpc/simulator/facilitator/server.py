"""The server: `/facilitator/{verify,settle,supported}`, the chain's node at `/solana`, and `/sim`.

Under `/sim` a test or a person changes what happens: gives a wallet tokens, asks for an accident,
lets time go by. The same is there as methods, for tests in the same process.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

import msgspec
from aiohttp import web

from omni_grpc.simulator.facilitator.accidents import Accident, Accidents
from omni_grpc.simulator.facilitator.settling import Asked, Settling, body_of
from omni_grpc.simulator.solana import Chain, RpcNode

__all__ = ("NETWORKS", "Facilitator")

NETWORKS: Final = {
    "solana": (
        "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    ),
    "solana-devnet": (
        "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
        "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
    ),
}
"""By a chain's name in version 1: its name in version 2, and where USDC is on it."""

LATE_SECONDS_MAX: Final = 300.0
"""After so long a late answer comes even if nobody releases it."""

EXPIRY_BLOCKS: Final = 151
"""So many blocks later nothing that was signed before can land."""

STOP_SECONDS_MAX: Final = 2.0
BODY_BYTES_MAX: Final = 1024 * 1024
COMPUTE_LIMIT: Final = (
    "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction"
)
FORGED_SIGNATURE: Final = "4" * 87
"""The form of a transaction's signature, and none that was ever made."""


class Facilitator:
    """A facilitator and its chain. Use as `async with Facilitator() as facilitator`.

    `first_units` is what a fresh wallet has: with some, anyone can try to pay.
    """

    def __init__(self, network: str = "solana-devnet", *, first_units: int = 0) -> None:
        caip, mint = NETWORKS[network]
        self.network = network
        self.chain = Chain(mint, first_units=first_units)
        self._node = RpcNode(self.chain)
        self._networks = (network, caip)
        self._settling = Settling(self.chain, self._networks)
        self._accidents = Accidents()
        self._late = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._origin = ""
        self.settle_count = 0
        """Requests to settle that came, whatever became of them."""
        self.any_amount = False
        """Whether less than is required is enough: the SDK's own is content with more."""

    # --- life ---------------------------------------------------------------------------------
    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the facilitator's URL.

        Raises:
            OSError: the address cannot be bound.
        """
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.add_routes(
            [
                web.get("/facilitator/supported", self._get_supported),
                web.post("/facilitator/verify", self._verify),
                web.post("/facilitator/settle", self._settle),
                web.post("/solana", self._rpc),
                web.post("/sim/wallets/{address}", self._fund),
                web.get("/sim/wallets/{address}", self._get_wallet),
                web.post("/sim/accidents/{name}", self._add_accident),
                web.post("/sim/chain/{action:land|drop|expire|release}", self._act),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS_MAX)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        self._runner = runner
        address = runner.addresses[0]
        self._origin = f"http://{f'[{host}]' if ':' in host else host}:{address[1]}"
        return self.url

    async def stop(self) -> None:
        """Close the socket; late answers come now."""
        self._late.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """What a payee sets as its facilitator."""
        return f"{self._origin}/facilitator"

    @property
    def rpc_url(self) -> str:
        """What payers and payees set as their node."""
        return f"{self._origin}/solana"

    # --- for tests in the same process --------------------------------------------------------
    def strike(self, accident: Accident) -> None:
        """Let the next settle meet an accident."""
        if accident is Accident.LATE:
            self._late.clear()
        self._accidents.add(accident)

    def release(self) -> None:
        """Let late answers go."""
        self._late.set()

    def change_fee_payer(self) -> None:
        """Forget the key and all that was settled, as one that is set up anew."""
        self._settling = Settling(self.chain, self._networks)

    def expire(self) -> None:
        """Let so much time go by that nothing signed before can land."""
        self.chain.advance(EXPIRY_BLOCKS)

    def land(self) -> None:
        """Let what the chain held land."""
        self.chain.holding = False
        self.chain.land()

    def drop(self) -> None:
        """Lose what the chain held."""
        self.chain.holding = False
        self.chain.drop()

    # --- routes -------------------------------------------------------------------------------
    async def _get_supported(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return _json(body_of(self._settling.supported()))

    async def _verify(self, request: web.Request) -> web.Response:
        try:
            asked = Asked(await _body(request))
            if self.any_amount:
                asked.of_any_amount()
            return _json(body_of(self._settling.verify(asked)))
        except Exception as error:  # noqa: BLE001 - the SDK raises its own kinds for what it refuses
            wrong = {"isValid": False, "invalidReason": "invalid_payload"}
            return _json(wrong | {"invalidMessage": str(error)}, 400)

    async def _settle(self, request: web.Request) -> web.Response:
        self.settle_count += 1
        try:
            asked = Asked(await _body(request))
        except ValueError as error:
            return _json(_failed("invalid_payload", str(error), self.network), 400)
        accident = self._accidents.strike()
        instead = self._instead(accident, asked, request)
        if instead is not None:
            return instead
        if accident is Accident.PENDING:
            self.chain.holding = True
        if self.any_amount:
            asked.of_any_amount()
        try:
            answer = body_of(self._settling.settle(asked))
            if accident is Accident.TWICE:
                answer = body_of(self._settling.settle(asked))
        except Exception as error:  # noqa: BLE001 - as above
            return _json(_failed("unexpected_settle_error", str(error), self.network), 400)
        if accident is Accident.LATE:
            async with asyncio.timeout(LATE_SECONDS_MAX):
                await self._late.wait()
        return self._told(accident, answer, request)

    def _instead(
        self, accident: Accident | None, asked: Asked, request: web.Request
    ) -> web.Response | None:
        """The answer of an accident before which nothing is settled."""
        network = asked.payload.get_network()
        match accident:
            case Accident.NEVER:
                return _cut(request)
            case Accident.ERROR_BEFORE:
                return _json({"error": "Internal Server Error"}, 500)
            case Accident.STRICTER:
                return _json(_failed(COMPUTE_LIMIT, "", network))
            case Accident.FORGED:
                forged = {"success": True, "transaction": FORGED_SIGNATURE, "network": network}
                return _json(forged)
        return None

    def _told(
        self, accident: Accident | None, answer: dict[str, object], request: web.Request
    ) -> web.Response:
        if accident is Accident.LOST:
            return _cut(request)
        if accident is Accident.ERROR_AFTER:
            return _json({"error": "Internal Server Error"}, 500)
        if accident is Accident.WRONG_NETWORK:
            return _json(answer | {"network": "eip155:8453"})
        if accident is Accident.UNKNOWN:
            return _json(_failed("unexpected_settle_error", "", self.network))
        return _json(answer)

    async def _rpc(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._node.answer(await request.read()), content_type="application/json"
        )

    async def _fund(self, request: web.Request) -> web.Response:
        """`{"units": 1000000}` for a wallet."""
        body = await _body(request)
        units = body.get("units") if isinstance(body, dict) else None
        if not isinstance(units, int) or units <= 0:
            return _json({"error": "units must be a positive integer"}, 400)
        self.chain.give(request.match_info["address"], units)
        return await self._get_wallet(request)

    async def _get_wallet(self, request: web.Request) -> web.Response:
        address = request.match_info["address"]
        return _json({"address": address, "units": self.chain.balance(address)})

    async def _add_accident(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in list(Accident):
            return _json({"error": f"there are: {', '.join(Accident)}"}, 404)
        self.strike(Accident(name))
        return web.Response(status=204)

    async def _act(self, request: web.Request) -> web.Response:
        {"land": self.land, "drop": self.drop, "expire": self.expire, "release": self.release}[
            request.match_info["action"]
        ]()
        return web.Response(status=204)


async def _body(request: web.Request) -> object:
    """The JSON of a request.

    Raises:
        ValueError: it is not JSON.
    """
    found: object = msgspec.json.decode(await request.read())
    return found


def _json(body: object, status: int = 200) -> web.Response:
    data = msgspec.json.encode(body)
    return web.Response(status=status, body=data, content_type="application/json")


def _failed(reason: str, message: str, network: str) -> dict[str, object]:
    return {
        "success": False,
        "errorReason": reason,
        "errorMessage": message,
        "transaction": "",
        "network": network,
    }


def _cut(request: web.Request) -> web.Response:
    """End the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
