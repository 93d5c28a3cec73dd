"""A valid, deterministic instance of a JSON Schema: what a model would answer under constraint.

It covers what structured outputs and tool definitions use: types, enum, const, nested objects
and arrays, $defs and $ref (also to oneself), anyOf, oneOf, allOf, bounds and common formats. A
keyword that constrains and is not covered is refused by name, never ignored.
"""

import math
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Final, TypeAlias, cast
from urllib.parse import unquote

__all__ = ("Json", "SchemaUnsupported", "instance_of")

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Schema: TypeAlias = "dict[str, Json]"

DEPTH_MAX: Final = 64
"""Deepest instance: a schema that demands more has no finite instance worth sending."""

DEPTH_LEAN: Final = 4
"""From this depth on only what must be there is made, so that recursive schemas end."""

NODES_MAX: Final = 20_000
"""Most values tried for one instance: the search for one among alternatives ends too."""

STRING_CHARS_MAX: Final = 100_000

_UNSUPPORTED: Final = (
    "pattern", "patternProperties", "not", "if", "then", "else", "contains", "propertyNames",
    "dependentSchemas", "dependentRequired", "unevaluatedProperties", "unevaluatedItems",
    "$dynamicRef",
)  # fmt: skip

_FORMATS: Final = {
    "date-time": "2026-01-15T09:30:00Z",
    "date": "2026-01-15",
    "time": "09:30:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "idn-email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/page",
    "url": "https://example.com/page",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_STRINGS: Final = ("apple", "river", "stone", "green", "seven", "north", "paper", "light")


class SchemaUnsupported(ValueError):
    """No instance can be made; the message says which part of the schema is to blame."""


def instance_of(schema: Json, rng: Random) -> Json:
    """One instance of `schema`; the same `rng` state gives the same one.

    Raises:
        SchemaUnsupported: a keyword is not covered, a $ref leads nowhere, or nothing is valid.
    """
    return _Maker(schema, rng).make(schema, 0)


class _Maker:
    """Makes one instance; keeps the root for references."""

    def __init__(self, root: Json, rng: Random) -> None:
        self._root = root
        self._rng = rng
        self._tried = 0

    def make(self, schema: Json, depth: int) -> Json:
        self._tried += 1
        if self._tried > NODES_MAX:
            raise SchemaUnsupported(f"the schema needs more than {NODES_MAX} values")
        if depth > DEPTH_MAX:
            raise SchemaUnsupported(f"the schema needs more than {DEPTH_MAX} levels")
        node = self._resolved(schema, depth)
        if "const" in node:
            return node["const"]
        if isinstance(choices := node.get("enum"), list) and choices:
            return self._rng.choice(choices)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(options := node.get(keyword), list) and options:
                return self._one_of(node, keyword, options, depth)
        return self._value_of(self._type(node, depth), node, depth)

    def _value_of(self, kind: str, node: Schema, depth: int) -> Json:
        match kind:
            case "object":
                return self._object(node, depth)
            case "array":
                return self._array(node, depth)
            case "string":
                return self._string(node)
            case "integer" | "number":
                return self._number(node, whole=kind == "integer")
        simple: dict[str, tuple[Json, ...]] = {"boolean": (True, False), "null": (None,)}
        if kind not in simple:
            raise SchemaUnsupported(f"{kind!r} is no type of JSON Schema")
        return self._rng.choice(simple[kind])

    # --- which schema holds -------------------------------------------------------------------
    def _resolved(self, schema: Json, depth: int) -> Schema:
        """The schema with its reference and its allOf folded in."""
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise SchemaUnsupported(f"{schema!r} is no schema that has an instance")
        node = schema
        for keyword in _UNSUPPORTED:
            if keyword in node:
                raise SchemaUnsupported(f"the simulator does not cover the keyword {keyword!r}")
        if isinstance(reference := node.get("$ref"), str):
            if depth > DEPTH_MAX:
                raise SchemaUnsupported(f"$ref {reference!r} only leads to itself")
            rest = {key: value for key, value in node.items() if key != "$ref"}
            node = _merged(self._resolved(self._target(reference), depth + 1), rest)
        if isinstance(parts := node.get("allOf"), list):
            node = {key: value for key, value in node.items() if key != "allOf"}
            for part in parts:
                node = _merged(node, self._resolved(part, depth + 1))
        return node

    def _target(self, reference: str) -> Json:
        if not reference.startswith("#"):
            raise SchemaUnsupported(f"$ref {reference!r} leads out of the schema")
        target = self._root
        for step in filter(None, reference[1:].split("/")):
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and key in target:
                target = target[key]
            elif isinstance(target, list) and key.isdigit() and int(key) < len(target):
                target = target[int(key)]
            else:
                raise SchemaUnsupported(f"$ref {reference!r} leads nowhere")
        return target

    def _one_of(self, node: Schema, keyword: str, options: list[Json], depth: int) -> Json:
        rest = {key: value for key, value in node.items() if key != keyword}
        order = list(options)
        if depth >= DEPTH_LEAN:  # what cannot recur first, then the smallest
            order.sort(key=lambda option: ("$ref" in str(option), len(str(option))))
        else:
            self._rng.shuffle(order)
        trouble = SchemaUnsupported(f"{keyword} has no option")
        for option in order:
            try:
                return self.make(_merged(rest, self._resolved(option, depth)), depth + 1)
            except SchemaUnsupported as error:
                trouble = error
        raise trouble

    def _type(self, node: Schema, depth: int) -> str:
        kind = node.get("type")
        if isinstance(kind, list) and kind:
            kinds = [one for one in kind if one != "null"] or kind
            kind = "null" if "null" in kind and depth >= DEPTH_LEAN else self._rng.choice(kinds)
        if isinstance(kind, str):
            return kind
        if "properties" in node or "required" in node or "additionalProperties" in node:
            return "object"
        if "items" in node or "prefixItems" in node:
            return "array"
        if any(key in node for key in ("minimum", "maximum", "multipleOf")):
            return "number"
        return "string"

    # --- values -------------------------------------------------------------------------------
    def _object(self, node: Schema, depth: int) -> Json:
        properties = node.get("properties")
        known = properties if isinstance(properties, dict) else {}
        required = [key for key in _list(node, "required") if isinstance(key, str)]
        lean = depth >= DEPTH_LEAN
        wanted = [key for key in known if key in required or not lean]
        wanted += [key for key in required if key not in known]
        extra = node.get("additionalProperties", True)
        made: dict[str, Json] = {}
        for key in wanted:
            try:
                made[key] = self.make(known.get(key, extra), depth + 1)
            except SchemaUnsupported:
                if key in required:
                    raise
        free_map = not known and isinstance(extra, dict) and not lean
        least = max(_int(node, "minProperties", 0), 2 if free_map else 0)
        while len(made) < least and extra is not False:
            made[f"key{len(made) + 1}"] = self.make(extra, depth + 1)
        return made

    def _array(self, node: Schema, depth: int) -> Json:
        least = _int(node, "minItems", 0)
        most = _int(node, "maxItems", max(least, 3))
        prefix = _list(node, "prefixItems")
        default = least if depth >= DEPTH_LEAN else max(least, len(prefix), 2)
        count = min(default, most)
        items = node.get("items", True)
        if items is False:
            count = min(count, len(prefix))
        made: list[Json] = []
        for _ in range(count * (8 if node.get("uniqueItems") else 1)):
            if len(made) == count:
                break
            schema = prefix[len(made)] if len(made) < len(prefix) else items
            item = self.make(schema, depth + 1)
            if not (node.get("uniqueItems") and item in made):
                made.append(item)
        if len(made) < least:
            raise SchemaUnsupported(f"{least} different items cannot be found")
        return cast("Json", made)

    def _string(self, node: Schema) -> str:
        least = _int(node, "minLength", 0)
        most = _int(node, "maxLength", STRING_CHARS_MAX)
        if least > STRING_CHARS_MAX:
            raise SchemaUnsupported(f"a string of {least} characters is too long")
        kind = node.get("format")
        if isinstance(kind, str) and kind in _FORMATS:
            return _FORMATS[kind]
        text = self._rng.choice(_STRINGS)
        while len(text) < least:
            text += f" {self._rng.choice(_STRINGS)}"
        return text[:most]

    def _number(self, node: Schema, *, whole: bool) -> int | float:
        low, high = _bounds(node)
        step = _value(node, "multipleOf")
        if step is None and not whole:
            drawn = Decimal(str(round(self._rng.uniform(float(low), float(high)), 2)))
            candidates = [drawn, (low + high) / 2, low, high]
        else:
            # Whole multiples of p/q are the multiples of p.
            unit = Fraction(step or 1)
            grid = Decimal(unit.numerator) if whole else (step or Decimal(1))
            first, last = math.ceil(low / grid), math.floor(high / grid)
            drawn_count = self._rng.randint(first, max(first, min(last, first + 100)))
            counts = (drawn_count, first, first + 1, last, last - 1)
            candidates = [count * grid for count in counts]
        for value in candidates:
            if _fits(value, node):
                return int(value) if value == int(value) else float(value)
        raise SchemaUnsupported("the numeric bounds leave no value")


def _fits(value: Decimal, node: Schema) -> bool:
    low, high = _value(node, "minimum"), _value(node, "maximum")
    above, below = _value(node, "exclusiveMinimum"), _value(node, "exclusiveMaximum")
    return (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
    )


def _bounds(node: Schema) -> tuple[Decimal, Decimal]:
    """The interval of the four bounds, 100 wide where one end is open, from 0 where both are."""
    lows = [_value(node, key) for key in ("minimum", "exclusiveMinimum")]
    highs = [_value(node, key) for key in ("maximum", "exclusiveMaximum")]
    low = max((bound for bound in lows if bound is not None), default=None)
    high = min((bound for bound in highs if bound is not None), default=None)
    if low is None:
        low = Decimal(0) if high is None or high > 0 else high - 100
    return (low, low + 100 if high is None else high)


def _merged(left: Schema, right: Schema) -> Schema:
    """Both schemas at once; properties and required lists join, else the right one wins."""
    merged = {**left, **right}
    both = left.keys() & right.keys()
    if "properties" in both:
        ours, theirs = left["properties"], right["properties"]
        if isinstance(ours, dict) and isinstance(theirs, dict):
            merged["properties"] = {**ours, **theirs}
    if "required" in both:
        merged["required"] = [*_list(left, "required"), *_list(right, "required")]
    return merged


def _list(node: Schema, key: str) -> list[Json]:
    value = node.get(key)
    return value if isinstance(value, list) else []


def _int(node: Schema, key: str, default: int) -> int:
    value = _value(node, key)
    return default if value is None else int(value)


def _value(node: Schema, key: str) -> Decimal | None:
    value = node.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return Decimal(str(value)) if is_number else None
