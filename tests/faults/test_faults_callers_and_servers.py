"""Callers that repeat, race, leave and misuse pay once for what was generated, and no more; a
server that dies, stalls, is cut off or has a wrong clock loses no charge and makes none.
"""

import pytest
from fault_cases import check_kind, of_kinds
from harness.director import Director

pytestmark = pytest.mark.asyncio(loop_scope="module")


@of_kinds(5, 6, 7, 11, 14, 17, 21, 22, 26, 28)
async def test_callers_are_charged_once_for_what_the_provider_says(
    director: Director, number: int
) -> None:
    await check_kind(director, number)


@of_kinds(1, 3, 8, 13, 18, 20)
async def test_every_call_is_charged_once_whatever_its_server_does(
    director: Director, number: int
) -> None:
    await check_kind(director, number)
