"""Whether the same question put in other words gets the same model, with everything as shipped.

The wrappers are ones that training never saw.
"""

from collections import Counter
from typing import Final

import msgspec

from omni_grpc.evaluation.data import Row
from omni_grpc.evaluation.deciding_one import Seller, decide
from omni_grpc.evaluation.wrappers import UNSEEN, rewritten
from omni_grpc.routing.learned import Quality

REWRITINGS: Final = 2
"""In how many other wrappers each prompt is put."""


class Steadiness(msgspec.Struct, frozen=True):
    """Which decisions stay as they are, in percent: of all, and by source."""

    decisions: int
    kept: float
    sources: dict[str, float]


def steadiness(quality: Quality, sellers: list[Seller], rows: tuple[Row, ...]) -> Steadiness:
    """Decides on prompts as they are and in other wrappers."""
    asked: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for row in rows:
        plain = decide(quality, sellers, row.id, row.prompt).model
        for seed in range(REWRITINGS):
            other = rewritten(row.prompt, UNSEEN, seed)
            asked[row.source] += 1
            kept[row.source] += decide(quality, sellers, row.id, other).model == plain
    return Steadiness(
        asked.total(),
        100 * kept.total() / asked.total(),
        {source: 100 * kept[source] / asked[source] for source in sorted(asked)},
    )
