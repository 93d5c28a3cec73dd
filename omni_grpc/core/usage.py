"""What an attempt consumed, counted as its provider counts it.

Counts of tokens are inclusive, as OpenAI reports them: `prompt` contains cached, audio and image
tokens, `completion` contains reasoning, audio and image tokens, `cached_write` contains what was
written for an hour. Images, seconds of audio and characters are counted beside them, where an offer
is priced by those. None means "not reported", zero means zero.
"""

from collections.abc import Sequence
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


COMMON_COUNTS = 7
"""So many of the counts are stored one by one: those that chats have."""

_NO_RARE_COUNTS = (None,) * 6


def rare_counts(usage: Usage) -> tuple[int | None, ...] | None:
    """The six counts that few attempts have, in the order of their fields; None if it has none."""
    counts = (
        usage.cached_write_1h,
        usage.prompt_image,
        usage.completion_image,
        usage.image,
        usage.second,
        usage.character,
    )
    return None if counts == _NO_RARE_COUNTS else counts


def usage_of(
    common: Sequence[int | None],
    rare: Sequence[int | None] | None,
    source: UsageSource = UsageSource.PROVIDER,
) -> Usage:
    """The usage of counts as they are stored: the common ones, and the rare ones if there are any.

    Raises:
        ValueError: there are not as many of them as are stored.
    """
    prompt, cached_read, cached_write, prompt_audio, completion, reasoning, said = common
    cached_write_1h, prompt_image, completion_image, image, second, character = (
        rare or _NO_RARE_COUNTS
    )
    return Usage(
        prompt=prompt,
        cached_read=cached_read,
        cached_write=cached_write,
        prompt_audio=prompt_audio,
        completion=completion,
        reasoning=reasoning,
        completion_audio=said,
        cached_write_1h=cached_write_1h,
        prompt_image=prompt_image,
        completion_image=completion_image,
        image=image,
        second=second,
        character=character,
        source=source,
    )
