"""Days and times as commands take them."""

import datetime as dt

from omni_grpc.cli.failures import CommandError

_SHOWN_CHARS_MAX = 40


def moment_of(option: str, text: str) -> dt.datetime:
    """A moment in UTC; a day is its beginning, and what names no time zone is UTC.

    Raises:
        CommandError: the option's text is no time, or one that no calendar has.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option}: {text[:_SHOWN_CHARS_MAX]!r} is no time, such as 2030-12-31 or "
            "2030-12-31T18:00:00+01:00."
        ) from None


def day_of(option: str, text: str) -> dt.date:
    """A day.

    Raises:
        CommandError: the option's text is none.
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{option}: {text[:_SHOWN_CHARS_MAX]!r} is no day, such as 2030-12-31."
        ) from None
