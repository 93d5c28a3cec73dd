"""Keeps what an answer said, so that it can be counted where its provider did not say."""

import asyncio
from collections.abc import Iterable
from typing import Final

from omni_grpc.catalog.tokens import count_answer
from omni_grpc.core.chat import ChatDelta, ChatRequest, Choice
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.routing import prompt_tokens, prompt_upper_bound

COUNTED_BYTES_INLINE: Final = 128 * 1024
"""Texts above this are counted in a thread: the event loop must go on meanwhile."""


class Tally:
    """The texts of one attempt's answer, by choice and kind, as far as it came."""

    __slots__ = ("_model", "_request", "_texts")

    def __init__(self, request: ChatRequest, model: str) -> None:
        self._request = request
        self._model = model
        self._texts: dict[tuple[int, str], list[str]] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing of an answer came."""
        return not self._texts

    def add(self, deltas: Iterable[ChatDelta]) -> None:
        """Takes what one read brought."""
        for delta in deltas:
            choice = delta.choice_index
            if delta.text:
                self._texts.setdefault((choice, "text"), []).append(delta.text)
            if delta.reasoning:
                self._texts.setdefault((choice, "reasoning"), []).append(delta.reasoning)
            if delta.refusal:
                self._texts.setdefault((choice, "refusal"), []).append(delta.refusal)
            for call in delta.tool_calls:
                if call.name:
                    self._texts.setdefault((choice, f"name {call.index}"), []).append(call.name)
                if call.arguments_json:
                    self._texts.setdefault((choice, f"arguments {call.index}"), []).append(
                        call.arguments_json
                    )

    def add_choices(self, choices: Iterable[Choice]) -> None:
        """Takes a whole answer."""
        for choice in choices:
            answer = choice.answer
            texts = self._texts
            for kind, text in (
                ("text", answer.text),
                ("reasoning", answer.reasoning),
                ("refusal", answer.refusal),
            ):
                if text:
                    texts[(choice.index, kind)] = [text]
            for position, call in enumerate(answer.tool_calls):
                texts[(choice.index, f"name {position}")] = [call.name]
                texts[(choice.index, f"arguments {position}")] = [call.arguments_json]

    async def count(self) -> Usage:
        """The estimate, made beside the event loop where that takes long."""
        if prompt_upper_bound(self._request) > COUNTED_BYTES_INLINE:
            return await asyncio.to_thread(self.estimate)
        return self.estimate()

    def estimate(self) -> Usage:
        """The prompt and what came of the answer, counted by ourselves."""
        reasoning = [
            "".join(texts) for (_, kind), texts in self._texts.items() if kind == "reasoning"
        ]
        return Usage(
            prompt=prompt_tokens(self._request, self._model),
            completion=count_answer(
                ("".join(texts) for texts in self._texts.values()), self._model
            ),
            reasoning=count_answer(reasoning, self._model) if reasoning else None,
            source=UsageSource.ESTIMATE,
        )
