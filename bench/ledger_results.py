"""How much a run of the ledger's bench does, and what it found."""

from typing import Final, Literal

import msgspec

PROCESSES: Final = 3
"""Processes that share one wallet."""

ONE_WALLET_CALLERS: Final = 256
"""Callers of a process wherever one wallet, or several processes, are compared."""

Client = Literal["lane", "keyed", "psycopg", "pgbench"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is done of everything."""

    postings: int
    wallets: int
    callers: tuple[int, ...]
    connections: tuple[int, ...]
    warm_s: float
    seconds: float
    rounds: int
    orphans: int
    kills: int


FULL: Final = Plan(
    postings=1_000_000,
    wallets=1_000,
    callers=(64, 256, 1_024),
    connections=(2, 4, 8, 16, 32, 64),
    warm_s=0.5,
    seconds=3.0,
    rounds=3,
    orphans=30,
    kills=3,
)
QUICK: Final = Plan(
    postings=100_000,
    wallets=1_000,
    callers=(64, 256),
    connections=(16,),
    warm_s=0.3,
    seconds=0.8,
    rounds=1,
    orphans=8,
    kills=1,
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement: `processes` processes of `callers` callers (or connections) each."""

    client: Client
    wallets: int
    processes: int
    callers: int
    per_second: float
    hold_p50_ms: float
    hold_p99_ms: float
    batch: float
    batch_ms: float
    client_us: float
    postgres_us: float
    wal_bytes: float
    refused: int
    turn: bool = False
    """Whether it was measured by turns with others, to be compared with them."""


class Results(msgspec.Struct, kw_only=True):
    """All that a run found. Delays are in seconds."""

    postings: int = 0
    load_s: float = 0.0
    rows: list[Row] = []
    bytes_per_call: dict[str, float] = {}
    bytes_per_keyed_call: dict[str, float] = {}
    deadlocks: int = 0
    first_hold_s: list[float] = []
    outage_s: list[float] = []
    unresolved_s: list[float] = []
    charged_nanousd: int = 0
    debited_nanousd: int = 0
    violations: list[str] = []
    overcharges: int = 0

    def of(self, client: Client, *, one_wallet: bool, processes: int | None = None) -> list[Row]:
        """The measurements of a kind."""
        return [
            row
            for row in self.rows
            if row.client == client
            and (row.wallets == 1) is one_wallet
            and processes in (None, row.processes)
        ]
