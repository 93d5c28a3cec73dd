"""A chat request in the words of Google's generateContent."""

from typing import Final

import msgspec

from omni_grpc.core.chat import ChatRequest, ResponseFormat, Sampling, Tool
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.gemini.contents import contents_of, system_parts
from omni_grpc.providers.gemini.models import level_of, takes_level
from omni_grpc.providers.written import raw_object

_BUDGETS: Final = {
    "none": 0,
    "minimal": 1_024,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 24_576,
}
"""Tokens by effort, as Google's own OpenAI-compatible API maps them; the last is the most that
every model takes that thinks by a budget."""

_Json = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode


def encode_chat(call: UpstreamCall) -> bytes:
    """The body of the request.

    Raises:
        FieldInvalid: a schema or arguments are no JSON object, a part cannot be written, or a text
            is no Unicode.
    """
    request = call.request
    body: _Json = {"contents": contents_of(request.messages, call.model)}
    if system := system_parts(request.messages):
        body["systemInstruction"] = {"parts": system}
    if request.tools:
        body |= _tools(request)
    if request.safety:
        body["safetySettings"] = [
            {"category": one.category, "threshold": one.threshold} for one in request.safety
        ]
    generation: _Json = {"maxOutputTokens": call.output_tokens_max}
    generation |= _sampling(request.sampling)
    if request.response_format is not None:
        generation |= _response_format(request.response_format)
    if thinking := _thinking(request, call.model):
        generation["thinkingConfig"] = thinking
    body["generationConfig"] = generation
    try:
        return _encode(body)
    except UnicodeEncodeError as error:
        raise FieldInvalid(
            "The request holds a lone surrogate, which is no Unicode text; send valid UTF-8.",
            field="messages",
        ) from error


# --- tools and forms --------------------------------------------------------------------------
def _tools(request: ChatRequest) -> _Json:
    declarations = [_declaration(tool, index) for index, tool in enumerate(request.tools)]
    wire: _Json = {"tools": [{"functionDeclarations": declarations}]}
    if calling := _calling(request):
        wire["toolConfig"] = {"functionCallingConfig": calling}
    return wire


def _declaration(tool: Tool, index: int) -> _Json:
    wire: _Json = {"name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    if tool.parameters_json is not None:
        field = f"tools[{index}].parameters"
        wire["parametersJsonSchema"] = raw_object(tool.parameters_json, field)
    return wire


def _calling(request: ChatRequest) -> _Json | None:
    choice = request.tool_choice
    if choice is not None and choice.name is not None:
        return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    mode = None if choice is None else choice.mode
    if mode == "required":
        return {"mode": "ANY"}
    if mode == "none":
        return {"mode": "NONE"}
    if any(tool.strict for tool in request.tools):
        return {"mode": "VALIDATED"}
    return None if mode is None else {"mode": "AUTO"}


def _response_format(form: ResponseFormat) -> _Json:
    if form.kind == "text":
        return {}
    wire: _Json = {"responseMimeType": "application/json"}
    if form.kind == "json_schema" and form.schema_json is not None:
        wire["responseJsonSchema"] = raw_object(form.schema_json, "response_format.schema")
    return wire


# --- thinking ---------------------------------------------------------------------------------
def _thinking(request: ChatRequest, model: str) -> _Json:
    """How much the model shall think, and whether it tells of it.

    A budget is exacter than an effort and wins, since Google takes only one of them.
    """
    effort, budget = request.reasoning_effort, request.reasoning_budget
    wire: _Json = {}
    if budget is None and effort is not None:
        if effort not in _BUDGETS:
            raise FieldInvalid(
                f"reasoning_effort must be one of {', '.join(_BUDGETS)}.", field="reasoning_effort"
            )
        if takes_level(model) and effort != "none":
            wire["thinkingLevel"] = level_of(effort, model)
        else:
            budget = _BUDGETS[effort]
    if budget is not None:
        wire["thinkingBudget"] = budget
    if request.reasoning_summary is not None or (wire and budget != 0):
        wire["includeThoughts"] = True
    return wire


# --- sampling ---------------------------------------------------------------------------------
def _sampling(sampling: Sampling) -> _Json:
    settings: _Json = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "frequencyPenalty": sampling.frequency_penalty,
        "presencePenalty": sampling.presence_penalty,
        "seed": sampling.seed,
        "candidateCount": sampling.choice_count,
        "responseLogprobs": sampling.logprobs,
        "logprobs": sampling.top_logprobs or None,
        "stopSequences": sampling.stop or None,
    }
    return {name: value for name, value in settings.items() if value is not None}
