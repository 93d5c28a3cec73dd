"""Has a cheap model of the operator's choice say what a prompt is about, before it is routed.

The question is a call of its own under the caller's key: held, billed and reported like any other,
beside the call that it is asked for and not in that call's cost. It never makes that call fail, nor
wait for longer than its time limit: then, and after a refusal or an answer that says nothing, the
analysis on this machine holds. Requests that name their model are never asked about.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from omni_grpc.billing import Ledger
from omni_grpc.completion.call import Call
from omni_grpc.core.chat import ChatCompletion, ChatRequest, Preferences
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import OmniError, ProviderUnavailable
from omni_grpc.core.ids import new_call_id
from omni_grpc.core.limits import REQUEST_ID_CHARS_MAX
from omni_grpc.core.task import Analysis
from omni_grpc.identity import Principal
from omni_grpc.routing import ROUTED, classification_request, read_classification, view_of
from omni_grpc.storage import BoundedCache

log = structlog.get_logger(__name__)

CACHE_SECONDS: Final = 60.0
"""How long an answer is believed for an equal prompt of the same account: retries and repeats come
within it, and what a prompt is about does not change."""

CACHED_MAX: Final = 1_000

FAILURES_MAX: Final = 3
"""After so many questions in a row without an answer nobody is asked for a while. What a caller
can bring about (nonsense, no credits, a request id of something else) does not count."""

REST_SECONDS: Final = 30.0
"""That while: a classifier that is down costs each caller the time limit only now and then."""

DUE_SECONDS_MORE: Final = 5.0
"""How much later than its time limit a question is over as a call, so that the limit ends it."""

REQUEST_ID_SUFFIX: Final = "#task"

Complete = Callable[[Call, ChatRequest], Awaitable[ChatCompletion]]


class Classifier:
    """Asks one offer about prompts. One instance serves all calls of a worker."""

    def __init__(self, offer: str, ledger: Ledger, clock: Clock, *, seconds: float) -> None:
        """`offer` is the model to ask, as callers name models; `seconds` what it may take."""
        self._offer = offer
        self._ledger = ledger
        self._clock = clock
        self._seconds = seconds
        self._failures = 0
        self._rests_until = 0.0
        self._asking: set[asyncio.Task[object]] = set()
        self._known: BoundedCache[Analysis] = BoundedCache(
            size_max=CACHED_MAX, ttl_s=CACHE_SECONDS, clock=clock
        )

    async def analysis(self, call: Call, request: ChatRequest, complete: Complete) -> Analysis:
        """What the model says of a request.

        Args:
            call: the caller's; it is billed to the same key.
            request: what shall be routed.
            complete: runs the question.

        Raises:
            UnclassifiedError: it is not asked, or does not say; the local analysis holds.
            Deadline: the caller's time is over.
        """
        principal = call.principal
        if principal is None or request.model not in ROUTED:
            raise UnclassifiedError
        view = view_of(request)
        if view.tool_results or not view.text:  # both are plain to see without asking
            raise UnclassifiedError
        question = msgspec.structs.replace(
            classification_request(view, self._offer),
            tags=request.tags,
            end_user=request.end_user,
            preferences=_limits(request.preferences),
        )
        key = msgspec.msgpack.encode((str(principal.account_id), question.messages))

        async def ask() -> Analysis:
            task = asyncio.current_task()
            if task is None:  # a coroutine always runs in one
                raise UnclassifiedError
            self._asking.add(task)
            try:
                return await self._asked(call, principal, question, complete)
            finally:
                self._asking.discard(task)

        try:
            async with asyncio.timeout(call.seconds_left(self._clock)):
                return await self._known.get(key, ask)
        except TimeoutError:
            raise UnclassifiedError from None

    async def close(self) -> None:
        """Waits for questions whose callers have left: each is charged, and within its limit."""
        if self._asking:
            await asyncio.wait(self._asking)

    async def _asked(
        self, call: Call, principal: Principal, question: ChatRequest, complete: Complete
    ) -> Analysis:
        if self._clock.monotonic() < self._rests_until:
            raise UnclassifiedError
        is_down = False
        asking = Call(
            id=new_call_id(),
            create_time=call.create_time,
            # Not the caller's: others may wait for the same question, and it has the limit below.
            due=self._clock.monotonic() + self._seconds + DUE_SECONDS_MORE,
            principal=principal,
            request_id=_request_id(call),
            is_limited=False,
        )
        try:
            async with asyncio.timeout(self._seconds):
                said = await self._answer(asking, principal, question, complete)
        except TimeoutError:
            fault, is_down = f"no answer within {self._seconds:g} s", True
        except asyncio.CancelledError:
            if asking.cancelled_by is None:
                raise
            fault = asking.cancelled_by.reason  # the question alone was stopped, as by its lease
            _go_on()
        except OmniError as error:
            fault, is_down = error.reason, isinstance(error, ProviderUnavailable)
        else:
            found = read_classification(said, self._offer)
            if found is not None:
                self._failures = 0
                return found
            fault = "the answer names no task"
        self._failed(call, fault, is_down=is_down)
        raise UnclassifiedError

    async def _answer(
        self, asking: Call, principal: Principal, question: ChatRequest, complete: Complete
    ) -> str | None:
        """The text of the answer, from a call of the question's own."""
        meter = self._ledger.meter(
            asking.id, principal.account_id, principal.key_id, principal.budgets
        )
        asking.meter = meter
        try:
            completion = await complete(asking, question)
        finally:
            meter.close()
        return completion.choices[0].answer.text if completion.choices else None

    def _failed(self, call: Call, fault: str, *, is_down: bool) -> None:
        log.warning(
            "task_classified_locally", classifier=self._offer, call_id=call.name, reason=fault
        )
        self._failures += is_down
        if self._failures >= FAILURES_MAX:
            self._failures = 0
            self._rests_until = self._clock.monotonic() + REST_SECONDS


class UnclassifiedError(Exception):
    """The classifier says nothing of a request."""


def _limits(wished: Preferences) -> Preferences:
    """Whom the caller rules out: nobody of those sees the prompt, also not for its question."""
    return Preferences(
        providers=wished.providers,
        providers_denied=wished.providers_denied,
        models=wished.models,
        models_denied=wished.models_denied,
        region=wished.region,
    )


def _go_on() -> None:
    """Takes back the stop that the service made of this task."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _request_id(call: Call) -> str | None:
    """The question's own request id: the repeat of a paid call does not pay its question twice."""
    if call.request_id is None:
        return None
    return call.request_id[: REQUEST_ID_CHARS_MAX - len(REQUEST_ID_SUFFIX)] + REQUEST_ID_SUFFIX
