"""What an attempt consumed, counted as its provider counts it.

Counts of tokens are inclusive, as OpenAI reports them: `prompt` contains cached, audio and image
tokens, `completion` contains reasoning, audio and image tokens, `cached_write` contains what was
written for an hour. Images, seconds of audio and characters are counted beside them, where an offer
is priced by those. None means "not reported", zero means zero.
"""

from enum import StrEnum

import msgspec


class UsageSource(StrEnum):
    """Who counted."""

    PROVIDER = "provider"
    ESTIMATE = "estimate"


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one attempt used, or a whole call when its attempts are added up.

    `image` counts generated images, `second` whole seconds of audio, rounded up, `character`
    characters of text that was spoken; all others are tokens.
    """

    prompt: int | None = None
    cached_read: int | None = None
    cached_write: int | None = None
    prompt_audio: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    completion_audio: int | None = None
    cached_write_1h: int | None = None
    prompt_image: int | None = None
    completion_image: int | None = None
    image: int | None = None
    second: int | None = None
    character: int | None = None
    source: UsageSource = UsageSource.PROVIDER
