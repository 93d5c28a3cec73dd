"""Ratings of well-known models."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from omni_grpc.core.task import Task

RATING_FACTS_SOURCE: Final = "LiveBench"
RATING_FACTS_DATE: Final = dt.date(2026, 1, 8)

RATING_FACTS: Final[Mapping[str, Mapping[Task | None, int]]] = {}
