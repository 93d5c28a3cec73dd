"""The fixed seeds of the tests: a few histories of each kind, of which each has its overlaps."""

import pytest
from harness.director import Director
from harness.kinds import KINDS
from harness.registry import history_of

SLOW = (3, 8, 16, 18, 19, 20, 24)
SEEDS = dict.fromkeys(KINDS, (1, 2)) | dict.fromkeys(SLOW, (1,))


def of_kinds(*numbers: int) -> pytest.MarkDecorator:
    """Runs a test once for each of these kinds."""
    names = {number: KINDS[number].name.split(",")[0].replace(" ", "-") for number in numbers}
    return pytest.mark.parametrize(
        "number", [pytest.param(n, id=f"{n}-{name}") for n, name in names.items()]
    )


async def check_kind(director: Director, number: int) -> None:
    """No history of the kind shows anything wrong, and what it is about did happen."""
    overlaps = 0
    for seed in SEEDS[number]:
        history = history_of(seed, number)
        found = await director.perform(history)
        assert not found.findings, f"{history}\n" + "\n".join(found.findings)
        assert not found.late, found.late
        overlaps += sum(found.overlaps.values())
    assert overlaps, f"nothing of kind {number} happened"
