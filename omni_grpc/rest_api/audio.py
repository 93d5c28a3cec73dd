"""`POST /v1/audio/speech`, whose bytes go out as they come in, and `POST /v1/audio/transcriptions`.

A speech that fails after its first byte ends in a closed connection: audio has no form for an
error. Its cost then stands in its usage record, as always.
"""

import asyncio
from contextlib import aclosing
from typing import Final

from omni_grpc.completion import Call, Gates, Media
from omni_grpc.core.media import (
    MediaCompletion,
    SpeechStarted,
    Transcript,
    TranscriptionRequest,
)
from omni_grpc.rest_api.exchange import BASE_HEADERS, Exchange
from omni_grpc.rest_api.media_answer import JSON, answer_plain, offer_headers
from omni_grpc.rest_api.openai.form_body import read_form
from omni_grpc.rest_api.openai.media_wire import read_speech, read_transcription

PATH: Final = "/v1/audio/transcriptions"
SPEECH_PATH: Final = "/v1/audio/speech"

UPLOAD_BYTES_MAX: Final = 25 * 1024 * 1024 + 64 * 1024
"""Largest form: OpenAI's own 25 MB for a file, and its other fields."""

_TEXT: Final = b"text/plain; charset=utf-8"
_JSON_FORMATS: Final = frozenset({"json", "verbose_json"})


class SpeechRoute:
    """Speaks for the door."""

    def __init__(self, media: Media, gates: Gates) -> None:
        self._media = media
        self._gates = gates

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """Reads the body, then sends audio as it comes in."""
        with self._gates.metered(call):
            call.request_id = exchange.request_id()
            request = read_speech(await exchange.body())
            with exchange.watched():
                async with aclosing(self._media.speak(call, request)) as parts:
                    async for part in parts:
                        if isinstance(part, bytes):
                            await exchange.send_events(part)
                        elif isinstance(part, SpeechStarted):
                            kind = (b"content-type", part.content_type.encode())
                            await exchange.start_bytes([*offer_headers(part), kind, *BASE_HEADERS])
                        else:
                            await exchange.end_events(b"")


class TranscriptionsRoute:
    """Writes down what is said, for the door."""

    def __init__(self, media: Media, gates: Gates) -> None:
        self._media = media
        self._gates = gates

    async def __call__(self, exchange: Exchange, call: Call) -> None:
        """Reads the form, transcribes, sends what the provider wrote."""

        async def read() -> TranscriptionRequest:
            body = await exchange.body(UPLOAD_BYTES_MAX)
            form = await asyncio.to_thread(read_form, body, exchange.content_type)
            return read_transcription(form)

        await answer_plain(exchange, call, self._gates, read, self._media.transcribe, _write)


def _write(
    found: MediaCompletion[Transcript], request: TranscriptionRequest
) -> tuple[bytes, bytes]:
    return found.answer.body, JSON if request.format in _JSON_FORMATS else _TEXT
