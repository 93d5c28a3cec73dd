"""The SQL of wallets' nonces (migrations/0013_tenants.sql): each is good once, in all servers."""

from typing import Final

from omni_grpc.storage import Database

_USE: Final = """
INSERT INTO wallet_nonce (nonce_hash, expire_time)
VALUES (%s, clock_timestamp() + make_interval(secs => %s)) ON CONFLICT DO NOTHING
"""

_FORGET: Final = """
DELETE FROM wallet_nonce WHERE nonce_hash IN (
  SELECT nonce_hash FROM wallet_nonce WHERE expire_time < clock_timestamp()
  ORDER BY expire_time LIMIT %s FOR UPDATE SKIP LOCKED)
"""


class NonceStore:
    """Nonces that were used. Every method raises LedgerUnavailable when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use(self, nonce_hash: bytes, seconds: float) -> bool:
        """Remembers a nonce for so long; False if it is remembered already."""
        return await self._database.execute(_USE, (nonce_hash, seconds)) == 1

    async def forget_expired(self, limit: int) -> int:
        """Forgets up to `limit` nonces whose time is over; how many."""
        return await self._database.execute(_FORGET, (limit,))
