"""`python bench/estimate.py`: how long an estimate takes, beside a plain question in the same run.

One `omni-grpc serve` with one worker, OpenAI's and OpenRouter's offers (some 400), one caller who
asks all kinds of questions by turns, so that what else the machine does meets them alike. Prompts
are new each time, except where it says cached. Prints a table, or JSON.
"""

import argparse
import http.client
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from machine import describe
from omni.billing.v1 import billing_service_pb2 as billing
from omni.billing.v1 import billing_service_pb2_grpc as billing_grpc
from omni.catalog.v1 import catalog_service_pb2 as catalog
from omni.catalog.v1 import catalog_service_pb2_grpc as catalog_grpc
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc
from rich.console import Console
from rich.table import Table
from service import Bench, Target

ROUNDS_DEFAULT: Final = 500
WARM_UP: Final = 20
SHORT_CHARS: Final = 750
LONG_CHARS: Final = 20_000
BASE: Final = "GetBalance"
WORDS: Final = "Explain how the tides follow the moon and why there are two of them each day. "

Question = Callable[[int], object]


class Offered(Bench):
    """The same with a provider that sells what others make."""

    def _prepare(self) -> None:
        super()._prepare()
        self.environment["OPENROUTER_API_KEY"] = "bench"


def text(number: int, chars: int) -> str:
    """A prompt that nobody asked before."""
    return (f"Question {number}. " + WORDS * (chars // len(WORDS) + 1))[:chars]


@contextmanager
def questions(target: Target) -> Iterator[dict[str, Question]]:
    """What is asked, by its name; each takes the number of its round."""
    rest = http.client.HTTPConnection("127.0.0.1", target.ports["rest"])
    headers = {"authorization": f"Bearer {target.api_key}", "content-type": "application/json"}
    metadata = (("authorization", headers["authorization"]),)

    def over_rest(path: str, chars: int) -> Question:
        def ask(number: int) -> None:
            # The service knows a question again that came over the other transport.
            message = {"role": "user", "content": text(-2 - number, chars)}
            body = json.dumps({"model": "omni/auto", "messages": [message]})
            rest.request("POST", path, body, headers)
            answer = rest.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} said {answer.status}: {said!r}")

        return ask

    def prompt(number: int, chars: int) -> pb.ChatPrompt:
        message = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=text(number, chars))])
        return pb.ChatPrompt(model="omni/auto", messages=[message])

    with grpc.insecure_channel(f"127.0.0.1:{target.ports['grpc']}") as channel:
        router = pb_grpc.RouterServiceStub(channel)
        accounts = billing_grpc.BillingServiceStub(channel)
        models = catalog_grpc.CatalogServiceStub(channel)

        def estimate(chars: int, *, kept: bool = False) -> Question:
            return lambda number: router.EstimateChat(
                pb.EstimateChatRequest(prompt=prompt(-1 if kept else number, chars)),
                metadata=metadata,
            )

        account = "accounts/bench"
        yield {
            BASE: lambda _: accounts.GetBalance(
                billing.GetBalanceRequest(account=account), metadata=metadata
            ),
            "ListModels, 50 of them": lambda _: models.ListModels(
                catalog.ListModelsRequest(page_size=50), metadata=metadata
            ),
            "EstimateChat, 750 characters, cached": estimate(SHORT_CHARS, kept=True),
            "EstimateChat, 750 characters": estimate(SHORT_CHARS),
            "EstimateChat, 20,000 characters": estimate(LONG_CHARS),
            "POST /v1/estimate, 750 characters": over_rest("/v1/estimate", SHORT_CHARS),
            "ExplainRoute, 50 offers a page": lambda number: router.ExplainRoute(
                pb.ExplainRouteRequest(prompt=prompt(number, SHORT_CHARS)), metadata=metadata
            ),
        }
    rest.close()


def measure(asked: dict[str, Question], rounds: int) -> dict[str, dict[str, float]]:
    """Asks by turns; milliseconds, and medians beside the plain question's."""
    took: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(WARM_UP + rounds):
        for name, ask in asked.items():
            began = time.perf_counter()
            ask(number)
            if number >= WARM_UP:
                took[name].append(1e3 * (time.perf_counter() - began))
    base = statistics.median(took[BASE])
    return {
        name: {
            "p50_ms": round(statistics.median(times), 2),
            "p99_ms": round(sorted(times)[int(0.99 * len(times))], 2),
            "beside_get_balance": round(statistics.median(times) / base, 2),
        }
        for name, times in took.items()
    }


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with Offered() as bench, questions(bench.serve()) as asked:
        found = measure(asked, options.rounds)
        machine = describe(bench.folder, bench.postgres_version)
    if options.json:
        figures: dict[str, Any] = {"rounds": options.rounds, "calls": found, "machine": machine}
        json.dump(figures, sys.stdout, indent=2)
        return
    table = Table("", "p50, ms", "p99, ms", f"beside {BASE}")
    for name, row in found.items():
        table.add_row(name, *(str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
