"""The rules for aliases: which names may be given, and that no chain of them comes back to itself.

Pure: `store` reads and writes, this decides.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from omni_grpc.catalog.model import RESERVED_PREFIX
from omni_grpc.core.errors import FieldInvalid
from omni_grpc.core.limits import MODEL_ID_CHARS_MAX

TARGET_COUNT_MAX: Final = 16
"""Most targets of one alias: more than a call can have attempts."""


def check_alias(name: str, targets: Sequence[str], others: Mapping[str, Sequence[str]]) -> None:
    """Refuse an alias that is malformed, reserved, or part of a loop.

    Args:
        name: the alias to set.
        targets: what it is to mean, in order.
        others: every other alias of the scope, with its targets.

    Raises:
        FieldInvalid: with the field `name` or `targets`.
    """
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
    loop = _way_back(name, targets, others)
    if loop:
        raise FieldInvalid(
            f"The alias would mean itself: {' → '.join(loop)}. Choose another target.",
            field="targets",
        )


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
