"""Top-ups that two servers work at: what one finds out too late undoes nothing of the other."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from aiohttp import ClientSession, web
from x402_rig import TEN, TEN_UNITS, Shop, facilitator, make_shop, org, shop, topup_url

from omni_grpc.cli.opening import Rooms
from omni_grpc.identity import Org
from omni_grpc.simulator.facilitator import Accident, Facilitator
from omni_grpc.topups import State
from omni_grpc.topups.model import Unknown

__all__ = ("facilitator", "org", "shop", "topup_url")
pytestmark = pytest.mark.filterwarnings("ignore:Client is deprecated")


class SlowFacilitator:
    """Before a facilitator: it answers as that one does, but never whether a payment is good."""

    def __init__(self, url: str) -> None:
        self._behind = url
        self.asked = asyncio.Event()
        self.cut = asyncio.Event()

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.add_routes(
            [web.post("/verify", self._verify), web.route("*", "/{what}", self._forward)]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def _verify(self, request: web.Request) -> web.Response:
        self.asked.set()
        await self.cut.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)

    async def _forward(self, request: web.Request) -> web.Response:
        url = f"{self._behind}/{request.match_info['what']}"
        async with (
            ClientSession() as session,
            session.request(request.method, url, data=await request.read()) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read())


class RetryingFacilitator(SlowFacilitator):
    """Before a facilitator: it sends each payment, and tells of a second try that was simulated."""

    async def _verify(self, request: web.Request) -> web.Response:
        return web.json_response({"isValid": True})

    async def _forward(self, request: web.Request) -> web.Response:
        answer = await super()._forward(request)
        if request.match_info["what"] != "settle":
            return answer
        reason = "invalid_exact_svm_payload_transaction_simulation_failed"
        return web.json_response({"success": False, "errorReason": reason, "transaction": ""})


@pytest.fixture
async def slow(facilitator: Facilitator) -> AsyncIterator[SlowFacilitator]:
    front = SlowFacilitator(facilitator.url)
    runner = await front.start()
    yield front
    await runner.cleanup()


async def test_a_first_try_that_got_no_word_does_not_forget_what_a_look_has_sent(
    rooms: Rooms,
    org: Org,
    facilitator: Facilitator,
    slow: SlowFacilitator,
) -> None:
    shop = make_shop(rooms, org, facilitator, url=slow.url)
    top_up = await shop.begin()
    facilitator.strike(Accident.PENDING)
    first = asyncio.create_task(shop.confirm(top_up, await shop.signed(top_up)))
    await slow.asked.wait()
    assert (await shop.look(top_up)).state is State.PENDING  # it was sent
    slow.cut.set()
    assert (await first).state is State.PENDING
    facilitator.land()
    done = await shop.look(top_up)
    assert (done.state, done.credited, shop.arrived()) == (State.SUCCEEDED, TEN, TEN_UNITS)
    assert await shop.credited() == TEN
    await shop.method.close()


async def test_one_that_is_paid_in_the_moment_of_its_expiry_does_not_expire(
    shop: Shop,
) -> None:
    top_up = await shop.begin()
    text = await shop.signed(top_up)
    seen_open = await shop.now(top_up)
    shop.facilitator.strike(Accident.PENDING)
    assert (await shop.confirm(top_up, text)).state is State.PENDING
    shop.clock.ahead += timedelta(hours=25)
    assert (await shop.top_ups.look(seen_open)).state is State.PENDING
    shop.facilitator.land()
    assert (await shop.look(top_up)).state is State.SUCCEEDED
    assert await shop.credited() == TEN


async def test_a_late_word_of_one_payment_says_nothing_of_the_next(
    shop: Shop,
) -> None:
    top_up = await shop.begin()
    presented = shop.method.read(top_up, await shop.signed(top_up))
    begun = await shop.top_ups._store.begin(top_up, presented, 5.0)
    assert begun is not None
    shop.facilitator.expire()
    shop.clock.ahead += timedelta(seconds=200)
    assert (await shop.look(top_up)).state is State.OPEN
    assert (await shop.top_ups._ended(begun, Unknown("late"))).state is State.OPEN
    assert (await shop.confirm(top_up, await shop.signed(top_up))).state is State.SUCCEEDED
    assert await shop.credited() == TEN


async def test_one_that_cannot_be_read_keeps_no_other_from_its_payment(shop: Shop) -> None:
    broken, good = await shop.begin("one"), await shop.begin("two")
    for top_up in (broken, good):
        presented = shop.method.read(top_up, await shop.signed(top_up))
        assert await shop.top_ups._store.begin(top_up, presented, 0.0) is not None
    await shop.rooms.database.execute(
        "UPDATE top_up SET presented = '{}', check_time = check_time - interval '1 hour'"
        " WHERE id = %s",
        (broken.id,),
    )
    await shop.top_ups.look_at_due()
    assert (await shop.now(good)).state is State.SUCCEEDED
    assert (await shop.now(broken)).state is State.PENDING


async def test_a_server_with_another_wallet_says_nothing_of_a_payment_to_the_old_one(
    shop: Shop,
) -> None:
    shop.facilitator.strike(Accident.LOST)
    shop.facilitator.chain.holding = True
    top_up = await shop.begin()
    assert (await shop.confirm(top_up, await shop.signed(top_up))).state is State.PENDING
    shop.facilitator.land()
    shop.facilitator.expire()
    moved = make_shop(shop.rooms, shop.org, shop.facilitator)
    moved.clock.ahead += timedelta(seconds=200)
    left = await moved.look(top_up)
    assert (left.state, left.message[:40]) == (
        State.PENDING,
        "The service was set to another wallet or",
    )
    await moved.method.close()
    assert (await shop.look(top_up)).state is State.SUCCEEDED
    assert await shop.credited() == TEN


async def test_a_facilitator_whose_own_second_try_failed_has_not_refused_the_first(
    rooms: Rooms, org: Org, facilitator: Facilitator
) -> None:
    front = RetryingFacilitator(facilitator.url)
    runner = await front.start()
    shop = make_shop(rooms, org, facilitator, url=front.url, with_node=False)
    top_up = await shop.begin()
    done = await shop.confirm(top_up, await shop.signed(top_up))
    assert (done.state, shop.arrived()) == (State.PENDING, TEN_UNITS)
    await shop.method.close()
    await runner.cleanup()
