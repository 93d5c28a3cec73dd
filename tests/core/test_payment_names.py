"""Names of payments: one spelling for each, whichever way it is written."""

import pytest

from omni_grpc.core.payments import Payment

SIGNATURE = (
    "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"
)
HASH = "0x" + "0aBc" * 16


@pytest.mark.parametrize(
    ("names", "network"),
    [
        (("base", "Base", " eip155:8453", "EIP155:08453", "base-mainnet"), "eip155:8453"),
        (("base-sepolia", "eip155:84532"), "eip155:84532"),
        (("ethereum", "mainnet", "eip155:1"), "eip155:1"),
    ],
)
@pytest.mark.parametrize("name", [HASH, HASH.lower(), HASH[2:], HASH.upper(), f" {HASH}\n"])
def test_a_payment_on_an_evm_chain_has_one_name(
    names: tuple[str, ...], network: str, name: str
) -> None:
    for word in names:
        assert Payment.named(word, name) == Payment(network, HASH.lower())


@pytest.mark.parametrize(
    ("names", "network"),
    [
        (
            ("solana", "solana-mainnet", "solana:mainnet"),
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
        ),
        (("solana-devnet", "solana:devnet"), "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
    ],
)
def test_a_payment_on_solana_has_one_name(names: tuple[str, ...], network: str) -> None:
    for word in (*names, network):
        assert Payment.named(word, SIGNATURE) == Payment(network, SIGNATURE)


@pytest.mark.parametrize("word", ["Stripe", "STRIPE:live", "stripe:LIVE", "Stripe:Live"])
def test_a_known_network_is_the_same_in_whichever_case(word: str) -> None:
    assert Payment.named(word, "pi_3aB") == Payment.named("stripe", "pi_3aB")
    for devnet in ("solana:DEVNET", "SOLANA:etwtrabzayq6imfeyKouRu166VU2xqa1"):
        assert Payment.named(devnet, SIGNATURE) == Payment.named("solana-devnet", SIGNATURE)


def test_letters_of_other_names_tell_payments_apart() -> None:
    assert Payment.named("stripe", "pi_3aB") == Payment.named("stripe:live", "pi_3aB")
    assert Payment.named("stripe", "pi_3aB") != Payment.named("stripe", "pi_3ab")
    assert Payment.named("solana", SIGNATURE) != Payment.named("solana", SIGNATURE[:-1] + "w")


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("", HASH), ("no-such-chain", HASH), ("eip155:", HASH), ("eip155:base", HASH),
        ("eip155:-1", HASH), ("bank:", "1"), ("solana:x y", SIGNATURE), ("base", ""),
        ("base", HASH[:-1]), ("base", HASH + "0"), ("base", "0xg" + HASH[3:]),
        ("base", "0x0x" + HASH[4:]), ("solana", SIGNATURE + "1"), ("solana", SIGNATURE[3:]),
        ("solana", "1" + SIGNATURE), ("solana", SIGNATURE.replace("5", "0")), ("solana", ""),
        ("stripe", ""), ("stripe", "a b"), ("stripe", "x" * 129), ("stripe", "p\u0456"),
        ("ba\u0455e", HASH),
    ],
)  # fmt: skip
def test_what_names_no_payment_is_refused(network: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"must be|named with"):
        Payment.named(network, name)
