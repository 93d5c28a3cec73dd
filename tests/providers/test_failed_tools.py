"""The result of a tool that failed: by a flag where a dialect has one, else in words."""

import json
from typing import Any

import pytest
from provider_calls import make_call, make_spec

from omni_grpc.core.chat import ImagePart, Message, Part, TextPart, Tool, ToolCall
from omni_grpc.providers.registry import DIALECTS

CALL = Message(role="assistant", tool_calls=(ToolCall(id="c1", name="f", arguments_json="{}"),))
PIXEL = ImagePart(url="data:image/png;base64,AAAA")
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
Content = str | tuple[Part, ...] | None


def sent(dialect: str, content: Content, *, failed: bool = True, model: str = CLAUDE) -> Any:
    """What the provider is sent in place of the result."""
    result = Message(role="tool", tool_call_id="c1", content=content, tool_failed=failed)
    asked = Message(role="user", content="Hi")
    call = make_call(model=model, messages=(asked, CALL, result), tools=(Tool(name="f"),))
    body = json.loads(DIALECTS[dialect]().encode(call, make_spec(), stream=False).body)
    match dialect:
        case "responses":
            return body["input"][-1]
        case "gemini":
            return body["contents"][-1]["parts"][0]["functionResponse"]["response"]
        case "bedrock":
            return body["messages"][-1]["content"][0]["toolResult"]
        case "anthropic":
            return body["messages"][-1]["content"][0]
        case _:
            return body["messages"][-1]


def said(wire: Any) -> Any:
    return wire.get("output", wire.get("content"))


@pytest.mark.parametrize("dialect", ["openai", "responses", "cohere"])
def test_without_a_flag_the_text_says_it_once(dialect: str) -> None:
    assert said(sent(dialect, "gone")) == "Error: gone"
    assert said(sent(dialect, None)) == "Error: "
    first, second = said(sent(dialect, (TextPart(text="a"), TextPart(text="b"))))
    assert (first["text"], second["text"]) == ("Error: a", "b")
    assert said(sent(dialect, "gone", failed=False)) == "gone"


@pytest.mark.parametrize("dialect", ["openai", "responses", "cohere"])
def test_it_is_said_before_what_is_no_text(dialect: str) -> None:
    words, image = said(sent(dialect, (PIXEL,)))
    assert words["text"] == "Error: "
    assert "image" in image["type"]


def test_anthropic_has_a_flag_and_takes_no_silent_failure() -> None:
    text = [{"type": "text", "text": "gone"}]
    plain = {"type": "tool_result", "tool_use_id": "c1", "content": text}
    assert sent("anthropic", "gone") == plain | {"is_error": True}
    assert sent("anthropic", "gone", failed=False) == plain
    assert sent("anthropic", "")["content"] == [{"type": "text", "text": "Error"}]


@pytest.mark.parametrize("model", [CLAUDE, "us.amazon.nova-pro-v1:0"])
def test_bedrock_has_a_status_for_some_makers(model: str) -> None:
    plain = {"toolUseId": "c1", "content": [{"text": "gone"}]}
    assert sent("bedrock", "gone", model=model) == plain | {"status": "error"}
    assert sent("bedrock", "gone", model=model, failed=False) == plain
    assert sent("bedrock", "", model=model)["content"] == [{"text": "Error"}]


def test_bedrock_says_it_in_words_to_the_others() -> None:
    found = sent("bedrock", "gone", model="mistral.mistral-large-2407-v1:0")
    assert found == {"toolUseId": "c1", "content": [{"text": "Error: gone"}]}


def test_gemini_has_a_key_for_errors() -> None:
    assert sent("gemini", "gone") == {"error": "gone"}
    assert sent("gemini", '{"a": 1}') == {"error": '{"a": 1}'}
    assert sent("gemini", "") == {"error": "Error"}
    assert sent("gemini", "gone", failed=False) == {"output": "gone"}
    assert sent("gemini", '{"error": 1}', failed=False) == {"error": 1}  # as the tool wrote it
