"""The whole catalog at one version, in memory and immutable: every read of the hot path.

It answers what a name means and how good a model is, lists offers in pages, and knows no
provider's health or key: callers say which providers are configured.
"""

import copy
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

import msgspec

from omni_grpc.catalog.filter import Filter
from omni_grpc.catalog.makers import maker_rank
from omni_grpc.catalog.model import GLOBAL_SCOPE, Alias, Offer, Rating
from omni_grpc.catalog.ratings import Stated, rate_models
from omni_grpc.catalog.words import PRICE, Expanded, OwnPrice, Word
from omni_grpc.core.likeness import Fingerprint, fingerprint, near
from omni_grpc.core.money import Rate, Unit
from omni_grpc.core.task import Task

SUGGESTION_COUNT_MAX: Final = 3

_BASE_UNITS: Final = frozenset(
    {Unit.PROMPT, Unit.COMPLETION, Unit.IMAGE, Unit.SECOND, Unit.CHARACTER}
)


class OfferPage(msgspec.Struct, frozen=True):
    """Some offers in order of their ids; `next_after_id` is None on the last page only."""

    offers: tuple[Offer, ...]
    next_after_id: str | None


class CatalogSnapshot:
    """All offers and aliases of one catalog version.

    Attributes:
        version: rises with every change of the catalog; 0 is the empty one.
    """

    def __init__(
        self,
        version: int = 0,
        offers: Iterable[Offer] = (),
        aliases: Iterable[Alias] = (),
        ratings: Stated | None = None,
        words: Expanded | None = None,
    ) -> None:
        self.version = version
        self._offers = tuple(sorted(offers, key=lambda offer: offer.id))
        self._ids = [offer.id for offer in self._offers]
        self._of_id = dict(zip(self._ids, self._offers, strict=True))
        self._words: dict[str, dict[str, Word]] = {}
        for (subject, field), word in (words or {}).items():
            self._words.setdefault(subject, {})[field] = word
        self._ratings = rate_models(self._offers, ratings or {})
        self._aliases = _by_scope(aliases)
        named: dict[str, list[Offer]] = {}
        of_provider: dict[str, list[Offer]] = {}
        for offer in self._offers:
            of_provider.setdefault(offer.provider, []).append(offer)
            for name in {offer.model, offer.provider_model}:
                named.setdefault(name, []).append(offer)
        self._of_provider = {name: tuple(held) for name, held in of_provider.items()}
        self._named = {name: tuple(sorted(held, key=_preference)) for name, held in named.items()}
        self._id_prints = {offer.id: fingerprint(offer.id) for offer in self._offers}
        self._model_prints = {
            model: fingerprint(model) for model in {offer.model for offer in self._offers}
        }

    def __len__(self) -> int:
        return len(self._offers)

    def with_aliases(self, aliases: Iterable[Alias]) -> "CatalogSnapshot":
        """The same offers under other aliases, which are then all there are."""
        found = copy.copy(self)
        found._aliases = _by_scope(aliases)  # noqa: SLF001 # our own
        return found

    def get(self, offer_id: str) -> Offer | None:
        """The offer of exactly this id."""
        return self._of_id.get(offer_id)

    def offers(self) -> tuple[Offer, ...]:
        """Every offer, ordered by id."""
        return self._offers

    def offers_of(self, provider: str) -> tuple[Offer, ...]:
        """The offers of one provider, ordered by id."""
        return self._of_provider.get(provider, ())

    def rating(self, model: str, task: Task | None = None) -> Rating | None:
        """How good a model is at a task, or at everything; None if nobody offers the model.

        Where the task was not measured it is the overall rating, whose `task` is None. Where
        nothing was, it is an estimate.

        Args:
            model: the canonical id, `Offer.model`.
            task: None is everything.
        """
        held = self._ratings.get(model)
        return None if held is None else held.rating(task)

    def rated_tasks(self, model: str) -> tuple[Rating, ...]:
        """Everything that is known of a model: the overall rating first, then by task."""
        held = self._ratings.get(model)
        if held is None:
            return ()
        return (held.overall, *(held.tasks[task] for task in sorted(held.tasks)))

    def words(self, subject: str) -> Mapping[str, Word]:
        """What operators say of an offer (by its id) or a model's ratings, by field."""
        return self._words.get(subject, {})

    def own_price(self, offer_id: str) -> OwnPrice | None:
        """The operator's price of an offer as it was said; None if there is none."""
        word = self._words.get(offer_id, {}).get(PRICE)
        return None if word is None else msgspec.json.decode(word.value, type=OwnPrice)

    def aliases(self, scope: str) -> tuple[Alias, ...]:
        """The aliases of exactly this scope, ordered by name."""
        held = self._aliases.get(scope, {})
        return tuple(held[name] for name in sorted(held))

    def resolve(self, name: str, scopes: Sequence[str] = (GLOBAL_SCOPE,)) -> tuple[Offer, ...]:
        """The offers that a name means, in the order in which to try them; empty if unknown.

        An offer's id means that offer. An alias means what its targets mean, in their order. A
        name that begins with a provider and a slash means an offer of that provider or nothing.
        Any other name is a model: all who sell it, its maker first, then the cheapest. Names
        compare exactly. Disabled, deprecated and unpriced offers are among them, later ones.

        Args:
            name: what was asked for.
            scopes: whose aliases hold, the nearest first: `("orgs/acme", "global")`.
        """
        views = [held for scope in scopes if (held := self._aliases.get(scope))]
        if not views or _alias(views, name) is None:
            return self._meant(name)
        found: dict[str, Offer] = {}
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            alias = None if current in self._of_id else _alias(views, current)
            if alias is None:
                found.update((offer.id, offer) for offer in self._meant(current))
            elif current not in seen:
                seen.add(current)
                waiting += reversed(alias.targets)
        return tuple(found.values())

    def alias_of(self, name: str, scopes: Sequence[str] = (GLOBAL_SCOPE,)) -> Alias | None:
        """The alias that a name means in these scopes; None if it is an offer's or a model's."""
        if name in self._of_id:
            return None
        return _alias([held for scope in scopes if (held := self._aliases.get(scope))], name)

    def suggestions(
        self,
        name: str,
        providers: Collection[str] | None = None,
        scopes: Sequence[str] = (GLOBAL_SCOPE,),
    ) -> tuple[str, ...]:
        """Up to three names that exist and resemble one that does not.

        Args:
            name: what was asked for.
            providers: the configured ones: only names that lead to them are given; None is all.
            scopes: whose aliases may be named.
        """
        if providers is None:
            providers = self._of_provider
        provider, slash, _ = name.partition("/")
        searched = {provider} if slash and provider in self._of_provider else providers
        offers = [offer for one in searched for offer in self.offers_of(one) if offer.enabled]
        known: Iterable[Fingerprint]
        if slash:
            known = (self._id_prints[offer.id] for offer in offers)
        else:
            models = {offer.model for offer in offers}
            known = [self._model_prints[model] for model in models]
            known += [
                fingerprint(alias) for scope in scopes for alias in self._aliases.get(scope, ())
            ]
        # `openai/gpt-oss-120b` is no offer of openai, but others sell it under that very name.
        sold = [o.id for o in self._named.get(name, ()) if o.enabled and o.provider in providers]
        found = dict.fromkeys((*sold[:1], *near(name, known, SUGGESTION_COUNT_MAX)))
        return tuple(found)[:SUGGESTION_COUNT_MAX]

    def list_offers(
        self, wanted: Filter, *, after_id: str | None, limit: int, providers: Collection[str]
    ) -> OfferPage:
        """A page of the offers that a filter wants.

        Args:
            wanted: which offers.
            after_id: the last id of the page before; None for the first page.
            limit: most offers of the page; at least 1.
            providers: the configured ones, which decide what is `callable`.
        """
        start = 0 if after_id is None else bisect_right(self._ids, after_id)
        found: list[Offer] = []
        for offer in islice(self._offers, start, None):
            if wanted.matches(offer, providers):
                if len(found) == limit:
                    return OfferPage(tuple(found), found[-1].id)
                found.append(offer)
        return OfferPage(tuple(found), None)

    def _meant(self, name: str) -> tuple[Offer, ...]:
        offer = self._of_id.get(name)
        if offer is not None:
            return (offer,)
        provider, slash, _ = name.partition("/")
        if slash and provider in self._of_provider:
            return ()
        return self._named.get(name, ())


def _by_scope(aliases: Iterable[Alias]) -> dict[str, dict[str, Alias]]:
    """Aliases by scope and name; of two of the same place the later one counts."""
    found: dict[str, dict[str, Alias]] = {}
    for alias in aliases:
        found.setdefault(alias.scope, {})[alias.name] = alias
    return found


def _alias(views: Iterable[Mapping[str, Alias]], name: str) -> Alias | None:
    """The nearest alias of a name."""
    for held in views:
        alias = held.get(name)
        if alias is not None:
            return alias
    return None


def _preference(offer: Offer) -> tuple[bool, int, bool, bool, bool, int, str]:
    price = offer.price
    cost = sum(rate.nanousd_per_mtok for rate in price.rates if _is_base(rate)) if price else 0
    return (
        not offer.enabled,
        maker_rank(offer.provider, offer.model),
        price is None,
        offer.deprecated,
        offer.free,
        cost,
        offer.id,
    )


def _is_base(rate: Rate) -> bool:
    """Whether it is what most of a request costs, from its first token on."""
    return not rate.prompt_tokens_min and rate.unit in _BASE_UNITS
