"""The commands of `omni-grpc reconcile` and their options."""

from pathlib import Path
from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json

reconcile_app = typer.Typer(
    help="Bring the books and the providers' into line: attempts of which nobody knows what they "
    "cost, operations that could not be applied, and providers' invoices.",
    no_args_is_help=True,
)

Attempt = Annotated[
    str, typer.Argument(help="The attempt, as `reconcile list` shows it.", metavar="ATTEMPT")
]


@reconcile_app.command("list")
def reconcile_list(
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List attempts that were sent and of which nobody knows what they cost.

    Their money stays reserved until they are resolved: by their own worker, by one of the commands
    here, or, after OMNI_UNRESOLVED_HOURS, by being written off.
    """
    from omni_grpc.cli.reconcile import run_list
    from omni_grpc.cli.working import Place

    with told():
        run_list(Place(config, data_dir), as_json=json_)


@reconcile_app.command("settle")
def reconcile_settle(
    *,
    attempt: Attempt,
    prompt: Annotated[
        int | None,
        typer.Option(min=0, max=10**9, help="Prompt tokens, cached and audio ones included."),
    ] = None,
    completion: Annotated[
        int | None,
        typer.Option(min=0, max=10**9, help="Generated tokens, reasoning and audio ones included."),
    ] = None,
    cached_read: Annotated[
        int | None, typer.Option(min=0, help="Of the prompt, read from the provider's cache.")
    ] = None,
    cached_write: Annotated[
        int | None, typer.Option(min=0, help="Of the prompt, written to the provider's cache.")
    ] = None,
    prompt_audio: Annotated[
        int | None, typer.Option(min=0, help="Of the prompt, audio tokens.")
    ] = None,
    reasoning: Annotated[
        int | None, typer.Option(min=0, help="Of the generated tokens, reasoning.")
    ] = None,
    completion_audio: Annotated[
        int | None, typer.Option(min=0, help="Of the generated tokens, audio.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=0, max=10**9, help="Pictures, where they are sold each.")
    ] = None,
    seconds: Annotated[
        int | None, typer.Option(min=0, max=10**9, help="Seconds of audio, where sold by those.")
    ] = None,
    characters: Annotated[
        int | None,
        typer.Option(min=0, max=10**9, help="Characters of speech, where sold by those."),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Charge an attempt by what its provider says that it used.

    The price is the one that was pinned before it was sent; what is above its hold is the
    operator's loss. Saying the same again changes nothing.
    """
    from omni_grpc.cli.reconcile import run_settle
    from omni_grpc.cli.working import Place
    from omni_grpc.core.usage import Usage

    usage = Usage(
        prompt=prompt,
        cached_read=cached_read,
        cached_write=cached_write,
        prompt_audio=prompt_audio,
        completion=completion,
        reasoning=reasoning,
        completion_audio=completion_audio,
        image=images,
        second=seconds,
        character=characters,
    )
    with told():
        run_settle(Place(config, data_dir), attempt, usage, as_json=json_)


@reconcile_app.command("void")
def reconcile_void(
    attempt: Attempt,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Free what an attempt holds: its provider charges nothing for it."""
    from omni_grpc.cli.reconcile import run_void
    from omni_grpc.cli.working import Place

    with told():
        run_void(Place(config, data_dir), attempt, as_json=json_)


@reconcile_app.command("write-off")
def reconcile_write_off(
    attempt: Attempt,
    loss_usd: Annotated[
        str | None,
        typer.Option(help="What to book as loss, in dollars. [default: what the attempt holds]"),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Free what an attempt holds, and book a loss: nobody will ever know what it cost."""
    from omni_grpc.cli.reconcile import run_write_off
    from omni_grpc.cli.working import Place

    with told():
        run_write_off(Place(config, data_dir), attempt, loss_usd, as_json=json_)


@reconcile_app.command("lookup")
def reconcile_lookup(
    attempt: Annotated[
        str | None, typer.Argument(help="The attempt, as `reconcile list` shows it.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All unresolved attempts.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Ask providers for their own records of unresolved attempts, and settle by those.

    Exits 1 where an attempt stays unresolved: its provider keeps no records, or has none of it.
    """
    from omni_grpc.cli.lookup import run_lookup
    from omni_grpc.cli.working import Place

    with told():
        run_lookup(Place(config, data_dir), attempt, everything=all_, as_json=json_)


@reconcile_app.command("dead-letters")
def reconcile_dead_letters(
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List ends of attempts that the database refused, with the cause.

    Mend the cause, then send them again with `reconcile replay`.
    """
    from omni_grpc.cli.dead_letters import run_dead_letters
    from omni_grpc.cli.working import Place

    with told():
        run_dead_letters(Place(config, data_dir), as_json=json_)


@reconcile_app.command("replay")
def reconcile_replay(
    letter: Annotated[
        int | None, typer.Argument(help="Its number, as `reconcile dead-letters` shows it.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Send dead letters again; exits 1 where the database refuses one still."""
    from omni_grpc.cli.dead_letters import run_replay
    from omni_grpc.cli.working import Place

    with told():
        run_replay(Place(config, data_dir), letter, everything=all_, as_json=json_)


@reconcile_app.command("invoice")
def reconcile_invoice(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, readable=True, help="The provider's export, as CSV."
        ),
    ],
    provider: Annotated[
        str | None,
        typer.Option(help="Whose it is. [default: openrouter, where it looks like its export]"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=HEADER",
            help="Which column is what, where its header does not tell: NAME is id, model, time, "
            "prompt, completion or cost; repeat it.",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Beginning of what it covers. [default: its first row]")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="End of what it covers. [default: its last row]")
    ] = None,
    tolerance_usd: Annotated[
        str, typer.Option(help="By how much two costs may differ and still be the same.")
    ] = "0.000000001",
    limit: Annotated[
        int, typer.Option(min=0, help="How many differences to show; all are counted.")
    ] = 100,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Compare a provider's usage export with our records, row by row.

    Rows are matched by the provider's own id of each answer. Costs are compared without our markup.
    Exits 1 where anything differs. It changes nothing.
    """
    from omni_grpc.cli.invoice import InvoiceOptions, run_invoice
    from omni_grpc.cli.working import Place

    with told():
        run_invoice(
            Place(config, data_dir),
            InvoiceOptions(
                file=file,
                provider=provider,
                columns=tuple(column or ()),
                since=since,
                until=until,
                tolerance_usd=tolerance_usd,
                limit=limit,
            ),
            as_json=json_,
        )
