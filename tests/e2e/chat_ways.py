"""One chat, asked in four ways: plain and streamed, over gRPC and over REST; told in one form."""

import json
from dataclasses import dataclass
from typing import Any, Final

import grpc
from gateway import Gateway, HttpConnection, Refusal, Tenant, bearer
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc

WAYS: Final = ("grpc plain", "grpc stream", "rest plain", "rest stream")
_FINISHES: Final = {
    pb.FINISH_REASON_STOP: "stop",
    pb.FINISH_REASON_LENGTH: "length",
    pb.FINISH_REASON_TOOL_CALLS: "tool_calls",
    pb.FINISH_REASON_CONTENT_FILTER: "content_filter",
}


@dataclass(frozen=True)
class Chosen:
    """One choice, put together."""

    text: str
    refusal: str
    reasoning: str
    tool_calls: tuple[tuple[str, str, str], ...]
    finish: str
    tokens: tuple[str, ...]
    """Those that came with a log probability."""


@dataclass(frozen=True)
class Answer:
    """A chat that was answered."""

    call_id: str
    model: str
    cost: int
    usage: tuple[int, int]
    choices: tuple[Chosen, ...]

    @property
    def text(self) -> str:
        return self.choices[0].text


@dataclass(frozen=True)
class Refused:
    """A chat that failed, as the transport tells it."""

    status: str | int
    reason: str
    call_id: str
    charged: int | None
    retry_after_s: float | None
    forbids_retry: bool
    field: str | None
    message: str


@dataclass(frozen=True)
class Asked:
    """What is asked. `fields` are REST's; those that a test uses are known to both."""

    text: str = "Say something."
    model: str = "sim/fast"
    fields: tuple[tuple[str, Any], ...] = ()

    def body(self, *, stream: bool) -> bytes:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": self.text}],
            **dict(self.fields),
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(body).encode()

    def prompt(self) -> pb.ChatPrompt:
        prompt = pb.ChatPrompt(
            model=self.model,
            messages=[pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text=self.text)])],
        )
        for name, value in self.fields:
            match name:
                case "tools":
                    for tool in value:
                        function = tool["function"]
                        prompt.tools.add(
                            name=function["name"],
                            parameters_json=json.dumps(function["parameters"]),
                        )
                case "n":
                    prompt.sampling.choice_count = value
                case "top_logprobs":
                    prompt.sampling.top_logprob_count = value
                case "max_completion_tokens":
                    prompt.max_output_token_count = value
                case "reasoning_effort":
                    prompt.reasoning_effort = value
                case _:
                    setattr(prompt.sampling, name, value)
        return prompt


def ask(
    way: str, gateway: Gateway, tenant: Tenant, asked: Asked, request_id: str | None
) -> Answer | Refused:
    """Asks in one of the four ways, with a request id or without one."""
    transport, kind = way.split()
    how = _by_grpc if transport == "grpc" else _by_rest
    return how(gateway, tenant, asked, request_id, stream=kind == "stream")


def answered(
    way: str, gateway: Gateway, tenant: Tenant, asked: Asked, request_id: str | None
) -> Answer:
    """As `ask`, and insists on an answer."""
    found = ask(way, gateway, tenant, asked, request_id)
    assert isinstance(found, Answer), found
    return found


def refused(
    way: str, gateway: Gateway, tenant: Tenant, asked: Asked, request_id: str | None
) -> Refused:
    """As `ask`, and insists on a refusal."""
    found = ask(way, gateway, tenant, asked, request_id)
    assert isinstance(found, Refused), found
    return found


# --- gRPC -----------------------------------------------------------------------------------------
def _by_grpc(
    gateway: Gateway, tenant: Tenant, asked: Asked, request_id: str | None, *, stream: bool
) -> Answer | Refused:
    with grpc.insecure_channel(gateway.grpc, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        stub = pb_grpc.RouterServiceStub(channel)
        metadata = bearer(tenant.api_key)
        prompt = asked.prompt()
        try:
            if stream:
                request = pb.StreamChatRequest(prompt=prompt, request_id=request_id or "")
                return of_events(list(stub.StreamChat(request, metadata=metadata, timeout=60)))
            plain = pb.CompleteChatRequest(prompt=prompt, request_id=request_id or "")
            found = stub.CompleteChat(plain, metadata=metadata, timeout=60).completion
        except grpc.RpcError as failure:
            return _of_refusal(Refusal.of(failure))
        return _of_completion(found, tuple(_chosen(choice) for choice in found.choices))


def of_events(events: list[pb.StreamChatResponse]) -> Answer:
    """What a stream told, which has the shape of the contract."""
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "completion"
    assert set(kinds[1:-1]) <= {"delta"}
    grown: dict[int, pb.Choice] = {}
    for event in events[1:-1]:
        delta = event.delta
        choice = grown.setdefault(delta.choice_index, pb.Choice())
        message = choice.message
        message.refusal += delta.refusal
        message.reasoning += delta.reasoning
        if not message.parts:
            message.parts.add()
        message.parts[0].text += delta.text
        for fragment in delta.tool_calls:
            while len(message.tool_calls) <= fragment.tool_call_index:
                message.tool_calls.add()
            call = message.tool_calls[fragment.tool_call_index]
            call.id, call.name = call.id or fragment.id, call.name or fragment.name
            call.arguments_json += fragment.arguments_json
        choice.logprobs.content.extend(delta.logprobs.content)
        choice.finish_reason = delta.finish_reason or choice.finish_reason
    completion = events[-1].completion
    assert not completion.choices
    assert completion.call_id == events[0].started.call_id
    return _of_completion(completion, tuple(_chosen(grown[index]) for index in sorted(grown)))


def _of_completion(found: pb.ChatCompletion, choices: tuple[Chosen, ...]) -> Answer:
    usage = found.usage
    counts = (usage.prompt_token_count, usage.completion_token_count)
    return Answer(found.call_id, found.model, found.cost_nanousd, counts, choices)


def _chosen(choice: pb.Choice) -> Chosen:
    message = choice.message
    return Chosen(
        text="".join(part.text for part in message.parts),
        refusal=message.refusal,
        reasoning=message.reasoning,
        tool_calls=tuple((call.id, call.name, call.arguments_json) for call in message.tool_calls),
        finish=_FINISHES[choice.finish_reason],
        tokens=tuple(token.token for token in choice.logprobs.content),
    )


def _of_refusal(found: Refusal) -> Refused:
    metadata = found.metadata
    retry = found.details.get("RetryInfo")
    charged = metadata.get("charged_nanousd")
    return Refused(
        status=found.code,
        reason=found.reason or "",
        call_id=metadata["call_id"],
        charged=None if charged is None else int(charged),
        retry_after_s=None if retry is None else retry.retry_delay.ToMilliseconds() / 1000,
        forbids_retry=found.trailers.get("grpc-retry-pushback-ms") == "-1",
        field=found.field,
        message=found.message,
    )


# --- REST -----------------------------------------------------------------------------------------
def _by_rest(
    gateway: Gateway, tenant: Tenant, asked: Asked, request_id: str | None, *, stream: bool
) -> Answer | Refused:
    headers = {} if request_id is None else {"idempotency_key": request_id}
    with HttpConnection(gateway, tenant.api_key) as http:
        found = http.ask(body=asked.body(stream=stream), **headers)
    if found.status != 200:
        return _of_error(found.status, found.headers, found.error)
    if not stream:
        return _of_json(found.json)
    assert found.events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in found.events[:-1]]
    return of_chunks(chunks)


def of_chunks(chunks: list[dict[str, Any]]) -> Answer:
    """What a stream of chunks told; the last one has the usage."""
    assert len({chunk["id"] for chunk in chunks}) == 1
    grown: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            message = grown.setdefault(choice["index"], {"tool_calls": [], "tokens": []})
            for name in ("content", "refusal", "reasoning_content"):
                message[name] = message.get(name, "") + (delta.get(name) or "")
            for fragment in delta.get("tool_calls") or ():
                while len(message["tool_calls"]) <= fragment["index"]:
                    message["tool_calls"].append({"id": "", "name": "", "arguments": ""})
                call, function = message["tool_calls"][fragment["index"]], fragment["function"]
                call["id"] = call["id"] or fragment.get("id") or ""
                call["name"] = call["name"] or function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
            message["tokens"] += _tokens(choice)
            message["finish"] = choice["finish_reason"] or message.get("finish")
    choices = tuple(
        Chosen(
            text=grown[index]["content"],
            refusal=grown[index]["refusal"],
            reasoning=grown[index]["reasoning_content"],
            tool_calls=tuple(
                (call["id"], call["name"], call["arguments"]) for call in grown[index]["tool_calls"]
            ),
            finish=grown[index]["finish"],
            tokens=tuple(grown[index]["tokens"]),
        )
        for index in sorted(grown)
    )
    return _of_usage(chunks[-1], choices)


def _of_json(body: dict[str, Any]) -> Answer:
    choices = []
    for choice in body["choices"]:
        message = choice["message"]
        calls = message.get("tool_calls") or ()
        choices.append(
            Chosen(
                text=message.get("content") or "",
                refusal=message.get("refusal") or "",
                reasoning=message.get("reasoning_content") or "",
                tool_calls=tuple(
                    (call["id"], call["function"]["name"], call["function"]["arguments"])
                    for call in calls
                ),
                finish=choice["finish_reason"],
                tokens=tuple(_tokens(choice)),
            )
        )
    return _of_usage(body, tuple(choices))


def _of_usage(body: dict[str, Any], choices: tuple[Chosen, ...]) -> Answer:
    usage = body["usage"]
    counts = (usage["prompt_tokens"], usage["completion_tokens"])
    return Answer(body["id"], body["model"], usage["cost_nanousd"], counts, choices)


def _tokens(choice: dict[str, Any]) -> list[str]:
    return [token["token"] for token in (choice.get("logprobs") or {}).get("content") or ()]


def _of_error(status: int, headers: dict[str, str], error: dict[str, Any]) -> Refused:
    facts = error["omni"]
    charged = facts.get("charged_nanousd")
    after = headers.get("retry-after-ms")
    assert (after is None) == ("retry-after" not in headers)
    return Refused(
        status=status,
        reason=facts["reason"],
        call_id=facts.get("call_id", headers["x-request-id"]),
        charged=None if charged is None else int(charged),
        retry_after_s=None if after is None else int(after) / 1000,
        forbids_retry=headers.get("x-should-retry") == "false",
        field=error["param"],
        message=error["message"],
    )
