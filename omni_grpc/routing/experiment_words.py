"""What a difference between two arms says, in plain words: how much, which way, how sure."""

from enum import StrEnum
from typing import Final

from omni_grpc.routing.experiment_statistics import Interval


class Metric(StrEnum):
    """What arms are compared by; amounts are in nano-dollars, times in milliseconds."""

    COST = "cost_per_call"
    ERRORS = "error_rate"
    LATENCY_P50 = "latency_p50"
    LATENCY_P95 = "latency_p95"
    TOKENS = "tokens_per_call"
    SAVED = "saved_per_call"


METRIC_WORDS: Final = {
    Metric.COST: "cost per call",
    Metric.ERRORS: "error rate",
    Metric.LATENCY_P50: "median latency",
    Metric.LATENCY_P95: "latency at the 95th percentile",
    Metric.TOKENS: "tokens per call",
    Metric.SAVED: "savings per call",
}


def sentence(
    arm: str,
    control: str,
    metric: Metric,
    absolute: Interval,
    share_of: Interval | None,
    *,
    shown: bool,
) -> str:
    """What a difference says: how much, in which direction, from where to where."""
    if share_of is not None:
        value, low, high, unit = share_of.value, share_of.low, share_of.high, "%"
        scale = 100.0
    elif metric is Metric.ERRORS:
        value, low, high, unit = absolute.value, absolute.low, absolute.high, "points"
        scale = 100.0
    else:
        value, low, high, unit = absolute.value, absolute.low, absolute.high, "USD"
        scale = 1e-9
    ends = [None if end is None else end * scale for end in (low, high)]
    name = METRIC_WORDS[metric]
    if not shown:
        reach = f"{_signed(ends[0], unit)} to {_signed(ends[1], unit)}"
        return f"{name}: no difference is shown ({arm}: {reach})."
    word = "lower" if value < 0 else "higher"
    inner, outer = (ends[1], ends[0]) if value < 0 else (ends[0], ends[1])
    reach = f"{_size(inner, unit)} to {_size(outer, unit)}"
    return f"{name}: {arm} is {_size(value * scale, unit)} {unit} {word} than {control} ({reach})."


def _size(value: float | None, unit: str) -> str:
    """A number without its sign; not known is said."""
    if value is None:
        return "not bounded"
    return f"{abs(value):.6f}" if unit == "USD" else f"{abs(value):.3g}"


def _signed(value: float | None, unit: str) -> str:
    """A number with its direction in words."""
    if value is None:
        return "not bounded"
    return f"{_size(value, unit)} {unit} {'lower' if value < 0 else 'higher'}"
