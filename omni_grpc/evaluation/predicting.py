"""Decisions on a file of prompts, with everything as trained and shipped; nothing is trained.

Only id and prompt of a row are looked at to decide; grades and costs, where the file has them, are
looked at afterwards.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from omni_grpc.evaluation.data import DataError, Meta, PoolData, Row, read_meta
from omni_grpc.evaluation.deciding_one import Decision, Seller, decide
from omni_grpc.evaluation.measuring import Line, line_of
from omni_grpc.routing.learned import Quality


def sellers_of(folder: Path, path: Path, rows: tuple[Row, ...], quality: Quality) -> list[Seller]:
    """The models to choose from: those that the file has grades or costs of, else its pool's.

    Raises:
        DataError: no trained pool has them, or the file does not say which pool it is of.
    """
    named: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        for model in (*(row.quality or {}), *(row.cost_usd or {})):
            named.setdefault(model, number)
    pool = _pool_of(path, named, quality)
    meta = read_meta(folder / f"pool_{pool}_meta.json")
    models = [model for model in meta.models if not named or model in named]
    return [_seller(meta, model) for model in models]


def _pool_of(path: Path, named: dict[str, int], quality: Quality) -> str:
    pools = quality.pools
    if not named:
        found = [name for name in pools if f"pool_{name}_" in path.name]
        if len(found) != 1:
            raise DataError(
                f"{path}: its rows name no models, and its name does not say whether it is of "
                f"pool {' or '.join(sorted(pools))}: call it pool_NAME_something.jsonl."
            )
        return found[0]
    fitting = [name for name, pool in pools.items() if set(named) <= set(pool.models)]
    if not fitting:
        nearest = max(pools.values(), key=lambda pool: len(set(pool.models) & set(named)))
        model = next(model for model in named if model not in nearest.models)
        raise DataError(
            f"{path}, row {named[model]}: the model {model!r} is not in any trained pool with the "
            f"others; pool {nearest.name} has {', '.join(nearest.models)}."
        )
    return fitting[0]


def _seller(meta: Meta, model: str) -> Seller:
    prompt, output = meta.prices_usd_per_mtok_in_out[model]
    return Seller(model, f"{meta.pool}/{model}", prompt / 1e6, output / 1e6)


def decisions(quality: Quality, sellers: list[Seller], rows: tuple[Row, ...]) -> Iterator[Decision]:
    """One decision a row, in order."""
    for row in rows:
        yield decide(quality, sellers, row.id, row.prompt)


def judged(
    folder: Path, rows: tuple[Row, ...], sellers: list[Seller], decided: list[Decision]
) -> Line | None:
    """What decisions come to; None where the file lacks a grade or a cost."""
    names = [seller.name for seller in sellers]
    for row in rows:
        if any(
            name not in (row.quality or {}) or name not in (row.cost_usd or {}) for name in names
        ):
            return None
    meta = read_meta(folder / f"pool_{sellers[0].head.partition('/')[0]}_meta.json")
    data = PoolData(
        meta=meta,
        rows=rows,
        quality=np.array([[(row.quality or {})[name] for name in names] for row in rows]),
        cost_usd=np.array([[(row.cost_usd or {})[name] for name in names] for row in rows]),
        sources=np.array([row.source for row in rows]),
    )
    chosen = np.array([names.index(one.model) for one in decided], dtype=np.intp)
    return line_of("as shipped", data, chosen)
