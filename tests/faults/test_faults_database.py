"""A database that dies, hangs, is locked or goes back in time loses no charge and makes none."""

import pytest
from fault_cases import check_kind, of_kinds
from harness.director import Director

pytestmark = pytest.mark.asyncio(loop_scope="module")


@of_kinds(2, 4, 10, 19, 24, 27)
async def test_every_call_is_charged_once_as_the_provider_says(
    director: Director, number: int
) -> None:
    await check_kind(director, number)
