"""`catalog sync`, `validate` and `diff`: what the sources say, shown before and after it counts."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
import rich.progress
import typer
from rich.console import Console
from rich.text import Text

from omni_grpc.administration import sync_audit
from omni_grpc.audit import Actor
from omni_grpc.catalog import (
    Catalog,
    Progress,
    SourceError,
    SourceStore,
    Stage,
    Syncer,
    SyncReport,
    Validation,
    opinions,
    parse_sources,
    rates_text,
    read_operator_file,
    unmatched,
    validate,
)
from omni_grpc.catalog.acceptance import Waiting
from omni_grpc.catalog.changes import LISTED, PRICE
from omni_grpc.catalog.difference import Disagreement
from omni_grpc.catalog.facts import FACTS
from omni_grpc.catalog.sync import SourcedChange
from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.opening import Rooms
from omni_grpc.cli.working import Place, console, print_json, table_of, work_in
from omni_grpc.core.money import PPM, usd_text
from omni_grpc.settings import Settings

FAILED: Final = 1
"""The exit code where a source failed, or a look at the catalog found problems."""

NEEDS_ACCEPTANCE: Final = 3
"""The exit code where all was read, and something waits for `--accept`."""

ACTOR: Final = "omni-grpc catalog sync"

_STATES: Final = {
    Stage.READ: Text("read", style="green"),
    Stage.UNCHANGED: Text("unchanged", style="green"),
    Stage.FAILED: Text("failed", style="red"),
    Stage.REFUSED: Text("waits for --accept", style="yellow"),
}


def run_catalog_sync(
    place: Place,
    texts: Sequence[str],
    *,
    dry_run: bool,
    accept: bool,
    limit: int,
    as_json: bool,
) -> None:
    """Syncs, shows what changed, and exits with FAILED or NEEDS_ACCEPTANCE where that is so."""

    async def work(settings: Settings, rooms: Rooms) -> SyncReport:
        try:
            sources = parse_sources(texts or settings.catalog_sources)
        except SourceError as error:
            raise CommandError(str(error)) from None
        syncer = Syncer(rooms.database, price_change_max_ppm=settings.catalog_price_change_max_ppm)
        with _shown(as_json) as on_progress:
            return await syncer.sync(
                sources,
                actor=ACTOR,
                accept=accept,
                dry_run=dry_run,
                on_progress=on_progress,
                audit=sync_audit(Actor(name=ACTOR)),
            )

    report = work_in(place, work)
    if as_json:
        print_json(_report_facts(report))
    else:
        _print_report(report, limit)
    if report.failed:
        raise typer.Exit(FAILED)
    if report.needs_acceptance:
        raise typer.Exit(NEEDS_ACCEPTANCE)


def run_catalog_validate(place: Place, tolerance_percent: float, *, as_json: bool) -> None:
    """Shows what a person should see of the catalog; exits with FAILED where that is anything."""

    async def work(settings: Settings, rooms: Rooms) -> tuple[Validation, tuple[str, ...]]:
        state = await SourceStore(rooms.database).view()
        found = await asyncio.to_thread(
            validate,
            state,
            dt.datetime.now(dt.UTC),
            price_change_max_ppm=settings.catalog_price_change_max_ppm,
            tolerance_ppm=round(tolerance_percent * PPM / 100),
        )
        if settings.models_file is None:
            return found, ()
        catalog = Catalog(rooms.database)
        await catalog.load()
        return found, unmatched(catalog.snapshot, read_operator_file(settings.models_file))

    found, nameless = work_in(place, work)
    if as_json:
        print_json(_validation_facts(found) | {"models_file_unmatched": nameless})
    else:
        for pattern in nameless:
            console.print(f"The entry {pattern!r} of models.yaml names no offer.", markup=False)
        _print_validation(found)
    if found.problems:
        raise typer.Exit(FAILED)


def run_catalog_diff(place: Place, model: str | None, limit: int, *, as_json: bool) -> None:
    """Shows where sources differ from what counts, or all words on one offer side by side."""

    async def work(settings: Settings, rooms: Rooms) -> list[dict[str, Any]] | Validation:
        state = await SourceStore(rooms.database).view()
        if model is None:
            return await asyncio.to_thread(
                validate,
                state,
                dt.datetime.now(dt.UTC),
                price_change_max_ppm=settings.catalog_price_change_max_ppm,
            )
        found = opinions(state, model)
        if not found:
            raise CommandError(
                f"No source speaks of {model!r}; `omni-grpc catalog list` shows the models."
            )
        return [
            {
                "source": one.said.source,
                "price_counts": one.price_counts,
                "adds_only": one.adds_only,
                "price": rates_text(one.said.facts.quote.rates) or one.said.facts.quote.refusal,
                **{
                    field: None
                    if field in one.said.facts.unsaid
                    else _plain(getattr(one.said.facts, field))
                    for field in FACTS
                },
            }
            for one in found
        ]

    found = work_in(place, work)
    if isinstance(found, Validation):
        if as_json:
            facts = _validation_facts(found)
            print_json({key: facts[key] for key in ("version", "waiting", "disagreements")})
        else:
            _print_waiting(found.waiting, limit)
            _print_disagreements(found.disagreements, limit)
            if not found.waiting and not found.disagreements:
                console.print("All sources say what the catalog holds.")
    elif as_json:
        print_json(found)
    else:
        _print_opinions(found)


@contextmanager
def _shown(as_json: bool) -> Iterator[Any]:
    """A bar for each source on standard error; nothing for programs."""
    if as_json:
        yield lambda _: None
        return
    columns = (
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.FileSizeColumn(),
        rich.progress.TextColumn("{task.fields[state]}"),
    )
    with rich.progress.Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, rich.progress.TaskID] = {}

        def step(progress: Progress) -> None:
            if progress.source not in tasks:
                tasks[progress.source] = bars.add_task(progress.source, total=None, state="")
            task = tasks[progress.source]
            if progress.stage is Stage.FETCHING:
                bars.update(task, completed=progress.received_bytes, total=progress.expected_bytes)
            else:
                offers = f", {progress.offers:,} offers" if progress.offers else ""
                done = bars.tasks[task].completed or 1
                bars.update(task, total=done, completed=done, state=f"{progress.stage}{offers}")

        yield step


def _print_report(report: SyncReport, limit: int) -> None:
    table = table_of("source", "", "offers", "unpriced", "unreadable", "why")
    for one in report.sources:
        table.add_row(
            one.source,
            _STATES.get(one.stage, one.stage.value),
            f"{one.offers:,}" if one.offers else "",
            f"{sum(one.unpriced.values()):,}" if one.unpriced else "",
            f"{len(one.faults):,}" if one.faults else "",
            one.failure,
        )
    console.print(table)
    _print_changes(report.changes, limit)
    _print_waiting(report.waiting, limit)
    done = "would change" if report.dry_run else "changed"
    console.print(
        f"{len(report.changes):,} facts {done}: {report.added:,} offers new, "
        f"{report.repriced:,} repriced, {report.delisted:,} not listed any more, "
        f"{report.relisted:,} listed again ({report.duration_ms / 1e3:.1f} s)."
    )
    if report.dry_run:
        console.print("Nothing was written: this was a dry run.")
    if report.needs_acceptance:
        console.print(
            "What waits stays as it was. Look at it, then run the same command with --accept."
        )


def _print_changes(changes: Sequence[SourcedChange], limit: int) -> None:
    added = [one for one in changes if one.change.field == LISTED and one.change.old is None]
    others = [one for one in changes if one.change.field != LISTED or one.change.old is not None]
    others.sort(key=lambda one: (one.change.field != PRICE, one.change.field, one.change.subject))
    if others:
        table = table_of("model", "field", "old", "new", "source")
        for one in others[:limit]:
            change = one.change
            table.add_row(
                change.subject, change.field, change.old or "", change.new or "", one.source
            )
        console.print(table)
        _print_rest(len(others) - limit)
    if added:
        counts = Counter((one.source, one.change.subject.partition("/")[0]) for one in added)
        table = table_of("new offers of", "how many", "source")
        for (source, provider), count in counts.most_common(limit):
            table.add_row(provider, f"{count:,}", source)
        console.print(table)
        _print_rest(len(counts) - limit)


def _print_waiting(waiting: Sequence[Waiting], limit: int) -> None:
    if not waiting:
        return
    table = table_of("price that waits", "moves by", "holds now", "waits", "source")
    for one in waiting[:limit]:
        moved = "all" if one.change_ppm is None else f"{one.change_ppm * 100 / PPM:.0f} %"
        table.add_row(one.offer, moved, rates_text(one.old), rates_text(one.new), one.source)
    console.print(table)
    _print_rest(len(waiting) - limit)


def _print_disagreements(found: Sequence[Disagreement], limit: int) -> None:
    if not found:
        return
    table = table_of("sources disagree about", "unit", "charged", "", "other", "", "holds")
    for one in found[:limit]:
        above = f" from {one.prompt_tokens_min:,} tokens" if one.prompt_tokens_min else ""
        table.add_row(
            one.offer,
            f"{one.unit}{above}",
            _usd(one.chosen_nanousd_per_mtok),
            one.chosen_source,
            _usd(one.other_nanousd_per_mtok) or one.note,
            one.other_source,
            "at the other" if one.held else "",
        )
    console.print(table)
    _print_rest(len(found) - limit)


def _print_validation(found: Validation) -> None:
    table = table_of("source", "offers", "last read", "unreadable", "state")
    stale = {one.name for one in found.stale}
    for one in found.sources:
        state = Text(one.failure, style="red") if one.failure else Text("fine", style="green")
        if one.name in stale:
            state = Text("silent for over a week", style="yellow")
        table.add_row(
            one.name,
            f"{one.offer_count:,}",
            f"{one.read_time:%Y-%m-%d %H:%M}" if one.read_time else "never",
            f"{len(one.faults):,}" if one.faults else "",
            state,
        )
    console.print(table)
    for fault in [fault for one in found.sources for fault in one.faults][:10]:
        console.print(f"  unreadable: {fault}", markup=False)
    _print_waiting(found.waiting, len(found.waiting))
    if found.unpriced:
        table = table_of("offers", "have no price because")
        for reason, count in sorted(found.unpriced.items(), key=lambda item: -item[1])[:10]:
            table.add_row(f"{count:,}", reason)
        console.print(table)
    console.print(
        f"{found.offers:,} offers at version {found.version:,}; in {len(found.disagreements):,} "
        "rates sources disagree (`omni-grpc catalog diff` shows them)."
    )
    console.print(
        f"{found.problems:,} findings need you." if found.problems else "Nothing needs you."
    )


def _print_opinions(found: Sequence[dict[str, Any]]) -> None:
    headers = [
        f"{one['source']}{' (its price counts)' if one['price_counts'] else ''}" for one in found
    ]
    table = table_of("fact", *headers)
    for field in ("price", *FACTS):
        values = [one[field] for one in found]
        if any(value not in (None, [], "") for value in values):
            table.add_row(field, *("" if value is None else _text(value) for value in values))
    console.print(table)


def _print_rest(count: int) -> None:
    if count > 0:
        console.print(f"… and {count:,} more: --json shows all, --limit more of them.")


def _report_facts(report: SyncReport) -> dict[str, Any]:  # as it goes into JSON
    facts: dict[str, Any] = msgspec.to_builtins(report)
    facts["changes"] = [
        {**msgspec.to_builtins(one.change), "source": one.source} for one in report.changes
    ]
    facts["waiting"] = [_waiting_facts(one) for one in report.waiting]
    return facts


def _validation_facts(found: Validation) -> dict[str, Any]:  # as it goes into JSON
    facts: dict[str, Any] = msgspec.to_builtins(found)
    facts["waiting"] = [_waiting_facts(one) for one in found.waiting]
    facts["problems"] = found.problems
    return facts


def _waiting_facts(one: Waiting) -> dict[str, Any]:  # as it goes into JSON
    return {
        "offer": one.offer,
        "source": one.source,
        "old": rates_text(one.old),
        "new": rates_text(one.new),
        "change_ppm": one.change_ppm,
    }


def _plain(value: object) -> object:
    """A fact as JSON has it."""
    if isinstance(value, frozenset):
        return sorted(str(one) for one in value)
    return value.isoformat() if isinstance(value, dt.date) else value


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _usd(nanousd: int | None) -> str:
    return "" if nanousd is None else usd_text(nanousd)
