"""The functions that a model may call, and how they may be called.

Agents put functions into namespaces, which chats do not have: to a model a function of a namespace
is one whose name begins with it. What it calls is told with both names again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from omni_grpc.core.chat import Tool, ToolChoice, ToolMode
from omni_grpc.core.errors import FeatureUnsupported, FieldInvalid
from omni_grpc.core.limits import TOOL_COUNT_MAX
from omni_grpc.rest_api.responses_wire.wire import WireTool, WireToolChoice

_JOINT: Final = "__"
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tools(msgspec.Struct, frozen=True):
    """The functions, and of each that is in a namespace its own name and that of the namespace."""

    functions: tuple[Tool, ...]
    spaced: Mapping[str, tuple[str, str]]

    def own_name(self, name: str) -> tuple[str | None, str]:
        """The namespace and the name of a function that a model calls."""
        return self.spaced.get(name, (None, name))


def full_name(namespace: str | None, name: str) -> str:
    """The name by which a model knows a function."""
    return name if namespace is None else f"{namespace}{_JOINT}{name}"


def read_tools(wires: Sequence[WireTool]) -> Tools:
    """Reads `tools`.

    Raises:
        FieldInvalid: a name is none, or stands twice; there are too many.
        FeatureUnsupported: a tool that OpenAI's servers would run.
    """
    functions: dict[str, Tool] = {}
    spaced: dict[str, tuple[str, str]] = {}
    for wire, space, field in _flat(wires):
        function = _function(wire, space, field)
        if function.name in functions:
            raise _invalid(f"{field}.name", f"stands twice: {function.name}")
        functions[function.name] = function
        if space is not None and wire.name is not None:
            spaced[function.name] = (space, wire.name)
    if len(functions) > TOOL_COUNT_MAX:
        raise _invalid("tools", f"has {len(functions)} functions; at most {TOOL_COUNT_MAX} may be")
    return Tools(tuple(functions.values()), spaced)


def _flat(wires: Sequence[WireTool]) -> Iterator[tuple[WireTool, str | None, str]]:
    """Each function with its namespace and its place."""
    for place, wire in enumerate(wires):
        field = f"tools[{place}]"
        if wire.type != "namespace":
            yield wire, None, field
            continue
        if wire.name is None:
            raise _invalid(f"{field}.name", "is required")
        for at, inner in enumerate(wire.tools or ()):
            yield inner, wire.name, f"{field}.tools[{at}]"


def _function(wire: WireTool, space: str | None, field: str) -> Tool:
    if wire.type != "function":
        raise FeatureUnsupported(
            f"{field}.type is {wire.type[:64]!r}, which this service does not run; only functions "
            "are supported. Leave the tool out, or turn it off in the client's settings.",
            field=f"{field}.type",
        )
    name = full_name(space, wire.name or "")
    if not wire.name or _NAME.fullmatch(name) is None:
        raise _invalid(
            f"{field}.name",
            "must be letters, digits, underscores or hyphens, at most 64 with its namespace",
        )
    return Tool(
        name=name,
        description=wire.description,
        parameters_json=json_object(wire.parameters, f"{field}.parameters"),
        strict=wire.strict,
    )


def chosen_tools(
    wire: ToolMode | WireToolChoice | None, tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The functions that may be called, and how.

    Raises:
        FieldInvalid: the choice names no function.
        FeatureUnsupported: it names a tool that OpenAI's servers would run.
    """
    if wire is None or isinstance(wire, str):
        if wire == "required" and not tools:
            raise _invalid("tool_choice", "needs tools to choose from")
        choice = None if wire is None or not tools else ToolChoice(mode=wire)
        return tools, choice
    if wire.type == "function":
        if all(tool.name != wire.name for tool in tools):
            raise _invalid("tool_choice.name", "names none of the tools")
        return tools, ToolChoice(name=wire.name)
    if wire.type != "allowed_tools":
        raise FeatureUnsupported(
            f"tool_choice.type is {wire.type[:64]!r}; use function or allowed_tools.",
            field="tool_choice.type",
        )
    allowed = set()
    for place, tool in enumerate(wire.tools or ()):
        if tool.type != "function" or all(known.name != tool.name for known in tools):
            raise _invalid(f"tool_choice.tools[{place}]", "names none of the functions of tools")
        allowed.add(tool.name)
    if not allowed:
        raise _invalid("tool_choice.tools", "must name at least one tool")
    kept = tuple(tool for tool in tools if tool.name in allowed)
    return kept, ToolChoice(mode=wire.mode or "auto")


def json_object(raw: msgspec.Raw, field: str) -> str | None:
    """The text of a JSON object as it was written; None where there is none.

    Raises:
        FieldInvalid: it is another value.
    """
    text = bytes(raw)
    if text in (b"", b"null"):
        return None
    if not text.startswith(b"{"):
        raise _invalid(field, "must be a JSON object")
    return text.decode()


def _invalid(field: str, why: str) -> FieldInvalid:
    return FieldInvalid(f"{field} {why}.", field=field)
