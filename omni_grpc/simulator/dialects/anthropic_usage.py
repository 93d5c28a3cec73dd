"""What an answer says of its usage, as Anthropic reports it, or with the lies that were asked for.

The three counts of the prompt are disjoint, and those at a stream's end are cumulative.
"""

from collections.abc import Mapping

import msgspec

from omni_grpc.simulator.answer import Counts
from omni_grpc.simulator.behaviour import Behaviour
from omni_grpc.simulator.dialects.anthropic_request import PromptCount

__all__ = ("PLACEHOLDER_TOKENS", "UsageReports")

PLACEHOLDER_TOKENS = 1
"""The output that a stream tells before it has any."""

Report = Mapping[str, object]


class UsageReports(msgspec.Struct, frozen=True):
    """The reports of one answer."""

    counts: Counts
    prompt: PromptCount
    behaviour: Behaviour

    def whole(self) -> Report | None:
        """Of a plain answer; None where it shall have none."""
        return self._kept(self._first(self.counts.completion) | self._output(self.counts))

    def first(self) -> Report | None:
        """Of a stream's first event."""
        return self._kept(self._first(min(PLACEHOLDER_TOKENS, self.counts.completion)))

    def so_far(self, completion: int, reasoning: int) -> Report:
        """In the middle of a stream of which so much was sent."""
        counts = msgspec.structs.replace(self.counts, completion=completion, reasoning=reasoning)
        return self._last(counts)

    def last(self) -> tuple[Report | None, ...]:
        """Of a stream's last events: one for each, None for an event without."""
        whole = self._last(self.counts)
        match self.behaviour.usage:
            case "none" | "early" | "half":
                return (None,)
            case "null":
                return (dict.fromkeys(whole),)
            case "twice":
                return (whole, whole)
            case "corrected":
                return (self.so_far(1, 0), whole)
            case _:
                return (whole,)

    def _kept(self, report: dict[str, object]) -> Report | None:
        match self.behaviour.usage:
            case "none":
                return None
            case "null":
                return dict.fromkeys(report)
            case "half":
                return {"input_tokens": report["input_tokens"]}
            case _:
                return report

    def _first(self, output: int) -> dict[str, object]:
        five_minutes, hour = self._written()
        return {
            **self._input(),
            "cache_creation": {
                "ephemeral_5m_input_tokens": five_minutes,
                "ephemeral_1h_input_tokens": hour,
            },
            "output_tokens": output,
            "service_tier": "standard",
        }

    def _last(self, counts: Counts) -> dict[str, object]:
        return {**self._input(), **self._output(counts)}

    def _output(self, counts: Counts) -> dict[str, object]:
        return {
            "output_tokens": counts.completion,
            "output_tokens_details": {"thinking_tokens": counts.reasoning},
        }

    def _input(self) -> dict[str, object]:
        written = sum(self._written())
        return {
            "input_tokens": self.counts.prompt - self.counts.cached - written,
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": self.counts.cached,
        }

    def _written(self) -> tuple[int, int]:
        if not self.counts.prompt:  # a lie about everything
            return 0, 0
        return self.prompt.written(self.counts.cached)
