"""Who asks and what there is to ask for, for the tests of who may do what.

Organisation A has one of everything. Its callers are keys with each scope and users with each role;
B's are a key and an owner that may do everything at home; and there is the operator.
"""

import importlib
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import omni
import psycopg
from gateway import (
    KEY_HASH_SECRET,
    Gateway,
    Refusal,
    Tenant,
    asking,
    bearer,
    refusal,
    running,
)
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from omni.admin.v1 import admin_service_pb2 as admin
from omni.admin.v1 import budgets_pb2 as budgets
from omni.admin.v1 import provider_credentials_pb2 as credentials
from omni.admin.v1 import rate_limits_pb2 as limits
from omni.admin.v1 import tenants_pb2 as tenants
from omni.admin.v1 import webhooks_pb2 as webhooks
from omni_grpc_client import Omni, OmniError

from omni_grpc.identity.keys import KeyHasher, key_prefix, new_key_text

OWN_KEYS = ("inference", "billing", "viewing", "management")
OWN_USERS = ("viewer", "developer", "admin", "owner")
FOREIGN = ("other key", "other owner")
CALLERS = ("none", *OWN_KEYS, "default", "team key", *OWN_USERS, *FOREIGN, "operator")
"""The keys have the scopes that they are named by; `default` and `team key` the default ones."""

_INFERS = {"inference", "default", "team key", "developer", "admin", "owner", *FOREIGN, "operator"}
_SPENDS = {"billing", "default", "team key", "developer", "admin", "owner", *FOREIGN, "operator"}
_SEES = {"viewing", "management", *OWN_USERS, *FOREIGN, "operator"}
MAY = {
    "infer": _INFERS,
    "see models": _INFERS | _SEES,
    "spend": _SPENDS,
    "see money": _SPENDS | _SEES,
    "see": _SEES,
    "manage": {"management", "admin", "owner", *FOREIGN, "operator"},
    "operate": {"operator"},
    "be known": set(CALLERS) - {"none"},
}
"""Written down apart from the code: what each permission is meant to let do."""


def request_id() -> str:
    return uuid.uuid4().hex


def new_id(letter: str) -> str:
    return f"{letter}{uuid.uuid4().hex[:20]}"


def contract_methods() -> dict[str, MethodDescriptor]:
    """Every RPC of the contract, by `Service.Method`."""
    found = {}
    for root in map(Path, omni.__path__):
        for file in root.rglob("*_pb2.py"):
            module = ".".join(("omni", *file.relative_to(root).with_suffix("").parts))
            for service in importlib.import_module(module).DESCRIPTOR.services_by_name.values():
                found |= {f"{service.name}.{method.name}": method for method in service.methods}
    return found


METHODS = contract_methods()


@dataclass
class Scene:
    """`unresolved` is an attempt of A of which nobody knows what its provider did."""

    gateway: Gateway
    channel: grpc.Channel
    a: str
    b: str
    keys: dict[str, str | None]
    call_id: str
    unresolved: str
    names: dict[str, str] = field(default_factory=dict)

    @property
    def org(self) -> str:
        return f"orgs/{self.a}"

    @property
    def account(self) -> str:
        return f"accounts/{self.a}"

    def hold(self) -> str:
        """The name of a new open hold of A."""
        with Omni(self.gateway.grpc, api_key=self.keys["default"]) as client:
            return client.create_hold(1).name

    def new_key(self) -> str:
        """The name of a new key of A."""
        with self.gateway.admin() as client:
            return client.create_api_key(self.org).api_key.name

    def session(self, org: str, role: str) -> str:
        """A token of a new user with a role, who signed in a moment ago."""
        token = new_key_text()
        hasher = KeyHasher(KEY_HASH_SECRET.encode())
        with psycopg.connect(self.gateway.database_url, autocommit=True) as sql:
            sql.execute(
                """
                WITH made AS (
                  INSERT INTO org_user (org_id, code, issuer, subject, role)
                  SELECT id, %s, 'https://issuer.example', %s, %s FROM org WHERE slug = %s
                  RETURNING id, org_id)
                INSERT INTO api_key (org_id, prefix, secret_hash, display_name, scopes, create_by,
                                     user_id, expire_time)
                SELECT org_id, %s, %s, '', '{}', 'a test', id, now() + interval '1 hour' FROM made
                """,
                (
                    key_prefix(new_key_text()),
                    secrets.token_hex(8),
                    role,
                    org,
                    key_prefix(token),
                    hasher.digest(token),
                ),
            )
        return token

    def invoke(self, method: str, request: Message, key: str | None) -> Any:
        """Calls an RPC with a key; a stream's messages as a list."""
        descriptor = METHODS[method]
        path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
        streams = descriptor.server_streaming
        make = self.channel.unary_stream if streams else self.channel.unary_unary
        call = make(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )
        answer = call(request, metadata=bearer(key), timeout=20)
        return list(answer) if streams else answer

    def refused(self, method: str, request: Message, caller: str) -> Refusal:
        """What a caller is refused with."""
        return refusal(lambda: self.invoke(method, request, self.keys[caller]))

    def made(self, method: str, request: Message) -> Any:
        """What the operator makes."""
        return self.invoke(f"AdminService.{method}", request, self.keys["operator"])


@contextmanager
def a_scene(gateway: Gateway, folder: Path | None = None) -> Iterator[Scene]:
    """A gateway with both organisations, and all that A has.

    A `folder` is where a server leaves an attempt unresolved; without one there is none.
    """
    a, b = gateway.tenant(), gateway.tenant()
    with grpc.insecure_channel(gateway.grpc) as channel:
        keys: dict[str, str | None] = {"none": None, "operator": gateway.admin_key}
        keys["default"] = a.api_key
        with Omni(gateway.grpc, api_key=a.api_key) as client:
            call_id = client.chat("sim/fast", "Hello").call_id
        unresolved = "" if folder is None else _unresolved(gateway, a, folder)
        scene = Scene(gateway, channel, a.org, b.org, keys, call_id, unresolved)
        _fill(scene)
        for scope in OWN_KEYS:
            keys[scope] = _key(scene, scene.org, scope)
        keys["team key"] = _key(scene, scene.names["team"])
        keys["other key"] = _key(scene, f"orgs/{b.org}", *OWN_KEYS)
        for role in OWN_USERS:
            keys[role] = scene.session(a.org, role)
        keys["other owner"] = scene.session(b.org, "owner")
        with gateway.admin() as client:
            client.grant_credits("accounts/operator", 10**9)
        yield scene


def _key(scene: Scene, parent: str, *scopes: str) -> str:
    request = admin.CreateApiKeyRequest(parent=parent, scopes=scopes)
    return str(scene.made("CreateApiKey", request).secret)


def _fill(scene: Scene) -> None:
    """One of everything, for A."""
    org, names = scene.org, scene.names
    made = scene.made("CreateTeam", tenants.CreateTeamRequest(parent=org, team_id="core"))
    names["team"] = made.team.name
    made = scene.made(
        "CreateEnvironment",
        tenants.CreateEnvironmentRequest(parent=names["team"], environment_id="prod"),
    )
    names["environment"] = made.environment.name
    made = scene.made(
        "CreateUser",
        tenants.CreateUserRequest(
            parent=org, issuer="wallet:solana", subject="1" * 32, role=tenants.ROLE_VIEWER
        ),
    )
    names["user"] = made.user.name
    names["key"] = scene.new_key()
    limit = limits.RateLimit(requests_per_minute=10**6)
    made = scene.made(
        "CreateRateLimit",
        limits.CreateRateLimitRequest(parent=org, rate_limit_id="wide", rate_limit=limit),
    )
    names["rate limit"] = made.rate_limit.name
    budget = budgets.Budget(amount_nanousd=10**12, period=budgets.BUDGET_PERIOD_DAY)
    made = scene.made(
        "CreateBudget",
        budgets.CreateBudgetRequest(parent=org, budget_id="daily", budget=budget),
    )
    names["budget"] = made.budget.name
    # Of a team that nobody calls for: the scene's own calls stay on the house's account.
    idle = scene.made("CreateTeam", tenants.CreateTeamRequest(parent=org, team_id="idle")).team
    credential = credentials.ProviderCredential(provider="sim", secret="k" * 40)
    made = scene.made(
        "CreateProviderCredential",
        credentials.CreateProviderCredentialRequest(
            parent=idle.name, provider_credential_id="own", provider_credential=credential
        ),
    )
    names["credential"] = made.provider_credential.name
    hook = webhooks.Webhook(url="http://127.0.0.1:9/hook", active=False)
    made = scene.made(
        "CreateWebhook",
        webhooks.CreateWebhookRequest(parent=org, webhook_id="hook", webhook=hook),
    )
    names["webhook"] = made.webhook.name
    delivery, top_up = uuid.uuid4(), uuid.uuid4()
    with psycopg.connect(scene.gateway.database_url, autocommit=True) as sql:
        sql.execute(
            """
            INSERT INTO webhook_delivery (id, webhook_id, event, body, state, attempt_count)
            SELECT %s, w.id, 'balance.low', '{}', 'X', 1
              FROM webhook w JOIN org o ON o.id = w.org_id WHERE o.slug = %s
            """,
            (delivery, scene.a),
        )
        sql.execute(
            """
            INSERT INTO top_up (id, org_id, account_id, method, state, amount, request_id,
                                fingerprint, expire_time)
            SELECT %s, id, account_id, 'x', 'E', 1000000000, 'a test', '', now()
              FROM org WHERE slug = %s
            """,
            (top_up, scene.a),
        )
    names["delivery"] = f"{names['webhook']}/deliveries/{delivery}"
    names["top-up"] = f"{scene.account}/topUps/{top_up}"


def _unresolved(gateway: Gateway, tenant: Tenant, folder: Path) -> str:
    """Leaves an attempt of the tenant unresolved, by a server whose provider bills to the end."""
    bills_on = {"OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true"}
    beside = Gateway(
        gateway.database_url, gateway.simulator_url, folder, gateway.admin_key, 1, bills_on
    )
    with running(beside):
        with Omni(beside.grpc, api_key=tenant.api_key) as client:
            try:
                client.chat("sim/fast", asking("cut=rst,cut_after=headers"), timeout=30)
            except OmniError:
                pass
            else:
                raise AssertionError("the simulator was told to cut the call")
        with beside.admin() as client:
            return next(iter(client.unresolved_attempts(tenant.account))).name
