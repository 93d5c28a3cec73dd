"""Google's OAuth as a service account: a short-lived token, fetched by a signed assertion.

A token is kept until shortly before its end and then fetched anew, once for all who wait, off the
event loop. While the old one still holds, nobody waits for the new one.
"""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import requests
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials as ServiceAccount

from omni_grpc.core.clock import Clock, SystemClock
from omni_grpc.providers.credentials import CredentialsError

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
"""What Vertex AI asks of its callers."""

RENEW_SECONDS: Final = 300.0
"""So long before its end a token is renewed, or at half its life; Google's last an hour."""

SPENT_SECONDS: Final = 10.0
"""So long before its end a token is no longer used, for clocks that differ and calls on their
way."""

PAUSE_SECONDS: Final = 15.0
"""How long after a renewal that failed the next begins, while the old token still holds."""

FETCH_SECONDS: Final = 10.0
"""Longest wait for the token endpoint, each of the few times that it is asked."""

_ERROR_CODE: Final = re.compile(r"[a-z_]{1,64}")


class _Token(msgspec.Struct, frozen=True):
    """A token as a header; both times are Unix seconds on the wall clock."""

    headers: dict[str, str]
    renew: float
    expires: float


class GoogleCredentials:
    """The proof of one service account; `Credentials` that sign each request with a bearer."""

    signs = True

    def __init__(
        self,
        service_account: Path | Mapping[str, str],
        *,
        scopes: tuple[str, ...] = (SCOPE,),
        clock: Clock | None = None,
    ) -> None:
        """Read the key.

        Args:
            service_account: the key file that Google made, or its content; it names the token
                endpoint.
            scopes: what the token is for.
            clock: tells how long a token still holds.

        Raises:
            ValueError: the file cannot be read, or is no service account's.
        """
        info = _read(service_account) if isinstance(service_account, Path) else service_account
        try:
            make = ServiceAccount.from_service_account_info
            account: ServiceAccount = make(info, scopes=scopes)  # type: ignore[no-untyped-call]  # it has no types
        except (ValueError, TypeError, KeyError, AttributeError, GoogleAuthError):
            # The error's own text may show a part of the key.
            raise ValueError(
                "Google's credentials are no service account's key; make one with "
                "`gcloud iam service-accounts keys create`."
            ) from None
        self._account = account
        self._clock = clock or SystemClock()
        self._token: _Token | None = None
        self._fetching: asyncio.Task[_Token] | None = None
        self._not_before = 0.0
        self.headers: Mapping[str, str] = {}
        self.secrets: tuple[str, ...] = (str(info["private_key"]),)

    async def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> dict[str, str]:
        """The bearer, whatever the request.

        Raises:
            CredentialsError: there is no token and none can be had now.
        """
        del method, url, headers, body
        now = self._clock.now().timestamp()
        token = self._token
        if token is not None and now < token.expires - SPENT_SECONDS:
            if now >= max(token.renew, self._not_before):
                self._fetch_once()
            return token.headers
        # One caller that gives up ends nobody else's wait.
        return (await asyncio.shield(self._fetch_once())).headers

    def _fetch_once(self) -> "asyncio.Task[_Token]":
        """The one fetch that is under way."""
        task = self._fetching
        if task is None:
            task = self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            task.add_done_callback(self._fetched)
        return task

    def _fetched(self, task: "asyncio.Task[_Token]") -> None:
        self._fetching = None
        if task.cancelled():
            return
        if task.exception() is None:
            self._token = task.result()
        else:
            self._not_before = self._clock.now().timestamp() + PAUSE_SECONDS

    async def _fetch(self) -> _Token:
        return await asyncio.to_thread(self._fetch_token)

    def _fetch_token(self) -> _Token:
        account = self._account
        try:
            with requests.Session() as session:
                # Neither proxies nor other credentials of the environment, nor another address.
                session.trust_env = False
                ask = partial(Request(session), timeout=FETCH_SECONDS, allow_redirects=False)
                account.refresh(ask)  # type: ignore[no-untyped-call]  # it has no types
        except RefreshError as error:
            raise CredentialsError(
                f"Google's token endpoint gave us no token ({_reason(error)})"
            ) from None  # what the endpoint said hangs on it, which may be a token
        except GoogleAuthError as error:
            raise CredentialsError("Google's token endpoint could not be reached") from error
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CredentialsError("what Google's token endpoint said is no token") from None
        token, expiry = account.token, account.expiry
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise CredentialsError("what Google's token endpoint said is no token")
        # google-auth's times are UTC without saying so.
        expires = expiry.replace(tzinfo=UTC).timestamp() if isinstance(expiry, datetime) else 0.0
        life = expires - self._clock.now().timestamp()
        renew = expires - min(RENEW_SECONDS, life / 2)
        return _Token({"Authorization": f"Bearer {token}"}, renew, expires)


def _read(path: Path) -> Mapping[str, str]:
    try:
        info = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except OSError as error:
        raise ValueError(
            f"Google's credentials {path} cannot be read: {error.strerror}."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"Google's credentials {path} are no JSON of a key file.") from error
    return info


def _reason(error: RefreshError) -> str:
    """The endpoint's own code; its other words may hold anything."""
    said = error.args[1] if len(error.args) > 1 else None
    code = said.get("error") if isinstance(said, dict) else None
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else "no reason given"
