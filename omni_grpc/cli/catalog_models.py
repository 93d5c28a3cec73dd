"""`omni-grpc catalog` about models: what is known of them, and what the operator says."""

import shlex
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from rich.table import Table
from rich.text import Text

from omni_grpc.administration import alias_audit, model_audit
from omni_grpc.audit import Actor
from omni_grpc.catalog import (
    LAYER_NAMES,
    Alias,
    Catalog,
    CatalogSnapshot,
    CatalogStore,
    Offer,
    Rating,
    Words,
    absence,
    check_scope,
    etag_of,
    own_price,
    parse_filter,
)
from omni_grpc.cli.catalog_model_commands import CALLABLE
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.moments import day_of
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import (
    Place,
    PlainTable,
    console,
    plain,
    print_json,
    table_of,
    work_in,
)
from omni_grpc.core.errors import NotFound
from omni_grpc.core.money import Price, Unit, usd_text
from omni_grpc.routing import Measured, SpeedStore, measured
from omni_grpc.settings import Settings
from omni_grpc.storage import Database

T = TypeVar("T")

ACTOR: Final = "omni-grpc catalog"
_NOT_ROWS: Final = frozenset(
    {
        "model",
        "sources",
        "ratings",
        "rates",
        "prompt_usd_per_mtok",
        "completion_usd_per_mtok",
        "measured_speed",
    }
)
"""What a card shows in rows of its own kind, or twice."""


def run_catalog_list(place: Place, filter_: str, limit: int, *, as_json: bool) -> None:
    """Lists offers with price, rating and context."""
    wanted = parse_filter(filter_)

    async def work(settings: Settings, rooms: Rooms) -> None:
        from omni_grpc.wiring.configured import configured_providers

        providers = configured_providers(settings).ids()
        snapshot = (await _loaded(rooms.database)).snapshot
        page = snapshot.list_offers(wanted, after_id=None, limit=limit, providers=providers)
        speeds = await _speeds(rooms.database)
        if as_json:
            print_json([_facts(snapshot, offer, providers, speeds) for offer in page.offers])
            return
        if not page.offers:
            console.print(_none_found(filter_, providers))
            return
        console.print(_listing(snapshot, page.offers, speeds))
        if page.next_after_id is not None:
            console.print(f"There are more than {limit}; see --limit and --filter.")

    work_in(place, work)


def _none_found(filter_: str, providers: Collection[str]) -> Text:
    """Why a listing is empty, and how to see more."""
    if filter_ != CALLABLE:
        return plain(f"No offer fits to --filter {shlex.quote(filter_)}; --filter '' shows all.")
    named = ", ".join(sorted(providers)) or "none"
    return plain(
        f"No offer is callable with the providers set in this environment ({named}); "
        "--filter '' shows all offers."
    )


def run_catalog_show(place: Place, model: str, scope: str, *, as_json: bool) -> None:
    """Shows everything about what a name means: the first offer whole, as JSON all of them."""
    from omni_grpc.catalog import scopes_of

    scopes = scopes_of(check_scope(scope))

    async def work(settings: Settings, rooms: Rooms) -> None:
        from omni_grpc.wiring.configured import configured_providers

        catalog = await _loaded(rooms.database)
        providers = configured_providers(settings).ids()
        snapshot = catalog.snapshot
        offers = snapshot.resolve(model, scopes)
        if not offers:
            raise NotFound(absence(snapshot, model, scopes))
        speeds = await _speeds(rooms.database)
        known = [
            _facts(snapshot, offer, providers, speeds)
            | {"sources": await _sources(rooms.database, snapshot, offer)}
            for offer in offers
        ]
        if as_json:
            print_json(known)
            return
        console.print(_card(known[0]))
        if others := offers[1:]:
            console.print("Also sold as:")
            console.print(_listing(snapshot, others, speeds))

    work_in(place, work)


def run_catalog_update(
    place: Place, model: str, words: Words, back: Sequence[str], *, as_json: bool
) -> None:
    """Says something of an offer, and takes back what was said of the fields `back`."""
    said = [field for field in Words.__struct_fields__ if getattr(words, field) is not None]
    if both := set(said) & set(back):
        raise CommandError(f"{', '.join(sorted(both))} cannot be set and reset at once.")
    fields = (*said, *back)
    if not fields:
        raise CommandError("Nothing to do: give an option such as --disable or --tag.")

    async def work(_: Settings, catalog: Catalog) -> None:
        actor = Actor(name=f"{ACTOR} update")
        offer = await catalog.update_model(
            model, words, fields, actor=actor.name, audit=model_audit(actor, model)
        )
        if as_json:
            print_json(_facts(catalog.snapshot, offer, (), {}))
        else:
            console.print(f"{offer.id} is updated; every worker knows within 5 seconds.")

    _with_catalog(place, work)


def run_alias_list(place: Place, scope: str, *, as_json: bool) -> None:
    """Lists a scope's aliases."""
    check_scope(scope)

    async def work(_: Settings, catalog: Catalog) -> None:
        aliases = catalog.snapshot.aliases(scope)
        if as_json:
            print_json(msgspec.to_builtins(aliases))
            return
        table = table_of("alias", "means")
        for alias in aliases:
            table.add_row(alias.name, ", ".join(alias.targets))
        console.print(table)

    _with_catalog(place, work)


def run_alias_set(
    place: Place, name: str, targets: Sequence[str], scope: str, *, as_json: bool
) -> None:
    """Makes an alias, or changes it."""
    alias = Alias(name=name, scope=check_scope(scope), targets=tuple(targets))

    async def work(_: Settings, catalog: Catalog) -> None:
        actor = Actor(name=f"{ACTOR} alias set")
        audit = alias_audit(actor, "SetAlias", alias.scope, name)
        await catalog.set_alias(alias, actor=actor.name, audit=audit)
        if as_json:
            print_json(msgspec.to_builtins(alias))
        else:
            console.print(f"{name} means {', '.join(targets)} in {scope}.")

    _with_catalog(place, work)


def run_alias_delete(place: Place, name: str, scope: str, *, as_json: bool) -> None:
    """Takes an alias away."""
    check_scope(scope)

    async def work(_: Settings, catalog: Catalog) -> None:
        actor = Actor(name=f"{ACTOR} alias delete")
        audit = alias_audit(actor, "DeleteAlias", scope, name)
        await catalog.delete_alias(name, actor=actor.name, scope=scope, audit=audit)
        if as_json:
            print_json({"name": name, "scope": scope, "deleted": True})
        else:
            console.print(f"{name} is no alias in {scope} any more.")

    _with_catalog(place, work)


def run_catalog_changes(
    place: Place, wanted: Mapping[str, str], limit: int, *, as_json: bool
) -> None:
    """Lists what changed, newest first."""

    async def work(_: Settings, catalog: Catalog) -> None:
        page = await catalog.changes(wanted, before=None, limit=limit)
        if as_json:
            print_json(msgspec.to_builtins(page.changes))
            return
        table = table_of("when", "what", "field", "old", "new", "source", "who")
        for one in page.changes:
            table.add_row(
                f"{one.create_time:%Y-%m-%d %H:%M:%S}",
                one.subject,
                one.field,
                one.old or "",
                one.new or "",
                one.source,
                one.actor,
            )
        console.print(table)

    _with_catalog(place, work)


def words_of(options: Mapping[str, Any]) -> Words:  # as the options give it
    """The words of a command's options; an unset one says nothing.

    Raises:
        CommandError: a date or a price cannot be read.
    """
    cost: dict[str, object] = {}
    for key, option in (("input", "--input-usd"), ("output", "--output-usd")):
        if options[key] is not None:
            cost[key] = _decimal(option, options[key])
    if options["discount_ppm"] is not None:
        cost["discount_ppm"] = options["discount_ppm"]
    try:
        price = own_price(cost) if cost else None
    except ValueError as error:
        raise CommandError(f"{error}.") from None
    date = options["deprecated_from"]
    return Words(
        enabled=options["enabled"],
        tags=tuple(options["tags"]) or None,
        regions=tuple(options["regions"]) or None,
        quality_weight_ppm=options["quality_weight_ppm"],
        routing_weight=options["routing_weight"],
        replacement=options["replacement"],
        deprecation_date=None if date is None else day_of("--deprecated-from", date),
        deprecation_reason=options["reason"],
        price=price,
    )


def _with_catalog(place: Place, work: Callable[[Settings, Catalog], Awaitable[T]]) -> T:
    async def loaded(settings: Settings, rooms: Rooms) -> T:
        return await work(settings, await _loaded(rooms.database))

    return work_in(place, loaded)


async def _loaded(database: Database) -> Catalog:
    catalog = Catalog(database)
    await catalog.load()
    return catalog


def _decimal(option: str, text: str) -> object:
    from decimal import Decimal, InvalidOperation

    try:
        return Decimal(text)
    except InvalidOperation:
        raise CommandError(f"{option} must be a number of dollars, not {text!r}.") from None


async def _speeds(database: Database) -> dict[str, Measured]:
    """What the calls of all workers measured, by offer."""
    found = {offer: measured(sums) for offer, sums in (await SpeedStore(database).read()).items()}
    return {offer: one for offer, one in found.items() if one is not None}


def _listing(
    snapshot: CatalogSnapshot, offers: Sequence[Offer], speeds: Mapping[str, Measured]
) -> Table:
    """A row an offer; the column of measured speeds is there where one of them was called."""
    titles = ["model", "USD/Mtok in", "USD/Mtok out", "rating", "context", "output", "can"]
    is_measured = any(offer.id in speeds for offer in offers)
    table = table_of(*titles, *(["measured"] if is_measured else []))
    for offer in offers:
        rating = snapshot.rating(offer.model)
        table.add_row(
            offer.id,
            _usd(offer.price, Unit.PROMPT),
            _usd(offer.price, Unit.COMPLETION),
            _shown(rating) if rating else "",
            f"{offer.context_tokens_max:,}" if offer.context_tokens_max else "",
            f"{offer.output_tokens_max:,}" if offer.output_tokens_max else "",
            ", ".join(_abilities(offer)),
            *([_speed(speeds.get(offer.id))] if is_measured else []),
        )
    return table


def _card(facts: Mapping[str, Any]) -> Table:  # as it goes into JSON
    """Everything about an offer as rows; the right column says where a fact comes from."""
    sources: Mapping[str, str] = facts["sources"]
    table = PlainTable("fact", "value", "from", title=facts["model"], title_justify="left")
    for field, value in facts.items():
        if field not in _NOT_ROWS:
            table.add_row(field, _value(value), sources.get(field, ""))
    for rate in facts["rates"]:
        size = f" from {rate['prompt_tokens_min']:,}" if rate["prompt_tokens_min"] else ""
        usd = f"{rate['usd_per_mtok']} USD/M"
        table.add_row(f"price: {rate['unit']}{size}", usd, sources.get("price", ""))
    for rating in facts["ratings"]:
        value = f"{rating['value']:g}"
        date = f", {rating['date']}" if rating["date"] else ""
        table.add_row(f"rating: {rating['task'] or 'overall'}", value, f"{rating['source']}{date}")
    if (speed := facts["measured_speed"]) is not None:
        shown = _speed(msgspec.convert(speed, Measured))
        calls = f"{speed['source']}, {speed['call_count']:.0f} calls"
        table.add_row("measured speed", shown, calls)
    return table


def _speed(found: Measured | None) -> str:
    """A measured speed for a table: `412 ms, 85 tokens/s`."""
    if found is None:
        return ""
    first, rate, ratio = found.first_token_ms, found.output_tokens_per_second, found.reasoning_ratio
    shown = (
        None if first is None else f"{first:,.0f} ms",
        None if rate is None else f"{rate:,.0f} tokens/s",
        f"{ratio:.1f} reasoned per token" if ratio else None,
    )
    return ", ".join(one for one in shown if one is not None)


def _facts(
    snapshot: CatalogSnapshot,
    offer: Offer,
    providers: Collection[str],
    speeds: Mapping[str, Measured],
) -> dict[str, Any]:  # as it goes into JSON
    price = offer.price
    return {
        "model": offer.id,
        "display_name": offer.display_name,
        "canonical_model": offer.model,
        "mode": offer.mode.value,
        "context_tokens": offer.context_tokens_max,
        "output_tokens": offer.output_tokens_max,
        "prompt_usd_per_mtok": _usd(price, Unit.PROMPT),
        "completion_usd_per_mtok": _usd(price, Unit.COMPLETION),
        "price_version": None if price is None else str(price.version),
        "unpriced_reason": offer.unpriced_reason,
        "rates": [
            {
                "unit": rate.unit.value,
                "prompt_tokens_min": rate.prompt_tokens_min,
                "usd_per_mtok": usd_text(rate.nanousd_per_mtok),
            }
            for rate in (price.rates if price else ())
        ],
        "input_modalities": sorted(offer.input_modalities),
        "output_modalities": sorted(offer.output_modalities),
        "tools": offer.tools,
        "structured_output": offer.structured_output,
        "reasoning": offer.reasoning,
        "temperature": offer.temperature,
        "free": offer.free,
        "release_date": offer.release_date,
        "deprecated": offer.deprecated,
        "deprecation_date": offer.deprecation_date,
        "deprecation_reason": offer.deprecation_reason,
        "replacement": offer.replacement,
        "enabled": offer.enabled,
        "callable": offer.callable_at(providers),
        "tags": sorted(offer.tags),
        "regions": sorted(offer.regions),
        "quality_weight_ppm": offer.quality_weight_ppm,
        "routing_weight": offer.routing_weight,
        "source": offer.source,
        "etag": etag_of(offer),
        "ratings": [
            {
                "task": rating.task,
                "value": rating.value,
                "source": rating.source,
                "date": rating.date,
                "estimated": rating.estimated,
            }
            for rating in snapshot.rated_tasks(offer.model)
        ],
        "measured_speed": msgspec.to_builtins(speeds.get(offer.id)),
    }


async def _sources(database: Database, snapshot: CatalogSnapshot, offer: Offer) -> dict[str, str]:
    """Where each fact comes from, by its name in `_facts`: what is not named is the source's."""
    named = {"context_tokens_max": "context_tokens", "output_tokens_max": "output_tokens"}
    found = await CatalogStore(database).origins(offer.id)
    for field, word in snapshot.words(offer.id).items():
        found[field] = f"{LAYER_NAMES[word.layer]} ({word.pattern})"
    found = {named.get(field, field): source for field, source in found.items()}
    for field in (
        "display_name", "canonical_model", "mode", "context_tokens", "output_tokens",
        "input_modalities", "output_modalities", "tools", "structured_output", "reasoning",
        "temperature", "release_date", "deprecated", "price",
    ):  # fmt: skip
        found.setdefault(field, offer.source)
    for field in ("prompt_usd_per_mtok", "completion_usd_per_mtok", "price_version", "free"):
        found[field] = found["price"]
    return found


def _usd(price: Price | None, unit: Unit) -> str:
    return "" if price is None or not price.priced(unit) else usd_text(price.rate(unit, 0))


def _shown(rating: Rating) -> str:
    """A rating for a table; estimates are marked."""
    return f"{'~' if rating.estimated else ''}{rating.value:.0f}"


def _abilities(offer: Offer) -> list[str]:
    can = (
        ("tools", offer.tools),
        ("schema", offer.structured_output),
        ("reasoning", offer.reasoning),
        ("deprecated", offer.deprecated),
        ("disabled", not offer.enabled),
    )
    return [name for name, holds in can if holds]


def _value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
