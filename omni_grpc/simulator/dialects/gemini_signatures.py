"""Thought signatures: made for a part of an answer, and verified when the part comes back.

A signature is bound to the content of its part, so one that moved to another part, or whose part
was changed on its way, is found out.
"""

import base64
import binascii
import hashlib
import re
from typing import Final

import msgspec

from omni_grpc.simulator.dialect import Rejected
from omni_grpc.simulator.dialects.gemini_body import Content, Part

__all__ = ("check", "is_strict", "sign_call", "sign_text")

_KEY: Final = b"the simulator's thoughts"
_NONCE_BYTES: Final = 8
_DIGEST_BYTES: Final = 24
_STRICT_FROM: Final = 3
_VERSION: Final = re.compile(r"gemini-(\d+)")
_STAND_INS: Final = frozenset(
    {"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"}
)
"""What Google documents for calls that another model made."""


def is_strict(model: str) -> bool:
    """Whether the model refuses calls without a signature: Gemini from 3 on."""
    found = _VERSION.search(model)
    return found is not None and int(found[1]) >= _STRICT_FROM


def sign_text(text: str, nonce: str) -> str:
    """The signature of a part of text."""
    return _signature(_text_facts(text), _nonce(nonce))


def sign_call(name: str, arguments_json: bytes, nonce: str) -> str:
    """The signature of a part that calls a function."""
    return _signature(_call_facts(name, arguments_json), _nonce(nonce))


def check(contents: list[Content], model: str) -> int:
    """How many signatures came back, each in the part that it was made for.

    Raises:
        Rejected: 400, one is wrong, or is missing from the turn that goes on.
    """
    count = 0
    for index, content in enumerate(contents):
        for place, part in enumerate(content.parts):
            if part.thought_signature is not None:
                _check_part(part, f"contents[{index}].parts[{place}]")
                count += part.thought_signature not in _STAND_INS
    if is_strict(model):
        _check_missing(contents)
    return count


def _check_part(part: Part, where: str) -> None:
    sent = part.thought_signature or ""
    if sent in _STAND_INS:
        return
    param = f"{where}.thought_signature"
    try:
        data = base64.b64decode(sent.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        message = f"Invalid value at '{param}' (TYPE_BYTES), Base64 decoding failed."
        raise Rejected(400, message, param=param) from None
    call = part.function_call
    facts = (
        _text_facts(part.text or "") if call is None else _call_facts(call.name, bytes(call.args))
    )
    if data != _signed(facts, data[:_NONCE_BYTES]):
        raise Rejected(400, "Corrupted thought signature.", param=param)


def _check_missing(contents: list[Content]) -> None:
    """The first call of each step of the current turn carries a signature."""
    begin = max((i for i, one in enumerate(contents) if one.is_prompt), default=0)
    for content in contents[begin:]:
        calls = [(i, part) for i, part in enumerate(content.parts) if part.function_call]
        if calls and calls[0][1].thought_signature is None:
            place, part = calls[0]
            name = part.function_call.name if part.function_call else ""
            message = (
                "Function call is missing a thought_signature in functionCall parts. This is "
                "required for tools to work correctly. Additional data, function call "
                f"`default_api:{name}`, position {place + 1}."
            )
            raise Rejected(400, message)


def _text_facts(text: str) -> bytes:
    return b"text\0" + text.encode("utf-8", "surrogatepass")


def _call_facts(name: str, arguments_json: bytes) -> bytes:
    arguments = msgspec.json.encode(msgspec.json.decode(arguments_json), order="sorted")
    return b"call\0" + name.encode() + b"\0" + arguments


def _nonce(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_NONCE_BYTES).digest()


def _signature(facts: bytes, nonce: bytes) -> str:
    return base64.b64encode(_signed(facts, nonce)).decode()


def _signed(facts: bytes, nonce: bytes) -> bytes:
    return nonce + hashlib.blake2b(nonce + facts, digest_size=_DIGEST_BYTES, key=_KEY).digest()
