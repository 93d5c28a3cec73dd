"""Budgets over three replicas: exactly as many calls pass as there is room for, whoever asks."""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from budget_scene import budget, got, made, settled
from gateway import Gateway, RestCall, SimulatorThread, asking, soon
from gateway_fixtures import check_books

from omni_grpc.storage import EmbeddedPostgres

CALLERS = 100
REPLICAS = 3
OUTPUT_MAX = 16
AHEAD = timedelta(seconds=2)
"""How far ahead the day's end is put."""


# --- three replicas -----------------------------------------------------------------------------
@dataclass(frozen=True)
class House:
    """An organisation, and what it is made of: names of what can have budgets, with two keys."""

    org: str
    keys: dict[str, list[str]]


@pytest.fixture(scope="module")
def replicas(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Gateway]]:
    name, admin_key = template
    url = postgres.create_database("e2e_budgets", template=name)
    folders = [tmp_path_factory.mktemp(f"replica-{n}") for n in range(REPLICAS)]
    gateways = [Gateway(url, simulator.base_url, folder, admin_key) for folder in folders]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor() as pool:
        for one in gateways:
            stack.callback(one.stop)
        list(pool.map(Gateway.start, gateways))
        yield gateways
        list(pool.map(Gateway.stop, gateways))
    check_books(url, folders[0])


def house(gateway: Gateway) -> House:
    """A new organisation with a team and an environment."""
    org = f"orgs/{gateway.tenant().org}"
    team = made(gateway, f"{org}/teams", {"team_id": "red"})["name"]
    environment = made(gateway, f"{team}/environments", {"environment_id": "prod"})["name"]

    def key(parent: str) -> tuple[str, str]:
        new = made(gateway, f"{parent}/apiKeys", {"display_name": "test"})
        return new["api_key"]["name"], new["secret"]

    own, own_secret = key(org)
    (_, first), (_, second) = key(team), key(environment)
    _, third = key(environment)
    return House(
        org,
        {
            own: [own_secret],
            team: [first, second],
            environment: [second, third],
            org: [own_secret, third],
        },
    )


async def ask(replica: Gateway, secret: str, prompt: str) -> tuple[int, Any]:
    body = {
        "model": "sim/fast",
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": OUTPUT_MAX,
    }
    async with await RestCall.send(replica, secret, body) as call:
        return await call.answer()


def word(answer: tuple[int, Any]) -> str:
    status, body = answer
    return "answered" if status == 200 else str(body["error"]["code"])


async def needed(replicas: list[Gateway], house: House, unit: str, prompt: str) -> int:
    """What one hold takes: a refused caller is told."""
    key = made(replicas[0], f"{house.org}/apiKeys", {"display_name": "poor"})
    name = budget(replicas[0], key["api_key"]["name"], period="total", **{unit: 0})
    status, body = await ask(replicas[0], key["secret"], prompt)
    assert (status, body["error"]["code"]) == (429, "budget_exhausted")
    assert name in body["error"]["message"]
    return int(body["error"]["omni"]["needed"])


@pytest.mark.parametrize(
    ("kind", "period", "unit", "room"),
    [
        ("key", "day", "amount_nanousd", 23),
        ("key", "total", "token_count", 9),
        ("team", "week", "token_count", 31),
        ("environment", "month", "amount_nanousd", 17),
        ("org", "month", "token_count", 1),
        ("org", "total", "amount_nanousd", 40),
    ],
)
async def test_of_100_callers_at_three_replicas_exactly_those_pass_that_fit(
    replicas: list[Gateway],
    simulator: SimulatorThread,
    kind: str,
    period: str,
    unit: str,
    room: int,
) -> None:
    here = house(replicas[0])
    owner = dict(zip(("key", "team", "environment", "org"), here.keys, strict=True))[kind]
    gate = f"budget-{uuid.uuid4().hex[:8]}"
    prompt = asking(f"gate={gate}")
    one = await needed(replicas, here, unit, prompt)
    limit = room * one + one - 1
    name = budget(replicas[0], owner, period=period, time_zone=_where_it_is_noon(), **{unit: limit})
    budget(replicas[1], here.org, period="day", amount_nanousd=10**12)  # another, with room for all
    secrets = here.keys[owner]
    simulator.close_gate(gate)
    try:
        calls = [
            asyncio.create_task(ask(replicas[n % 3], secrets[n % len(secrets)], prompt))
            for n in range(CALLERS)
        ]
        await soon(
            lambda: simulator.waiting(gate) + sum(call.done() for call in calls) >= CALLERS, 60
        )
        shown = got(replicas[2], name)
        assert (int(shown.get("spent", 0)), int(shown["held"])) == (0, room * one)
        assert simulator.waiting(gate) == room
    finally:
        simulator.open_gate(gate)
    answers = await asyncio.gather(*calls)
    assert Counter(map(word, answers)) == {"answered": room, "budget_held": CALLERS - room}
    assert all(body["error"]["omni"]["budget"] == name for code, body in answers if code != 200)
    shown = await soon(lambda: settled(replicas[1], name))
    spent = sum(_used(unit, body["usage"]) for code, body in answers if code == 200)
    assert int(shown["spent"]) == spent
    assert (shown["period"], shown[unit]) == (period, limit)


def _where_it_is_noon() -> str:
    """A time zone in which no window ends while the test runs."""
    west = datetime.now(UTC).hour - 12
    return f"Etc/GMT{west:+d}" if west else "Etc/GMT"


def _used(unit: str, usage: Any) -> int:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    return int(prompt + completion if unit == "token_count" else prompt * 150 + completion * 600)


async def test_each_day_has_its_room_also_for_callers_who_ask_all_through_its_end(
    replicas: list[Gateway], simulator: SimulatorThread
) -> None:
    """What the first day's calls hold is no room of the next, and no caller finds any other."""
    room, callers = 7, 60
    here = house(replicas[0])
    gate = f"budget-{uuid.uuid4().hex[:8]}"
    prompt = asking(f"gate={gate}")
    one = await needed(replicas, here, "token_count", prompt)
    (key,) = [name for name in here.keys if "/apiKeys/" in name]
    name = budget(replicas[0], key, period="day", token_count=room * one)
    slug = name.rpartition("/")[2]
    with psycopg.connect(replicas[0].database_url, autocommit=True) as sql:
        simulator.close_gate(gate)
        left = asyncio.Event()

        async def ask_on(number: int) -> str:
            while True:
                found = word(await ask(replicas[number % 3], here.keys[key][0], prompt))
                if found == "answered" or left.is_set():
                    return found
                await asyncio.sleep(0.05)

        calls = [asyncio.create_task(ask_on(number)) for number in range(callers)]
        try:
            assert await soon(lambda: simulator.waiting(gate) >= room, 30)
            end = _end_the_day(sql, slug)
            assert await soon(lambda: simulator.waiting(gate) >= 2 * room, 30)
            held = sql.execute(
                "SELECT w.end_time, a.debits_pending FROM budget_window w"
                " JOIN account a ON a.id = w.account_id JOIN budget b ON b.id = w.budget_id"
                " WHERE b.slug = %s ORDER BY 1",
                [slug],
            ).fetchall()
            day = timedelta(days=1)
            assert held == [(end, room * one), (end + day, room * one)]
            left.set()
            await soon(lambda: sum(call.done() for call in calls) == callers - 2 * room)
            assert simulator.waiting(gate) == 2 * room
        finally:
            left.set()
            simulator.open_gate(gate)
        found = Counter(await asyncio.gather(*calls))
        assert found == {"answered": 2 * room, "budget_held": callers - 2 * room}


def _end_the_day(sql: psycopg.Connection, slug: str) -> datetime:
    """Lets the current day end soon, as in a time zone whose midnight is then; says when."""
    row = sql.execute("SELECT clock_timestamp()").fetchone()
    assert row
    end: datetime = row[0].astimezone(UTC).replace(microsecond=0) + AHEAD
    with sql.transaction():
        sql.execute(
            "UPDATE budget_window w SET end_time = %s FROM budget b"
            " WHERE b.id = w.budget_id AND b.slug = %s",
            [end, slug],
        )
        zone = f"<T>{end.hour}:{end.minute:02}:{end.second:02}"  # west of Greenwich
        sql.execute("UPDATE budget SET time_zone = %s WHERE slug = %s", [zone, slug])
    return end
