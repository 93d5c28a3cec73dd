"""The plan of a request that leaves the choice to the router, or that a policy takes over.

What can do the request is narrowed down, each offer's cost, speed and quality are predicted, the
scores put them in order, and a policy may order them otherwise. Nothing here waits: a decision is
a few array operations and some hundred comparisons.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np

from omni_grpc.catalog import CatalogSnapshot, Offer
from omni_grpc.core.chat import ChatRequest
from omni_grpc.core.errors import NoCapableModel
from omni_grpc.routing.advice import CUT_SHORT, TOO_DEAR, LeftOut, incapable, none_let_through
from omni_grpc.routing.attempts import ATTEMPT_COUNT_MAX, Terms
from omni_grpc.routing.choosing import Chooser, Wish
from omni_grpc.routing.health import Health
from omni_grpc.routing.judging import Look
from omni_grpc.routing.named import NamedPlanner
from omni_grpc.routing.narrowing import Fault, Limits, Narrowing, Refusal
from omni_grpc.routing.needs import Needs
from omni_grpc.routing.offer_table import Amounts, Mask, OfferTable
from omni_grpc.routing.plan import Attempt, Baseline, Considered, Explanation, Plan, RouteContext
from omni_grpc.routing.policies import Chosen
from omni_grpc.routing.policy import Ready, order
from omni_grpc.routing.prompts import PromptSize
from omni_grpc.routing.ranked import Ranked, reason_of
from omni_grpc.routing.tables import Tables
from omni_grpc.routing.warmth import Warmth

CHARS_PER_TOKEN: Final = 4
"""Bytes of a prompt's bound that are about one token: enough to compare prices."""


class _Choice(msgspec.Struct, frozen=True):
    """The order of what can do a request, and the best single model; empty where nothing can."""

    ordered: list[Ranked]
    best_single: Baseline | None

    def is_like(self, other: "_Choice") -> bool:
        """Whether the same offers are chosen in the same order, for the same scores."""
        scores = [[(one.row, one.score) for one in found.ordered] for found in (self, other)]
        return scores[0] == scores[1] and self.best_single == other.best_single


class RoutedPlanner:
    """Plans requests that leave the choice to the router."""

    def __init__(
        self,
        snapshot: Callable[[], CatalogSnapshot],
        providers: frozenset[str],
        refusal: Refusal,
        *,
        chooser: Chooser,
        named: NamedPlanner,
        health: Health,
        warmth: Warmth,
        premium_model: str,
        markup_ppm: int,
    ) -> None:
        self._snapshot = snapshot
        self._providers = providers
        self._refusal = refusal
        self._chooser = chooser
        self._named = named
        self._health = health
        self._warmth = warmth
        self._premium_model = premium_model
        self._markup_ppm = markup_ppm
        self._tables = Tables(snapshot, providers)

    def decide(
        self,
        request: ChatRequest,
        context: RouteContext,
        look: Look,
        chosen: Chosen | None,
        *,
        explain: bool,
    ) -> Explanation:
        """What to try for a request, and why; with all that was considered where that is asked.

        Raises:
            NoCapableModel: none of the models that may be chosen can; an explanation says so.
        """
        table = self._tables.current(context)
        needs, size = Needs.of(request), PromptSize(request)
        narrowing = Narrowing(
            request,
            needs=needs,
            size=size,
            limits=[Limits.of(request.preferences)],
            refusal=self._refusal,
            allowed=context.models,
        )
        terms = Terms(request, size, context, markup_ppm=self._markup_ppm)
        prompt_tokens = max(1, size.bound // CHARS_PER_TOKEN)
        found = self._chooser.lengths(look, table, request, self._health.speeds)
        output_tokens = found.tokens
        costs = self._costs(table, request, context, prompt_tokens, output_tokens)
        policy = None if chosen is None else chosen.policy
        premium = self._premium_offer(table, context)
        wish = Wish.of(request, policy)
        whole = explain or policy is not None
        dropped: dict[str, str] = {}

        def choose(mask: Mask) -> _Choice:
            """The order of what is left of some rows."""
            if context.models:
                mask &= self._tables.allowed(table, context)
            self._drop_unaffordable(table, mask, terms, dropped)
            self._drop_unhealthy(table, mask, context, dropped)
            self._drop_cut_short(table, mask, terms, output_tokens, policy, dropped)
            rows = mask.nonzero()[0]
            if not len(rows):
                return _Choice([], None)
            ordered = self._chooser.rank(
                look,
                table,
                rows,
                costs=costs,
                growth=found.growth,
                latencies=self._latencies(table, mask, output_tokens),
                wish=wish,
                premium=premium,
                whole=whole,
            )
            return _Choice(ordered, self._best_single(look, table, mask))

        choice = None if whole else _choice_without_count(choose, *narrowing.bounds(table))
        if choice is None:
            dropped.clear()
            choice = choose(narrowing.mask(table))
        ordered = choice.ordered
        if not ordered:
            fault = incapable(self._left_out(narrowing, context, dropped), terms.cost_min)
            if not explain:
                raise fault
            considered = self._considered(narrowing, context, (), dropped)
            return _nothing(request, look, None, fault, considered)
        if policy is not None:
            ordered = order(policy, ordered, context.unit, context.seed, dropped)
            if not ordered:
                fault = none_let_through(policy, dropped)
                if not explain:
                    raise fault
                considered = self._considered(narrowing, context, (), dropped)
                return _nothing(request, look, chosen, fault, considered)
        reason = reason_of(ordered, None if policy is None else policy.name)
        attempts = self._attempts(request, context, terms, table, needs, ordered, reason)
        row = table.row_of[attempts[0].offer.id]
        plan = Plan(
            attempts=attempts,
            asked=request.model,
            analysis=look.analysis,
            premium=_baseline(premium),
            best_single=choice.best_single,
            policy="" if policy is None else policy.name,
            experiment="" if chosen is None else chosen.experiment,
            arm="" if chosen is None else chosen.arm,
            prompt_tokens=prompt_tokens,
            output_tokens=int(output_tokens[row]),
        )
        considered = self._considered(narrowing, context, ordered, dropped) if explain else ()
        return Explanation(plan=plan, reason=attempts[0].reason, considered=considered)

    # --- what is left out -----------------------------------------------------------------------
    def _drop_unaffordable(
        self, table: OfferTable, mask: Mask, terms: Terms, dropped: dict[str, str]
    ) -> None:
        """Leaves out what may cost more than the caller set, even with a short answer."""
        if not terms.has_cost_max:
            return
        for row in np.flatnonzero(mask):
            offer = table.offers[row]
            if terms.output_tokens_max(offer) < 1:
                mask[row] = False
                dropped[offer.id] = TOO_DEAR.text

    def _drop_cut_short(
        self,
        table: OfferTable,
        mask: Mask,
        terms: Terms,
        output_tokens: Amounts,
        policy: Ready | None,
        dropped: dict[str, str],
    ) -> None:
        """Leaves out what could not finish its expected answer at the cost that the caller set.

        Not where nothing else is left, nor under a policy, which may name what it wants.
        """
        if not terms.has_cost_max or policy is not None:
            return
        rows = np.flatnonzero(mask).tolist()
        covered = {row: terms.output_tokens_max(table.offers[row]) for row in rows}
        short = [row for row in rows if covered[row] < int(output_tokens[row])]
        if len(short) < len(rows):
            mask[short] = False
            dropped.update((table.offers[row].id, CUT_SHORT) for row in short)

    def _drop_unhealthy(
        self, table: OfferTable, mask: Mask, context: RouteContext, dropped: dict[str, str]
    ) -> None:
        """Leaves out offers whose breakers are open, unless nothing else is left."""
        faults = {
            row: fault
            for offer_id in self._health.tripped
            if (row := table.row_of.get(offer_id)) is not None
            and mask[row]
            and context.own_at(table.offers[row].provider) is None
            and (fault := self._health.fault(offer_id)) is not None
        }
        if faults and len(faults) < int(mask.sum()):
            for row, fault in faults.items():
                mask[row] = False
                dropped[table.offers[row].id] = fault

    def _left_out(
        self, narrowing: Narrowing, context: RouteContext, dropped: dict[str, str]
    ) -> list[LeftOut]:
        """Every offer that could be called here and is not chosen from, with why."""
        found: list[LeftOut] = []
        providers = context.callable_at(self._providers)
        for offer, fault in narrowing.faults(self._snapshot(), providers):
            why = dropped.get(offer.id)
            if fault is not None:
                found.append((offer, fault))
            elif why is not None:
                found.append((offer, TOO_DEAR if why == TOO_DEAR.text else Fault(why)))
        return found

    # --- what is predicted ----------------------------------------------------------------------
    def _costs(
        self,
        table: OfferTable,
        request: ChatRequest,
        context: RouteContext,
        prompt_tokens: int,
        output_tokens: Amounts,
    ) -> Amounts:
        choices = request.sampling.choice_count or 1
        if choices > 1:
            output_tokens = output_tokens * choices
        costs = table.costs(prompt_tokens, output_tokens)
        warm = self._warmth.warm(context.scopes[0], request)
        if warm is not None and (row := table.row_of.get(warm.offer)) is not None:
            costs[row] -= warm.saved_nanousd(table.offers[row], prompt_tokens)
        return costs

    def _latencies(self, table: OfferTable, mask: Mask, output_tokens: Amounts) -> dict[int, float]:
        """Milliseconds by row, where a speed was measured."""
        latencies = {}
        for offer_id, meter in self._health.speeds.items():
            row = table.row_of.get(offer_id)
            if row is not None and mask[row]:
                latencies[row] = meter.latency_ms(float(output_tokens[row]))
        return latencies

    # --- the plan -------------------------------------------------------------------------------
    def _attempts(
        self,
        request: ChatRequest,
        context: RouteContext,
        terms: Terms,
        table: OfferTable,
        needs: Needs,
        ordered: Sequence[Ranked],
        reason: str,
    ) -> tuple[Attempt, ...]:
        """The first choice, its backup, elsewhere if any can, and the cheapest of the rest."""
        first = ordered[0]
        attempts = [terms.attempt(table.offers[first.row], reason)]
        if request.preferences.fallbacks:
            named = self._named.fallbacks(request, context, needs, terms.size, {first.offer_id})
            wanted = (terms.attempt(one, "a fallback that the request names") for one in named)
            # Of one whose prompt alone may cost more than the request allows, no token is covered.
            attempts += [one for one in wanted if one.output_tokens_max > 0]
            return tuple(attempts[:ATTEMPT_COUNT_MAX])
        rest = ordered[1:]
        if rest:
            backup = next((one for one in rest if one.provider != first.provider), rest[0])
            place = "elsewhere" if backup.provider != first.provider else "at the same provider"
            attempts.append(terms.attempt(table.offers[backup.row], f"the next best {place}"))
            last = [one for one in rest if one is not backup]
            if last:
                cheapest = min(last, key=lambda one: (one.cost_nanousd, one.offer_id))
                attempts.append(
                    terms.attempt(table.offers[cheapest.row], "the cheapest of the others")
                )
        return tuple(attempts)

    def _premium_offer(self, table: OfferTable, context: RouteContext) -> Offer | None:
        """What savings are counted against: the operator's premium model, else the best rated.

        None where nothing is known of any: to have saved the dearest's price would be no saving.
        """
        if not self._premium_model:
            return None if self._chooser.is_blind(table) else table.best_rated
        for offer in self._snapshot().resolve(self._premium_model, context.scopes):
            if offer.price is not None:
                return offer
        return None

    def _best_single(self, look: Look, table: OfferTable, mask: Mask) -> Baseline | None:
        """The model that one would choose for the task without looking at the prompt."""
        if self._chooser.is_blind(table):
            return None
        row = self._chooser.best_single(look, table, mask)
        return None if row is None else _baseline(table.offers[row])

    def _considered(
        self,
        narrowing: Narrowing,
        context: RouteContext,
        ordered: Sequence[Ranked],
        dropped: dict[str, str],
    ) -> tuple[Considered, ...]:
        kept = {one.offer_id for one in ordered}
        chosen = []
        for ranked in ordered:
            breaker = self._named.breaker(ranked.offer_id, ranked.provider, context)
            chosen.append(msgspec.structs.replace(ranked.considered(), breaker=breaker))
        left_out = []
        for offer, fault in self._left_out(narrowing, context, dropped):
            if offer.id not in kept:
                breaker = self._named.breaker(offer.id, offer.provider, context)
                left_out.append(Considered(offer=offer.id, excluded=fault.text, breaker=breaker))
        return (*chosen, *sorted(left_out, key=lambda x: x.offer))


def _choice_without_count(
    choose: Callable[[Mask], _Choice], sure: Mask, possible: Mask
) -> _Choice | None:
    """What is chosen however many tokens the prompt has; None where its tokens have to be counted.

    To count a long prompt takes longer than all the rest. What is chosen with all offers that it
    may fit, and with none of them, is chosen with some of them: each is scored beside the same
    premium model, and either stands in the choice or is as if it were not there.
    """
    if sure is possible:
        return choose(sure)
    choice = choose(sure)
    return choice if choice.ordered and choice.is_like(choose(possible)) else None


def _baseline(offer: Offer | None) -> Baseline | None:
    if offer is None or offer.price is None:
        return None
    return Baseline(model=offer.id, price=offer.price)


def _nothing(
    request: ChatRequest,
    look: Look,
    chosen: Chosen | None,
    fault: NoCapableModel,
    considered: tuple[Considered, ...],
) -> Explanation:
    """That no offer is left, and why; `chosen` is the policy that left none."""
    plan = Plan(
        attempts=(),
        asked=request.model,
        analysis=look.analysis,
        policy="" if chosen is None or chosen.policy is None else chosen.policy.name,
        experiment="" if chosen is None else chosen.experiment,
        arm="" if chosen is None else chosen.arm,
    )
    return Explanation(plan=plan, reason=fault.message, considered=considered)
