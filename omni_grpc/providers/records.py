"""A provider's own records of what it generated, for calls whose end nobody here saw.

Asked by the name that the provider gave its answer. What a record counts is what the provider
bills; a record that bills nothing counts nothing.
"""

import asyncio
from typing import Annotated, Final

import msgspec

from omni_grpc.core.usage import Usage
from omni_grpc.providers.errors import ProviderFault
from omni_grpc.providers.faults import BAD_JSON
from omni_grpc.providers.http import Upstream, generation_id_of

LOOKUP_SECONDS_MAX: Final = 10.0
"""Longest wait for a record: nobody's call waits for it, and it can be asked for again."""

_NO_RECORD: Final = 404
_Count = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class _Record(msgspec.Struct, frozen=True):
    """OpenRouter's record: native counts are those it bills by, and any may be null."""

    native_tokens_prompt: _Count | None = None
    native_tokens_completion: _Count | None = None
    native_tokens_reasoning: _Count | None = None
    native_tokens_cached: _Count | None = None
    total_cost: float | None = None
    is_byok: bool | None = None
    finish_reason: str | None = None


class _Envelope(msgspec.Struct, frozen=True):
    data: _Record


_decode: Final = msgspec.json.Decoder(_Envelope).decode


class Records:
    """The records of one provider."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def usage(self, generation_id: str) -> Usage | None:
        """What a generation used; None where there is no record, or none that counts yet.

        Raises:
            ProviderFault: the provider could not be asked, or its answer is no record.
        """
        if generation_id_of(generation_id) is None:
            return None  # no provider gave this name, and it could not be asked for as it is
        upstream = self._upstream
        url = upstream.url("generation").with_query({"id": generation_id})
        patience_s = min(LOOKUP_SECONDS_MAX, upstream.spec.timeouts.total_s)
        due = asyncio.get_running_loop().time() + patience_s
        try:
            body = await upstream.get(url, due)
        except ProviderFault as fault:
            if fault.status == _NO_RECORD:
                return None
            raise
        try:
            record = _decode(body).data
        except BAD_JSON as error:
            why = f"its record of a generation cannot be read ({error})"
            raise upstream.faults.malformed(why) from error
        return _usage_of(record)


def _usage_of(record: _Record) -> Usage | None:
    prompt = _count(record.native_tokens_prompt)
    completion = _count(record.native_tokens_completion)
    if _is_insured(record, completion):
        return Usage(prompt=0, completion=0)
    if prompt is None or completion is None:
        return None
    return Usage(
        prompt=prompt,
        cached_read=_part(record.native_tokens_cached, prompt),
        completion=completion,
        reasoning=_part(record.native_tokens_reasoning, completion),
    )


def _is_insured(record: _Record, completion: int | None) -> bool:
    """OpenRouter's zero completion insurance: failed and empty answers are not billed.

    With a key of one's own behind it (`is_byok`) a cost of zero says nothing.
    """
    if record.total_cost != 0 or record.is_byok:
        return False
    return record.finish_reason == "error" or (not record.finish_reason and not completion)


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)


def _part(value: float | None, whole: int) -> int | None:
    return None if value is None else min(int(value), whole)
