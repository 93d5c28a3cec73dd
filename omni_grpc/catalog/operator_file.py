"""models.yaml: what an operator says of models, read whole or refused whole.

    models:
      openai/gpt-4o:              # an offer
        quality_weight_ppm: 1100000
        price: {discount_ppm: 200000}
      gpt-4:                      # a model, whoever sells it
        deprecation: {date: 2026-12-01, reason: its maker retires it, replacement: gpt-4.1}
      "azure/*":                  # a glob of either
        regions: [eu]
    aliases:
      global:
        smart: [anthropic/claude-sonnet-4-5, gpt-4o]
      orgs/acme:
        smart: [azure/gpt-4o]

Of two entries that speak of one field of one offer the later one counts. Every fault is told, with
where it stands. docs/models.md tells each field.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from omni_grpc.catalog.aliases import check_alias, scopes_of
from omni_grpc.catalog.model import Alias, Mode
from omni_grpc.catalog.prices import quote
from omni_grpc.catalog.snapshot import CatalogSnapshot
from omni_grpc.catalog.words import FILE, OwnPrice, Rule, Words, faults_of, matched
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX

FILE_BYTES_MAX: Final = 4_000_000
"""Every offer of the catalog with every field is a quarter of this."""

RULE_COUNT_MAX: Final = 5_000
FAULT_COUNT_MAX: Final = 50
"""Most faults that are told at once: who mended these reads the next ones."""

_DISCOUNT: Final = "discount_ppm"
_NAME_CHARS_SHOWN: Final = 80
_FIELDS: Final = (
    "enabled",
    "tags",
    "regions",
    "quality_weight_ppm",
    "routing_weight",
    "deprecation",
    "price",
    "ratings",
)


class OperatorFileError(ValueError):
    """The file cannot be used; `faults` tells all that is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        shown = faults[:FAULT_COUNT_MAX]
        if len(faults) > len(shown):
            shown.append(f"and {len(faults) - len(shown)} more")
        listed = "\n".join(f"  - {fault}" for fault in shown)
        super().__init__(f"models.yaml cannot be used:\n{listed}")
        self.faults = shown


class OperatorFile(msgspec.Struct, frozen=True):
    """What the file says: rules in their order, and aliases."""

    rules: tuple[Rule, ...] = ()
    aliases: tuple[Alias, ...] = ()


class _Deprecation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    date: dt.date
    reason: str = ""
    replacement: str | None = None


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of `models`; the price is read apart."""

    enabled: bool | None = None
    tags: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    quality_weight_ppm: int | None = None
    routing_weight: int | None = None
    deprecation: _Deprecation | None = None
    ratings: dict[str, int] | None = None


def read_operator_file(path: Path) -> OperatorFile:
    """Read and check everything that can be checked without the catalog.

    Raises:
        OperatorFileError: with every fault.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise OperatorFileError([f"{path} cannot be read: {error.strerror or error}"]) from None
    if len(content) > FILE_BYTES_MAX:
        raise OperatorFileError([f"is larger than {FILE_BYTES_MAX:,} bytes"])
    return parse_operator_file(content)


def parse_operator_file(content: bytes) -> OperatorFile:
    """What the text of a file says.

    Raises:
        OperatorFileError: with every fault.
    """
    try:
        found = yaml.load(content, _Loader)  # noqa: S506 # a SafeLoader of our own
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise OperatorFileError([f"is not YAML: {' '.join(str(error).split())}"]) from None
    if found is None:
        return OperatorFile()
    if not isinstance(found, dict):
        raise OperatorFileError(["must be a mapping with the keys models and aliases"])
    faults = [f"{key!r}: there is no such key; they are models, aliases" for key in found]
    faults = [
        fault for key, fault in zip(found, faults, strict=True) if key not in ("models", "aliases")
    ]
    rules = tuple(_rules(found.get("models"), faults))
    aliases = tuple(_aliases(found.get("aliases"), faults))
    if faults:
        raise OperatorFileError(faults)
    return OperatorFile(rules, aliases)


def names_faults(snapshot: CatalogSnapshot, file: OperatorFile) -> list[str]:
    """The names in a file that mean nothing, or hide an offer."""
    ours = snapshot.with_aliases(file.aliases)
    faults = [
        f"aliases.{alias.scope}.{alias.name}: {fault}"
        for alias in file.aliases
        for _, fault in alias_faults(snapshot, alias, also=ours)
    ]
    for rule in file.rules:
        name = rule.words.replacement
        if name is not None and not snapshot.resolve(name) and not ours.resolve(name):
            faults.append(
                f"models.{rule.pattern}.deprecation.replacement: {name!r} names no model and no "
                f"alias{hint(snapshot, name)}"
            )
    return faults


def alias_faults(
    snapshot: CatalogSnapshot, alias: Alias, *, also: CatalogSnapshot | None = None
) -> Iterator[tuple[str, str]]:
    """What of an alias does not fit to the catalog: the field and the fault.

    Args:
        snapshot: the catalog.
        alias: the alias.
        also: the catalog with other aliases that will hold too.
    """
    if snapshot.get(alias.name) is not None:
        yield "name", f"{alias.name!r} is the name of an offer. Choose another."
    scopes = scopes_of(alias.scope)
    for target in alias.targets:
        known = snapshot.resolve(target, scopes) or (also and also.resolve(target, scopes))
        if target != alias.name and not known:
            yield "targets", f"{target!r} names no model and no alias{hint(snapshot, target)}."


def hint(snapshot: CatalogSnapshot, name: str) -> str:
    """Names that resemble one that means nothing, as the end of a sentence."""
    near = snapshot.suggestions(name)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def unmatched(snapshot: CatalogSnapshot, file: OperatorFile) -> tuple[str, ...]:
    """The patterns of a file that name nothing."""
    of_id = {offer.id: offer.model for offer in snapshot.offers()}
    of_model: dict[str, list[str]] = {}
    for offer_id, model in of_id.items():
        of_model.setdefault(model, []).append(offer_id)
    return tuple(rule.pattern for rule in file.rules if not matched(rule, of_id, of_model))


def own_price(cost: Mapping[str, object]) -> OwnPrice:
    """A price in the file's shape: `discount_ppm`, or USD per million tokens by what is priced.

    Raises:
        ValueError: it cannot be a price; the text says why.
    """
    if _DISCOUNT in cost:
        discount = cost[_DISCOUNT]
        if len(cost) > 1 or isinstance(discount, bool) or not isinstance(discount, int):
            raise ValueError(f"{_DISCOUNT} stands alone and is a whole number")
        return OwnPrice(discount_ppm=discount)
    found = quote(cost, Mode.CHAT)
    if not found.rates:
        others = (quote(cost, mode) for mode in (Mode.EMBEDDING, Mode.IMAGE))
        found = next((one for one in others if one.rates), found)
    if not found.rates:
        raise ValueError(found.refusal)
    return OwnPrice(rates=found.rates)


def _rules(entries: object, faults: list[str]) -> Iterator[Rule]:
    if entries is None:
        return
    if not isinstance(entries, dict):
        faults.append("models: must be a mapping of models to what is said of them")
        return
    if len(entries) > RULE_COUNT_MAX:
        faults.append(f"models: has more than {RULE_COUNT_MAX} entries")
        return
    for pattern, entry in entries.items():
        where = f"models.{str(pattern)[:_NAME_CHARS_SHOWN]}"
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MODEL_ID_CHARS_MAX:
            faults.append(
                f"{where}: a model's name is text of 1 to {MODEL_ID_CHARS_MAX} characters"
            )
        elif not isinstance(entry, dict) or not entry:
            faults.append(f"{where}: must be a mapping with at least one of {', '.join(_FIELDS)}")
        else:
            words = _words(entry, where, faults)
            if words is not None:
                yield Rule(FILE, pattern, words)


def _words(entry: dict[str, object], where: str, faults: list[str]) -> Words | None:
    """What one entry says; None, and its faults, where it cannot be said."""
    before = len(faults)
    fields: dict[str, Any] = {}
    for name, value in entry.items():
        try:
            if value is None:
                raise ValueError("has no value")
            if name == "price":
                fields[name] = own_price(msgspec.convert(value, dict[str, object]))
            else:
                fields[name] = getattr(msgspec.convert({name: value}, _Entry), name)
        except (ValueError, msgspec.ValidationError) as error:
            text = str(error).partition(" - at ")[0]
            known = "" if name in _FIELDS else f" (fields are {', '.join(_FIELDS)})"
            faults.append(f"{where}.{name}: {text[:1].lower()}{text[1:]}{known}")
    if len(faults) > before:
        return None
    deprecation: _Deprecation | None = fields.pop("deprecation", None)
    if deprecation is not None:
        fields["deprecation_date"] = deprecation.date
        fields["deprecation_reason"] = deprecation.reason or None
        fields["replacement"] = deprecation.replacement
    words = Words(**fields)
    faults += [f"{where}.{field}: {fault}" for field, fault in faults_of(words)]
    return words


def _aliases(scopes: object, faults: list[str]) -> Iterator[Alias]:
    if scopes is None:
        return
    if not isinstance(scopes, dict):
        faults.append("aliases: must be a mapping of scopes (global, orgs/{org}) to aliases")
        return
    for scope, aliases in scopes.items():
        if not isinstance(aliases, dict):
            faults.append(f"aliases.{scope}: must be a mapping of names to lists of models")
            continue
        for name, targets in aliases.items():
            where = f"aliases.{scope}.{str(name)[:_NAME_CHARS_SHOWN]}"
            held = [targets] if isinstance(targets, str) else targets
            if not isinstance(held, list) or not all(isinstance(one, str) for one in held):
                faults.append(f"{where}: must be a model's name or a list of them")
                continue
            alias = Alias(scope=str(scope), name=str(name), targets=tuple(held))
            try:
                check_alias(alias, ())
            except FieldInvalid as error:
                faults.append(f"{where}: {error.message}")
            else:
                yield alias


class _Loader(yaml.SafeLoader):
    """Numbers with a point become Decimals, and a key that stands twice is a fault."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys all differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands there twice", key.start_mark
                )
            if isinstance(key.value, str):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _decimal(_: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    try:
        return Decimal(node.value.replace("_", ""))
    except InvalidOperation:
        raise ValueError(f"{node.value!r} is not a number") from None


_Loader.add_constructor("tag:yaml.org,2002:float", _decimal)
