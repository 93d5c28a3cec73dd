"""What is called instead of a deprecated model: its replacement, with a warning for the caller.

Pure. A chain of replacements ends at the first model that is not deprecated; `loop` finds those
that would not end, so that they are refused before anyone is routed by them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from omni_grpc.catalog.model import GLOBAL_SCOPE, Offer
from omni_grpc.catalog.snapshot import CatalogSnapshot

CHAIN_MAX: Final = 16
"""Longest chain of replacements that is followed: a maker retires a few models a year."""


def replaced(
    snapshot: CatalogSnapshot,
    offers: Sequence[Offer],
    *,
    providers: Collection[str] | None = None,
    scopes: Sequence[str] = (GLOBAL_SCOPE,),
) -> tuple[tuple[Offer, ...], str | None]:
    """Put replacements before the deprecated offers, and say so where that changes the first one.

    Offers that the operator switched off stay where they are and are replaced by nothing. A
    deprecated offer comes after all others, for the case that its replacement fails.

    Args:
        snapshot: where replacements are looked up.
        offers: what a name means, in the order in which to try it.
        providers: the configured ones: only what can be called at them replaces anything, and
            only that decides the warning; None is all.
        scopes: whose aliases a replacement's name may mean.

    Returns:
        The offers in their new order, and the warning for the caller's metadata, or None.
    """
    found: dict[str, Offer] = {}
    late: dict[str, Offer] = {}
    for offer in offers:
        instead = _instead(snapshot, offer, providers, scopes)
        if instead:
            found.update((one.id, one) for one in instead)
            late[offer.id] = offer
        else:
            found[offer.id] = offer
    order = tuple({**found, **late}.values())
    asked = {offer.id for offer in offers}
    first = next((one for one in order if _callable(one, providers)), None)
    if first is None or (first.id in asked and not first.deprecated):
        return order, None
    if first.id in asked:
        return order, _warning(first, None)
    return order, _warning(next(iter(late.values())), first)


def loop(replacements: Mapping[str, str], means: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """The first chain of replacements' names that comes back to itself; empty if there is none.

    Args:
        replacements: by the offer's id, the name of what replaces it.
        means: the ids of the offers that a name means.
    """
    leads = {
        name: {replacements[one] for one in means(name) if one in replacements}
        for name in set(replacements.values())
    }
    safe: set[str] = set()
    for start in sorted(leads):
        chain = _chain(start, leads, safe)
        if chain:
            return chain
    return ()


def _chain(start: str, leads: Mapping[str, set[str]], safe: set[str]) -> tuple[str, ...]:
    """A loop that can be reached from `start`; all that leads to none becomes `safe`."""
    path: list[str] = []
    waiting: list[tuple[int, str]] = [(0, start)]
    while waiting:
        depth, name = waiting.pop()
        safe.update(path[depth:])
        del path[depth:]
        if name in path:
            return (*path[path.index(name) :], name)
        if name in safe:
            continue
        path.append(name)
        waiting += [(depth + 1, following) for following in sorted(leads.get(name, ()))]
    safe.update(path)
    return ()


def _instead(
    snapshot: CatalogSnapshot,
    offer: Offer,
    providers: Collection[str] | None,
    scopes: Sequence[str],
) -> tuple[Offer, ...]:
    """What can be called instead of an offer; nothing if it needs no replacement or has none."""
    if not (offer.enabled and offer.deprecated and offer.replacement):
        return ()
    seen = {offer.replacement}
    name: str | None = offer.replacement
    for _ in range(CHAIN_MAX):
        if name is None:
            return ()
        held = [one for one in snapshot.resolve(name, scopes) if one.id != offer.id]
        usable = tuple(one for one in held if _callable(one, providers) and not one.deprecated)
        if usable:
            return usable
        following = (one.replacement for one in held if one.deprecated and one.replacement)
        name = next((one for one in following if one not in seen), None)
        seen.add(name or "")
    return ()


def _callable(offer: Offer, providers: Collection[str] | None) -> bool:
    if providers is None:
        return offer.enabled and offer.price is not None
    return offer.callable_at(providers)


def _warning(old: Offer, new: Offer | None) -> str:
    since = f" since {old.deprecation_date}" if old.deprecation_date else ""
    why = f" ({old.deprecation_reason})" if old.deprecation_reason else ""
    if new is None:
        return f"{old.id} is deprecated{since}{why}, and no replacement is known."
    return f"{old.id} is deprecated{since}{why}; {new.id} answers instead. Name it in its place."
