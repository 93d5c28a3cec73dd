"""The chain: blocks, wallets with one token, and transactions, each of which lands once or never.

A transaction is executed as a validator does it: every required signature must verify, its
blockhash must be of the last 150 blocks, and of its instructions only those of the compute budget,
of a token transfer and of a memo are known. Time stands still unless it is told to go on, so a
test decides when a transaction lands and when it expires. Nothing is written to disk.
"""

import hashlib
from typing import Final

import msgspec
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

__all__ = ("USDC_DECIMALS", "Chain", "Refused", "Transfer")

USDC_DECIMALS: Final = 6

BLOCKHASH_BLOCKS: Final = 150
"""For so many blocks a blockhash can be used, as on the real chain."""

BLOCK_SECONDS: Final = 0.4
FEE_LAMPORTS: Final = 5_000
"""What each signature of a transaction costs its fee payer."""

FIRST_BLOCK_TIME: Final = 1_767_225_600
"""The time of the first block, in Unix seconds: a fixed one, so that runs are alike."""

_TOKEN: Final = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
_ATA: Final = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
_BUDGET: Final = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
_MEMO: Final = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
_TRANSFER_CHECKED: Final = 12
_TRANSFER_BYTES: Final = 10
_TRANSFER_ACCOUNTS: Final = 4


class Refused(Exception):
    """A node does not take the transaction. `error` is what it answers, in JSON's types."""

    def __init__(self, error: object, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that landed.

    `before` and `after` are balances in units by token account; `memo` is as nodes list it,
    `[length] text`; `wire` is the signed transaction.
    """

    signature: str
    slot: int
    block_time: int
    amount: int
    before: dict[str, int]
    after: dict[str, int]
    memo: str | None
    wire: bytes


class _Effect(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    destination: str
    amount: int
    memo: str | None


class Chain:
    """One token, `mint`, and whoever holds it.

    `first_units` is what a wallet has that nobody ever gave anything, so that fresh ones can pay.
    """

    def __init__(self, mint: str, *, first_units: int = 0) -> None:
        self.mint = mint
        self.first_units = first_units
        self._height = 1_000
        self._hashes: dict[str, int] = {}
        self._balances: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        self._landed: dict[str, Transfer] = {}
        self._waiting: dict[str, bytes] = {}
        self.holding = False
        """Whether what is sent waits until `land` or `drop`: nodes do not know of it yet."""

    # --- blocks -------------------------------------------------------------------------------
    @property
    def height(self) -> int:
        """The number of the last block."""
        return self._height

    def advance(self, blocks: int) -> None:
        """Let blocks go by; 151 of them make every blockhash of now useless."""
        self._height += blocks

    def blockhash(self) -> tuple[str, int]:
        """The last block's hash, and the last block in which it can be used."""
        digest = hashlib.sha256(f"{self.mint} {self._height}".encode()).digest()
        name = str(Hash(digest))
        self._hashes[name] = self._height
        return name, self._height + BLOCKHASH_BLOCKS

    def is_recent(self, blockhash: str) -> bool:
        """Whether a transaction with this blockhash could still land."""
        born = self._hashes.get(blockhash)
        return born is not None and self._height <= born + BLOCKHASH_BLOCKS

    # --- wallets ------------------------------------------------------------------------------
    def account(self, owner: str) -> str:
        """The token account of a wallet; known from now on."""
        wallet = Pubkey.from_string(owner)
        seeds = [bytes(wallet), bytes(_TOKEN), bytes(Pubkey.from_string(self.mint))]
        found = str(Pubkey.find_program_address(seeds, _ATA)[0])
        self._owners[found] = owner
        return found

    def owner(self, account: str) -> str | None:
        """Whose a token account is; None for one that nobody ever named."""
        return self._owners.get(account)

    def give(self, owner: str, units: int) -> None:
        """Give a wallet units of the token, out of nothing."""
        account = self.account(owner)
        self._balances[account] = self._balances.get(account, 0) + units

    def balance(self, owner: str) -> int:
        """What a wallet has, in units."""
        return self.account_balance(self.account(owner))

    def account_balance(self, account: str) -> int:
        """What a token account has, in units."""
        return self._balances.get(account, 0)

    # --- transactions -------------------------------------------------------------------------
    def simulate(self, wire: bytes) -> None:
        """Whether it would land now; it does not.

        Raises:
            Refused: it would not.
        """
        self._examine(wire)

    def send(self, wire: bytes) -> str:
        """Take a signed transaction, and return its signature. It lands at once, unless held.

        Raises:
            Refused: it cannot land.
        """
        transaction, _ = self._examine(wire)
        signature = str(transaction.signatures[0])
        if self.holding:
            self._waiting[signature] = wire
        else:
            self._execute(wire)
        return signature

    def land(self) -> None:
        """Let all that waits land, if it still can."""
        waiting, self._waiting = self._waiting, {}
        for wire in waiting.values():
            try:
                self._execute(wire)
            except Refused:
                continue  # it expired, or its wallet is empty by now

    def drop(self) -> None:
        """Lose all that waits: no validator will include it."""
        self._waiting.clear()

    def landed(self, signature: str) -> Transfer | None:
        """A transaction that landed; None if none did by this name."""
        return self._landed.get(signature)

    def touching(self, account: str) -> tuple[Transfer, ...]:
        """The transactions that moved something of an account, the newest first."""
        return tuple(one for one in reversed(self._landed.values()) if account in one.after)

    def _execute(self, wire: bytes) -> None:
        transaction, effect = self._examine(wire)
        touched = (effect.source, effect.destination)
        before = {account: self.account_balance(account) for account in touched}
        self._balances[effect.source] = before[effect.source] - effect.amount
        self._balances[effect.destination] = (
            self.account_balance(effect.destination) + effect.amount
        )
        self._height += 1
        signature = str(transaction.signatures[0])
        self._landed[signature] = Transfer(
            signature=signature,
            slot=self._height,
            block_time=FIRST_BLOCK_TIME + int(self._height * BLOCK_SECONDS),
            amount=effect.amount,
            before=before,
            after={account: self.account_balance(account) for account in touched},
            memo=effect.memo,
            wire=wire,
        )

    def _examine(self, wire: bytes) -> tuple[VersionedTransaction, _Effect]:
        """What it would do.

        Raises:
            Refused: it would fail; the error is a node's.
        """
        try:
            transaction = VersionedTransaction.from_bytes(wire)
            transaction.sanitize()
        except Exception as error:  # noqa: BLE001 - solders raises its own kinds
            raise Refused("SanitizeFailure", f"the transaction is damaged: {error}") from None
        if not all(transaction.verify_with_results()):
            raise Refused("SignatureFailure", "Transaction signature verification failure")
        if str(transaction.signatures[0]) in self._landed:
            raise Refused("AlreadyProcessed", "This transaction has already been processed")
        if not self.is_recent(str(transaction.message.recent_blockhash)):
            raise Refused("BlockhashNotFound", "Blockhash not found")
        return transaction, self._effect(transaction)

    def _effect(self, transaction: VersionedTransaction) -> _Effect:
        message = transaction.message
        keys = list(message.account_keys)
        signers = set(keys[: message.header.num_required_signatures])
        moved: tuple[str, str, int] | None = None
        memo: str | None = None
        for index, instruction in enumerate(message.instructions):
            program, data = keys[instruction.program_id_index], bytes(instruction.data)
            if program == _MEMO:
                try:
                    memo = f"[{len(data)}] {data.decode()}"
                except UnicodeDecodeError:
                    raise _failed(index, "InvalidInstructionData") from None
            elif program == _TOKEN:
                accounts = [keys[at] for at in bytes(instruction.accounts)]
                moved = self._transfer(index, accounts, data, signers)
            elif program != _BUDGET:
                raise Refused("ProgramAccountNotFound", f"there is no program {program}")
        if moved is None:
            raise Refused("InstructionError", "nothing is transferred")
        source, destination, amount = moved
        return _Effect(source=source, destination=destination, amount=amount, memo=memo)

    def _transfer(
        self, index: int, accounts: list[Pubkey], data: bytes, signers: set[Pubkey]
    ) -> tuple[str, str, int]:
        if (
            len(data) < _TRANSFER_BYTES
            or data[0] != _TRANSFER_CHECKED
            or len(accounts) < _TRANSFER_ACCOUNTS
        ):
            raise _failed(index, "InvalidInstructionData")
        source, mint, destination, authority = (str(one) for one in accounts[:4])
        if self.account(authority) != source:
            raise _failed(index, {"Custom": 4})  # OwnerMismatch
        if accounts[3] not in signers:
            raise _failed(index, "MissingRequiredSignature")
        if mint != self.mint:
            raise _failed(index, {"Custom": 3})  # MintMismatch
        if self.owner(destination) is None:
            raise _failed(index, "InvalidAccountData")  # nobody opened this account
        if data[9] != USDC_DECIMALS:
            raise _failed(index, {"Custom": 18})  # MintDecimalsMismatch
        self._balances.setdefault(source, self.first_units)
        amount = int.from_bytes(data[1:9], "little")
        if amount > self.account_balance(source):
            raise _failed(index, {"Custom": 1})  # InsufficientFunds
        return source, destination, amount


def _failed(index: int, error: object) -> Refused:
    return Refused(
        {"InstructionError": [index, error]},
        f"Error processing Instruction {index}: {msgspec.json.encode(error).decode()}",
    )
