"""Callers that repeat, race, leave and misuse pay once for what was generated, and no more."""

import pytest
from fault_cases import check_kind, of_kinds
from harness.director import Director

pytestmark = pytest.mark.asyncio(loop_scope="module")


@of_kinds(5, 6, 7, 11, 14, 17, 21, 22, 26, 28)
async def test_every_call_is_charged_once_as_the_provider_says(
    director: Director, number: int
) -> None:
    await check_kind(director, number)
