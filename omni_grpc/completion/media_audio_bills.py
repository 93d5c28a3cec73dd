"""The bills of speech and transcriptions.

Audio's length is bounded by its bytes: below `COMPRESSED_BYTES_PER_SECOND_MIN` there is silence
alone, and what that lasts beyond the hold is the operator's loss, as all that is billed above one.
"""

from typing import Final

import msgspec

from omni_grpc.catalog import Modality, Mode, Offer
from omni_grpc.catalog.tokens import count_text, upper_bound
from omni_grpc.completion.media_bill import Bill, Brought
from omni_grpc.core.audio import pcm_seconds
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.media import SpeechRequest, Transcript, TranscriptionRequest
from omni_grpc.core.money import Price, Unit
from omni_grpc.core.usage import Usage, UsageSource

SPEECH_CHARS_MAX: Final = 4_096
"""Longest text that is spoken: OpenAI's own limit."""

SPEECH_TOKENS_PER_CHAR: Final = 8
"""Bound of audio tokens a character: at 15 characters and 21 tokens a second it is 1.4."""

SPEECH_TOKENS_MIN: Final = 256

SPEECH_TOKENS_PER_SECOND: Final = 21
"""By which speech is estimated that was left before its provider told."""

SPEECH_BYTES_PER_SECOND: Final = {
    "mp3": 16_000, "opus": 8_000, "aac": 16_000, "flac": 32_000, "wav": 48_000, "pcm": 48_000,
}  # fmt: skip

COMPRESSED_BYTES_PER_SECOND_MIN: Final = 750
"""Speech at 6 kbit/s, the lowest rate of the codecs that are taken: the bound of its length."""

COMPRESSED_BYTES_PER_SECOND: Final = 4_000
"""A common rate of compressed speech: its estimate where no provider told the length."""

HEARD_TOKENS_PER_SECOND: Final = 10
"""Audio tokens a second in OpenAI's scheme."""

HEARD_TOKENS_PER_SECOND_BOUND: Final = 40
"""Google's scheme has 32."""

INSTRUCTION_TOKENS_BOUND: Final = 128
"""What a model of chats is told beside the audio."""

TRANSCRIPT_TOKENS_PER_SECOND_BOUND: Final = 20
"""Fast speech in a language of many tokens."""

TRANSCRIPT_TOKENS_MIN: Final = 512


class SpeechBill(Bill):
    """Speech costs the characters of its text, or tokens of text and audio."""

    mode = Mode.SPEECH

    def __init__(self, request: SpeechRequest) -> None:
        if not 1 <= len(request.text) <= SPEECH_CHARS_MAX:
            raise FieldInvalid(
                f"input has {len(request.text)} characters; send 1 to {SPEECH_CHARS_MAX}.",
                field="input",
            )
        self._request = request
        self._said = request.text + (request.instructions or "")
        self.size_bytes = len(self._said)

    def unpriced(self, price: Price) -> str | None:
        """Characters or tokens must have a price."""
        priced = price.priced(Unit.CHARACTER) or price.priced(Unit.COMPLETION)
        return None if priced else "neither characters nor tokens of speech have a price"

    def most(self, price: Price) -> Usage:
        """The characters, or the tokens that they can become."""
        chars = len(self._request.text)
        if price.priced(Unit.CHARACTER):
            return Usage(character=chars)
        return Usage(
            prompt=upper_bound(self._said),
            completion=SPEECH_TOKENS_MIN + chars * SPEECH_TOKENS_PER_CHAR,
        )

    def told(self, price: Price, usage: Usage) -> Usage | None:
        """The provider's tokens; characters count themselves."""
        if price.priced(Unit.CHARACTER):
            return None
        return usage if usage.prompt is not None and usage.completion is not None else None

    def estimate(self, price: Price, brought: Brought) -> Usage:
        """All characters, which a provider reads before it speaks, or about the tokens."""
        if price.priced(Unit.CHARACTER):
            return Usage(character=len(self._request.text))
        rate = SPEECH_BYTES_PER_SECOND[self._request.format]
        return Usage(
            prompt=count_text(self._said),
            completion=-(-brought.audio_bytes * SPEECH_TOKENS_PER_SECOND // rate),
            source=UsageSource.ESTIMATE,
        )


class TranscriptionBill(Bill):
    """Transcriptions cost the seconds of the audio, or tokens of audio and text."""

    mode = Mode.TRANSCRIPTION

    def __init__(self, request: TranscriptionRequest) -> None:
        content = request.file.content
        if not content:
            raise FieldInvalid("file is empty.", field="file")
        self._request = request
        exact = pcm_seconds(content)
        self._seconds_max = exact or -(-len(content) // COMPRESSED_BYTES_PER_SECOND_MIN)
        self._seconds = exact or -(-len(content) // COMPRESSED_BYTES_PER_SECOND)

    def heard_by(self, offer: Offer) -> bool:
        """Whether a model of chats takes audio."""
        return offer.mode is Mode.CHAT and Modality.AUDIO in offer.input_modalities

    def unpriced(self, price: Price) -> str | None:
        """Seconds or audio tokens must have a price."""
        priced = price.priced(Unit.SECOND) or price.priced(Unit.PROMPT_AUDIO)
        return None if priced else "audio input has no price"

    def most(self, price: Price) -> Usage:
        """The longest that so many bytes can last, or the tokens of that."""
        seconds = self._seconds_max
        if price.priced(Unit.SECOND):
            return Usage(second=seconds)
        written = TRANSCRIPT_TOKENS_MIN + seconds * TRANSCRIPT_TOKENS_PER_SECOND_BOUND
        return Usage(
            prompt=INSTRUCTION_TOKENS_BOUND
            + upper_bound((self._request.prompt or "") + (self._request.language or ""))
            + seconds * HEARD_TOKENS_PER_SECOND_BOUND,
            completion=written,
        )

    def told(self, price: Price, usage: Usage) -> Usage | None:
        """The provider's seconds or tokens, whichever it is paid by."""
        if price.priced(Unit.SECOND):
            return None if usage.second is None else Usage(second=usage.second)
        if usage.prompt is None or usage.completion is None:
            return None
        return msgspec.structs.replace(usage, second=None)

    def estimate(self, price: Price, brought: Brought) -> Usage:
        """The audio, which is charged also where nothing came, and the text that came."""
        if price.priced(Unit.SECOND):
            return Usage(second=self._seconds, source=UsageSource.ESTIMATE)
        heard = self._seconds * HEARD_TOKENS_PER_SECOND
        answer = brought.answer
        return Usage(
            prompt=heard + count_text(self._request.prompt or ""),
            prompt_audio=heard,
            completion=count_text(answer.text) if isinstance(answer, Transcript) else 0,
            source=UsageSource.ESTIMATE,
        )
