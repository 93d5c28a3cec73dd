"""The commands of `omni-grpc topups` and their options."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from omni_grpc.cli.failures import CommandError, told
from omni_grpc.cli.options import Config, DataDir, Json, Org

Name = Annotated[str, typer.Argument(help="As topups list shows it: accounts/…/topUps/…")]
Reason = Annotated[str, typer.Option(help="Why: for the audit log, and whose account it is.")]


class PendingState(StrEnum):
    """The state that can be asked for by itself."""

    PENDING = "pending"


topups_app = typer.Typer(
    help="Credits that are bought: create as a customer, all else as the operator.",
    no_args_is_help=True,
)


@topups_app.command("create")
def topups_create(
    *,
    amount: Annotated[str, typer.Option(help="How much, in dollars: 10.00")],
    pay_with: Annotated[
        Path | None,
        typer.Option(
            metavar="KEYFILE",
            help="Pay at once, in USDC, from the wallet of this file, as solana-keygen writes "
            "them; a new wallet is made if it is not there.",
        ),
    ] = None,
    rpc_url: Annotated[
        str | None,
        typer.Option(help="The Solana node to ask while signing. [default: that of dev]"),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="The gateway's REST side. [default: that of dev]")
    ] = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Buy credits in USDC from a running gateway; without a wallet, print what is to be signed.

    The key comes from OMNI_API_KEY, or from a `dev` on this machine.
    """
    from omni_grpc.cli.topups_create import Shop, run_create

    with told():
        run_create(Shop.found(url, rpc_url, data_dir), amount, pay_with=pay_with, as_json=json_)


@topups_app.command("list")
def topups_list(
    *,
    org: Annotated[
        str | None, typer.Option("--org", help="The organisation's id; all with --state pending.")
    ] = None,
    state: Annotated[
        PendingState | None,
        typer.Option(help="pending: only those of which nobody knows yet whether they were paid."),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List an organisation's top-ups, the newest first; pending ones the oldest first."""
    from omni_grpc.cli.topups import run_list, run_pending
    from omni_grpc.cli.working import Place

    with told():
        place = Place(config, data_dir)
        if state is not None:
            run_pending(place, org, as_json=json_)
        elif org is None:
            raise CommandError("Say whose: --org, or --state pending for those of everybody.")
        else:
            run_list(place, org, as_json=json_)


@topups_app.command("show")
def topups_show(
    name: Name,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show a top-up, after a look at its fate where that is not known."""
    from omni_grpc.cli.topups import run_show
    from omni_grpc.cli.working import Place

    with told():
        run_show(Place(config, data_dir), name, as_json=json_)


@topups_app.command("settle")
def topups_settle(
    *,
    name: Name,
    payment: Annotated[
        str, typer.Option(metavar="SIGNATURE", help="The transaction that paid, on the chain.")
    ],
    reason: Reason,
    amount: Annotated[
        str | None,
        typer.Option(metavar="USD", help="What arrived. [default: what was asked for]"),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Credit a pending top-up over x402 whose payment was found on the chain.

    Once, however often it is said, and whatever the facilitator says later.
    """
    from omni_grpc.cli.topups import run_settle
    from omni_grpc.cli.working import Place

    with told():
        run_settle(
            Place(config, data_dir), name, payment, amount=amount, reason=reason, as_json=json_
        )


@topups_app.command("void")
def topups_void(
    *,
    name: Name,
    reason: Reason,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Give up a pending top-up over x402 whose payment is not on the chain."""
    from omni_grpc.cli.topups import run_void
    from omni_grpc.cli.working import Place

    with told():
        run_void(Place(config, data_dir), name, reason=reason, as_json=json_)


@topups_app.command("auto")
def topups_auto(
    *,
    org: Org,
    below: Annotated[
        str | None, typer.Option(metavar="USD", help="Buy when less than this is available.")
    ] = None,
    amount: Annotated[
        str | None, typer.Option(metavar="USD", help="How much to buy at a time.")
    ] = None,
    month_max: Annotated[
        str | None,
        typer.Option(metavar="USD", help="The most in a calendar month; 0: any amount."),
    ] = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Turn it on or off.")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show or change whether an organisation buys credits by itself, with its saved card.

    A top-up by card with `save_card` saves one.
    """
    from omni_grpc.cli.topups import run_auto
    from omni_grpc.cli.working import Place

    given = {
        "threshold_nanousd": below,
        "amount_nanousd": amount,
        "month_max_nanousd": month_max,
    }
    with told():
        run_auto(Place(config, data_dir), org, given, on=on, as_json=json_)
