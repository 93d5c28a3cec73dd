"""What a process of ledger callers is told, what it found, and the usage that its calls report.

A process says `ready`, waits for a line, warms up, says `measuring`, measures, says `measured`,
lets what runs come to its end, and prints its `Found` as JSON, as the generators of `load.py` do.
"""

import random
from typing import Final, Literal
from uuid import UUID

import msgspec

from omni_grpc.core.money import Price, charge, worst_case
from omni_grpc.core.usage import Usage

MODEL: Final = "openai/gpt-4o-mini"
CREDENTIAL: Final = "house"
KEY_ID: Final = 1
LEASE_SECONDS: Final = 60
PROMPT_TOKENS_MAX: Final = 3_000
OUTPUT_TOKENS_MAX: Final = 1_000

USAGES: Final = 256
"""So many kinds of answers there are; every charge is one that a call could have."""

Way = Literal["lane", "keyed", "steps", "orphans"]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a process shall do: `callers` closed loops of a hold and its settle.

    Attributes:
        way: through the lane; the same with a request id for each call, whose answer is kept; in
            one transaction a step; holds that are never ended.
        wallets: the first wallet, and how many of them there are.
        callers: callers of the lane, or connections of the steps, or holds to be orphaned.
        seconds: None to go on until a line comes.
    """

    way: Way
    url: str
    wallets: tuple[int, int]
    callers: int
    price: Price
    warm_s: float = 0.5
    seconds: float | None = 3.0
    lease_s: int = LEASE_SECONDS


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a process found. `charged_nanousd` is of the whole run, the rest of its measured part.

    `granted_after_cut` has the monotonic times at which the first hold was granted after the
    database had gone away.
    """

    operations: int
    seconds: float
    charged_nanousd: int
    refused: int
    cpu_s: float
    hold_p50_ms: float = 0.0
    hold_p99_ms: float = 0.0
    batches: int = 0
    batch_s: float = 0.0
    granted_after_cut: list[float] = []

    @property
    def per_second(self) -> float:
        """Operations that were durable, a second."""
        return self.operations / self.seconds if self.seconds else 0.0


def usages() -> list[Usage]:
    """What calls report: prompts of 100 to 2,500 tokens, answers of 20 to 700."""
    choose = random.Random(7)  # the same in each process and each run
    found: list[Usage] = []
    for _ in range(USAGES):
        prompt, completion = choose.randint(100, 2_500), choose.randint(20, 700)
        found.append(
            Usage(
                prompt=prompt,
                cached_read=choose.choice((0, 0, 64 * choose.randint(0, prompt // 64))),
                completion=completion,
                reasoning=choose.choice((None, 0, completion // 2)),
            )
        )
    return found


def provider_ref(hold_id: UUID) -> str:
    """What a provider calls its answer: as long as OpenAI's names are."""
    return f"chatcmpl-{hold_id.hex[-29:]}"


def costs(price: Price) -> list[int]:
    """What each of `usages` costs."""
    return [int(charge(usage, price, 0)) for usage in usages()]


def held(price: Price) -> int:
    """What is held for a call: its worst case."""
    return int(worst_case(PROMPT_TOKENS_MAX, OUTPUT_TOKENS_MAX, price, 0))
