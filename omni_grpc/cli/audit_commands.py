"""The commands of `omni-grpc audit` and their options."""

from pathlib import Path
from typing import Annotated

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json, Org

audit_app = typer.Typer(
    help="Who changed what: audit logs, straight on the database.", no_args_is_help=True
)


@audit_app.command("list")
def audit_list(
    org: Org,
    *,
    start: Annotated[str | None, typer.Option("--from", help="A day or a time.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until before when.")] = None,
    actor: Annotated[str, typer.Option(help="Only what this actor did.")] = "",
    action: Annotated[str, typer.Option(help="Only this action, such as CreateTeam.")] = "",
    resource: Annotated[
        str, typer.Option(help="Only what was done to this resource and what is below it.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List an organisation's log, newest first."""
    from omni_grpc.cli.audit import Asked, run_list
    from omni_grpc.cli.working import Place

    with told():
        asked = Asked(
            org=org,
            start=start,
            end=end,
            actor=actor,
            action=action,
            resource=resource,
            limit=limit,
        )
        run_list(Place(config, data_dir), asked, as_json=json_)


@audit_app.command("export")
def audit_export(
    org: Org,
    out: Annotated[
        Path | None, typer.Option(help="A file that does not exist yet. [default: standard output]")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Write an organisation's whole log as JSON lines, oldest first."""
    from omni_grpc.cli.audit import run_export
    from omni_grpc.cli.working import Place

    with told():
        run_export(Place(config, data_dir), org, out)


@audit_app.command("verify")
def audit_verify(
    org: Org,
    export: Annotated[
        Path | None, typer.Option(help="An export of it, which shows whether its end is missing.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Compute an organisation's log anew; exit 1 if an entry was changed, taken out or put in."""
    from omni_grpc.cli.audit import run_verify
    from omni_grpc.cli.working import Place

    with told():
        run_verify(Place(config, data_dir), org, export, as_json=json_)
