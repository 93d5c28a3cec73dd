"""The input items of a kept response as its reader gets them: with ids, and in their long form.

What a caller may leave out when it sends an item (the type of a message, the list around one text)
is put in.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from omni_grpc.core.ids import CallId

JsonObject = dict[str, object]

_PREFIXES: Final = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
}
_decode: Final = msgspec.json.Decoder(dict[str, object]).decode


def item_resources(raws: Sequence[msgspec.Raw], call_id: CallId) -> list[JsonObject]:
    """The items of a response's input, in their order."""
    return [_resource(raw, call_id, place) for place, raw in enumerate(raws)]


def _resource(raw: msgspec.Raw, call_id: CallId, place: int) -> JsonObject:
    item = _decode(raw)
    kind = str(item.get("type") or "message")
    found = {name: value for name, value in item.items() if value is not None}
    found["type"] = kind
    found.setdefault("id", f"{_PREFIXES.get(kind, 'item')}_{call_id.hex}i{place:03x}")
    if kind == "reasoning":
        found.setdefault("summary", [])
    else:
        found.setdefault("status", "completed")
    if kind == "message":
        found["content"] = _content(found.get("content"), is_said=item.get("role") == "assistant")
    return found


def _content(content: object, *, is_said: bool) -> list[object]:
    kind = "output_text" if is_said else "input_text"
    parts = [{"type": kind, "text": content}] if isinstance(content, str) else content
    return [_part(part) for part in parts] if isinstance(parts, list) else []


def _part(part: object) -> object:
    if isinstance(part, dict):
        if part.get("type") == "output_text":
            return {"annotations": [], **part}
        if part.get("type") == "input_image":
            return {"detail": "auto", **part}
    return part
