"""Times whole routing decisions over the packaged catalog.

    .venv/bin/python bench/route_decision.py [--prompts FILE...]

The offers are OpenRouter's, over 300 that complete chats, so that a decision looks at all of them;
the prompts are pieces of this project's pages, each another; or those of files of JSON lines with a
`prompt` each, as they are, shuffled. Nothing is called. Prints the CPU microseconds of a decision
and of its parts, and what memory the model of routing takes. The plain tokenizer and sum of half
floats beside it, which no change of this project's makes quicker, takes 160 us for 750 characters
on an idle core: that tells a busy machine, and how many of them a decision takes is what machines
can be compared by. Each part is asked for a few dozen prompts in a row, and then the next: what
else the machine does strikes all alike, and none is measured in the caches that another left
behind.
"""

# ruff: noqa: E402 - threads are set before numpy is imported

import argparse
import datetime as dt
import importlib.util
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # one decision is no work for two
    os.environ[variable] = "1"

import msgspec
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from omni_grpc.catalog import CatalogSnapshot, Offer, packaged_facts
from omni_grpc.core.chat import ChatRequest, Message
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.money import Price
from omni_grpc.routing import (
    AUTO,
    Chooser,
    Health,
    RouteContext,
    Router,
    Warmth,
    prompt_tokens,
    shared_judge,
    view_of,
)
from omni_grpc.routing.learned import excerpt

PROVIDER = "openrouter"
PREMIUM = "openai/gpt-4o"
ROUNDS = 1_000
WARM_UP = 200
TURN = 40
SIZES = (750, 20_000)
PAGES = Path(__file__).parents[1] / "docs"


class NoPolicies:
    """An operator without policies."""

    takes_named = False

    def for_call(self, *_: object) -> None:
        """None holds."""


def main() -> None:
    """Measures, and prints."""
    reader = argparse.ArgumentParser(description="Times whole routing decisions.")
    reader.add_argument("--prompts", type=Path, nargs="+", metavar="FILE", help="JSON lines")
    files = reader.parse_args().prompts
    snapshot = CatalogSnapshot(1, offers())
    if files:
        samples = {"any": recorded(files)}
        if len(samples["any"]) <= WARM_UP:
            reader.error(f"--prompts: more than {WARM_UP} different prompts are needed.")
    else:
        samples = {f"{chars:,}": prompts(chars) for chars in SIZES}
    texts = {id(one): view_of(one).text for requests in samples.values() for one in requests}
    first, *_ = samples.values()
    prompt_tokens(first[0], PREMIUM)  # the tokenizer that counts is no part of it
    before = resident_mb()
    judge = shared_judge()
    opened = resident_mb()
    plain = plain_encoder()
    beside = resident_mb() - opened
    clock = SystemClock()
    router = Router(
        lambda: snapshot,
        frozenset({PROVIDER}),
        lambda _provider, _request: None,
        chooser=Chooser(judge),
        policies=NoPolicies(),
        health=Health(clock),
        warmth=Warmth(clock),
        premium_model=PREMIUM,
        markup_ppm=0,
    )
    context = RouteContext()
    parts: dict[str, Callable[[ChatRequest], object]] = {
        "a decision": lambda one: router.plan(one, context),
        "of it: what the request is about": judge.look,
        "of that: reading the text": lambda one: judge.quality.encode(texts[id(one)]),
        "beside it: the plain encoder": lambda one: plain(texts[id(one)]),
    }
    counts = " and ".join(f"{len(requests) - WARM_UP:,}" for requests in samples.values())
    print(f"{len(snapshot)} offers, {counts} prompts, CPU us")
    print("| characters | what | p50 | p90 | p99 |")
    print("|---|---|---|---|---|")
    for chars, requests in samples.items():
        found = timed(parts, requests)
        for name, times in found.items():
            shown = " | ".join(f"{value:,.0f}" for value in np.percentile(times, [50, 90, 99]))
            print(f"| {chars} | {name} | {shown} |")
        decision, *_, beside_it = (np.median(times) for times in found.values())
        print(f"| {chars} | a decision, in plain encoders | {decision / beside_it:.2f} | | |")
    after = resident_mb() - beside
    print(f"memory: {opened - before:.0f} MB once loaded, {after - before:.0f} MB when all is read")


def timed(
    parts: Mapping[str, Callable[[ChatRequest], object]], requests: Sequence[ChatRequest]
) -> dict[str, list[float]]:
    """Microseconds of each part, by turns of some prompts: see the head of this page."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for start in range(0, len(requests), TURN):
        for name, part in parts.items():
            for number, request in enumerate(requests[start : start + TURN], start):
                began = time.thread_time_ns()
                part(request)
                if number >= WARM_UP:
                    times[name].append((time.thread_time_ns() - began) / 1_000)
    return times


def plain_encoder() -> Callable[[str], object]:
    """How a text's vector is made by the plainest means."""
    folder = Path(str(importlib.util.find_spec("wordllama").origin)).parent  # type: ignore[union-attr]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table = load_file(folder / "weights/l2_supercat_256.safetensors")["embedding.weight"]

    def encode(text: str) -> object:
        read = tokenizer.encode(excerpt(text), add_special_tokens=False)
        total = table[read.ids].sum(axis=0, dtype=np.float32)
        return total / np.linalg.norm(total)

    return encode


def offers() -> list[Offer]:
    """OpenRouter's offers, priced as the package says."""
    found = []
    for number, one in enumerate(packaged_facts(dt.datetime.now(dt.UTC)).offers, 1):
        if one.provider == PROVIDER:
            facts = {
                name: getattr(one, name)
                for name in Offer.__struct_fields__
                if name in type(one).__struct_fields__
            }
            price = Price(number, one.quote.rates) if one.quote.rates else None
            found.append(Offer(**facts, id=one.id, free=one.quote.free, enabled=True, price=price))
    return found


def prompts(chars: int) -> list[ChatRequest]:
    """Pieces of the pages, each from another place."""
    pages = "\n".join(page.read_text("utf-8") for page in sorted(PAGES.glob("*.md")))
    rng = random.Random(chars)
    starts = [rng.randrange(len(pages) - chars) for _ in range(WARM_UP + ROUNDS)]
    return [asked(pages[start : start + chars]) for start in starts]


def recorded(files: Sequence[Path]) -> list[ChatRequest]:
    """The prompts of files, each once, in an order of chance that is always the same."""
    lines = (line for path in files for line in path.read_bytes().splitlines())
    texts = [*dict.fromkeys(msgspec.json.decode(line)["prompt"] for line in lines)]
    random.Random(1).shuffle(texts)
    return [asked(text) for text in texts]


def asked(text: str) -> ChatRequest:
    """A request that says no more than a text."""
    return ChatRequest(model=AUTO, messages=(Message(role="user", content=text),))


def resident_mb() -> float:
    """What of this process is in memory now, mapped files included."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
