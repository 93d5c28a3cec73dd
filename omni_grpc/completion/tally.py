"""Keeps what an answer said, so that it can be counted where its provider did not say.

While the answer comes, what is new of it is counted now and then, and each text once: enough to
see an output limit that is passed, and to tell the journal. The estimate that is charged counts
the whole texts once more, since a cut between two pieces may split a token.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from omni_grpc.catalog.tokens import count_answer, count_text
from omni_grpc.core.chat import ChatDelta, ChatRequest, Choice
from omni_grpc.core.usage import Usage, UsageSource
from omni_grpc.routing import prompt_tokens, prompt_upper_bound

COUNTED_BYTES_INLINE: Final = 128 * 1024
"""Texts above this are counted in a thread: the event loop must go on meanwhile."""

QUICK_PROMPT_BYTES: Final = 8 * 1024
"""A prompt up to this is counted as soon as its answer begins: in some 100 us at most."""

COUNTED_BYTES_MIN: Final = 256
"""Less than this of new text is not worth a count: it costs the same, and splits more tokens."""

BYTES_PER_CHAR_MAX: Final = 4
"""In UTF-8; no tokenizer makes more tokens of a text than it has bytes."""


class Tally:
    """The texts of one attempt's answer, by choice and kind, as far as it came."""

    __slots__ = (
        "_completion",
        "_finished",
        "_model",
        "_new",
        "_new_bytes",
        "_old_bytes",
        "_prompt",
        "_prompt_bytes",
        "_reasoning",
        "_request",
        "_texts",
    )

    def __init__(self, request: ChatRequest, model: str) -> None:
        self._request = request
        self._model = model
        self._prompt: int | None = None
        self._prompt_bytes = prompt_upper_bound(request)
        self._texts: dict[tuple[int, str], list[str]] = {}
        self._new: dict[tuple[int, str], list[str]] = {}
        self._new_bytes = 0
        self._old_bytes = 0
        self._completion = 0
        self._reasoning = 0
        self._finished: set[int] = set()

    @property
    def empty(self) -> bool:
        """Whether nothing of an answer came."""
        return not self._texts and not self._new

    @property
    def is_quick(self) -> bool:
        """Whether the prompt is short, or was counted already."""
        return self._prompt is not None or self._prompt_bytes <= QUICK_PROMPT_BYTES

    # --- what came ----------------------------------------------------------------------------
    def add(self, deltas: Iterable[ChatDelta]) -> None:
        """Takes what one read brought."""
        for delta in deltas:
            choice = delta.choice_index
            if delta.text:
                self._take(choice, "text", delta.text)
            if delta.reasoning:
                self._take(choice, "reasoning", delta.reasoning)
            if delta.refusal:
                self._take(choice, "refusal", delta.refusal)
            for call in delta.tool_calls:
                if call.name:
                    self._take(choice, f"name {call.index}", call.name)
                if call.arguments_json:
                    self._take(choice, f"arguments {call.index}", call.arguments_json)
            if delta.finish_reason is not None:
                self._finished.add(choice)

    def add_choices(self, choices: Iterable[Choice]) -> None:
        """Takes a whole answer."""
        for choice in choices:
            answer = choice.answer
            for kind, text in (
                ("text", answer.text),
                ("reasoning", answer.reasoning),
                ("refusal", answer.refusal),
            ):
                if text:
                    self._take(choice.index, kind, text)
            for position, call in enumerate(answer.tool_calls):
                self._take(choice.index, f"name {position}", call.name)
                self._take(choice.index, f"arguments {position}", call.arguments_json)

    def _take(self, choice: int, kind: str, text: str) -> None:
        self._new.setdefault((choice, kind), []).append(text)
        self._new_bytes += len(text) if text.isascii() else BYTES_PER_CHAR_MAX * len(text)

    def cut(self) -> tuple[ChatDelta, ...]:
        """The ends of those choices that had none: their output limit was reached."""
        choices = {choice for choice, _ in (*self._texts, *self._new)} - self._finished
        return tuple(
            ChatDelta(choice_index=choice, finish_reason="length") for choice in sorted(choices)
        )

    # --- counting on the way ------------------------------------------------------------------
    def exceeds(self, tokens_max: int) -> bool:
        """Whether more than that came, by our count; cheap, since bytes mostly say no."""
        if self._completion + self._new_bytes <= tokens_max:
            return False
        if self._new_bytes >= COUNTED_BYTES_MIN:
            self._count_new()
        return self._completion > tokens_max

    async def so_far(self) -> Usage:
        """About what the prompt and the answer are so far."""
        if self._prompt is None:
            if self._prompt_bytes > COUNTED_BYTES_INLINE:
                self._prompt = await asyncio.to_thread(prompt_tokens, self._request, self._model)
            else:
                self._prompt = prompt_tokens(self._request, self._model)
        self._count_new()
        return Usage(
            prompt=self._prompt,
            completion=self._completion,
            reasoning=self._reasoning or None,
            source=UsageSource.ESTIMATE,
        )

    def _count_new(self) -> None:
        """Counts each new text by itself: at each cut a token or two too many, at worst."""
        for key, texts in self._new.items():
            text = "".join(texts)
            count = count_text(text, self._model)
            self._completion += count
            if key[1] == "reasoning":
                self._reasoning += count
            self._texts.setdefault(key, []).append(text)
        self._new.clear()
        self._old_bytes += self._new_bytes
        self._new_bytes = 0

    # --- what is charged ----------------------------------------------------------------------
    async def filled(self, usage: Usage | None) -> Usage:
        """What the provider reported; what it left out is counted by ourselves, and marked so."""
        if usage is not None and usage.prompt is not None and usage.completion is not None:
            return usage
        ours = await self.count()
        if usage is None:
            return ours
        if usage.prompt is not None:
            return msgspec.structs.replace(
                usage, completion=ours.completion, reasoning=ours.reasoning, source=ours.source
            )
        return msgspec.structs.replace(usage, prompt=ours.prompt, source=ours.source)

    async def count(self) -> Usage:
        """The estimate, made beside the event loop where that takes long."""
        if self._prompt_bytes + self._old_bytes + self._new_bytes > COUNTED_BYTES_INLINE:
            return await asyncio.to_thread(self.estimate)
        return self.estimate()

    def estimate(self) -> Usage:
        """The prompt and what came of the answer, counted by ourselves."""
        texts = {
            key: "".join((*self._texts.get(key, ()), *self._new.get(key, ())))
            for key in (*self._texts, *self._new)
        }
        reasoning = [text for (_, kind), text in texts.items() if kind == "reasoning" and text]
        if self._prompt is None:
            self._prompt = prompt_tokens(self._request, self._model)
        return Usage(
            prompt=self._prompt,
            completion=count_answer(texts.values(), self._model),
            reasoning=count_answer(reasoning, self._model) if reasoning else None,
            source=UsageSource.ESTIMATE,
        )
