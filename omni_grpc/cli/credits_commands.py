"""The commands of `omni-grpc credits` and their options."""

from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json, Org

credits_app = typer.Typer(help="Credits, straight on the database.", no_args_is_help=True)

Usd = Annotated[str, typer.Option(help="How much, in dollars: 12.50")]
RequestId = Annotated[
    str | None,
    typer.Option(help="Repeating a command with the same id does it once. [default: a new one]"),
]


@credits_app.command("grant")
def credits_grant(
    *,
    org: Org,
    usd: Usd,
    reason: Annotated[str, typer.Option(help="Shown on the ledger entry.")] = "granted by operator",
    expires: Annotated[
        str | None,
        typer.Option(
            help="When what is left of them is taken back: 2030-12-31, or with a time; UTC unless "
            "it says otherwise. [default: never]"
        ),
    ] = None,
    payment_network: Annotated[
        str | None,
        typer.Option(
            help="Of the outside payment that they are for, which is booked once for ever: "
            "eip155:8453, base, solana, stripe …"
        ),
    ] = None,
    payment_id: Annotated[
        str | None,
        typer.Option(help="What that network calls the payment: a transaction's hash, say."),
    ] = None,
    request_id: RequestId = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Add credits to an organisation's account."""
    from omni_grpc.cli.credits import run_credits_grant
    from omni_grpc.cli.working import Place

    with told():
        run_credits_grant(
            Place(config, data_dir),
            org,
            usd,
            reason,
            expires,
            (payment_network, payment_id),
            request_id,
            as_json=json_,
        )


@credits_app.command("refund")
def credits_refund(
    *,
    org: Org,
    usd: Usd,
    call: Annotated[
        str | None, typer.Option(help="The call that was charged, by its id (x-request-id).")
    ] = None,
    attempt: Annotated[
        int | None,
        typer.Option(min=1, help="Which attempt of the call, where several were charged."),
    ] = None,
    hold: Annotated[
        str | None, typer.Option(help="Or a hold that CreateHold made: its name or its id.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Shown on the ledger entry.")
    ] = "refunded by operator",
    request_id: RequestId = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Give back a part of a charge, or all of it; never more than it was."""
    from omni_grpc.cli.credits import run_credits_refund
    from omni_grpc.cli.working import Place

    with told():
        run_credits_refund(
            Place(config, data_dir), org, usd, call, attempt, hold, reason, request_id,
            as_json=json_,
        )  # fmt: skip


@credits_app.command("balance")
def credits_balance(
    org: Org, config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """Show an organisation's balance."""
    from omni_grpc.cli.credits import run_credits_balance
    from omni_grpc.cli.working import Place

    with told():
        run_credits_balance(Place(config, data_dir), org, as_json=json_)
