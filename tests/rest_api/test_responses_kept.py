"""Responses that are kept: read again, continued, listed, deleted, each by its own tenant alone."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from raw_client import RawClient
from responses_client import PATH, ask, events_of, response_of
from rest_rig import (
    BILLING_KEY,
    KEY,
    OPS_KEY,
    OTHER_KEY,
    WEB_KEY,
    WEB_LIVE_KEY,
    Service,
    completion,
)

from omni_grpc.completion import Call, stored_responses
from omni_grpc.core.chat import Answer, ChatCompletion, ChatRequest, ReasoningBlock, ToolCall

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

BLOCK = ReasoningBlock(kind="encrypted", format="anthropic", data="ZGF0YQ==")


@pytest.fixture
async def keeping() -> AsyncIterator[Service]:
    async with Service(store_hours=2) as service:
        yield service


@pytest.fixture
async def client(keeping: Service) -> AsyncIterator[RawClient]:
    made = await RawClient.connect(keeping)
    yield made
    made.leave()


async def calls_a_tool(call: Call, request: ChatRequest) -> ChatCompletion:
    if request.messages[-1].role == "tool":
        return completion(call, Answer(text="It rains."))
    calls = (ToolCall(id="c1", name="f", arguments_json="{}"),)
    return completion(call, Answer(text="I look.", reasoning_blocks=(BLOCK,), tool_calls=calls))


async def kept(client: RawClient, content: Any = "Hello", **fields: Any) -> Any:
    found = response_of(await client.ask(ask(content, **fields), path=PATH))
    assert found["store"] is True
    return found


# --- off ------------------------------------------------------------------------------------------
async def test_nothing_is_kept_unless_the_operator_says_so(
    service: Service, raw: RawClient
) -> None:
    made = response_of(await raw.ask(ask(store=True), path=PATH))
    assert made["store"] is False
    assert service.table.rows == {}
    answer = await raw.get(f"{PATH}/{made['id']}")
    assert answer.status == 404
    assert "OMNI_STORE_RESPONSES_HOURS" in answer.error["message"]
    answer = await raw.ask(ask(previous_response_id=made["id"]), path=PATH)
    assert answer.status == 400
    assert answer.error["param"] == "previous_response_id"
    assert "Send the earlier items as input" in answer.error["message"]


# --- on -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("store", [None, True])
async def test_a_response_is_read_again_as_it_was(
    client: RawClient, streamed: bool, store: bool | None
) -> None:
    answer = await client.ask(ask(stream=streamed, store=store), path=PATH)
    made = events_of(answer)[-1]["response"] if streamed else response_of(answer)
    assert made["store"] is True
    assert response_of(await client.get(f"{PATH}/{made['id']}")) == made


async def test_what_shall_not_be_kept_is_not(keeping: Service, client: RawClient) -> None:
    made = response_of(await client.ask(ask(store=False), path=PATH))
    assert made["store"] is False
    assert keeping.table.rows == {}


async def test_the_database_does_not_see_what_was_said(keeping: Service, client: RawClient) -> None:
    await kept(client, "my secret")
    ((_, row),) = keeping.table.rows.values()
    assert b"secret" not in row.sealed
    assert b"Hello" not in row.sealed


async def test_another_tenant_finds_nothing(keeping: Service, client: RawClient) -> None:
    made = await kept(client)
    one = f"{PATH}/{made['id']}"
    for method in ("GET", "DELETE"):
        answer = await client.ask(method=method, path=one, key=OTHER_KEY)
        assert answer.status == 404
    assert (await client.get(f"{one}/input_items", key=OTHER_KEY)).status == 404
    asked = ask(previous_response_id=made["id"])
    answer = await client.ask(asked, path=PATH, key=OTHER_KEY)
    assert (answer.status, answer.error["param"]) == (400, "previous_response_id")
    assert (await client.get(one, key=BILLING_KEY)).status == 403
    assert (await client.get(one, key=None)).status == 401
    assert (await client.get(one, key=KEY)).status == 200


async def test_a_team_finds_nothing_of_another_and_its_organisation_all(
    client: RawClient,
) -> None:
    """Ids of responses are those of calls, which whoever sees the bills of all teams sees."""
    asked = ask("Hello", store=True)
    made = {
        key: response_of(await client.ask(asked, path=PATH, key=key))["id"]
        for key in (KEY, WEB_KEY, WEB_LIVE_KEY, OPS_KEY)
    }
    seen = {
        KEY: {KEY, WEB_KEY, WEB_LIVE_KEY, OPS_KEY},
        WEB_KEY: {WEB_KEY, WEB_LIVE_KEY},
        WEB_LIVE_KEY: {WEB_LIVE_KEY},
        OPS_KEY: {OPS_KEY},
    }
    for key, its in seen.items():
        for owner, response in made.items():
            status = 200 if owner in its else 404
            one = f"{PATH}/{response}"
            assert (await client.get(one, key=key)).status == status
            assert (await client.get(f"{one}/input_items", key=key)).status == status
            goes_on = ask(previous_response_id=response)
            answer = await client.ask(goes_on, path=PATH, key=key)
            assert answer.status == (200 if owner in its else 400)
            if status == 404:
                answer = await client.ask(method="DELETE", path=one, key=key)
                assert answer.status == 404
    for key, response in made.items():
        answer = await client.ask(method="DELETE", path=f"{PATH}/{response}", key=key)
        assert answer.status == 200


async def test_a_row_that_was_moved_or_changed_does_not_open(
    keeping: Service, client: RawClient
) -> None:
    first, second = await kept(client, "a"), await kept(client, "b")
    (_, (_, row)), (other, (owner, moved)) = keeping.table.rows.items()
    keeping.table.rows[other] = (owner, msgspec.structs.replace(moved, sealed=row.sealed))
    assert (await client.get(f"{PATH}/{second['id']}")).status == 404
    assert (await client.get(f"{PATH}/{first['id']}")).status == 200


async def test_a_conversation_goes_on_with_all_that_was_said(
    keeping: Service, client: RawClient
) -> None:
    keeping.chats.complete_script = calls_a_tool
    tools = [{"type": "function", "name": "f"}]
    first = await kept(client, "Weather?", instructions="Be kind.", tools=tools)
    output = {"type": "function_call_output", "call_id": "c1", "output": "rain"}
    second = await kept(client, [output], previous_response_id=first["id"], tools=tools)
    assert second["previous_response_id"] == first["id"]
    await kept(client, "Thanks.", previous_response_id=second["id"])
    messages = keeping.chats.requests[-1].messages
    assert [message.role for message in messages] == [
        "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip
    assert messages[1].content == "I look."
    assert messages[1].reasoning_blocks == (BLOCK,)
    assert messages[1].tool_calls[0].id == "c1"
    assert [message.content for message in messages[2:]] == ["rain", "It rains.", "Thanks."]


async def test_a_conversation_with_a_gap_is_refused(client: RawClient) -> None:
    first = await kept(client, "a")
    second = await kept(client, "b", previous_response_id=first["id"])
    gone = await client.ask(method="DELETE", path=f"{PATH}/{first['id']}")
    assert gone.json == {"id": first["id"], "object": "response", "deleted": True}
    assert (await client.get(f"{PATH}/{first['id']}")).status == 404
    assert (await client.ask(method="DELETE", path=f"{PATH}/{first['id']}")).status == 404
    answer = await client.ask(ask(previous_response_id=second["id"]), path=PATH)
    assert (answer.status, answer.error["param"]) == (400, "previous_response_id")
    assert "earlier response" in answer.error["message"]


async def test_a_conversation_has_an_end(
    client: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_responses, "CHAIN_COUNT_MAX", 2)
    first = await kept(client, "a")
    second = await kept(client, "b", previous_response_id=first["id"])
    third = await kept(client, "c", previous_response_id=second["id"])
    answer = await client.ask(ask(previous_response_id=third["id"]), path=PATH)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_is_not_lost_where_it_cannot_be_kept(
    keeping: Service, client: RawClient, streamed: bool
) -> None:
    keeping.table.away = True
    answer = await client.ask(ask(stream=streamed), path=PATH)
    made = events_of(answer)[-1]["response"] if streamed else response_of(answer)
    assert made["status"] == "completed"
    assert made["store"] is False
    assert (await client.get(f"{PATH}/{made['id']}")).status == 503


async def test_too_large_a_response_is_answered_and_not_kept(
    keeping: Service, client: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_responses, "KEPT_BYTES_MAX", 100)
    assert response_of(await client.ask(ask(), path=PATH))["store"] is False
    assert keeping.table.rows == {}


async def test_ids_that_are_none_are_not_found(client: RawClient) -> None:
    for name in ("resp_1", "x", "resp_" + "g" * 32, "resp_" + "0" * 32, "0" * 37):
        assert (await client.get(f"{PATH}/{name}")).status == 404
    answer = await client.get(f"{PATH}/resp_{'0' * 32}?stream=true")
    assert (answer.status, answer.error["param"]) == (400, "stream")


# --- input items ----------------------------------------------------------------------------------
ITEMS: list[Any] = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "status": None},
    {"type": "function_call_output", "call_id": "c1", "output": "d"},
    {
        "type": "message",
        "id": "msg_mine",
        "role": "user",
        "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}],
    },
]


async def test_input_items_are_listed_in_pages(client: RawClient) -> None:
    made = await kept(client, ITEMS)
    path = f"{PATH}/{made['id']}/input_items"
    whole = (await client.get(f"{path}?order=asc")).json
    assert whole["object"] == "list"
    assert whole["has_more"] is False
    items = whole["data"]
    assert [item["type"] for item in items] == [
        "message", "message", "function_call", "function_call_output", "message",
    ]  # fmt: skip
    assert items[0]["content"] == [{"type": "input_text", "text": "a"}]
    assert items[1]["content"] == [{"type": "output_text", "text": "b", "annotations": []}]
    assert items[2]["status"] == "completed"
    assert items[4]["id"] == "msg_mine"
    assert items[4]["content"][0]["detail"] == "auto"
    assert len({item["id"] for item in items}) == 5
    assert (whole["first_id"], whole["last_id"]) == (items[0]["id"], "msg_mine")

    seen: list[Any] = []
    more, after = True, ""
    while more:
        page = (await client.get(f"{path}?limit=2{after}")).json
        seen += page["data"]
        more, after = page["has_more"], f"&after={page['last_id']}"
    assert seen == items[::-1]


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("limit=9999", "limit"),
     ("order=up", "order"), ("after=msg_other", "after")],
)  # fmt: skip
async def test_pages_of_input_items_that_cannot_be_are_refused(
    client: RawClient, query: str, field: str
) -> None:
    made = await kept(client)
    answer = await client.get(f"{PATH}/{made['id']}/input_items?{query}")
    assert (answer.status, answer.error["param"]) == (400, field)


async def test_what_a_read_shall_include_may_be_several_things(client: RawClient) -> None:
    made = await kept(client)
    asked = "include[]=reasoning.encrypted_content&include[]=message.input_image.image_url"
    for path in (f"{PATH}/{made['id']}", f"{PATH}/{made['id']}/input_items"):
        assert (await client.get(f"{path}?{asked}")).status == 200
        answer = await client.get(f"{path}?order=asc&order=desc")
        assert (answer.status, answer.error["param"]) == (400, "order")


async def test_a_text_is_listed_as_a_message(client: RawClient) -> None:
    made = await kept(client, "Hello")
    (item,) = (await client.get(f"{PATH}/{made['id']}/input_items")).json["data"]
    assert item["content"] == [{"type": "input_text", "text": "Hello"}]
    assert json.dumps(item)
