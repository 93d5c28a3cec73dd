import datetime as dt

import pytest

from omni_grpc.cli.failures import CommandError
from omni_grpc.cli.moments import day_of, moment_of


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2030-12-31", 0), ("2030-12-31T18:00", 18), ("2030-12-31T18:00:00+01:00", 17)],
)
def test_a_day_begins_at_midnight_and_times_are_utc_unless_they_say_otherwise(
    text: str, hour: int
) -> None:
    assert moment_of("--to", text) == dt.datetime(2030, 12, 31, hour, tzinfo=dt.UTC)


@pytest.mark.parametrize("text", ["soon", "", "2030-13-01", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(CommandError, match=r"^--expires: '.*' is no time, such as 2030-12-31"):
        moment_of("--expires", text)


def test_a_day_has_no_time() -> None:
    assert day_of("--deprecated-from", "2030-12-31") == dt.date(2030, 12, 31)
    with pytest.raises(CommandError, match=r"^--deprecated-from: '2030-12-31T18:00' is no day"):
        day_of("--deprecated-from", "2030-12-31T18:00")
