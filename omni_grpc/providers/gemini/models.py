"""What a model's name says of its generation: how it takes its thinking, and what it must be sent.

Generations up to 2.5 take a budget of thinking tokens; from 3 on a level, and every step of tool
calls in a conversation must carry its signature.
"""

import re
from typing import Final

_VERSION: Final = re.compile(r"gemini-(\d{1,3})(?![0-9])")
_LEVELS_FROM: Final = 3


def takes_level(model: str) -> bool:
    """Whether thinking is asked as a level; so it is for a name that tells no version."""
    version = _VERSION.search(model)
    return version is None or int(version[1]) >= _LEVELS_FROM


def level_of(effort: str, model: str) -> str:
    """The level of thinking for an effort, as Google itself maps it: Pro models have no MINIMAL."""
    if effort == "minimal" and "-pro" in model:
        return "LOW"
    return effort.upper()


def needs_signatures(model: str) -> bool:
    """Whether tool calls without a signature are refused."""
    return "gemini-" in model and takes_level(model)
