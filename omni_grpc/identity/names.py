"""Names that callers choose or send: checked here, before anything is done with them.

Every bad name is a FieldInvalid with the field and the rule, and never with the name itself,
which may hold anything.
"""

import re
import unicodedata

from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import DISPLAY_NAME_CHARS_MAX

KEY_PREFIX_CHARS = 12
KEY_PREFIX_PATTERN = "[0-9a-hjkmnp-tv-z]{12}"
"""Lower-case Crockford base32: no letter in it looks like a digit in it."""

_SLUG = re.compile("[a-z][a-z0-9-]{1,62}")

_UNSHOWABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters (NUL among them), lone surrogates, line and paragraph separators."""


def check_slug(slug: str, *, field: str) -> str:
    """The slug itself.

    Raises:
        FieldInvalid: it is not of the form.
    """
    if not _SLUG.fullmatch(slug):
        raise FieldInvalid(
            f"`{field}` must be 2 to 63 characters: a lower-case letter, "
            "then lower-case letters, digits and hyphens.",
            field=field,
        )
    return slug


def check_display_name(name: str, *, field: str = "display_name") -> str:
    """The display name itself; it may be empty.

    Raises:
        FieldInvalid: it is too long or holds a character that cannot be shown on one line.
    """
    return check_line(name, field=field, chars_max=DISPLAY_NAME_CHARS_MAX)


def check_line(text: str, *, field: str, chars_max: int, empty: bool = True) -> str:
    """The text itself, of at most `chars_max` characters.

    Raises:
        FieldInvalid: it is too long, holds what cannot be shown on one line, or is empty where
            that may not be.
    """
    if not empty and not text:
        raise FieldInvalid(f"`{field}` is required.", field=field)
    if len(text) > chars_max:
        raise FieldInvalid(f"`{field}` must have at most {chars_max} characters.", field=field)
    if any(unicodedata.category(char) in _UNSHOWABLE for char in text):
        raise FieldInvalid(
            f"`{field}` must be valid Unicode on one line, without control characters.",
            field=field,
        )
    return text


def format_org_name(slug: str) -> str:
    """`orgs/{org}`."""
    return f"orgs/{slug}"


def format_team_name(slug: str, team: str) -> str:
    """`orgs/{org}/teams/{team}`."""
    return f"orgs/{slug}/teams/{team}"


def format_environment_name(slug: str, team: str, environment: str) -> str:
    """`orgs/{org}/teams/{team}/environments/{environment}`."""
    return f"orgs/{slug}/teams/{team}/environments/{environment}"


def format_user_name(slug: str, code: str) -> str:
    """`orgs/{org}/users/{user}`."""
    return f"orgs/{slug}/users/{code}"


def format_key_name(slug: str, prefix: str) -> str:
    """`orgs/{org}/apiKeys/{prefix}`."""
    return f"orgs/{slug}/apiKeys/{prefix}"
