"""The rules for aliases: which names may be given, in which scopes, and that none means itself.

A scope's callers see its aliases and those of every scope around it; the nearest wins. Pure:
`store` reads and writes, this decides.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from omni_grpc.catalog.model import GLOBAL_SCOPE, RESERVED_PREFIX, Alias
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX

TARGET_COUNT_MAX: Final = 16
"""Most targets of one alias: more than a call can have attempts."""

_SLUG: Final = "[a-z][a-z0-9-]{1,62}"
_SCOPE: Final = re.compile(f"orgs/{_SLUG}(?:/teams/{_SLUG}(?:/environments/{_SLUG})?)?", re.ASCII)
_SCOPE_CHARS_MAX: Final = 256


def check_scope(scope: str, *, field: str = "scope") -> str:
    """The scope, if there can be one of that name.

    Raises:
        FieldInvalid: it is neither `global` nor an organisation, or a team or environment of one.
    """
    if scope != GLOBAL_SCOPE and not (len(scope) <= _SCOPE_CHARS_MAX and _SCOPE.fullmatch(scope)):
        raise FieldInvalid(
            f"{scope[:_SCOPE_CHARS_MAX]!r} is no scope. Write {GLOBAL_SCOPE}, orgs/{{org}}, or "
            "a team or an environment of it.",
            field=field,
        )
    return scope


def scopes_of(scope: str) -> tuple[str, ...]:
    """A scope and those around it, the nearest first: `("orgs/acme", "global")`.

    A name's parts come in pairs: an environment lies in its team, and that in `orgs/{org}`.
    """
    if scope == GLOBAL_SCOPE:
        return (GLOBAL_SCOPE,)
    parts = scope.split("/")
    around = tuple("/".join(parts[:end]) for end in range(len(parts), 0, -2))
    return (*around, GLOBAL_SCOPE)


def subject_of(scope: str, name: str) -> str:
    """What the record of changes calls an alias: its name, after its scope where that is an org."""
    return name if scope == GLOBAL_SCOPE else f"{scope}/aliases/{name}"


def check_alias(alias: Alias, others: Iterable[Alias]) -> None:
    """Refuse an alias that is malformed, reserved, or part of a loop in any scope.

    Args:
        alias: the alias to set.
        others: every alias of every scope; of two of one scope and name the later one counts.

    Raises:
        FieldInvalid: with the field `name`, `scope` or `targets`.
    """
    name, targets = alias.name, alias.targets
    check_scope(alias.scope)
    if not name or not name.isprintable() or len(name) > MODEL_ID_CHARS_MAX or name != name.strip():
        raise FieldInvalid(
            f"An alias has 1 to {MODEL_ID_CHARS_MAX} printable characters and no space around "
            "them.",
            field="name",
        )
    if name.startswith(RESERVED_PREFIX):
        raise FieldInvalid(
            f"Names that begin with {RESERVED_PREFIX} are the router's own. Choose another.",
            field="name",
        )
    if not 0 < len(targets) <= TARGET_COUNT_MAX or len(set(targets)) != len(targets):
        raise FieldInvalid(
            f"An alias has 1 to {TARGET_COUNT_MAX} targets, each of them once.", field="targets"
        )
    for view in _views(alias, others):
        loop = _way_back(name, targets, view)
        if loop:
            raise FieldInvalid(
                f"The alias would mean itself: {' → '.join(loop)}. Choose another target.",
                field="targets",
            )


def _views(alias: Alias, others: Iterable[Alias]) -> Iterable[Mapping[str, Sequence[str]]]:
    """All that is seen from each scope that sees the alias, by name."""
    held: dict[str, dict[str, Sequence[str]]] = {alias.scope: {}}
    for other in others:
        held.setdefault(other.scope, {})[other.name] = other.targets
    held[alias.scope][alias.name] = alias.targets
    for scope in held:
        around = scopes_of(scope)
        if alias.scope in around:
            view: dict[str, Sequence[str]] = {}
            for one in reversed(around):
                view.update(held.get(one, {}))
            if view[alias.name] == alias.targets:
                yield view


def _way_back(
    name: str, targets: Sequence[str], others: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """The chain of aliases that leads from `name` back to it; empty if there is none."""
    waiting: list[tuple[str, ...]] = [(name, target) for target in targets]
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop()
        last = chain[-1]
        if last == name:
            return chain
        if last not in seen:
            seen.add(last)
            waiting += [(*chain, target) for target in others.get(last, ())]
    return ()
