"""What a policy or an experiment must be, beyond its types. Pure; every fault is told.

A model that the catalog does not know is no fault: the next sync may bring it. It is a warning.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from omni_grpc.catalog import CatalogSnapshot, scopes_of
from omni_grpc.core.limits import AMOUNT_NANOUSD_MAX, MODEL_ID_CHARS_MAX
from omni_grpc.core.money import PPM
from omni_grpc.routing.experiment import CONTROL, Arm, Experiment
from omni_grpc.routing.policy_model import (
    ANY_MODEL,
    GLOBAL_SCOPE,
    ROUTED_PREFIX,
    Cost,
    Deterministic,
    Hybrid,
    Limits,
    Performance,
    Policy,
    Region,
    Rule,
    Score,
    Weighted,
    When,
)
from omni_grpc.routing.policy_reading import Fault

LIST_COUNT_MAX: Final = 64
"""Most names in one list of a policy: each is looked at for every candidate of a call."""

ARM_COUNT_MAX: Final = 16
"""More arms than that leave none of them enough calls to learn from."""

TAG_COUNT_MAX: Final = 16
"""As many as a request may have."""

WEIGHT_MAX: Final = 1_000_000
ORDER_MAX: Final = 1_000_000
TEXT_CHARS_MAX: Final = 512

_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SLUG: Final = "[a-z][a-z0-9-]{1,62}"
_SCOPE: Final = re.compile(rf"{GLOBAL_SCOPE}|orgs/{_SLUG}(/teams/{_SLUG})?(/environments/{_SLUG})?")
_MODEL: Final = re.compile(r"[^\s/\x00-\x1f\x7f][^\s\x00-\x1f\x7f]*")
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REFERENCE: Final = re.compile(rf"({_SCOPE.pattern})/routingPolicies/{_ID.pattern}")


def check_policy(policy: Policy, path: str = "") -> list[Fault]:
    """Everything that is wrong with a policy by itself."""
    return [
        *_check_name(policy.name, policy.scope, policy.description, path),
        *_between(policy.order, -ORDER_MAX, ORDER_MAX, f"{path}order"),
        *_check_when(policy.when, f"{path}when."),
        *_check_rule(policy.rule, f"{path}rule."),
        *_check_limits(policy.limits, f"{path}limits."),
        *_check_models(policy.fallbacks, f"{path}fallbacks"),
    ]


def check_experiment(experiment: Experiment, path: str = "") -> list[Fault]:
    """Everything that is wrong with an experiment by itself."""
    return [
        *_check_name(experiment.name, experiment.scope, experiment.description, path),
        *_check_text(experiment.salt, f"{path}salt"),
        *_check_when(experiment.when, f"{path}when."),
        *_check_arms(experiment.arms, f"{path}arms"),
        *_check_named(experiment, f"{path}arms"),
        *_check_times(experiment.start_time, experiment.end_time, path),
    ]


def unknown_models(names: Iterable[str], scope: str, snapshot: CatalogSnapshot) -> list[str]:
    """Warnings about names that no offer, model or alias of the catalog has, seen from a scope."""
    return [
        f"the catalog knows no model {name!r}; it counts once a sync brings it"
        + (f" (did you mean {near[0]!r}?)" if (near := snapshot.suggestions(name)) else "")
        for name in dict.fromkeys(names)
        if not snapshot.resolve(name, scopes_of(scope))
    ]


def names_of(policy: Policy) -> Iterator[str]:
    """Every model that a policy names."""
    match policy.rule:
        case Deterministic(models=models):
            yield from models
        case Weighted(models=entries):
            yield from (entry.model for entry in entries)
        case _:
            pass
    yield from policy.fallbacks
    yield from policy.limits.allow_models
    yield from policy.limits.deny_models


def is_scope(scope: str) -> bool:
    """Whether it has the form of a scope."""
    return _SCOPE.fullmatch(scope) is not None


def _check_name(name: str, scope: str, description: str, path: str) -> Iterator[Fault]:
    if not _ID.fullmatch(name):
        yield Fault(
            f"{path}name",
            "must be 1 to 63 characters: a lower-case letter, then lower-case letters, digits and "
            "hyphens",
        )
    if not _SCOPE.fullmatch(scope):
        yield Fault(
            f"{path}scope",
            "must be global, orgs/{org}, or of a team or an environment of it: orgs/{org}/teams/"
            "{team}",
        )
    yield from _check_text(description, f"{path}description")


def _check_when(when: When, path: str) -> Iterator[Fault]:
    yield from _few(when.models, f"{path}models")
    for name in sorted(when.models):
        if name != ANY_MODEL and not _is_model(name):
            yield Fault(f"{path}models", f"{name[:64]!r} is no name of a model")
    if len(when.tags) > TAG_COUNT_MAX:
        yield Fault(f"{path}tags", f"has {len(when.tags)} tags; at most {TAG_COUNT_MAX}")
    for tag, value in when.tags.items():
        if not tag:
            yield Fault(f"{path}tags", "a tag without a name")
        yield from _check_text(tag, f"{path}tags")
        yield from _check_text(value, f"{path}tags")


def _check_rule(rule: Rule, path: str) -> Iterator[Fault]:
    match rule:
        case Deterministic(models=models):
            if not models:
                yield Fault(f"{path}models", "names no model; a chain needs at least one")
            yield from _check_models(models, f"{path}models")
        case Weighted():
            yield from _check_weighted(rule, path)
        case Cost(min_quality=least):
            if not 0 <= least <= 1:  # NaN is not either
                yield Fault(f"{path}min_quality", f"is {least}; must be between 0 and 1")
        case Hybrid(cost=cost, latency=latency, task=task, quality=quality):
            weights = {"cost": cost, "latency": latency, "task": task, "quality": quality}
            yield from _check_weights(weights, path)
        case Region():
            yield from _check_region(rule, path)
        case Performance() | Score():
            pass


def _check_region(rule: Region, path: str) -> Iterator[Fault]:
    if not rule.regions:
        yield Fault(f"{path}regions", "names no region")
    yield from _check_words(rule.regions, f"{path}regions", "region")
    if rule.policy:
        yield from _check_reference(rule.policy, f"{path}policy")


def _check_weighted(rule: Weighted, path: str) -> Iterator[Fault]:
    if not rule.models:
        yield Fault(f"{path}models", "names no model; a draw needs at least one")
        return
    yield from _check_models([entry.model for entry in rule.models], f"{path}models")
    for number, entry in enumerate(rule.models):
        yield from _between(entry.weight, 0, WEIGHT_MAX, f"{path}models[{number}].weight")
    if all(entry.weight == 0 for entry in rule.models):
        yield Fault(f"{path}models", "the weights sum to zero; at least one must be above 0")


def _check_weights(weights: Mapping[str, float], path: str) -> Iterator[Fault]:
    for name, weight in weights.items():
        if not (math.isfinite(weight) and 0 <= weight <= WEIGHT_MAX):
            yield Fault(f"{path}{name}", f"is {weight}; must be between 0 and {WEIGHT_MAX:,}")
    if not any(weights.values()):
        yield Fault(path.removesuffix("."), "the weights sum to zero; at least one must be above 0")


def _check_limits(limits: Limits, path: str) -> Iterator[Fault]:
    yield from _check_models(limits.allow_models, f"{path}allow_models")
    yield from _check_models(limits.deny_models, f"{path}deny_models")
    yield from _check_words(limits.allow_providers, f"{path}allow_providers", "provider")
    yield from _check_words(limits.deny_providers, f"{path}deny_providers", "provider")
    for what, allowed, denied in (
        ("models", limits.allow_models, limits.deny_models),
        ("providers", limits.allow_providers, limits.deny_providers),
    ):
        for name in sorted(set(allowed) & set(denied)):
            yield Fault(f"{path}deny_{what}", f"{name!r} is both allowed and denied")
    if limits.max_cost_nanousd is not None:
        yield from _between(
            limits.max_cost_nanousd, 1, AMOUNT_NANOUSD_MAX, f"{path}max_cost_nanousd"
        )


def _check_arms(arms: tuple[Arm, ...], path: str) -> Iterator[Fault]:
    if not 1 <= len(arms) <= ARM_COUNT_MAX:
        yield Fault(path, f"has {len(arms)} arms; 1 to {ARM_COUNT_MAX}")
        return
    seen: set[str] = set()
    for number, arm in enumerate(arms):
        place = f"{path}[{number}]."
        if not _ID.fullmatch(arm.name):
            yield Fault(f"{place}name", "must be as the name of an experiment")
        elif arm.name == CONTROL:
            yield Fault(
                f"{place}name",
                f"{CONTROL!r} is the arm of the units that the others leave; choose another name, "
                "or leave it a share",
            )
        if arm.name in seen:
            yield Fault(f"{place}name", f"{arm.name!r} stands there twice")
        seen.add(arm.name)
        yield from _between(arm.share_ppm, 0, PPM, f"{place}share_ppm")
        if arm.policy and arm.models:
            yield Fault(place.removesuffix("."), "has both `policy` and `models`; give one of them")
        if arm.policy:
            yield from _check_reference(arm.policy, f"{place}policy")
        yield from _check_models(arm.models, f"{place}models")
    shared = sum(arm.share_ppm for arm in arms)
    if shared > PPM:
        yield Fault(path, f"the shares sum to {shared / 1e4:g} %, above 100 % (1,000,000 ppm)")
    elif shared <= 0:
        yield Fault(path, "the shares sum to zero; at least one must be above 0")


def _check_named(experiment: Experiment, path: str) -> Iterator[Fault]:
    """Who names a model must be told by an arm what to get: the score knows nothing of the name."""
    named = [name for name in experiment.when.models if not name.startswith(ROUTED_PREFIX)]
    shared = sum(arm.share_ppm for arm in experiment.arms)
    if named and (shared < PPM or not all(arm.policy or arm.models for arm in experiment.arms)):
        yield Fault(
            path,
            f"the experiment is for requests that name a model ({min(named)[:64]!r}), so every "
            "unit needs an arm, and every arm a policy or models: one of them the model itself",
        )


def _check_times(start: datetime | None, end: datetime | None, path: str) -> Iterator[Fault]:
    naive = False
    for name, moment in (("start_time", start), ("end_time", end)):
        if moment is not None and moment.tzinfo is None:
            naive = True
            yield Fault(f"{path}{name}", "names no time zone; write it as 2030-12-31T18:00:00Z")
    if not naive and start is not None and end is not None and end <= start:
        yield Fault(f"{path}end_time", "is not after start_time")


def _check_models(names: Iterable[str], path: str) -> Iterator[Fault]:
    names = list(names)
    yield from _few(names, path)
    for number, name in enumerate(names[:LIST_COUNT_MAX]):
        if name.startswith(ROUTED_PREFIX):
            yield Fault(
                f"{path}[{number}]",
                f"{name[:64]!r} leaves the choice to the service, which is what a policy makes; "
                "name a model, an offer or an alias",
            )
        elif not _is_model(name):
            yield Fault(f"{path}[{number}]", f"{name[:64]!r} is no name of a model")


def _is_model(name: str) -> bool:
    return (
        len(name) <= MODEL_ID_CHARS_MAX
        and _MODEL.fullmatch(name) is not None
        and not name.endswith("/")
        and "//" not in name
    )


def _check_words(names: tuple[str, ...], path: str, what: str) -> Iterator[Fault]:
    yield from _few(names, path)
    for number, name in enumerate(names[:LIST_COUNT_MAX]):
        if not _WORD.fullmatch(name):
            yield Fault(f"{path}[{number}]", f"{name[:64]!r} is no name of a {what}")


def _check_reference(name: str, path: str) -> Iterator[Fault]:
    if not (_ID.fullmatch(name) or _REFERENCE.fullmatch(name)):
        yield Fault(path, "must be the name of a policy, or {scope}/routingPolicies/{name}")


def _check_text(text: str, path: str) -> Iterator[Fault]:
    if len(text) > TEXT_CHARS_MAX or "\x00" in text or (not text.isascii() and _unpaired(text)):
        yield Fault(path, f"must be at most {TEXT_CHARS_MAX} characters of text")


def _unpaired(text: str) -> bool:
    """Whether a half of a surrogate pair stands alone, which no database takes."""
    return any("\ud800" <= char <= "\udfff" for char in text)


def _between(value: int, low: int, high: int, path: str) -> Iterator[Fault]:
    if not low <= value <= high:
        yield Fault(path, f"is {str(value)[:24]}; must be between {low:,} and {high:,}")


def _few(names: Iterable[str], path: str) -> Iterator[Fault]:
    names = list(names)
    if len(names) > LIST_COUNT_MAX:
        yield Fault(path, f"has {len(names):,} entries; at most {LIST_COUNT_MAX}")
    if len(set(names)) < len(names):
        yield Fault(path, "names something twice")
