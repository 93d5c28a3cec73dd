"""A database that dies, hangs, is locked or goes back in time loses no charge and makes none;
providers and disks that break their word cost what is known, and never more than was held.
"""

import pytest
from fault_cases import check_kind, of_kinds
from harness.director import Director

pytestmark = pytest.mark.asyncio(loop_scope="module")


@of_kinds(2, 4, 10, 19, 24, 27)
async def test_every_call_is_charged_once_whatever_the_database_does(
    director: Director, number: int
) -> None:
    await check_kind(director, number)


@of_kinds(9, 12, 15, 23, 25)
async def test_every_call_is_charged_once_whatever_providers_and_disks_do(
    director: Director, number: int
) -> None:
    await check_kind(director, number)
