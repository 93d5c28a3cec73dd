"""The commands of `omni-grpc catalog` that are about models and aliases, and their options."""

from typing import Annotated, Final

import typer

from omni_grpc.cli.failures import told
from omni_grpc.cli.options import Config, DataDir, Json

Scope = Annotated[str, typer.Option(help="Whose aliases: global, or orgs/{org}.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000)]

CALLABLE: Final = "callable = true"
"""The filter of a listing for which none is given."""

alias_app = typer.Typer(help="Other names for models.", no_args_is_help=True)


def add_model_commands(catalog_app: typer.Typer) -> None:
    """Puts the commands under `omni-grpc catalog`."""
    catalog_app.add_typer(alias_app, name="alias")
    catalog_app.command("list")(catalog_list)
    catalog_app.command("show")(catalog_show)
    catalog_app.command("update")(catalog_update)
    catalog_app.command("changes")(catalog_changes)


def catalog_list(
    filter_: Annotated[
        str, typer.Option("--filter", help='Such as: provider = "openai" AND tools = true')
    ] = CALLABLE,
    limit: Limit = 100,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List models: price, rating (~ is an estimate), context."""
    from omni_grpc.cli.catalog_models import run_catalog_list
    from omni_grpc.cli.working import Place

    with told():
        run_catalog_list(Place(config, data_dir), filter_, limit, as_json=json_)


def catalog_show(
    model: Annotated[str, typer.Argument(help="provider/model, a bare model, or an alias.")],
    scope: Scope = "global",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Show everything about what a name means, and where each fact comes from."""
    from omni_grpc.cli.catalog_models import run_catalog_show
    from omni_grpc.cli.working import Place

    with told():
        run_catalog_show(Place(config, data_dir), model, scope, as_json=json_)


def catalog_update(
    model: Annotated[str, typer.Argument(help="provider/model")],
    *,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether it can be called.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; repeat it.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Where it is served.")] = None,
    quality_weight_ppm: Annotated[
        int | None, typer.Option(help="Millionths: 1100000 counts its rating 10 % higher.")
    ] = None,
    routing_weight: Annotated[int | None, typer.Option(help="Its share by weight.")] = None,
    replacement: Annotated[str | None, typer.Option(help="What answers when deprecated.")] = None,
    deprecated_from: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is deprecated.")] = None,
    input_usd: Annotated[str | None, typer.Option(help="Own price of a million tokens in.")] = None,
    output_usd: Annotated[str | None, typer.Option(help="The same, out.")] = None,
    discount_ppm: Annotated[
        int | None, typer.Option(help="Off the synced price, in millionths.")
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            help="Take a word back: enabled, tags, regions, quality_weight_ppm, routing_weight, "
            "replacement, deprecation_date, deprecation_reason, price; repeat it."
        ),
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Say of an offer what goes before every source's word; syncs never overwrite it."""
    from omni_grpc.catalog import OFFER_FIELDS
    from omni_grpc.cli.catalog_models import run_catalog_update, words_of
    from omni_grpc.cli.failures import CommandError
    from omni_grpc.cli.working import Place

    options = {
        "enabled": enabled,
        "tags": tag or (),
        "regions": region or (),
        "quality_weight_ppm": quality_weight_ppm,
        "routing_weight": routing_weight,
        "replacement": replacement,
        "deprecated_from": deprecated_from,
        "reason": reason,
        "input": input_usd,
        "output": output_usd,
        "discount_ppm": discount_ppm,
    }
    with told():
        for field in reset or ():
            if field not in OFFER_FIELDS:
                known = ", ".join(OFFER_FIELDS)
                raise CommandError(f"--reset {field}: there is no such field; they are {known}.")
        words = words_of(options)
        run_catalog_update(Place(config, data_dir), model, words, reset or (), as_json=json_)


def catalog_changes(
    subject: Annotated[str | None, typer.Option(help="An offer, a model or an alias.")] = None,
    field: Annotated[str | None, typer.Option(help="Such as price.")] = None,
    source: Annotated[str | None, typer.Option(help="models.yaml, operator, or a source.")] = None,
    actor: Annotated[str | None, typer.Option(help="Who caused it.")] = None,
    limit: Limit = 50,
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """List what changed, newest first."""
    from omni_grpc.cli.catalog_models import run_catalog_changes
    from omni_grpc.cli.working import Place

    given = {"subject": subject, "field": field, "source": source, "actor": actor}
    wanted = {name: value for name, value in given.items() if value is not None}
    with told():
        run_catalog_changes(Place(config, data_dir), wanted, limit, as_json=json_)


@alias_app.command("list")
def alias_list(
    scope: Scope = "global", config: Config = None, data_dir: DataDir = None, json_: Json = False
) -> None:
    """List a scope's aliases."""
    from omni_grpc.cli.catalog_models import run_alias_list
    from omni_grpc.cli.working import Place

    with told():
        run_alias_list(Place(config, data_dir), scope, as_json=json_)


@alias_app.command("set")
def alias_set(
    name: str,
    targets: Annotated[list[str], typer.Argument(help="Models, offers or aliases, in order.")],
    scope: Scope = "global",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Make an alias, or change it."""
    from omni_grpc.cli.catalog_models import run_alias_set
    from omni_grpc.cli.working import Place

    with told():
        run_alias_set(Place(config, data_dir), name, targets, scope, as_json=json_)


@alias_app.command("delete")
def alias_delete(
    name: str,
    scope: Scope = "global",
    config: Config = None,
    data_dir: DataDir = None,
    json_: Json = False,
) -> None:
    """Take an alias away."""
    from omni_grpc.cli.catalog_models import run_alias_delete
    from omni_grpc.cli.working import Place

    with told():
        run_alias_delete(Place(config, data_dir), name, scope, as_json=json_)
