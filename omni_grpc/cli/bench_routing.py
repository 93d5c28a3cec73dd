"""`bench routing`: runs the evaluation, shows its progress, and prints its tables."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console

from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.working import console, print_json, table_of
from omni_grpc.evaluation.data import (
    DataError,
    PoolData,
    other_data,
    pool_names,
    read_pool,
    read_rows,
    require_enough,
)
from omni_grpc.evaluation.held_out import Trainer
from omni_grpc.evaluation.measuring import BySource, Judged, Line, hull_saved, judge
from omni_grpc.evaluation.predicting import decisions, judged, sellers_of
from omni_grpc.evaluation.reading import read_library
from omni_grpc.evaluation.recipe import RECIPE, RECIPES
from omni_grpc.evaluation.routellm import Recovered
from omni_grpc.evaluation.routellm import measure as measure_routellm
from omni_grpc.evaluation.steadiness import Steadiness, steadiness
from omni_grpc.evaluation.timing import Latency
from omni_grpc.evaluation.timing import measure as measure_latency
from omni_grpc.routing.learned import Quality, shared_encoder, shared_quality

_PROGRESS_ROWS = 500


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that the command found; `val` and `steady` are by pool, of the part kept from it."""

    pools: tuple[Judged, ...]
    val: dict[str, Line]
    steady: dict[str, Steadiness]
    latency: dict[str, tuple[Latency, ...]]
    routellm: tuple[Recovered, ...]


def run_predict(folder: Path, path: Path) -> None:
    """Decides on a file: one decision a line on standard output, what they come to on the other.

    Raises:
        CommandError: a file cannot be used.
    """
    with _data_told(), _progress() as progress:
        quality = shared_quality()
        rows = read_rows(path)
        folder = _pools_folder(folder)
        sellers = sellers_of(folder, path, rows, quality)
        decided = []
        for number, one in enumerate(decisions(quality, sellers, rows)):
            if number % _PROGRESS_ROWS == 0:
                progress(f"{number:,} of {len(rows):,} decided")
            decided.append(one)
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
        sys.stdout.flush()
        line = judged(folder, rows, sellers, decided)
    if line is not None:
        Console(stderr=True, highlight=False).print(_told_line(line))


def run_bench_routing(folder: Path, plots: Path | None, *, as_json: bool) -> None:
    """Judges every pool of a folder.

    Raises:
        CommandError: a file cannot be used.
    """
    with _data_told(), _progress() as progress:
        report = _measured(folder, progress)
        if plots is not None:
            from omni_grpc.evaluation.plot import write_plots

            for pool in report.pools:
                progress(f"wrote {', '.join(map(str, write_plots(pool, plots)))}")
    if as_json:
        print_json(report)
    else:
        _print(report)


def _measured(folder: Path, progress: Callable[[str], None]) -> Report:
    quality = shared_quality()
    place = _pools_folder(folder)
    parts = {name: _parts(place, name) for name in pool_names(place)}
    pools = {name: read_pool(place, name, parts[name]) for name in parts}
    for pool in pools.values():
        require_enough(pool)
    library = read_library(list(pools.values()), shared_encoder(), progress)
    found = tuple(
        judge(pool, parts[name], library, Trainer(RECIPES.get(name, RECIPE)), progress)
        for name, pool in pools.items()
    )
    val, steady, latency = {}, {}, {}
    for name, pool in pools.items():
        if name in quality.pools:
            progress(f"pool {name}: as shipped")
            if "val" in parts[name]:
                val[name], steady[name] = _as_shipped(place, name, quality)
            path = place / f"pool_{name}_dev.jsonl"
            sellers = sellers_of(place, path, pool.rows[:1], quality)
            latency[name] = tuple(measure_latency(quality, sellers, pool))
    peers = other_data(folder, "routellm")
    recovered: list[Recovered] = []
    if peers is not None:
        progress("RouteLLM's benchmark")
        recovered = measure_routellm(peers, shared_encoder())
    return Report(pools=found, val=val, steady=steady, latency=latency, routellm=tuple(recovered))


def _as_shipped(folder: Path, name: str, quality: Quality) -> tuple[Line, Steadiness]:
    data: PoolData = read_pool(folder, name, ["val"])
    path = folder / f"pool_{name}_val.jsonl"
    sellers = sellers_of(folder, path, data.rows, quality)
    line = judged(folder, data.rows, sellers, list(decisions(quality, sellers, data.rows)))
    if line is None:
        raise DataError(f"{path}: a row lacks a grade or a cost.")
    return line, steadiness(quality, sellers, data.rows)


def _pools_folder(folder: Path) -> Path:
    inner = folder / "routebench"
    return inner if inner.is_dir() else folder


def _parts(folder: Path, name: str) -> tuple[str, ...]:
    return tuple(
        part for part in ("dev", "val") if (folder / f"pool_{name}_{part}.jsonl").is_file()
    )


# --- what is shown -------------------------------------------------------------------------------
def _print(report: Report) -> None:
    for pool in report.pools:
        _print_pool(pool)
        line = report.val.get(pool.pool)
        if line is not None:
            console.print(f"Trained on dev alone, on val: {_told_line(line)}")
            console.print(_told_steadiness(report.steady[pool.pool]))
        for one in report.latency.get(pool.pool, ()):
            console.print(
                f"One decision, {one.chars:,} characters: p50 {one.p50_ms:.2f} ms, "
                f"p99 {one.p99_ms:.2f} ms of CPU"
            )
        console.print()
    if report.routellm:
        table = table_of("RouteLLM", "labels", "APGR", "CPT50 %", "CPT80 %", "APGR, no near ones")
        for peer in report.routellm:
            table.add_row(
                peer.task,
                str(peer.labels),
                f"{peer.apgr:.3f} ± {peer.apgr_deviation:.3f}",
                f"{100 * peer.cpt50:.1f}",
                f"{100 * peer.cpt80:.1f}",
                f"{peer.apgr_apart:.3f}",
            )
        console.print(table)


def _print_pool(pool: Judged) -> None:
    console.print(
        f"Pool {pool.pool}: {pool.prompts:,} prompts ({' and '.join(pool.parts)}), "
        f"beside always {pool.premium}; nested cross-validation"
    )
    table = table_of("choice", "saved %", "quality", "difference [95 %]", "worst source")
    for line in pool.lines:
        table.add_row(
            line.name,
            f"{line.saved:.1f}",
            f"{line.quality:.1f}",
            _with_interval(line),
            f"{line.worst.source} {line.worst.difference:+.1f}",
        )
    mixed = hull_saved(pool)
    table.add_row("random-mix hull", "-" if mixed is None else f"{mixed:.1f}", "", "+0.00", "")
    console.print(table)
    table = table_of("source left out of training", "prompts", "saved %", "difference [95 %]")
    for one in pool.left_out:
        table.add_row(one.source, str(one.prompts), f"{one.saved:.1f}", _with_interval(one))
    console.print(table)
    table = table_of("over all weights of cost", "AIQ", "gap closed %", "at best quality %")
    for name, gap in pool.gaps.items():
        table.add_row(name, f"{gap.aiq:.2f}", f"{gap.closed:.1f}", f"{gap.closed_best:.1f}")
    table.add_row("random-mix hull", f"{pool.hull_aiq:.2f}", "0.0", "")
    table.add_row("oracle", f"{pool.oracle_aiq:.2f}", "100.0", "100.0")
    console.print(table)


def _with_interval(one: Line | BySource) -> str:
    return f"{one.difference:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def _told_line(line: Line) -> str:
    sources = ", ".join(f"{one.source} {one.difference:+.1f}" for one in line.sources)
    return (
        f"saved {line.saved:.1f} %, quality {_with_interval(line)} points beside always premium; "
        f"by source {sources}"
    )


def _told_steadiness(found: Steadiness) -> str:
    sources = ", ".join(f"{source} {kept:.1f}" for source, kept in found.sources.items())
    return (
        f"In wrappers that training never saw, on val: {found.kept:.1f} % of "
        f"{found.decisions:,} decisions stay; by source {sources}"
    )


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Says on standard error what is being done: in one line of a terminal, else line by line."""
    shown = Console(stderr=True, highlight=False, soft_wrap=True)
    if not shown.is_terminal:
        yield shown.print
        return
    with shown.status("reading") as status:
        yield status.update


@contextmanager
def _data_told() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise CommandError(str(error)) from None
