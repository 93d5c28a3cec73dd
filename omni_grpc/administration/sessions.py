"""Sessions over the API: made by who signed in by a token or a signature, ended by themselves."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from omni_grpc.administration.operation import Caller, Operation
from omni_grpc.identity import Permission, Sessions, User

WALLET_SESSION_PATH: Final = "/v1/wallet/session"
"""Where a wallet signs in once; the same as CreateSession."""


class CreateSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session is asked for with."""

    ttl: timedelta | None = None


class EndSession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing: the session that calls."""


class SessionMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new session, with the token that is shown this once."""

    token: str
    user: User
    expire_time: datetime

    def __repr__(self) -> str:
        return f"<Session of {self.user.name}>"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("user", self.user.name)]


class SessionEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing more than that."""


class SessionOperations:
    """The operations of sessions."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def __iter__(self) -> Iterator[Operation[Any]]:
        yield Operation(
            rpc="CreateSession",
            http="POST /v1/admin/sessions",
            permission=Permission.SIGNED_IN,
            asked=CreateSession,
            run=self.create,
            also=(f"POST {WALLET_SESSION_PATH}",),
        )
        yield Operation(
            rpc="EndSession",
            http="POST /v1/admin/sessions:end",
            permission=Permission.SIGNED_IN,
            asked=EndSession,
            run=self.end,
        )

    async def create(self, caller: Caller, asked: CreateSession) -> SessionMade:
        """A session of the user who calls."""
        made = await self._sessions.create(caller.principal, caller.actor, asked.ttl)
        return SessionMade(token=made.token, user=made.user, expire_time=made.expire_time)

    async def end(self, caller: Caller, _: EndSession) -> SessionEnded:
        """Ends the session that calls."""
        await self._sessions.end(caller.principal, caller.actor)
        return SessionEnded()
