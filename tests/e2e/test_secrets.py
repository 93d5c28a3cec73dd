"""Every secret of a run is looked for in all that the run leaves and shows, and is nowhere."""

import json
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from authorization_scene import METHODS, Scene, a_scene
from gateway import (
    KEY_HASH_SECRET,
    Gateway,
    HttpConnection,
    SimulatorThread,
    chat_body,
    eventually,
    running,
)
from google.protobuf.message import Message
from omni.admin.v1 import admin_service_pb2 as admin
from omni.admin.v1 import provider_credentials_pb2 as credentials
from omni.admin.v1 import tenants_pb2 as tenants
from omni.admin.v1 import webhooks_pb2 as webhooks
from omni.billing.v1 import top_ups_pb2 as top_ups
from secret_search import Found, Search
from stripe_thread import StripeThread

from omni_grpc.storage import EmbeddedPostgres

MASTER_KEY = "c2VjcmV0LW1hc3Rlci1rZXktb2YtMzItYnl0ZXMhISE="


@dataclass
class Run:
    """A gateway that did all it can with secrets, and all that it said meanwhile."""

    scene: Scene
    folder: Path
    secrets: dict[str, str]
    said: list[bytes] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    """What the search found before anything was planted."""

    def rpc(self, name: str, request: Message, key: str | None) -> Any:
        """Calls an RPC; what it answers or refuses is kept as said."""
        try:
            answer = self.scene.invoke(name, request, key)
        except grpc.RpcError as failure:
            trailers = failure.trailing_metadata() or ()  # type: ignore[attr-defined]
            self.said.append(repr((failure, [tuple(one) for one in trailers])).encode())
            return None
        self.said.append(answer.SerializeToString() + repr(answer).encode())
        return answer

    def http(self, path: str, key: str | None, body: bytes | None = None, **headers: str) -> None:
        """Asks over REST; what comes is kept as said."""
        with HttpConnection(self.scene.gateway, key) as connection:
            answer = connection.ask(path, body, **headers)
            self.said.append(answer.body + repr(answer.headers).encode())


class Receiver(BaseHTTPRequestHandler):
    """Takes webhooks."""

    came: list[bytes] = []  # noqa: RUF012 - one receiver a test run

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.came.append(body + str(self.headers).encode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def cards() -> Iterator[StripeThread]:
    thread = StripeThread()
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture(scope="module")
def run(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    receiver: str,
    cards: StripeThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Run]:
    name, admin_key = template
    url = postgres.create_database("e2e_secrets", template=name)
    folder = tmp_path_factory.mktemp("secrets")
    house = f"sk-house-{secrets.token_hex(20)}"
    environment = {
        "OMNI_LOG_LEVEL": "debug",
        "OPENAI_API_KEY": house,
        "OMNI_PROVIDER_OPENAI_BASE_URL": simulator.base_url,
        "OMNI_CREDENTIAL_MASTER_KEY": MASTER_KEY,
        "OMNI_WEBHOOK_PRIVATE_HOSTS": "true",
        **cards.environment(),
    }
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    with running(made), a_scene(made) as scene:
        known = {
            "key hash secret": KEY_HASH_SECRET,
            "master key": MASTER_KEY,
            "house key": house,
            "stripe key": cards.stripe.api_key,
            "stripe webhook secret": cards.stripe.webhook_secret,
        }
        known |= {
            f"key of {caller}": key.rpartition("_")[2]
            for caller, key in scene.keys.items()
            if key is not None
        }
        found = Run(scene, folder, known)
        _do_all(found, receiver)
        found.found = _search(found)
        yield found


def _do_all(run: Run, receiver: str) -> None:
    """Everything in which a secret has a part, well and badly."""
    scene = run.scene
    owner, operator = scene.keys["owner"], scene.keys["operator"]
    # what is shown once, and shall stand nowhere after that
    secret = f"sk-own-{secrets.token_hex(20)}"
    run.secrets["credential"] = secret
    credential = credentials.ProviderCredential(provider="openai", secret=secret)
    create = credentials.CreateProviderCredentialRequest(
        parent=scene.org, provider_credential_id="mine", provider_credential=credential
    )
    for key in (scene.keys["viewing"], owner, owner):  # refused, done, there already
        run.rpc("AdminService.CreateProviderCredential", create, key)
    bad = credentials.CreateProviderCredentialRequest(
        parent=scene.org, provider_credential_id="BAD ID", provider_credential=credential
    )
    run.rpc("AdminService.CreateProviderCredential", bad, owner)
    unknown = credentials.ProviderCredential(
        provider="nobody", secret=secret, variables={"X": secret}
    )
    create.provider_credential.CopyFrom(unknown)
    run.rpc("AdminService.CreateProviderCredential", create, owner)
    hook = webhooks.CreateWebhookRequest(
        parent=scene.org, webhook_id="told", webhook=webhooks.Webhook(url=receiver)
    )
    told = scene.invoke("AdminService.CreateWebhook", hook, owner)
    run.secrets["webhook secret"] = told.secret.removeprefix("whsec_")
    made = scene.invoke(
        "AdminService.CreateApiKey",
        admin.CreateApiKeyRequest(parent=scene.org, scopes=["viewing"]),
        owner,
    )
    run.secrets["new key"] = made.secret.rpartition("_")[2]
    rotated = scene.invoke(
        "AdminService.RotateApiKey", admin.RotateApiKeyRequest(name=made.api_key.name), owner
    )
    run.secrets["rotated key"] = rotated.secret.rpartition("_")[2]
    for name in METHODS:  # whatever can be listed and read
        method = name.partition(".")[2]
        if name.startswith("AdminService.List") and method != "ListOrgs":
            request_class = type(_empty(name))
            parent = scene.names["webhook"] if "Deliveries" in method else scene.org
            run.rpc(name, request_class(parent=parent), owner)
    run.rpc("AdminService.GetUser", tenants.GetUserRequest(name=scene.names["user"]), owner)
    # calls with them, keys that are none, and what a card is bought with
    for model in ("openai/gpt-4o-mini", "sim/fast", "sim/nobody"):
        for key in (scene.keys["default"], made.secret, "omni_wrong", None):
            run.http("/v1/chat/completions", key, chat_body(model))
    lost = f"omni_{'0' * 12}_{secrets.token_hex(21)}A"
    run.secrets["a mistyped key"] = lost.rpartition("_")[2]
    run.http("/v1/balance", lost)
    run.http("/v1/balance", None, x_api_key=lost)
    top_up = top_ups.CreateTopUpRequest(
        amount_nanousd=10**10,
        method=top_ups.TOP_UP_METHOD_CARD,
        request_id="secret",
        return_url="https://example.com",
    )
    run.rpc("BillingService.CreateTopUp", top_up, owner)
    run.http("/v1/webhooks/stripe", None, b"{}", stripe_signature="t=1,v1=00")
    run.http("/metrics", None)
    low = admin.Org(name=scene.org, low_balance_nanousd=10**15)
    request = admin.UpdateOrgRequest(org=low, update_mask={"paths": ["low_balance_nanousd"]})
    run.rpc("AdminService.UpdateOrg", request, operator)
    eventually(lambda: Receiver.came, 20)


def _empty(name: str) -> Message:
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(METHODS[name].input_type)()


def _search(run: Run) -> list[Found]:
    """In logs, journals, tables, answers, errors and webhooks."""
    search = Search(run.secrets)
    found = [*search.files(run.folder), *search.database(run.scene.gateway.database_url)]
    for number, said in enumerate(run.said):
        found += search.text(f"answer {number}", said)
    for body in Receiver.came:
        found += search.text("a webhook", body)
    return found


def test_no_secret_stands_in_logs_errors_answers_files_or_tables(run: Run) -> None:
    assert run.found == []
    assert len(run.said) > 25


@pytest.mark.parametrize("form", ["raw", "hex", "base64", "half"])
def test_a_secret_that_was_planted_is_found(run: Run, form: str) -> None:
    import base64

    secret = run.secrets["credential"]
    planted = {
        "raw": secret,
        "hex": secret.encode().hex(),
        "base64": base64.b64encode(b"x" + secret.encode()).decode(),
        "half": secret[len(secret) // 2 :],
    }[form]
    team = tenants.CreateTeamRequest(
        parent=run.scene.org, team_id=f"planted-{form}", display_name=planted
    )
    run.scene.invoke("AdminService.CreateTeam", team, run.scene.keys["owner"])
    search = Search({"credential": secret})
    places = {found.place for found in search.database(run.scene.gateway.database_url)}
    assert {"team", "audit_entry"} <= places
    remove = tenants.DeleteTeamRequest(name=f"{run.scene.org}/teams/planted-{form}")
    run.scene.invoke("AdminService.DeleteTeam", remove, run.scene.keys["owner"])


def test_a_secret_that_was_logged_is_found(run: Run, tmp_path: Path) -> None:
    secret = run.secrets["house key"]
    (tmp_path / "log").write_text(json.dumps({"event": f"calling with {secret}"}))
    assert {found.name for found in Search(run.secrets).files(tmp_path)} == {"house key"}
