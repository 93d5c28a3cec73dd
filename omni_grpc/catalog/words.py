"""What operators say of models, and which offers each of their words is about.

Words lie over facts: a field that a rule leaves out is not spoken of. Pure values and rules;
`operator_file` reads them from models.yaml, `operator_store` keeps them.
"""

import datetime as dt
import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from omni_grpc.catalog.prices import TIER_TOKENS_MAX
from omni_grpc.core.money import PPM, Rate, Unit
from omni_grpc.core.task import Task

FILE: Final = "file"
CALL: Final = "call"
"""The layers of words, the winning one first."""

LAYER_NAMES: Final = {FILE: "models.yaml", CALL: "operator"}
"""What the record of changes calls the layers."""

PRICE: Final = "price"
RATING: Final = "rating."
"""The prefix of the fields that rate a model: `rating.overall`, `rating.coding`."""

OVERALL: Final = "overall"

QUALITY_WEIGHT_PPM_MAX: Final = 10_000_000
"""Ten times: beyond it a weight is a switch, and there is one."""

ROUTING_WEIGHT_MAX: Final = 1_000_000
TAG_COUNT_MAX: Final = 32
TAG_CHARS_MAX: Final = 64
REASON_CHARS_MAX: Final = 500

NANOUSD_PER_MTOK_MAX: Final = 10_000_000_000_000
"""What the table of rates takes: 10,000 USD per million."""

NANOUSD_PER_MILLION_IMAGES_MAX: Final = 10_000_000_000_000_000
"""What it takes of images: ten dollars for one."""

OWN_UNITS: Final = frozenset({Unit.IMAGE, Unit.SECOND, Unit.CHARACTER})
"""What is sold by no token."""

_GLOB: Final = re.compile(r"[*?\[]")
_TAGS: Final = (
    f"must be at most {TAG_COUNT_MAX} names, each once, of at most {TAG_CHARS_MAX} letters, digits "
    "and . _ : / -"
)
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*", re.ASCII)


class OwnPrice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The operator's price: a discount on the synced one, in millionths, or rates of its own."""

    discount_ppm: int = 0
    rates: tuple[Rate, ...] = ()

    def applied(self, synced: Sequence[Rate]) -> tuple[Rate, ...]:
        """The rates to charge by; none where a discount finds no price to be taken off."""
        if self.rates:
            return self.rates
        left = PPM - self.discount_ppm
        return tuple(
            msgspec.structs.replace(rate, nanousd_per_mtok=-(-rate.nanousd_per_mtok * left // PPM))
            for rate in synced
        )


class Words(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one rule says; None leaves a field to the others. Fields mean what they do in `Offer`.

    `ratings` are of the model, 0 to 100, by the task's name or `overall`.
    """

    enabled: bool | None = None
    tags: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    quality_weight_ppm: int | None = None
    routing_weight: int | None = None
    replacement: str | None = None
    deprecation_date: dt.date | None = None
    deprecation_reason: str | None = None
    price: OwnPrice | None = None
    ratings: dict[str, int] | None = None


OFFER_FIELDS: Final = tuple(name for name in Words.__struct_fields__ if name != "ratings")
"""The fields that are about an offer; each is the name of a changed fact."""


class Rule(msgspec.Struct, frozen=True):
    """Words about everything that a pattern names: an offer's id, a model, or a glob of either."""

    layer: str
    pattern: str
    words: Words


class Word(msgspec.Struct, frozen=True):
    """One fact that an operator set: its JSON, and which rule said so."""

    value: bytes
    layer: str
    pattern: str


Expanded = dict[tuple[str, str], Word]
"""By subject (an offer's id, or a model for ratings) and field."""


def faults_of(words: Words) -> Iterator[tuple[str, str]]:
    """Each field that cannot be, with the reason why not."""
    for field, most in (
        ("quality_weight_ppm", QUALITY_WEIGHT_PPM_MAX),
        ("routing_weight", ROUTING_WEIGHT_MAX),
    ):
        if not 0 <= (getattr(words, field) or 0) <= most:
            yield field, f"must be between 0 and {most}"
    for field in ("tags", "regions"):
        if not _are_tags(getattr(words, field) or ()):
            yield field, _TAGS
    reason = words.deprecation_reason or ""
    if len(reason) > REASON_CHARS_MAX or not reason.isprintable():
        yield "deprecation_reason", f"must be at most {REASON_CHARS_MAX} printable characters"
    if words.replacement is not None and not words.replacement.strip():
        yield "replacement", "must name an offer, a model or an alias"
    if words.price is not None and (fault := _price_fault(words.price)):
        yield PRICE, fault
    yield from _rating_faults(words.ratings or {})


def _price_fault(price: OwnPrice) -> str | None:
    """Why a price cannot be; None if it can."""
    if not price.rates:
        fits = 0 < price.discount_ppm < PPM
        return None if fits else f"must have rates, or a discount_ppm between 1 and {PPM - 1}"
    if price.discount_ppm:
        return "must be rates or a discount_ppm, not both"
    if len({(rate.unit, rate.prompt_tokens_min) for rate in price.rates}) < len(price.rates):
        return "prices a unit twice"
    for rate in price.rates:
        most = NANOUSD_PER_MILLION_IMAGES_MAX if rate.unit is Unit.IMAGE else NANOUSD_PER_MTOK_MAX
        if not 0 <= rate.nanousd_per_mtok <= most:
            return f"has a rate for {rate.unit} that is not between 0 and {most} nano-USD"
        if not 0 <= rate.prompt_tokens_min <= TIER_TOKENS_MAX:
            return f"has a rate from a prompt on that is not between 0 and {TIER_TOKENS_MAX} tokens"
    base = {rate.unit for rate in price.rates if not rate.prompt_tokens_min}
    if not base >= {Unit.PROMPT, Unit.COMPLETION} and not base & OWN_UNITS:
        return "must price prompt and completion, or what is sold by no token"
    return None


def _rating_faults(ratings: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    for task, value in ratings.items():
        if task != OVERALL and task not in frozenset(Task):
            yield f"ratings.{task}", f"is no task; they are {OVERALL}, {', '.join(Task)}"
        elif not 0 <= value <= 100:  # noqa: PLR2004 - the scale of ratings
            yield f"ratings.{task}", "must be between 0 and 100"


def expand(rules: Iterable[Rule], offers: Sequence[tuple[str, str]]) -> Expanded:
    """What all rules say of each offer; of two rules on one field the later one wins.

    Args:
        rules: those of calls first, then the file's in its order.
        offers: id and model of every offer.
    """
    of_id = dict(offers)
    of_model: dict[str, list[str]] = {}
    for offer_id, model in offers:
        of_model.setdefault(model, []).append(offer_id)
    found: Expanded = {}
    for rule in rules:
        spoken = _spoken(rule)
        of_offer = {field: word for field, word in spoken.items() if not field.startswith(RATING)}
        of_models = {field: word for field, word in spoken.items() if field.startswith(RATING)}
        for offer_id in matched(rule, of_id, of_model):
            found.update(((offer_id, field), word) for field, word in of_offer.items())
            found.update(((of_id[offer_id], field), word) for field, word in of_models.items())
    return found


def matched(
    rule: Rule, of_id: Mapping[str, str], of_model: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The ids of the offers that a rule is about."""
    pattern = rule.pattern
    if rule.layer == CALL or pattern in of_id:
        return (pattern,) if pattern in of_id else ()
    if not is_glob(pattern):
        return tuple(of_model.get(pattern, ()))
    matches = re.compile(fnmatch.translate(pattern)).match
    models = {model for model in of_model if matches(model)}
    return tuple(
        offer_id for offer_id, model in of_id.items() if model in models or matches(offer_id)
    )


def is_glob(pattern: str) -> bool:
    """Whether a pattern may name several things: it has one of * ? [."""
    return _GLOB.search(pattern) is not None


def _spoken(rule: Rule) -> dict[str, Word]:
    """The fields of a rule that say anything."""
    words = rule.words
    values = {field: getattr(words, field) for field in OFFER_FIELDS}
    values |= {f"{RATING}{task}": value for task, value in (words.ratings or {}).items()}
    return {
        field: Word(msgspec.json.encode(value), rule.layer, rule.pattern)
        for field, value in values.items()
        if value is not None
    }


def _are_tags(names: Sequence[str]) -> bool:
    return len(set(names)) == len(names) <= TAG_COUNT_MAX and all(
        len(name) <= TAG_CHARS_MAX and _TAG.fullmatch(name) for name in names
    )
