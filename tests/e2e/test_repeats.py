"""Paid calls that are sent again with their request id: one answer, one charge, on every way."""

import asyncio
import itertools
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import grpc
import openai
import pytest
from chat_ways import WAYS, Answer, Asked, Refused, answered, ask, refused
from gateway import (
    Gateway,
    RestCall,
    SimulatorThread,
    Tenant,
    asking,
    bearer,
    eventually,
    running,
    soon,
)
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc
from omni_grpc_client import AsyncOmni, Omni, OmniError, RequestIdReused

from omni_grpc.core.limits import REQUEST_ID_CHARS_MAX

CREDITS = 10**9
T = TypeVar("T")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string"}},
                "required": ["place"],
            },
        },
    }
    for name in ("weather", "clock")
]
CONTENTS = {
    "words": Asked(),
    "several choices": Asked(fields=(("n", 3),)),
    "tool calls": Asked("Please call weather and call clock.", fields=(("tools", TOOLS),)),
    "a refusal": Asked(model="sim/refusal"),
    "reasoning": Asked(model="sim/reasoner"),
    "log probabilities": Asked(fields=(("logprobs", True), ("top_logprobs", 2))),
    "nothing": Asked(model="sim/empty"),
    "a cut": Asked(fields=(("max_completion_tokens", 5),)),
    "letters of all kinds": Asked(asking("style=echo", 'Grüße, 世界 \N{WAVING HAND SIGN} \\ "')),
}


def new_id() -> str:
    return uuid.uuid4().hex


def marked(behaviour: str = "") -> tuple[str, Asked]:
    """A mark that stands in the provider's record of the call, and what is asked with it."""
    mark = f"once={new_id()}"
    return mark, Asked(asking(",".join(filter(None, (behaviour, mark)))))


def calls_of(simulator: SimulatorThread, mark: str) -> int:
    """How often the provider was called with this mark."""
    return sum(mark in record.behaviour for record in simulator.simulator.log)


def spent(gateway: Gateway, tenant: Tenant) -> int:
    """What the tenant was charged in all; nothing may be held."""
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        found = eventually(lambda: (b := omni.balance()) and not b.held_nanousd and b)
        assert found, "something stays held"
        assert not found.unresolved_nanousd
        return CREDITS - found.posted_nanousd


# --- after its end --------------------------------------------------------------------------------
@pytest.mark.parametrize(("first", "again"), list(itertools.product(WAYS, WAYS)))
def test_a_repeat_has_the_first_answer_and_costs_nothing(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, first: str, again: str
) -> None:
    mark, asked = marked()
    request_id = new_id()
    answer = answered(first, gateway, tenant, asked, request_id)
    assert answered(again, gateway, tenant, asked, request_id) == answer
    assert answered(again, gateway, tenant, asked, request_id) == answer
    assert calls_of(simulator, mark) == 1
    assert spent(gateway, tenant) == answer.cost > 0


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("first", ["rest plain", "grpc stream"])
def test_whatever_an_answer_holds_is_told_again(
    gateway: Gateway, tenant: Tenant, name: str, first: str
) -> None:
    asked, request_id = CONTENTS[name], new_id()
    answer = answered(first, gateway, tenant, asked, request_id)
    for again in WAYS:
        assert answered(again, gateway, tenant, asked, request_id) == answer, again
    assert spent(gateway, tenant) == answer.cost
    fresh = answered(first, gateway, tenant, asked, new_id())
    assert [choice.text for choice in fresh.choices] == [one.text for one in answer.choices]
    assert fresh.call_id != answer.call_id


def test_a_stream_that_is_told_again_has_one_delta_for_each_choice(
    gateway: Gateway, tenant: Tenant
) -> None:
    asked = Asked(asking("delay_ms=5"), fields=(("n", 3),))
    request = pb.StreamChatRequest(prompt=asked.prompt(), request_id=new_id())
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = pb_grpc.RouterServiceStub(channel)
        metadata = bearer(tenant.api_key)
        first, again = (list(stub.StreamChat(request, metadata=metadata)) for _ in range(2))
    assert len(first) > 5
    assert [event.WhichOneof("event") for event in again] == ["started"] + ["delta"] * 3 + [
        "completion"
    ]
    assert [event.delta.choice_index for event in again[1:4]] == [0, 1, 2]
    assert again[0] == first[0]
    first[-1].completion.ClearField("balance_nanousd")  # of another moment
    assert again[-1] == first[-1]


def test_a_repeat_is_answered_also_when_the_credits_are_gone(
    gateway: Gateway, tenant: Tenant
) -> None:
    request_id = new_id()
    answer = answered("rest plain", gateway, tenant, Asked(), request_id)
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        omni.create_hold(omni.balance().available_nanousd)
    assert answered("grpc stream", gateway, tenant, Asked(), request_id) == answer
    assert refused("grpc stream", gateway, tenant, Asked(), new_id()).reason == "CREDITS_HELD"


def test_without_a_request_id_each_call_is_a_call_of_its_own(
    gateway: Gateway, tenant: Tenant
) -> None:
    answers = [answered(way, gateway, tenant, Asked(), None) for way in WAYS]
    assert len({answer.call_id for answer in answers}) == 4
    assert spent(gateway, tenant) == sum(answer.cost for answer in answers)


def test_tenants_do_not_share_request_ids(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    other = gateway.tenant(CREDITS)
    mark, asked = marked()
    request_id = new_id()
    mine, theirs = (
        answered("rest plain", gateway, one, asked, request_id) for one in (tenant, other)
    )
    assert mine.call_id != theirs.call_id
    assert calls_of(simulator, mark) == 2
    for one, answer in ((tenant, mine), (other, theirs)):
        assert answered("grpc plain", gateway, one, asked, request_id) == answer
        assert spent(gateway, one) == answer.cost


# --- other content --------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
def test_a_request_id_never_stands_for_two_prompts(
    gateway: Gateway, tenant: Tenant, way: str
) -> None:
    request_id = new_id()
    answer = answered("rest plain", gateway, tenant, Asked(), request_id)
    for other in (
        Asked("Say something else."),
        Asked(model="sim/echo"),
        Asked(fields=(("temperature", 0.5),)),
        Asked(fields=(("max_completion_tokens", 4_096),)),
        Asked(fields=(("tools", TOOLS),)),
    ):
        found = refused(way, gateway, tenant, other, request_id)
        assert found.reason == "REQUEST_ID_REUSED"
        assert found.status in ("ALREADY_EXISTS", 409)
        assert found.forbids_retry
        assert found.retry_after_s is None
    assert answered(way, gateway, tenant, Asked(), request_id) == answer
    assert spent(gateway, tenant) == answer.cost


def test_chats_and_holds_of_an_organisation_share_their_request_ids(
    gateway: Gateway, tenant: Tenant
) -> None:
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        chat_id, hold_id = new_id(), new_id()
        omni.chat("sim/fast", "Say something.", request_id=chat_id)
        with pytest.raises(RequestIdReused):
            omni.create_hold(5, request_id=chat_id)
        omni.create_hold(5, request_id=hold_id)
        with pytest.raises(RequestIdReused):
            omni.chat("sim/fast", "Say something.", request_id=hold_id)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "bad", ["x" * (REQUEST_ID_CHARS_MAX + 1), "a\tb", "\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_what_cannot_be_a_request_id_is_refused_by_its_field(
    gateway: Gateway, tenant: Tenant, way: str, bad: str
) -> None:
    found = refused(way, gateway, tenant, Asked(), bad)
    assert found.reason == "FIELD_INVALID"
    assert found.field == ("request_id" if way.startswith("grpc") else "idempotency-key")
    assert spent(gateway, tenant) == 0


@pytest.mark.parametrize("way", WAYS)
def test_the_longest_and_strangest_request_ids_are_taken(
    gateway: Gateway, tenant: Tenant, way: str
) -> None:
    for good in ("x" * REQUEST_ID_CHARS_MAX, "!", "a b~'\"\\%00 {}", "0"):
        answer = answered(way, gateway, tenant, Asked(), good)
        assert answered(way, gateway, tenant, Asked(), good) == answer


def test_an_empty_header_is_no_request_id(gateway: Gateway, tenant: Tenant) -> None:
    found = refused("rest plain", gateway, tenant, Asked(), "")
    assert (found.reason, found.field) == ("FIELD_INVALID", "idempotency-key")


# --- while it runs --------------------------------------------------------------------------------
def in_thread(work: Callable[[], T]) -> Callable[[], T]:
    """Starts `work` beside the test; calling the result waits for its."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return lambda: future.result(30)


@pytest.fixture
def gate(simulator: SimulatorThread) -> Iterator[str]:
    """A closed gate of the provider, which is open again after the test."""
    name = f"repeat-{new_id()}"
    simulator.close_gate(name)
    yield name
    simulator.open_gate(name)


@pytest.mark.parametrize("first", WAYS)
def test_a_repeat_of_a_running_call_is_told_to_come_again(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, gate: str, first: str
) -> None:
    mark, asked = marked(f"gate={gate},gate_after={3 if 'stream' in first else 'request'}")
    request_id = new_id()
    answer = in_thread(lambda: answered(first, gateway, tenant, asked, request_id))
    assert eventually(lambda: simulator.waiting(gate))
    told = [refused(way, gateway, tenant, asked, request_id) for way in WAYS]
    for found in told:
        assert found.reason == "REQUEST_IN_PROGRESS"
        assert found.status in ("ABORTED", 409)
        assert found.retry_after_s == 1.0
        assert not found.forbids_retry
    other = refused("rest plain", gateway, tenant, Asked("Else."), request_id)
    assert other.reason == "REQUEST_ID_REUSED"
    simulator.open_gate(gate)
    found = answer()
    assert {one.call_id for one in told} == {found.call_id}
    for way in WAYS:
        assert answered(way, gateway, tenant, asked, request_id) == found
    assert calls_of(simulator, mark) == 1
    assert spent(gateway, tenant) == found.cost


async def test_the_python_client_waits_for_its_own_first_sending(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, gate: str
) -> None:
    _, asked = marked(f"gate={gate}")
    async with AsyncOmni(gateway.grpc, api_key=tenant.api_key) as omni:
        chats = [
            asyncio.create_task(omni.chat("sim/fast", asked.text, request_id="one"))
            for _ in range(3)
        ]
        assert await soon(lambda: simulator.waiting(gate))
        simulator.open_gate(gate)
        answers = await asyncio.gather(*chats)
        async with omni.stream_chat("sim/fast", asked.text, request_id="one") as stream:
            answers.append(await stream.result())
    assert len({answer.call_id for answer in answers}) == 1
    assert len({answer.text for answer in answers}) == 1
    assert await asyncio.to_thread(spent, gateway, tenant) == answers[0].cost_nanousd


# --- the OpenAI SDK -------------------------------------------------------------------------------
async def test_the_openai_sdk_pays_once_with_an_idempotency_key(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, gate: str
) -> None:
    mark, asked = marked(f"gate={gate}")
    messages: Any = [{"role": "user", "content": asked.text}]
    url = f"{gateway.rest}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=tenant.api_key, max_retries=5) as sdk:

        async def plain() -> Any:
            return await sdk.chat.completions.create(
                model="sim/fast", messages=messages, extra_headers={"Idempotency-Key": "order-1"}
            )

        calls = [asyncio.create_task(plain()) for _ in range(3)]
        assert await soon(lambda: simulator.waiting(gate))
        simulator.open_gate(gate)
        answers = await asyncio.gather(*calls)
        stream = await sdk.chat.completions.create(
            model="sim/fast",
            messages=messages,
            stream=True,
            extra_headers={"Idempotency-Key": "order-1"},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert {answer.id for answer in answers} == {chunks[0].id}
        assert {answer.choices[0].message.content for answer in answers} == {text}
        messages[0]["content"] += " Else."
        with pytest.raises(openai.ConflictError) as caught:
            await plain()
    assert caught.value.code == "idempotency_conflict"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert calls_of(simulator, mark) == 1
    assert await asyncio.to_thread(spent, gateway, tenant) == answers[0].usage.cost_nanousd


# --- at once --------------------------------------------------------------------------------------
def test_many_at_once_on_two_workers_are_one_call(
    own_gateway: Gateway, simulator: SimulatorThread
) -> None:
    own_gateway.workers = 2
    with running(own_gateway):
        for _ in range(3):
            tenant = own_gateway.tenant(CREDITS)
            mark, asked = marked("first_ms=100")
            request_id = new_id()

            one = partial(
                ask, gateway=own_gateway, tenant=tenant, asked=asked, request_id=request_id
            )
            with ThreadPoolExecutor(24) as pool:
                told = list(pool.map(one, WAYS * 6))
            answers = {found for found in told if isinstance(found, Answer)}
            reasons = {found.reason for found in told if isinstance(found, Refused)}
            assert len(answers) == 1
            assert reasons <= {"REQUEST_IN_PROGRESS"}
            assert calls_of(simulator, mark) == 1
            assert spent(own_gateway, tenant) == next(iter(answers)).cost


# --- after an interruption ------------------------------------------------------------------------
def interrupted(
    gateway: Gateway, tenant: Tenant, asked: Asked, request_id: str, seconds: float = 20.0
) -> Refused:
    """What a repeat is told once the first call's end is known: the same on every way."""

    def look() -> Refused | None:
        found = refused("rest plain", gateway, tenant, asked, request_id)
        assert found.reason in ("REQUEST_IN_PROGRESS", "INTERRUPTED")
        return found if found.reason == "INTERRUPTED" and found.charged else None

    told = eventually(look, seconds)
    assert isinstance(told, Refused)
    for way in WAYS:
        found = refused(way, gateway, tenant, asked, request_id)
        assert found.reason == "INTERRUPTED"
        assert found.status in ("ABORTED", 409)
        assert found.forbids_retry
        assert found.retry_after_s is None
        assert (found.call_id, found.charged) == (told.call_id, told.charged)
    with Omni(gateway.grpc, api_key=tenant.api_key) as omni:
        assert omni.usage(told.call_id).cost_nanousd == told.charged
        with pytest.raises(OmniError) as caught:
            omni.chat(asked.model, asked.text, request_id=request_id)
        assert (caught.value.reason, caught.value.charged_nanousd) == ("INTERRUPTED", told.charged)
        assert caught.value.call_id == told.call_id
    return told


def test_a_repeat_of_a_cancelled_stream_tells_what_it_cost(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, gate: str
) -> None:
    mark, asked = marked(f"gate={gate},gate_after=3")
    request_id = new_id()
    with (
        Omni(gateway.grpc, api_key=tenant.api_key) as omni,
        omni.stream_chat(asked.model, asked.text, request_id=request_id) as stream,
    ):
        next(iter(stream))
    told = interrupted(gateway, tenant, asked, request_id)
    assert told.call_id == stream.started.call_id
    assert calls_of(simulator, mark) == 1
    assert spent(gateway, tenant) == told.charged


async def test_a_repeat_of_a_call_whose_client_vanished_tells_what_it_cost(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, gate: str
) -> None:
    mark, asked = marked(f"gate={gate},gate_after=headers")
    request_id = new_id()
    body = {"model": asked.model, "messages": [{"role": "user", "content": asked.text}]}
    async with await RestCall.send(gateway, tenant.api_key, body, idempotency_key=request_id):
        assert await soon(lambda: simulator.waiting(gate))
    told = await asyncio.to_thread(interrupted, gateway, tenant, asked, request_id)
    assert calls_of(simulator, mark) == 1
    assert await asyncio.to_thread(spent, gateway, tenant) == told.charged


def test_a_repeat_of_an_answer_that_broke_off_tells_what_it_cost(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread
) -> None:
    mark, asked = marked("error_after=5")
    request_id = new_id()
    with (
        Omni(gateway.grpc, api_key=tenant.api_key) as omni,
        pytest.raises(OmniError) as caught,
        omni.stream_chat(asked.model, asked.text, request_id=request_id) as stream,
    ):
        stream.result()
    told = interrupted(gateway, tenant, asked, request_id)
    assert (caught.value.reason, caught.value.charged_nanousd) == ("INTERRUPTED", told.charged)
    assert calls_of(simulator, mark) == 1


def test_a_repeat_after_a_deadline_tells_what_it_cost(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, gate: str
) -> None:
    mark, asked = marked(f"gate={gate},gate_after=3")
    request_id = new_id()
    with (
        Omni(gateway.grpc, api_key=tenant.api_key) as omni,
        pytest.raises(OmniError),
        omni.stream_chat(asked.model, asked.text, request_id=request_id, timeout=3.0) as stream,
    ):
        stream.result()
    told = interrupted(gateway, tenant, asked, request_id)
    assert calls_of(simulator, mark) == 1
    assert spent(gateway, tenant) == told.charged


def test_a_repeat_after_its_worker_was_killed_tells_what_it_cost(
    own_gateway: Gateway, simulator: SimulatorThread, gate: str
) -> None:
    own_gateway.environment["OMNI_HOLD_LEASE_S"] = "3"
    mark, asked = marked(f"gate={gate},gate_after=3")
    request_id = new_id()
    with running(own_gateway):
        tenant = own_gateway.tenant(CREDITS)
        with (
            Omni(own_gateway.grpc, api_key=tenant.api_key) as omni,
            omni.stream_chat(asked.model, asked.text, request_id=request_id) as stream,
        ):
            next(iter(stream))
            assert own_gateway.process is not None
            os.kill(own_gateway.process.pid, signal.SIGKILL)
            own_gateway.process.wait()
            with pytest.raises(OmniError):
                stream.result()
        own_gateway.start()
        told = interrupted(own_gateway, tenant, asked, request_id, 30.0)
        assert told.call_id == stream.started.call_id
        assert calls_of(simulator, mark) == 1
        assert spent(own_gateway, tenant) == told.charged


# --- after a failure that cost nothing ------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["status=500", "status=400", "cut=rst,cut_after=request"])
def test_a_repeat_of_a_call_that_failed_without_a_charge_is_a_new_one(
    gateway: Gateway, tenant: Tenant, simulator: SimulatorThread, way: str, fault: str
) -> None:
    mark, asked = marked(fault)  # the fault strikes once
    request_id = new_id()
    first = refused(way, gateway, tenant, asked, request_id)
    assert first.reason in ("PROVIDER_UNAVAILABLE", "PROVIDER_REJECTED")
    assert not first.charged
    answer = eventually(
        lambda: (
            (found := ask(way, gateway, tenant, asked, request_id))
            and isinstance(found, Answer)
            and found
        )
    )
    assert isinstance(answer, Answer)
    assert answer.call_id != first.call_id
    assert answered(way, gateway, tenant, asked, request_id) == answer
    assert calls_of(simulator, mark) == 2
    assert spent(gateway, tenant) == answer.cost


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_was_refused_before_it_ran_may_be_repeated(gateway: Gateway, way: str) -> None:
    poor = gateway.tenant(0)
    request_id = new_id()
    assert refused(way, gateway, poor, Asked(), request_id).reason == "CREDITS_EXHAUSTED"
    missing = Asked(model="sim/nothing-of-that-name")
    assert refused(way, gateway, poor, missing, request_id).reason == "MODEL_NOT_FOUND"
    with gateway.admin() as admin:
        admin.grant_credits(poor.account, CREDITS)
    answer = answered(way, gateway, poor, Asked(), request_id)
    assert spent(gateway, poor) == answer.cost


# --- answers that are not kept --------------------------------------------------------------------
@pytest.mark.parametrize("first", ["rest plain", "grpc stream"])
def test_an_answer_too_large_to_keep_is_still_charged_once(
    gateway: Gateway, tenant: Tenant, first: str
) -> None:
    fields = (("n", 8), ("logprobs", True), ("top_logprobs", 20))
    asked = Asked(asking("tokens=250"), fields=fields)
    request_id = new_id()
    answer = answered(first, gateway, tenant, asked, request_id)
    assert sum(len(choice.tokens) for choice in answer.choices) == 2_000
    for way in WAYS:
        found = refused(way, gateway, tenant, asked, request_id)
        assert found.reason == "INTERRUPTED"
        assert (found.call_id, found.charged) == (answer.call_id, answer.cost)
        assert found.forbids_retry
    assert spent(gateway, tenant) == answer.cost


def test_where_no_answers_are_kept_a_repeat_tells_what_the_call_cost(
    own_gateway: Gateway, simulator: SimulatorThread, gate: str
) -> None:
    own_gateway.environment["OMNI_REPLAY_ANSWERS"] = "false"
    with running(own_gateway):
        tenant = own_gateway.tenant(CREDITS)
        mark, asked = marked(f"gate={gate}")
        request_id = new_id()
        first = in_thread(lambda: answered("grpc stream", own_gateway, tenant, asked, request_id))
        assert eventually(lambda: simulator.waiting(gate))
        found = refused("rest plain", own_gateway, tenant, asked, request_id)
        assert found.reason == "REQUEST_IN_PROGRESS"
        simulator.open_gate(gate)
        answer = first()
        for way in WAYS:
            found = refused(way, own_gateway, tenant, asked, request_id)
            assert found.reason == "INTERRUPTED"
            assert (found.call_id, found.charged) == (answer.call_id, answer.cost)
        assert calls_of(simulator, mark) == 1
        assert spent(own_gateway, tenant) == answer.cost


def test_what_was_kept_is_told_after_a_restart(own_gateway: Gateway) -> None:
    request_id = new_id()
    with running(own_gateway):
        tenant = own_gateway.tenant(CREDITS)
        answer = answered("grpc stream", own_gateway, tenant, Asked(), request_id)
    with running(own_gateway):
        assert answered("rest plain", own_gateway, tenant, Asked(), request_id) == answer
        assert spent(own_gateway, tenant) == answer.cost
