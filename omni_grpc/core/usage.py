"""What an attempt consumed, counted as its provider counts it.

Counts are inclusive, as OpenAI reports them: `prompt` contains cached, audio and image tokens,
`completion` contains reasoning and audio tokens. None means "not reported", zero means zero.
"""

from enum import StrEnum

import msgspec


class UsageSource(StrEnum):
    """Who counted."""

    PROVIDER = "provider"
    ESTIMATE = "estimate"


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one attempt, or of a whole call when its attempts are added up."""

    prompt: int | None = None
    cached_read: int | None = None
    cached_write: int | None = None
    prompt_audio: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    completion_audio: int | None = None
    source: UsageSource = UsageSource.PROVIDER
