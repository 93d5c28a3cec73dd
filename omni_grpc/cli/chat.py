"""`omni-grpc chat`: a streamed answer in the terminal over gRPC, then what it used and cost."""

import os
import sys
from pathlib import Path

import grpc
import msgspec
from omni_grpc_client import ChatOptions, Completion, Omni, OmniError
from rich.console import Console

from omni_grpc.cli.dev import read_state
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import data_folder
from omni_grpc.core.money import usd_text

facts = Console(stderr=True, highlight=False, soft_wrap=True)


def run_chat(
    text: str,
    *,
    model: str,
    addr: str | None,
    ca: Path | None,
    max_tokens: int | None,
    as_json: bool,
    data_dir: Path | None,
) -> None:
    """Asks, and shows the answer while it is generated."""
    if not text.strip():
        raise CommandError("There is nothing to say: give a text.")
    target, key = _where(addr, data_dir)
    tls = False if ca is None else grpc.ssl_channel_credentials(ca.read_bytes())
    options: ChatOptions = {}
    if max_tokens is not None:
        options["max_output_tokens"] = max_tokens
    try:
        with (
            Omni(target, api_key=key, tls=tls, wait_for_ready=False) as omni,
            omni.stream_chat(model, text, **options) as stream,
        ):
            for piece in stream:
                if not as_json:
                    sys.stdout.write(piece.text or piece.refusal)
                    sys.stdout.flush()
            completion = stream.completion
    except OmniError as error:
        reason = f" ({error.reason})" if error.reason else ""
        raise CommandError(f"{error.message}{reason}") from None
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(_facts(completion))).decode())  # noqa: T201
        return
    sys.stdout.write("\n")
    sys.stdout.flush()
    facts.print(f"\n[dim]{_line(completion)}[/]")


def _where(addr: str | None, data_dir: Path | None) -> tuple[str, str]:
    """The gateway's address and a key for it: given, from the environment, or from `dev`."""
    state = read_state(data_folder(data_dir))
    target = addr or os.environ.get("OMNI_GRPC_ADDR") or (state.grpc if state else "")
    key = os.environ.get("OMNI_API_KEY") or (state.api_key if state else "")
    if not target or not key:
        raise CommandError(
            "There is no gateway to ask: start one with `omni-grpc dev`, or set OMNI_GRPC_ADDR "
            "and OMNI_API_KEY."
        )
    return target, key


def _line(completion: Completion) -> str:
    usage = completion.usage
    balance = completion.balance_nanousd
    parts = [
        completion.model,
        f"{usage.prompt_tokens or 0} + {usage.completion_tokens or 0} tokens",
        f"cost {usd_text(completion.cost_nanousd)} USD",
        "balance not known yet" if balance is None else f"balance {usd_text(balance)} USD",
        f"call {completion.call_id}",
    ]
    return " · ".join(parts)


def _facts(completion: Completion) -> dict[str, object]:
    return {
        "text": completion.text,
        "model": completion.model,
        "call_id": completion.call_id,
        "prompt_tokens": completion.usage.prompt_tokens,
        "completion_tokens": completion.usage.completion_tokens,
        "cost_nanousd": completion.cost_nanousd,
        "balance_nanousd": completion.balance_nanousd,
    }
