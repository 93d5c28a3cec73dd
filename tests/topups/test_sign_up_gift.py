"""What a wallet is given when it comes for the first time."""

from omni_grpc.cli.opening import Rooms
from omni_grpc.identity import Org
from omni_grpc.wiring.callers import sign_up_gift


async def test_a_wallet_is_given_once_whatever_the_amount_is_set_to_later(
    rooms: Rooms, org: Org
) -> None:
    """Also where its first sign-in broke off after the gift: else it could never sign in."""
    for amount in (5, 5, 6):
        await sign_up_gift(rooms.ledger, amount)(org, "wallet")
    assert (await rooms.ledger.balance(org.account_id)).posted == 5
