"""Recorded answers: prompts with each model's grade and cost, read from files and checked.

A folder holds `pool_{name}_{part}.jsonl` and `pool_{name}_meta.json`. Faults name file and line.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

Amounts: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
T = TypeVar("T")

CHARS_PER_TOKEN: Final = 4
"""Characters that are about one token of a prompt; its exact count is not recorded."""

PROMPTS_MIN: Final = 200
"""Prompts that a pool needs: with fewer, no fold of the measurement can be trained."""

PREMIUM: Final = 0
"""Models are listed with the premium model first."""


class DataError(ValueError):
    """A file of recorded answers cannot be used; the message says which, where and why."""


class Row(msgspec.Struct, frozen=True):
    """One prompt. Files to be decided on may lack quality and cost_usd."""

    id: str
    prompt: str
    source: str = ""
    task_type: str = ""
    quality: dict[str, float] | None = None
    cost_usd: dict[str, float] | None = None


class Meta(msgspec.Struct, frozen=True):
    """What is said of a pool: its models and their prices in dollars a million tokens."""

    pool: str
    models: tuple[str, ...]
    prices_usd_per_mtok_in_out: dict[str, tuple[float, float]]


class PoolData(msgspec.Struct, frozen=True):
    """Prompts with outcomes.

    Attributes:
        meta: of the pool.
        rows: the prompts.
        quality: `[prompts, models]`, 0 to 1.
        cost_usd: `[prompts, models]`.
        sources: by prompt; for reports alone.
    """

    meta: Meta
    rows: tuple[Row, ...]
    quality: Amounts
    cost_usd: Amounts
    sources: NDArray[np.str_]

    def take(self, chosen: Flags) -> "PoolData":
        """Some of the prompts."""
        rows = tuple(row for row, keep in zip(self.rows, chosen, strict=True) if keep)
        return PoolData(
            self.meta, rows, self.quality[chosen], self.cost_usd[chosen], self.sources[chosen]
        )

    def prices(self) -> Amounts:
        """Dollars a token by model: `[models, (prompt, output)]`."""
        return price_table(self.meta)

    def prompt_tokens(self) -> Amounts:
        """About how many tokens each prompt has."""
        return prompt_tokens([row.prompt for row in self.rows])


def price_table(meta: Meta) -> Amounts:
    """Dollars a token by model: `[models, (prompt, output)]`."""
    prices = [meta.prices_usd_per_mtok_in_out[model] for model in meta.models]
    return np.array(prices, dtype=np.float64) / 1e6


def prompt_tokens(prompts: Sequence[str]) -> Amounts:
    """About how many tokens prompts have."""
    return np.array([max(1, len(prompt) // CHARS_PER_TOKEN) for prompt in prompts], dtype=float)


def read_meta(path: Path) -> Meta:
    """Reads a pool's description.

    Raises:
        DataError: it is missing or wrong.
    """
    meta = _decoded(_bytes(path), Meta, str(path))
    if not meta.models:
        raise DataError(f"{path}: no models.")
    missing = [model for model in meta.models if model not in meta.prices_usd_per_mtok_in_out]
    if missing:
        raise DataError(f"{path}: no price for {', '.join(missing)}.")
    free = [model for model in meta.models if min(meta.prices_usd_per_mtok_in_out[model]) <= 0]
    if free:
        raise DataError(f"{path}: the prices of {', '.join(free)} must be above 0.")
    if f"pool_{meta.pool}_meta.json" != path.name:
        raise DataError(f"{path}: it describes pool {meta.pool!r}, and its name says otherwise.")
    return meta


def read_rows(path: Path) -> tuple[Row, ...]:
    """Reads prompts, one a line; empty lines are passed over.

    Raises:
        DataError: the file cannot be read, or a line is no row; it is named.
    """
    rows, seen = [], set()
    for number, line in enumerate(_bytes(path).split(b"\n"), 1):
        if not line.strip():
            continue
        row = _decoded(line, Row, f"{path}, line {number}")
        if row.id in seen:
            raise DataError(f"{path}, line {number}: the id {row.id!r} was there before.")
        seen.add(row.id)
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: no rows.")
    return tuple(rows)


def read_pool(folder: Path, name: str, parts: Sequence[str]) -> PoolData:
    """Reads a pool's parts, such as `dev`, with all outcomes.

    Raises:
        DataError: a file is missing or wrong, or a row lacks an outcome.
    """
    meta = read_meta(folder / f"pool_{name}_meta.json")
    rows: list[Row] = []
    for part in parts:
        path = folder / f"pool_{name}_{part}.jsonl"
        found = read_rows(path)
        for row in found:
            _check_outcomes(path, row, meta)
        rows += found
    if not rows:
        raise DataError(f"{folder} has no prompts of pool {name}: no pool_{name}_dev.jsonl.")
    return PoolData(
        meta=meta,
        rows=tuple(rows),
        quality=np.array([[(row.quality or {})[model] for model in meta.models] for row in rows]),
        cost_usd=np.array([[(row.cost_usd or {})[model] for model in meta.models] for row in rows]),
        sources=np.array([row.source for row in rows]),
    )


def require_enough(data: PoolData) -> None:
    """Refuses a pool that is too small to be trained on and judged.

    Raises:
        DataError: it has fewer than `PROMPTS_MIN` prompts.
    """
    if len(data.rows) < PROMPTS_MIN:
        raise DataError(
            f"pool {data.meta.pool} has {len(data.rows)} prompts, fewer than the {PROMPTS_MIN} "
            "that it takes to train and to judge."
        )


def pool_names(folder: Path) -> list[str]:
    """The pools of a folder.

    Raises:
        DataError: there is none, or no folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder.")
    found = sorted(path.name[5:-10] for path in folder.glob("pool_*_meta.json"))
    if not found:
        raise DataError(
            f"{folder} holds no pool: files named pool_NAME_meta.json and pool_NAME_dev.jsonl."
        )
    return found


def other_data(folder: Path, name: str) -> Path | None:
    """Where data of that name lie: in the folder of the pools, or beside it."""
    return next((one for one in (folder / name, folder.parent / name) if one.is_dir()), None)


def _check_outcomes(path: Path, row: Row, meta: Meta) -> None:
    for field, values in (("quality", row.quality), ("cost_usd", row.cost_usd)):
        missing = [model for model in meta.models if model not in (values or {})]
        if missing:
            raise DataError(f"{path}, {row.id!r}: no {field} for {', '.join(missing)}.")
    if any(not 0 <= cost < math.inf for cost in (row.cost_usd or {}).values()):
        raise DataError(f"{path}, {row.id!r}: a cost_usd is negative or without end.")
    if any(not 0 <= grade <= 1 for grade in (row.quality or {}).values()):
        raise DataError(f"{path}, {row.id!r}: a quality is not within 0 and 1.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None


def _decoded(data: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise DataError(f"{where}: {error}.") from None
    except UnicodeDecodeError:
        raise DataError(f"{where}: not UTF-8.") from None
