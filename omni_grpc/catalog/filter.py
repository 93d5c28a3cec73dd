"""The filters of lists: a subset of AIP-160.

    filter     = [ comparison { "AND" comparison } ]
    comparison = field operator value
    operator   = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value      = string in quotes | whole number | true | false | word

Fields, and the operators that each takes:

    provider, model, mode, source                         = !=              text
    context_token_count, output_token_count,
    quality_weight_ppm, routing_weight                    = != < <= > >=    whole number
    tools, structured_output, reasoning, free,
    priced, deprecated, enabled, callable                 = !=              true or false
    input_modality, output_modality                       :                 a kind of content
    tag, region                                           :                 text

`model` is met by an offer's id and by the canonical id of its model. An unknown limit matches no
comparison but `!=`; a capability that is not known counts as absent. Anything else is refused
with its position, never guessed at.
"""

import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, NoReturn

from omni_grpc.catalog.model import Modality, Offer
from omni_grpc.core.errors import FieldInvalid

FILTER_CHARS_MAX: Final = 1_024
COMPARISON_COUNT_MAX: Final = 16
"""Each comparison looks at every offer; there are fewer fields than this."""

NUMBER_DIGITS_MAX: Final = 18

_Providers = Collection[str]
_Test = Callable[[Offer, _Providers], bool]

_TEXTS: Final[Mapping[str, Callable[[Offer], tuple[str, ...]]]] = {
    "provider": lambda offer: (offer.provider,),
    "model": lambda offer: (offer.id, offer.model),
    "mode": lambda offer: (offer.mode,),
    "source": lambda offer: (offer.source,),
}
_NUMBERS: Final[Mapping[str, Callable[[Offer], int | None]]] = {
    "context_token_count": lambda offer: offer.context_tokens_max,
    "output_token_count": lambda offer: offer.output_tokens_max,
    "quality_weight_ppm": lambda offer: offer.quality_weight_ppm,
    "routing_weight": lambda offer: offer.routing_weight,
}
_FLAGS: Final[Mapping[str, Callable[[Offer, _Providers], bool]]] = {
    "tools": lambda offer, _: offer.tools,
    "structured_output": lambda offer, _: offer.structured_output is True,
    "reasoning": lambda offer, _: offer.reasoning,
    "free": lambda offer, _: offer.free,
    "priced": lambda offer, _: offer.price is not None,
    "deprecated": lambda offer, _: offer.deprecated,
    "enabled": lambda offer, _: offer.enabled,
    "callable": lambda offer, providers: offer.callable_at(providers),
}
_LISTS: Final[Mapping[str, Callable[[Offer], frozenset[Modality]]]] = {
    "input_modality": lambda offer: offer.input_modalities,
    "output_modality": lambda offer: offer.output_modalities,
}
_LABELS: Final[Mapping[str, Callable[[Offer], frozenset[str]]]] = {
    "tag": lambda offer: offer.tags,
    "region": lambda offer: offer.regions,
}
_FIELDS: Final = (*_TEXTS, *_NUMBERS, *_FLAGS, *_LISTS, *_LABELS)

_EQUALITY: Final[Mapping[str, Callable[[object, object], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
}
_ORDER: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TRUTH: Final = {"true": True, "false": False}

_TOKEN: Final = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\["\\])*"|'(?:[^'\\]|\\['\\])*')"""
    r"""|(?P<operator>!=|<=|>=|=|<|>|:)"""
    r"""|(?P<word>[^\s"'=!<>:()\\]+)""",
)
_SPACE: Final = re.compile(r"\s*")
_ESCAPED: Final = re.compile(r"\\(.)")


class Filter:
    """A parsed filter: every one of its comparisons must hold."""

    def __init__(self, tests: tuple[_Test, ...] = ()) -> None:
        self._tests = tests

    def matches(self, offer: Offer, providers: Collection[str]) -> bool:
        """Whether the filter wants an offer, given the configured providers."""
        return all(test(offer, providers) for test in self._tests)


def parse_filter(text: str) -> Filter:
    """Read a filter; an empty one wants everything.

    Raises:
        FieldInvalid: of the field `filter`; metadata `position` counts characters from 1.
    """
    return Filter(tuple(_Parser(text).comparisons()))


def parse_equalities(text: str, fields: Collection[str]) -> dict[str, str]:
    """Read a filter that takes `field = value` only, each field once; an empty one is empty.

    Raises:
        FieldInvalid: of the field `filter`; metadata `position` counts characters from 1.
    """
    return _Parser(text).equalities(fields)


class _Parser:
    """Reads comparisons from left to right; each fault names where it stands."""

    def __init__(self, text: str) -> None:
        if len(text) > FILTER_CHARS_MAX:
            self._refuse(f"it is longer than {FILTER_CHARS_MAX} characters", FILTER_CHARS_MAX)
        self._text = text
        self._at = 0

    def comparisons(self) -> list[_Test]:
        """Every comparison, each as a test."""
        tests: list[_Test] = []
        self._skip_space()
        while self._at < len(self._text):
            if tests:
                start, kind, word = self._next("AND")
                if kind != "word" or word != "AND":
                    self._refuse(f"AND is expected here, not {word!r}", start)
            if len(tests) == COMPARISON_COUNT_MAX:
                self._refuse(f"it has more than {COMPARISON_COUNT_MAX} comparisons", self._at)
            tests.append(self._comparison())
        return tests

    def equalities(self, fields: Collection[str]) -> dict[str, str]:
        """Every comparison of a filter that takes `=` only."""
        found: dict[str, str] = {}
        self._skip_space()
        while self._at < len(self._text):
            if found:
                start, kind, word = self._next("AND")
                if kind != "word" or word != "AND":
                    self._refuse(f"AND is expected here, not {word!r}", start)
            start, _, field = self._next("a field")
            if field not in fields:
                known = ", ".join(fields)
                self._refuse(f"{field!r} is not a field; the fields are {known}", start)
            if field in found:
                self._refuse(f"{field} stands there twice", start)
            at_operator, _, sign = self._next("an operator")
            if sign != "=":
                self._wrong_operator(field, "=", at_operator)
            at_value, kind, value = self._next("a value")
            if kind == "operator":
                self._refuse(f"a value is expected after {sign}, not {value!r}", at_value)
            found[field] = value
        return found

    def _comparison(self) -> _Test:
        start, kind, field = self._next("a field")
        if kind != "word" or field not in _FIELDS:
            self._refuse(f"{field!r} is not a field; the fields are {', '.join(_FIELDS)}", start)
        at_operator, kind, sign = self._next("an operator")
        if kind != "operator":
            self._refuse(f"an operator is expected after {field}, not {sign!r}", at_operator)
        at_value, kind, value = self._next("a value")
        if kind == "operator":
            self._refuse(f"a value is expected after {sign}, not {value!r}", at_value)
        if field in _LISTS:
            return self._list_test(field, sign, value, at_operator, at_value)
        if field in _LABELS:
            return self._label_test(field, sign, value, at_operator)
        if field in _TEXTS:
            return self._text_test(field, sign, value, at_operator)
        if field in _FLAGS:
            return self._flag_test(field, sign, value, at_operator, at_value)
        return self._number_test(field, sign, value, at_operator, at_value)

    def _text_test(self, field: str, sign: str, value: str, at_operator: int) -> _Test:
        if sign not in _EQUALITY:
            self._wrong_operator(field, "= and !=", at_operator)
        get, wanted = _TEXTS[field], sign == "="
        return lambda offer, _: (value in get(offer)) is wanted

    def _flag_test(
        self, field: str, sign: str, value: str, at_operator: int, at_value: int
    ) -> _Test:
        compare = _EQUALITY.get(sign) or self._wrong_operator(field, "= and !=", at_operator)
        if value not in _TRUTH:
            self._refuse(f"{field} is true or false, not {value!r}", at_value)
        get, wanted = _FLAGS[field], _TRUTH[value]
        return lambda offer, providers: compare(get(offer, providers), wanted)

    def _label_test(self, field: str, sign: str, value: str, at_operator: int) -> _Test:
        if sign != ":":
            self._wrong_operator(field, ": (has)", at_operator)
        get = _LABELS[field]
        return lambda offer, _: value in get(offer)

    def _list_test(
        self, field: str, sign: str, value: str, at_operator: int, at_value: int
    ) -> _Test:
        if sign != ":":
            self._wrong_operator(field, ": (has)", at_operator)
        if value not in frozenset(Modality):
            self._refuse(f"{value!r} is none of {', '.join(Modality)}", at_value)
        get, wanted = _LISTS[field], Modality(value)
        return lambda offer, _: wanted in get(offer)

    def _number_test(
        self, field: str, sign: str, value: str, at_operator: int, at_value: int
    ) -> _Test:
        if not (value.isascii() and value.isdecimal() and len(value) <= NUMBER_DIGITS_MAX):
            self._refuse(f"{field} is a whole number, not {value!r}", at_value)
        get, wanted = _NUMBERS[field], int(value)
        if sign in _EQUALITY:
            equality = _EQUALITY[sign]
            return lambda offer, _: equality(get(offer), wanted)
        order = _ORDER.get(sign) or self._wrong_operator(field, "=, !=, <, <=, >, >=", at_operator)

        def test(offer: Offer, _: _Providers) -> bool:
            number = get(offer)
            return number is not None and order(number, wanted)

        return test

    def _next(self, expected: str) -> tuple[int, str, str]:
        """The position, the kind and the value of the next token."""
        start = self._at
        if start >= len(self._text):
            self._refuse(f"it ends where {expected} is expected", start)
        match = _TOKEN.match(self._text, start)
        if match is None:
            self._refuse(f"{self._text[start]!r} cannot stand here", start)
        self._at = match.end()
        self._skip_space()
        kind, token = match.lastgroup or "", match.group()
        if kind == "string":
            token = _ESCAPED.sub(r"\1", token[1:-1])
        return start, kind, token

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _wrong_operator(self, field: str, signs: str, at: int) -> NoReturn:
        self._refuse(f"{field} takes {signs}", at)

    def _refuse(self, why: str, at: int) -> NoReturn:
        raise FieldInvalid(
            f"The filter cannot be read at position {at + 1}: {why}. Write comparisons joined by "
            'AND, such as provider = "openai" AND tools = true.',
            field="filter",
            metadata={"position": str(at + 1)},
        )
