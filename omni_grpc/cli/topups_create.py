"""`omni-grpc topups create`: buys credits as a customer does, over x402.

It asks for the offer, has the wallet sign it with the SDK's own client, and presents the payment
until its fate is known: always the same payment, since another one could be taken too.
"""

import base64
import json
import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx
import msgspec
from rich.console import Console

from omni_grpc.cli.dev import read_state
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import data_folder

PRESENTED_SECONDS_MAX: Final = 300.0
"""How long a payment is presented again while its fate is not known: what was signed lands within
a minute and a half, or never."""

REQUEST_SECONDS_MAX: Final = 90.0
_OFFERED: Final = 402
_TAKEN: Final = 200
_PENDING: Final = 409

console = Console(highlight=False, soft_wrap=True)
aside = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Shop:
    """Where credits are bought, with whose key, and which node a wallet asks."""

    url: str
    key: str
    rpc_url: str | None

    @classmethod
    def found(cls, url: str | None, rpc_url: str | None, data_dir: Path | None) -> Self:
        """What was given, else what the environment says, else what `dev` left.

        Raises:
            CommandError: nobody says which gateway.
        """
        state = read_state(data_folder(data_dir))
        target = url or os.environ.get("OMNI_PUBLIC_URL") or (state.rest if state else "")
        key = os.environ.get("OMNI_API_KEY") or (state.api_key if state else "")
        if not target or not key:
            raise CommandError(
                "There is no gateway to ask: start one with `omni-grpc dev`, or give --url and "
                "set OMNI_API_KEY."
            )
        node = rpc_url or os.environ.get("OMNI_X402_RPC_URL")
        if node is None and state is not None and target == state.rest:
            node = state.solana_rpc or None
        return cls(target.rstrip("/"), key, node)


def run_create(shop: Shop, amount: str, *, pay_with: Path | None, as_json: bool) -> None:
    """Buys credits, or prints what would have to be signed."""
    headers = {"authorization": f"Bearer {shop.key}"}
    with httpx.Client(base_url=shop.url, headers=headers, timeout=REQUEST_SECONDS_MAX) as http:
        offer = _offer(http, amount)
        if pay_with is None:
            console.print_json(offer)
            return
        payment = _signed(offer, pay_with, shop.rpc_url)
        found = _presented(http, amount, payment)
    if as_json:
        console.print_json(json.dumps(found))
        return
    console.print(
        f"{found['credited_usd']} USD were credited: {found['name']}\n"
        f"[dim]{found['network']} {found['transaction']}[/]"
    )
    if found["message"]:
        console.print(found["message"])


def _offer(http: httpx.Client, amount: str) -> str:
    """What is to be signed, in version 2 of x402, as JSON."""
    answer = _ask(http, amount, {})
    header = answer.headers.get("payment-required")
    if answer.status_code != _OFFERED or header is None:
        raise CommandError(_refusal(answer))
    return base64.b64decode(header).decode()


def _presented(http: httpx.Client, amount: str, payment: str) -> dict[str, Any]:
    until = time.monotonic() + PRESENTED_SECONDS_MAX
    while True:
        answer = _ask(http, amount, {"payment-signature": payment})
        if answer.status_code == _TAKEN:
            found: dict[str, Any] = answer.json()
            return found
        if answer.status_code != _PENDING:
            raise CommandError(_refusal(answer))
        if time.monotonic() > until:
            raise CommandError(f"{_refusal(answer)} It goes on being asked for.")
        aside.print("[dim]The payment was sent; its fate is not known yet …[/]")
        time.sleep(float(answer.headers.get("retry-after", "2")))


def _ask(http: httpx.Client, amount: str, headers: dict[str, str]) -> httpx.Response:
    try:
        return http.post("/v1/topup", json={"amount": amount}, headers=headers)
    except httpx.HTTPError as error:
        raise CommandError(f"The gateway does not answer: {error}") from None


def _refusal(answer: httpx.Response) -> str:
    try:
        message: str = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = f"The gateway answered with the status {answer.status_code}."
    return message


def _signed(offer: str, key_file: Path, rpc_url: str | None) -> str:
    """The payment of an offer by the wallet of a file, as a header has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK uses a client of the node that it calls old
        from x402 import x402ClientSync
        from x402.http.utils import encode_payment_signature_header
        from x402.mechanisms.svm.exact.client import ExactSvmScheme
        from x402.mechanisms.svm.signers import KeypairSigner
        from x402.schemas import PaymentRequired

        keypair = _wallet(key_file)
        client = x402ClientSync()
        # Whoever names an amount on the command line has said how much may be spent.
        client.set_spend_controls(controls=False)
        client.register("solana:*", ExactSvmScheme(KeypairSigner(keypair), rpc_url))
        try:
            required = PaymentRequired.model_validate_json(offer)
            return encode_payment_signature_header(client.create_payment_payload(required))
        except Exception as error:  # noqa: BLE001 - the SDKs raise kinds of their own
            raise CommandError(f"The payment could not be signed: {error}") from None


def _wallet(path: Path) -> Any:
    """The key pair of a file: a JSON array of 64 bytes; made if it is not there."""
    from solders.keypair import Keypair

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return Keypair.from_bytes(bytes(msgspec.json.decode(path.read_bytes(), type=list[int])))
        except (OSError, ValueError, msgspec.MsgspecError):
            raise CommandError(f"{path} is no wallet: an array of 64 bytes, as JSON.") from None
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from None
    made = Keypair()
    with os.fdopen(descriptor, "w") as file:
        json.dump(list(bytes(made)), file)
    aside.print(f"A new wallet: {made.pubkey()}, in {path}")
    return made
