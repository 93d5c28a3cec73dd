"""Google's token endpoint on a socket: it verifies each assertion that it is sent."""

import asyncio

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from omni_grpc.providers.google_credentials import SCOPE

EMAIL = "gateway@project.iam.gserviceaccount.com"
_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
PRIVATE = _KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()
PUBLIC = _KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


class TokenEndpoint:
    """Gives a token for an assertion of the service account, numbered by how many it gave."""

    def __init__(self) -> None:
        self.asked = 0
        self.given = 0
        self.status = 200
        self.answer: object = None
        self.expires_in: object = 3_600
        self.open = asyncio.Event()
        self.open.set()
        self.problems: list[str] = []
        self.url = ""

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/token", self.give)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
        return runner

    async def give(self, request: web.Request) -> web.Response:
        self.asked += 1
        form = await request.post()
        await self.open.wait()
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            self.problems.append("grant_type")
        # Raises where the signature is not RS256 by our key, or the times do not hold.
        claims = jwt.decode(str(form["assertion"]), certs=PUBLIC)
        if claims["iss"] != EMAIL or claims["scope"] != SCOPE:
            self.problems.append("claims")
        if self.answer is not None or self.status != 200:
            return web.json_response(self.answer, status=self.status)
        self.given += 1
        return web.json_response(
            {
                "access_token": f"ya29.{self.given}",
                "expires_in": self.expires_in,
                "token_type": "Bearer",
            }
        )


def key_file(url: str, **more: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "k1",
        "private_key": PRIVATE,
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": url,
        **more,
    }
