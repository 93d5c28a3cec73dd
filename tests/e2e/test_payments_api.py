"""A payment by all who can present it: gRPC by the client, and the operator's command."""

from collections.abc import Iterator

import pytest
from commands import command
from gateway import Gateway, Tenant
from omni_grpc_client import AlreadyExists, InvalidArgument, Omni

HASH = f"0x{0xABC:064x}"


@pytest.fixture
def admin(gateway: Gateway) -> Iterator[Omni]:
    with gateway.admin() as made:
        yield made


def test_a_payment_is_booked_once_by_whoever_presents_it(
    gateway: Gateway, tenant: Tenant, admin: Omni
) -> None:
    before = admin.balance(tenant.account).available_nanousd
    first = admin.grant_credits(tenant.account, 10**9, payment=("base", HASH))
    again = admin.grant_credits(tenant.account, 10**9, payment=("eip155:8453", HASH.upper()))
    assert again == first
    with pytest.raises(AlreadyExists, match="payment was booked before"):
        admin.grant_credits(tenant.account, 1, payment=("base", HASH))
    for payment in (("base", "0x1"), ("nowhere", HASH), ("", "")):
        with pytest.raises(InvalidArgument, match="must be"):
            admin.grant_credits(tenant.account, 1, payment=payment)
    words = ("credits", "grant", "--org", tenant.org, "--payment-network", "base")
    same = command(gateway, *words, "--payment-id", HASH, "--usd", "1", "--json")
    assert same.json["available_nanousd"] == before + 10**9
    other = command(gateway, *words, "--payment-id", HASH, "--usd", "2")
    assert (other.code, "booked before" in other.err) == (1, True)
    assert "go together" in command(gateway, *words, "--usd", "1").err
    wrong = command(gateway, *words, "--payment-id", "x", "--usd", "1")
    assert (wrong.code, "hash" in wrong.err) == (1, True)
    assert admin.balance(tenant.account).available_nanousd == before + 10**9
