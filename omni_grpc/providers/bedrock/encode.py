"""A chat request in the words of Amazon Bedrock's Converse.

The model stands in the path. Whether the answer streams does too, so both bodies are the same.
"""

from typing import Final

from omni_grpc.core.chat import ChatRequest, ResponseFormat, Tool, ToolChoice
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.providers.bedrock.content import Turns, encoded, mark, system_blocks
from omni_grpc.providers.bedrock.makers import model_fields
from omni_grpc.providers.calls import UpstreamCall
from omni_grpc.providers.written import Json, raw_object

_NO_ARGUMENTS: Final = '{"type":"object","properties":{}}'
"""The schema of a tool that has none: Converse demands one."""


def encode_converse(call: UpstreamCall) -> bytes:
    """The body of the request, plain and streamed.

    Raises:
        FieldInvalid: a schema is no JSON, a text no Unicode, or the model cannot do a thing.
    """
    request = call.request
    turns = Turns(call.model)
    body: Json = {"messages": turns.written(request.messages)}
    system = system_blocks(request.messages)
    if system:
        body["system"] = system
    body["inferenceConfig"] = _inference(call)
    tools = _tool_config(request, has_history=turns.has_tools)
    if tools is not None:
        body["toolConfig"] = tools
    form = request.response_format
    if form is not None and form.kind != "text":
        body["outputConfig"] = {"textFormat": _text_format(form)}
    fields, paths = model_fields(call)
    if fields:
        body["additionalModelRequestFields"] = fields
    if paths:
        body["additionalModelResponseFieldPaths"] = paths
    return encoded(body)


def _inference(call: UpstreamCall) -> Json:
    sampling = call.request.sampling
    config: Json = {"maxTokens": call.output_tokens_max}
    if sampling.temperature is not None:
        config["temperature"] = sampling.temperature
    if sampling.top_p is not None:
        config["topP"] = sampling.top_p
    if sampling.stop:
        config["stopSequences"] = sampling.stop
    return config


def _tool_config(request: ChatRequest, *, has_history: bool) -> Json | None:
    choice = request.tool_choice
    if choice is not None and choice.mode == "none":
        if has_history:
            raise FeatureUnsupported(
                "Tools cannot be forbidden there once the conversation holds calls of them; leave "
                "tool_choice out.",
                field="tool_choice",
            )
        return None  # a tool that is not told cannot be called
    if not request.tools:
        if has_history:
            raise FieldInvalid(
                "The conversation holds calls of tools, and there these stand beside the tools' "
                "definitions only; send the tools.",
                field="tools",
            )
        return None
    listed: list[Json] = []
    for place, tool in enumerate(request.tools):
        listed.append({"toolSpec": _tool(tool, place)})
        if tool.cache is not None:
            listed.append(mark(tool.cache))
    config: Json = {"tools": listed}
    if choice is not None:
        config["toolChoice"] = _tool_choice(choice)
    return config


def _tool(tool: Tool, place: int) -> Json:
    schema = raw_object(tool.parameters_json or _NO_ARGUMENTS, f"tools[{place}].parameters")
    spec: Json = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    spec["inputSchema"] = {"json": schema}
    if tool.strict:
        spec["strict"] = True
    return spec


def _tool_choice(choice: ToolChoice) -> Json:
    if choice.name is not None:
        return {"tool": {"name": choice.name}}
    return {"any": {}} if choice.mode == "required" else {"auto": {}}


def _text_format(form: ResponseFormat) -> Json:
    """Structured output; the schema is a text there, and stays as it was written."""
    if form.kind != "json_schema" or form.schema_json is None:
        raise FeatureUnsupported(
            "JSON answers need a schema there: send response_format json_schema with one.",
            field="response_format",
        )
    raw_object(form.schema_json, "response_format.schema")
    schema: Json = {"schema": form.schema_json}
    if form.name is not None:
        schema["name"] = form.name
    if form.description is not None:
        schema["description"] = form.description
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}
