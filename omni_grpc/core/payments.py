"""Names of outside payments: each has one spelling here, whichever name its network goes by.

A chain has two names in x402: a word of version 1 (`solana`) and a CAIP-2 identifier of version 2
(`solana:5eykt…`). A payment that is presented under both must be recognised, or it is credited
twice.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

NAME_CHARS_MAX: Final = 128
"""Characters of a payment's own name; the longest that is known, a Solana signature, has 88."""

_EVM_CHAINS: Final = {
    "ethereum": 1, "mainnet": 1, "sepolia": 11_155_111, "optimism": 10,
    "optimism-sepolia": 11_155_420, "polygon": 137, "polygon-amoy": 80_002, "monad": 143,
    "sei": 1_329, "sei-testnet": 1_328, "story": 1_514, "abstract": 2_741,
    "abstract-testnet": 11_124, "peaq": 3_338, "megaeth": 4_326, "iotex": 4_689, "base": 8_453,
    "base-mainnet": 8_453, "base-sepolia": 84_532, "educhain": 41_923, "arbitrum": 42_161,
    "arbitrum-sepolia": 421_614, "avalanche": 43_114, "avalanche-fuji": 43_113,
    "skale-base-sepolia": 324_705_682,
}  # fmt: skip
_SOLANA_MAINNET: Final = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
_NETWORKS: Final = {
    **{word: f"eip155:{chain}" for word, chain in _EVM_CHAINS.items()},
    "solana": _SOLANA_MAINNET,
    "solana-mainnet": _SOLANA_MAINNET,
    "solana-devnet": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
    "solana-testnet": "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z",
    "stripe": "stripe:live",
}
"""The names of one word that are known, by their CAIP-2 identifiers (or what looks like one)."""

_CHAINS: Final = {chain.lower(): chain for chain in _NETWORKS.values()}
"""The same identifiers by their letters in lower case: nobody else's differs by its case alone."""

_CAIP_2: Final = re.compile(r"([-a-z0-9]{3,8}):([-_a-zA-Z0-9]{1,32})", re.ASCII)
_NAME: Final = re.compile(rf"[!-~]{{1,{NAME_CHARS_MAX}}}", re.ASCII)
_EVM_HASH: Final = re.compile(r"(?:0x)?([0-9a-f]{64})", re.ASCII)
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Payment:
    """An outside payment in its one spelling; make one by `named`."""

    network: str
    """A CAIP-2 identifier: the chain, or another way to pay, as `stripe:live`."""
    id: str
    """What the network itself calls the payment: a transaction's hash or signature."""

    @classmethod
    def named(cls, network: str, payment_id: str) -> Self:
        """The payment that goes by these names.

        Hashes of EVM chains may be written in either case and without `0x`; all other names are
        compared letter by letter.

        Raises:
            ValueError: they name none; the text says which of the two is wrong, and how.
        """
        chain = _network(network)
        return cls(chain, _id(chain.partition(":")[0], payment_id))


@dataclass(frozen=True, slots=True)
class PaymentOffer:
    """What x402 tells who has not paid: in version 1 a body, in version 2 a header, both JSON."""

    v1: bytes
    v2: bytes


def _network(text: str) -> str:
    word = text.strip()
    known = _NETWORKS.get(word.lower())
    if known is not None:
        return known
    namespace, _, reference = word.partition(":")
    namespace = namespace.lower()
    word = f"{namespace}:{reference}"
    if _CAIP_2.fullmatch(word) is None:
        raise ValueError(
            "The network must be a CAIP-2 identifier, as eip155:8453, or one of "
            f"{', '.join(sorted(_NETWORKS))}."
        )
    if namespace == "eip155":
        if not reference.isdecimal():
            raise ValueError("The network eip155 is named with a chain's number, as eip155:8453.")
        return f"eip155:{int(reference)}"
    # As some write them: solana:devnet.
    known = _NETWORKS.get(f"{namespace}-{reference}".lower())
    return known or _CHAINS.get(word.lower(), word)


def _id(namespace: str, text: str) -> str:
    name = text.strip()
    if namespace == "eip155":
        match = _EVM_HASH.fullmatch(name.lower())
        if match is None:
            raise ValueError("The payment id must be a transaction's hash: 0x and 64 hex digits.")
        return f"0x{match.group(1)}"
    if namespace == "solana" and not _is_signature(name):
        raise ValueError("The payment id must be a transaction's signature: 64 bytes in base58.")
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"The payment id must be 1 to {NAME_CHARS_MAX} printable ASCII characters without "
            "spaces."
        )
    return name


def _is_signature(text: str) -> bool:
    """Whether this is the base58 form of 64 bytes: each has one only."""
    if not text or len(text) > NAME_CHARS_MAX:
        return False
    number = 0
    for letter in text:
        digit = _BASE58.find(letter)
        if digit < 0:
            return False
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(_BASE58[0]))
    return zeros + (number.bit_length() + 7) // 8 == _SIGNATURE_BYTES
