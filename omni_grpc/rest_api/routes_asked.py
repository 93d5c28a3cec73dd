"""`POST /v1/estimate` and `POST /v1/router/debug`: what a chat would cost, and why which model.

Both take the body of `/v1/chat/completions`; neither asks a provider or holds anything.
"""

from typing import Final

import msgspec

from omni_grpc.completion import Call, Estimate, Estimates
from omni_grpc.core.money import credits_text, usd_text
from omni_grpc.core.task import Analysis
from omni_grpc.rest_api.exchange import JSON_HEADERS, Exchange
from omni_grpc.rest_api.openai import read_chat
from omni_grpc.routing import Considered, Explanation

ESTIMATE_PATH: Final = "/v1/estimate"
DEBUG_PATH: Final = "/v1/router/debug"

SHARE_DIGITS: Final = 4
"""Scores are shown to a ten-thousandth: what is below decides nothing that one could explain."""

_JsonObject = dict[str, object]
_encode: Final = msgspec.json.Encoder().encode


class RouteRoutes:
    """Estimates and explains for the door."""

    def __init__(self, estimates: Estimates, *, credits_per_usd: int) -> None:
        self._estimates = estimates
        self._credits_per_usd = credits_per_usd

    async def estimate(self, exchange: Exchange, call: Call) -> None:
        """What a chat would be routed to and cost."""
        order = read_chat(await exchange.body())
        found = await self._estimates.estimate(call, order.request)
        await _send(exchange, call, _estimate(found, self._credits_per_usd))

    async def debug(self, exchange: Exchange, call: Call) -> None:
        """Every offer that was considered, each part of its score, and why others were not."""
        order = read_chat(await exchange.body())
        await _send(
            exchange, call, _explanation(await self._estimates.explain(call, order.request))
        )


async def _send(exchange: Exchange, call: Call, body: _JsonObject) -> None:
    headers = [(b"x-request-id", call.name.encode()), *JSON_HEADERS]
    await exchange.answer(200, headers, _encode(body))


def _estimate(found: Estimate, credits_per_usd: int) -> _JsonObject:
    cost = found.cost
    body: _JsonObject = {
        "object": "estimate",
        "analysis": _analysis(cost.analysis),
        "model": cost.model,
        "reason": cost.reason,
        "prompt_tokens": cost.prompt_tokens,
        "completion_tokens": cost.output_tokens,
        "max_tokens": cost.output_tokens_max,
    }
    _add(body, "cost", cost.cost_nanousd)
    _add(body, "cost_max", cost.cost_max_nanousd)
    body["cost_credits"] = credits_text(cost.cost_nanousd, credits_per_usd)
    _add(body, "premium_cost", cost.premium_nanousd)
    _add(body, "available", found.available_nanousd)
    body["credits_suffice"] = found.suffices
    return body


def _explanation(found: Explanation) -> _JsonObject:
    plan = found.plan
    return {
        "object": "route",
        "analysis": _analysis(plan.analysis),
        "attempts": [{"model": one.offer.id, "reason": one.reason} for one in plan.attempts],
        "reason": found.reason,
        "policy": plan.policy or None,
        "experiment": plan.experiment or None,
        "arm": plan.arm or None,
        "warnings": plan.warnings,
        "offers": [_considered(one) for one in found.considered],
    }


def _analysis(found: Analysis | None) -> _JsonObject | None:
    if found is None:
        return None
    return {
        "task": found.task,
        "task_probability": round(found.task_probability, SHARE_DIGITS),
        "complexity": found.complexity,
        "complexity_score": round(found.complexity_score, SHARE_DIGITS),
        "needs_reasoning": found.needs_reasoning,
        "needs_code": found.needs_code,
        "needs_creativity": found.needs_creativity,
        "source": found.source,
    }


def _considered(one: Considered) -> _JsonObject:
    if one.excluded:
        return {"model": one.offer, "excluded": one.excluded, **_breaker(one)}
    body: _JsonObject = {
        "model": one.offer,
        "score": None if one.score is None else round(one.score, SHARE_DIGITS),
        "parts": [
            {
                "name": part.name,
                "value": round(part.value, SHARE_DIGITS),
                "weight": round(part.weight, SHARE_DIGITS),
            }
            for part in one.parts
        ],
        "quality": None if one.quality is None else round(one.quality, SHARE_DIGITS),
        "latency_ms": one.latency_ms,
    }
    _add(body, "cost", one.cost_nanousd)
    return body | _breaker(one)


def _breaker(one: Considered) -> _JsonObject:
    """The offer's breaker, where it is open."""
    return {} if one.breaker is None else {"breaker": one.breaker}


def _add(body: _JsonObject, name: str, amount: int | None) -> None:
    """An amount twice: as an integer of nano-USD, and as a text of dollars without loss."""
    body[f"{name}_nanousd"] = amount
    body[f"{name}_usd"] = None if amount is None else usd_text(amount)
