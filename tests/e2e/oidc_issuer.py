"""An OpenID Connect issuer on a socket: its discovery document, its keys, and tokens it signs."""

import json
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "omni"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def public_jwk(kid: str | None, key: PrivateKey, algorithm: str) -> dict[str, Any]:
    """A key as an issuer publishes it."""
    make = jwt.get_algorithm_by_name(algorithm).to_jwk
    found = {**make(key.public_key(), as_dict=True), "use": "sig", "alg": algorithm}
    found.pop("key_ops", None)
    return found if kid is None else {**found, "kid": kid}


class Issuer:
    """The issuer. `keys` is what it publishes; `asked` counts the requests for it."""

    def __init__(self) -> None:
        self.private: dict[str, tuple[PrivateKey, str]] = {
            "r": (RSA_KEY, "RS256"),
            "e": (ec.generate_private_key(ec.SECP256R1()), "ES256"),
            "d": (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
        }
        self.keys = [public_jwk(kid, *of) for kid, of in self.private.items()]
        self.asked = 0
        self.is_away = False
        self.url = ""
        self.document: Any = None
        """Its discovery document where it is not the right one."""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/keys", self._keys)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def rotate(self, kid: str) -> None:
        """Takes all keys back for a new one."""
        self.private = {kid: (ed25519.Ed25519PrivateKey.generate(), "EdDSA")}
        self.keys = [public_jwk(kid, *self.private[kid])]

    def claims(self, now: float, **changed: Any) -> dict[str, Any]:
        """A token's claims, good for five minutes; None takes one out."""
        found = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "u-1",
            "iat": now,
            "exp": now + 300,
            "org": "acme",
        } | changed
        return {name: value for name, value in found.items() if value is not None}

    def token(self, now: float, *, kid: str = "d", **changed: Any) -> str:
        """A token that it signs."""
        key, algorithm = self.private[kid]
        return jwt.encode(self.claims(now, **changed), key, algorithm, headers={"kid": kid})

    async def _discovery(self, _: web.Request) -> web.Response:
        return self._answer(self.document or {"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, _: web.Request) -> web.Response:
        self.asked += 1
        return self._answer({"keys": self.keys})

    def _answer(self, document: Any) -> web.Response:
        if self.is_away:
            return web.Response(status=503)
        return web.Response(text=json.dumps(document), content_type="application/json")
