"""How long one decision takes, from text to order."""

import itertools
import time
from typing import Final

import msgspec
import numpy as np

from omni_grpc.evaluation.data import PoolData
from omni_grpc.evaluation.deciding_one import Seller, decide
from omni_grpc.routing.learned import Quality

SIZES: Final = (750, 20_000)
ROUNDS: Final = 1_000


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds of CPU a decision, for prompts of `chars` characters."""

    chars: int
    p50_ms: float
    p99_ms: float


def measure(quality: Quality, sellers: list[Seller], data: PoolData) -> list[Latency]:
    """Times decisions on a pool's own prompts, joined and cut to size."""
    found = []
    for chars in SIZES:
        text = itertools.cycle(row.prompt for row in data.rows)
        times = []
        for _ in range(ROUNDS):
            parts: list[str] = []
            while sum(map(len, parts)) < chars:
                parts.append(next(text))
            prompt = "\n".join(parts)[:chars]
            start = time.thread_time_ns()
            decide(quality, sellers, "", prompt)
            times.append((time.thread_time_ns() - start) / 1e6)
        middle, late = np.quantile(times, [0.5, 0.99])
        found.append(Latency(chars, float(middle), float(late)))
    return found
