"""The commands and their options; each command's work is in a file of its own.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from omni_grpc import __version__
from omni_grpc.cli.audit_commands import audit_app
from omni_grpc.cli.bench import bench_app
from omni_grpc.cli.budgets_commands import budgets_app
from omni_grpc.cli.catalog_commands import catalog_app
from omni_grpc.cli.credentials_commands import credentials_app
from omni_grpc.cli.credits_commands import credits_app
from omni_grpc.cli.environments_commands import environments_app
from omni_grpc.cli.failures import told
from omni_grpc.cli.keys_commands import keys_app
from omni_grpc.cli.limits_commands import limits_app
from omni_grpc.cli.options import Addr, Config, DataDir, Json
from omni_grpc.cli.orgs_commands import orgs_app
from omni_grpc.cli.reconcile_commands import reconcile_app
from omni_grpc.cli.routing_commands import routing_app
from omni_grpc.cli.statements_commands import statements_app
from omni_grpc.cli.teams_commands import teams_app
from omni_grpc.cli.topups_commands import topups_app
from omni_grpc.cli.usage_commands import usage_app
from omni_grpc.cli.users_commands import users_app
from omni_grpc.cli.webhooks_commands import webhooks_app

_ELSEWHERE: Final = {
    "models": "catalog list",
    "policies": "routing policies",
    "experiments": "routing experiments",
    "environments": "envs",
    "balance": "credits balance",
}
"""What is looked for under other names than it has."""


class _Commands(TyperGroup):
    """The commands, and where to find what is none of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # as typer has it
        """The command of the first word, as `TyperGroup` finds it."""
        if args and args[0] not in self.commands and (other := _ELSEWHERE.get(args[0])):
            ctx.fail(f"No such command {args[0]!r}. Did you mean 'omni-grpc {other}'?")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="omni-grpc",
    cls=_Commands,
    help="An AI gateway: typed gRPC, OpenAI and Anthropic REST, and an exact ledger.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(keys_app, name="keys")
app.add_typer(credits_app, name="credits")
app.add_typer(topups_app, name="topups")
app.add_typer(orgs_app, name="orgs")
app.add_typer(teams_app, name="teams")
app.add_typer(environments_app, name="envs")
app.add_typer(users_app, name="users")
app.add_typer(limits_app, name="limits")
app.add_typer(budgets_app, name="budgets")
app.add_typer(credentials_app, name="credentials")
app.add_typer(catalog_app, name="catalog")
app.add_typer(reconcile_app, name="reconcile")
app.add_typer(bench_app, name="bench")
app.add_typer(usage_app, name="usage")
app.add_typer(statements_app, name="statements")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(audit_app, name="audit")
app.add_typer(routing_app, name="routing")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001 - its callback does the work, before a command is missed
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    from omni_grpc.logs import configure_logs
    from omni_grpc.settings import Settings

    # Commands speak for themselves; `dev` and `serve` set up their own logs.
    configure_logs(Settings(log_level="warning", log_format="console"))


@app.command()
def dev(
    grpc_addr: Addr = None,
    rest_addr: Addr = None,
    data_dir: DataDir = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written as JSON when everything is ready.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64)] = None,
    config: Config = None,
) -> None:
    """Run everything on this machine: database, gateway, a key, and commands to try.

    Uses an embedded PostgreSQL unless DATABASE_URL is set, and the simulator unless a provider's
    key is set.
    """
    from omni_grpc.cli.dev import run_dev

    with told():
        run_dev(
            overrides={"grpc_addr": grpc_addr, "rest_addr": rest_addr, "workers": workers},
            data_dir=data_dir,
            ready_file=ready_file,
            config=config,
        )


@app.command()
def serve(
    grpc_addr: Addr = None,
    rest_addr: Addr = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64)] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written as JSON when all workers listen.")
    ] = None,
    config: Config = None,
) -> None:
    """Serve gRPC and REST; refuses to start with a list of what is missing.

    Needs DATABASE_URL (migrated), OMNI_KEY_HASH_SECRET, and the key of at least one provider.
    """
    from omni_grpc.cli.serve import run_serve

    with told():
        run_serve(
            overrides={"grpc_addr": grpc_addr, "rest_addr": rest_addr, "workers": workers},
            ready_file=ready_file,
            config=config,
        )


@app.command()
def chat(
    text: Annotated[str, typer.Argument(help="What to say; - reads standard input.")],
    model: Annotated[str, typer.Option(help="A model, an alias, or omni/auto.")] = "omni/auto",
    addr: Annotated[
        str | None, typer.Option(help="Address of the gateway. [default: that of dev]")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="Speak TLS, and believe these authorities. [default: the usual "
            "ones, and plain text on this machine]",
        ),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    json_: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Stream an answer to the terminal, then what it cost.

    The key comes from OMNI_API_KEY, or from a `dev` on this machine.
    """
    from omni_grpc.cli.chat import run_chat

    with told():
        run_chat(
            sys.stdin.read() if text == "-" else text,
            model=model,
            addr=addr,
            ca=ca,
            max_tokens=max_tokens,
            as_json=json_,
            data_dir=data_dir,
        )


@app.command()
def migrate(config: Config = None, json_: Json = False) -> None:
    """Bring the database to this version, and fill its catalog where that is new."""
    from omni_grpc.cli.operate import run_migrate

    with told():
        run_migrate(config, as_json=json_)


@app.command()
def simulate(
    addr: Annotated[str, typer.Option(help="Where to listen; port 0 takes a free one.")] = (
        "127.0.0.1:8089"
    ),
    key: Annotated[str | None, typer.Option(help="The bearer that callers must send.")] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing, not even a line a call.")
    ] = False,
    payments: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where an x402 facilitator and its chain listen, too."
        ),
    ] = None,
) -> None:
    """Run a provider that answers without a model, with accidents on request."""
    from omni_grpc.cli.simulate import run_simulate

    with told():
        run_simulate(addr, key, payments, quiet=quiet)


@app.command()
def doctor(config: Config = None, data_dir: DataDir = None, json_: Json = False) -> None:
    """Check settings, database and books; exits 1 if anything is wrong."""
    from omni_grpc.cli.doctor import run_doctor

    with told():
        run_doctor(config, data_dir, as_json=json_)


def main() -> None:
    """The console script."""
    # Numpy reads it when it is imported, which no command has done yet. A routing decision is no
    # work for a pool of threads, and each worker would keep as many as the machine has cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app()
