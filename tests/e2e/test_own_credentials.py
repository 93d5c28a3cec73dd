"""Tenants' own credentials of providers, on a whole gateway: whose key arrives, at what cost."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from gateway import (
    KEY_HASH_SECRET,
    Gateway,
    HttpAnswer,
    HttpConnection,
    SimulatorThread,
    Tenant,
    asking,
    bearer,
    eventually,
    refusal,
    running,
)
from gateway_fixtures import check_books
from keyed_provider import KeyedProvider
from omni.admin.v1 import admin_service_pb2_grpc as admin_grpc
from omni.admin.v1 import provider_credentials_pb2 as pb
from omni_grpc_client import CredentialRefused, Omni
from typer.testing import CliRunner

from omni_grpc.cli.app import app
from omni_grpc.storage import EmbeddedPostgres
from omni_grpc.vault.master_keys import key_id

MASTER = base64.b64encode(bytes(range(32))).decode()
HOUSE_KEY = "house-key-0123456789abcdef"
PROVIDERS = """
- id: sim
  key_env: SIM_KEY
  key_required: false
"""
PRICES = {"prompt_tokens": 2_500, "completion_tokens": 10_000}
"""Nano-USD a token of sim/vision."""


@dataclass(frozen=True)
class Rig:
    gateway: Gateway
    provider: KeyedProvider
    told: list[str]
    """Every answer that a tenant or an administrator got."""

    def ask(
        self, key: str | None, path: str, body: Any = None, method: str | None = None
    ) -> HttpAnswer:
        with HttpConnection(self.gateway, key) as http:
            data = None if body is None else json.dumps(body).encode()
            found = http.ask(path, data, method=method)
        self.told.append(f"{found.headers} {found.body.decode()}")
        return found

    def chat(self, tenant: Tenant, model: str = "sim/vision", **fields: Any) -> HttpAnswer:
        messages = [{"role": "user", "content": "Say something."}]
        body = {"model": model, "messages": messages, "max_tokens": 20, **fields}
        return self.ask(tenant.api_key, "/v1/chat/completions", body)

    def store(self, tenant: Tenant, slug: str, secret: str, **fields: Any) -> HttpAnswer:
        given = {"provider": "sim", "secret": secret, **fields}
        return self.ask(
            self.gateway.admin_key,
            f"/v1/admin/orgs/{tenant.org}/providerCredentials",
            {"provider_credential_id": slug, "provider_credential": given},
        )

    def change(self, tenant: Tenant, slug: str, **fields: Any) -> HttpAnswer:
        path = f"/v1/admin/{name_of(tenant, slug)}"
        return self.ask(self.gateway.admin_key, path, fields, "PATCH")

    def delete(self, tenant: Tenant, slug: str) -> HttpAnswer:
        path = f"/v1/admin/{name_of(tenant, slug)}"
        return self.ask(self.gateway.admin_key, path, None, "DELETE")

    def key_of_chat(self, tenant: Tenant, **fields: Any) -> str:
        """The key with which a chat arrives."""
        found = self.chat(tenant, **fields)
        assert found.status == 200, found.body
        return self.provider.seen[-1]

    def rows(self, statement: str, *values: object) -> list[Any]:
        with psycopg.connect(self.gateway.database_url) as connection:
            return connection.execute(statement.encode(), values).fetchall()


def name_of(tenant: Tenant, slug: str) -> str:
    return f"orgs/{tenant.org}/providerCredentials/{slug}"


def new_key() -> str:
    return f"tk{uuid.uuid4().hex}{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def rig(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rig]:
    """A gateway whose providers are all at one that asks for keys, and of which it has one key."""
    name, admin_key = template
    url = postgres.create_database("e2e_own_credentials", template=name)
    folder = tmp_path_factory.mktemp("own_credentials")
    (folder / "providers.yaml").write_text(PROVIDERS)
    provider = KeyedProvider(simulator.base_url)
    provider.start()
    origin = provider.origin
    environment = {
        "SIM_KEY": HOUSE_KEY,
        "OMNI_LOG_LEVEL": "debug",
        "OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true",
        "OMNI_CREDENTIAL_MASTER_KEY": MASTER,
        "OMNI_PROVIDER_SIM_BASE_URL": f"{origin}/v1",
        "OMNI_PROVIDER_OPENAI_BASE_URL": f"{origin}/v1",
        "OMNI_PROVIDER_AZURE_BASE_URL": f"{origin}/openai",
        "OMNI_PROVIDER_ANTHROPIC_BASE_URL": origin,
        "OMNI_PROVIDER_GOOGLE_BASE_URL": f"{origin}/v1beta",
        "OMNI_PROVIDER_COHERE_BASE_URL": origin,
        "OMNI_PROVIDER_AMAZON_BEDROCK_BASE_URL": origin,
    }
    made = Gateway(url, f"{origin}/v1", folder, admin_key, environment=environment)
    with running(made) as started:
        yield Rig(started, provider, [])
    provider.stop()
    check_books(url, folder)


def soon(check: Callable[[], object]) -> None:
    """Within the time that a change may take, 5 s, and what a busy machine needs more."""
    assert eventually(check, 20.0), "the change does not hold"


def owning(rig: Rig, nanousd: int = 10**9, **fields: Any) -> tuple[Tenant, str]:
    """A tenant that has brought a credential, and its key."""
    tenant, key = rig.gateway.tenant(nanousd), new_key()
    found = rig.store(tenant, "main", key, **fields)
    assert found.status == 200, found.body
    return tenant, key


# --- whose key arrives ----------------------------------------------------------------------------
def test_a_tenants_calls_go_with_its_key_and_all_others_with_the_houses(rig: Rig) -> None:
    tenant, key = owning(rig)
    other = rig.gateway.tenant()
    assert rig.key_of_chat(tenant) == key
    assert rig.key_of_chat(other) == HOUSE_KEY
    assert rig.key_of_chat(tenant, stream=True) == key
    vectors = {"model": "sim/embed", "input": "a"}
    assert rig.ask(tenant.api_key, "/v1/embeddings", vectors).status == 200
    assert rig.provider.seen[-1] == key
    assert rig.ask(other.api_key, "/v1/embeddings", vectors).status == 200
    assert rig.provider.seen[-1] == HOUSE_KEY
    noted = rig.rows("SELECT credential, count(*) FROM own_attempt GROUP BY 1")
    assert dict(noted)[name_of(tenant, "main")] == 3


def test_a_change_holds_within_seconds_without_a_call_lost(rig: Rig) -> None:
    tenant = rig.gateway.tenant()
    assert rig.key_of_chat(tenant) == HOUSE_KEY
    first, second = new_key(), new_key()
    assert rig.store(tenant, "main", first).status == 200
    soon(lambda: rig.key_of_chat(tenant) == first)
    assert rig.change(tenant, "main", secret=second).status == 200
    soon(lambda: rig.key_of_chat(tenant) == second)
    assert rig.delete(tenant, "main").status == 200
    soon(lambda: rig.key_of_chat(tenant) == HOUSE_KEY)
    assert rig.delete(tenant, "main").status == 404


def test_calls_are_spread_by_weight(rig: Rig) -> None:
    tenant = rig.gateway.tenant()
    keys = {new_key(): weight for weight in (3, 1, 0)}
    for place, (key, weight) in enumerate(keys.items()):
        assert rig.store(tenant, f"c{place}", key, weight=weight).status == 200
    for _ in range(8):
        assert rig.chat(tenant).status == 200
    came = [rig.provider.seen[-8:].count(key) for key in keys]
    assert came == [6, 2, 0]


DIALECTS = {
    "openai": "openai/gpt-4o",
    "azure": "azure/gpt-4o",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "google": "google/gemini-2.5-flash",
    "cohere": "cohere/command-a-03-2025",
    "amazon-bedrock": "amazon-bedrock/anthropic.claude-haiku-4-5-20251001-v1:0",
}


@pytest.mark.parametrize("provider", DIALECTS)
def test_a_provider_that_only_the_tenant_has_is_called_in_its_own_form(
    rig: Rig, provider: str
) -> None:
    tenant, key = rig.gateway.tenant(10**10), new_key()
    variables: dict[str, str] = {}
    if provider == "amazon-bedrock":  # the simulator takes an access key's id for its secret
        variables = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": key}
    found = rig.store(tenant, "main", key, provider=provider, variables=variables)
    assert found.status == 200, found.body
    assert rig.chat(tenant, DIALECTS[provider]).status == 200
    assert rig.provider.seen[-1] == key
    other = rig.gateway.tenant()
    assert rig.chat(other, DIALECTS[provider]).status == 404
    path = f"/v1/models/{DIALECTS[provider]}"
    assert rig.ask(tenant.api_key, path).json["id"] == DIALECTS[provider]
    assert rig.ask(other.api_key, path).status == 404
    listed = [
        {one["id"] for one in rig.ask(who.api_key, "/v1/models").json["data"]}
        for who in (tenant, other)
    ]
    assert {one.partition("/")[0] for one in listed[0] - listed[1]} == {provider}


def test_what_is_left_to_the_router_may_go_to_a_provider_that_only_the_tenant_has(
    rig: Rig,
) -> None:
    tenant, key = owning(rig, 10**10, provider="anthropic")
    limited = {"allowed_providers": ["anthropic"]}
    found = rig.chat(tenant, "omni/auto", omni=limited)
    assert found.status == 200, found.body
    assert rig.provider.seen[-1] == key
    assert rig.chat(rig.gateway.tenant(), "omni/auto", omni=limited).status == 400


# --- keys that are refused ------------------------------------------------------------------------
@pytest.mark.parametrize("status", [401, 403, 429])
def test_where_one_is_refused_the_others_of_its_set_are_tried(rig: Rig, status: int) -> None:
    tenant = rig.gateway.tenant()
    bad, good = new_key(), new_key()
    rig.provider.refused[bad] = status
    rig.store(tenant, "bad", bad)
    rig.store(tenant, "good", good)
    for _ in range(4):
        assert rig.key_of_chat(tenant) == good
    assert rig.provider.seen.count(bad) == 1  # it is set aside
    with_key = rig.gateway.tenant()
    assert rig.key_of_chat(with_key) == HOUSE_KEY


@pytest.mark.parametrize("status", [401, 429])
def test_a_refused_credential_is_told_by_its_name_and_nobodys_key_takes_its_place(
    rig: Rig, status: int
) -> None:
    tenant, key = owning(rig)
    other = rig.gateway.tenant()
    rig.provider.refused[key] = status
    before = len(rig.provider.seen)
    for _ in range(8):  # as many as would open a breaker
        found = rig.chat(tenant)
        assert found.status == (424 if status == 401 else 503)
        assert name_of(tenant, "main") in found.error["message"]
        assert key not in found.error["message"]
    assert set(rig.provider.seen[before:]) == {key}
    assert rig.key_of_chat(other) == HOUSE_KEY
    answered = rig.ask(tenant.api_key, "/v1/balance")
    assert answered.json["posted_nanousd"] == 10**9
    assert answered.json["held_nanousd"] == 0
    with HttpConnection(rig.gateway, None) as http:
        metrics = http.ask("/metrics").body.decode()
    assert 'omni_breaker_open{model="sim/vision"} 1' not in metrics
    rig.provider.refused.pop(key)


def test_who_brought_a_credential_that_is_refused_hears_that_it_is_theirs_and_what_to_do(
    rig: Rig,
) -> None:
    tenant, key = owning(rig)
    rig.provider.refused[key] = 401
    name = name_of(tenant, "main")
    for stream in (False, True):
        found = rig.chat(tenant, stream=stream)
        assert (found.status, found.error["code"]) == (424, "credential_refused")
        assert found.headers["x-should-retry"] == "false"
        assert found.error["omni"] == {
            "reason": "CREDENTIAL_REFUSED",
            "credential": name,
            "provider": "sim",
        }
        assert "Your own credential is not taken" in found.error["message"]
        assert "store another key in the credential" in found.error["message"]
    body = {"model": "sim/vision", "max_tokens": 9, "messages": [{"role": "user", "content": "a"}]}
    found = rig.ask(tenant.api_key, "/v1/messages", body)
    assert (found.status, found.json["error"]["omni"]["reason"]) == (424, "CREDENTIAL_REFUSED")
    found = rig.ask(tenant.api_key, "/v1/embeddings", {"model": "sim/embed", "input": "a"})
    assert (found.status, found.error["code"]) == (424, "credential_refused")
    with (
        Omni(rig.gateway.grpc, api_key=tenant.api_key) as omni,
        pytest.raises(CredentialRefused) as refused,
    ):
        omni.chat("sim/vision", "Say something.")
    assert (refused.value.reason, refused.value.metadata["credential"]) == (
        "CREDENTIAL_REFUSED",
        name,
    )
    rig.provider.refused.pop(key)


def test_fallbacks_to_other_providers_go_with_the_houses_account(rig: Rig) -> None:
    tenant, key = owning(rig, 10**10, provider="openai")
    rig.provider.refused[key] = 401
    limited = {"fallback_models": ["sim/vision"]}
    assert rig.chat(tenant, "openai/gpt-4o", omni=limited).status == 200
    assert rig.provider.seen[-2:] == [key, HOUSE_KEY]
    noted = rig.rows(
        "SELECT DISTINCT credential FROM own_attempt WHERE credential ~ %s", tenant.org
    )
    assert noted == [(name_of(tenant, "main"),)]


# --- what it costs --------------------------------------------------------------------------------
def cost_of(rig: Rig, tenant: Tenant, call_id: str) -> tuple[int, int, int]:
    """What a call's attempt held and was charged, by the ledger; and its markup."""
    (row,) = rig.rows(
        "SELECT p.held, p.amount, u.markup_ppm FROM usage_record u JOIN posting p ON p.id = "
        "u.hold_id JOIN account a ON a.id = u.wallet JOIN org o ON o.id = a.org_id "
        "WHERE o.slug = %s AND p.kind = 'S' AND u.hold_id >= %s::uuid ORDER BY u.hold_id LIMIT 1",
        tenant.org,
        call_id,
    )
    return row  # type: ignore[no-any-return]


def at_fee(usage: dict[str, int], fee_ppm: int) -> int:
    whole = sum(usage[name] * price for name, price in PRICES.items())
    return -(-whole * fee_ppm // 1_000_000)


@pytest.mark.parametrize("fee_ppm", [0, 1, 12_345, 333_333, 1_000_000, None])
@pytest.mark.parametrize("stream", [False, True])
def test_a_fee_is_charged_to_the_nano_dollar(rig: Rig, fee_ppm: int | None, stream: bool) -> None:
    more = {} if fee_ppm is None else {"fee_ppm": fee_ppm}
    tenant, key = owning(rig, **more)
    options = {"stream_options": {"include_usage": True}} if stream else {}
    found = rig.chat(tenant, stream=stream, **options)
    assert found.status == 200, found.body
    assert rig.provider.seen[-1] == key
    usage = json.loads(found.events[-2])["usage"] if stream else found.json["usage"]
    expected = at_fee(usage, 1_000_000 if fee_ppm is None else fee_ppm)
    call_id = found.headers["x-request-id"]
    soon(lambda: rig.ask(tenant.api_key, "/v1/balance").json["held_nanousd"] == 0)
    held, charged, markup = cost_of(rig, tenant, call_id)
    assert charged == expected == usage["cost_nanousd"]
    assert held >= charged
    assert markup == (0 if fee_ppm is None else fee_ppm - 1_000_000)
    if fee_ppm == 0:
        assert held == 0
    balance = rig.ask(tenant.api_key, "/v1/balance").json["posted_nanousd"]
    assert balance == 10**9 - expected


def test_what_is_free_needs_no_credits(rig: Rig) -> None:
    tenant, key = owning(rig, 0, fee_ppm=0)
    assert rig.key_of_chat(tenant) == key
    assert rig.chat(rig.gateway.tenant(0)).status == 402


def test_an_estimate_and_an_explanation_have_the_fee(rig: Rig) -> None:
    tenant, _ = owning(rig, fee_ppm=100_000)
    messages = [{"role": "user", "content": "Say something."}]
    body = {"model": "sim/vision", "messages": messages, "max_tokens": 100}
    own = rig.ask(tenant.api_key, "/v1/estimate", body).json
    house = rig.ask(rig.gateway.tenant().api_key, "/v1/estimate", body).json
    assert own["cost_max_nanousd"] == house["cost_max_nanousd"] // 10
    assert own["cost_nanousd"] == house["cost_nanousd"] // 10
    assert "at 10 % of the price" in own["reason"]


def test_no_tenant_says_itself_what_its_calls_cost(rig: Rig) -> None:
    tenant, _ = owning(rig, fee_ppm=100_000)
    with rig.gateway.admin() as omni:
        key = omni.create_api_key(f"orgs/{tenant.org}", scopes=["management"]).secret
    given = {"provider": "sim", "secret": new_key()}
    made = {"provider_credential_id": "free", "provider_credential": {**given, "fee_ppm": 0}}
    folder = f"/v1/admin/orgs/{tenant.org}/providerCredentials"
    path = f"/v1/admin/{name_of(tenant, 'main')}"
    assert rig.ask(key, folder, made).status == 403
    assert rig.ask(key, path, {"fee_ppm": 0}, "PATCH").status == 403
    changed = rig.ask(key, path, {"weight": 7}, "PATCH")
    assert changed.status == 200, changed.body
    assert (changed.json["weight"], changed.json["fee_ppm"]) == (7, 100_000)
    assert rig.ask(key, folder, {**made, "provider_credential": given}).status == 200


# --- administration -------------------------------------------------------------------------------
def test_a_secret_goes_in_and_never_comes_out(rig: Rig) -> None:
    tenant, key = owning(rig, fee_ppm=5)
    made = rig.ask(rig.gateway.admin_key, f"/v1/admin/{name_of(tenant, 'main')}").json
    assert made["hint"] == key[-4:]
    assert (made["provider"], made["weight"], made["fee_ppm"], made["active"]) == (
        "sim",
        1,
        5,
        True,
    )
    assert "secret" not in made
    path = f"/v1/admin/orgs/{tenant.org}/providerCredentials"
    assert rig.ask(rig.gateway.admin_key, path).json["data"] == [made]
    changed = rig.change(tenant, "main", secret=new_key(), etag=made["etag"])
    assert changed.status == 200
    assert rig.change(tenant, "main", weight=3, etag=made["etag"]).status == 409
    entries = rig.ask(rig.gateway.admin_key, f"/v1/admin/orgs/{tenant.org}/auditEntries").json
    found = [one for one in entries["data"] if "ProviderCredential" in one["action"]]
    assert [one["action"] for one in found] == [
        "UpdateProviderCredential",
        "CreateProviderCredential",
    ]
    new = json.loads(found[0]["new_json"])
    assert (new["secret"], new["hint"]) == ("set", changed.json["hint"])


def test_over_grpc_it_is_the_same(rig: Rig) -> None:
    import grpc

    tenant, _ = owning(rig)
    admin = bearer(rig.gateway.admin_key)
    with grpc.insecure_channel(rig.gateway.grpc) as channel:
        stub = admin_grpc.AdminServiceStub(channel)
        made = stub.CreateProviderCredential(
            pb.CreateProviderCredentialRequest(
                parent=f"orgs/{tenant.org}",
                provider_credential_id="other",
                provider_credential=pb.ProviderCredential(
                    provider="amazon-bedrock",
                    secret=new_key(),
                    variables={"AWS_REGION": "eu-west-1"},
                    weight=0,
                    fee_ppm=0,
                ),
            ),
            metadata=admin,
        ).provider_credential
        assert (made.name, made.secret, dict(made.variables)) == (name_of(tenant, "other"), "", {})
        assert made.HasField("weight")
        assert made.HasField("fee_ppm")
        listed = stub.ListProviderCredentials(
            pb.ListProviderCredentialsRequest(parent=f"orgs/{tenant.org}", page_size=1),
            metadata=admin,
        )
        assert [one.name for one in listed.provider_credentials] == [name_of(tenant, "main")]
        assert listed.next_page_token
        denied = refusal(
            lambda: stub.GetProviderCredential(
                pb.GetProviderCredentialRequest(name=made.name), metadata=bearer(tenant.api_key)
            )
        )
        assert denied.reason == "SCOPE_MISSING"
        stub.DeleteProviderCredential(
            pb.DeleteProviderCredentialRequest(name=made.name), metadata=admin
        )


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("provider", {"provider": "nobody"}),
        ("provider", {"provider": "ollama"}),
        ("secret", {"secret": ""}),
        ("secret", {"secret": "two words, no key"}),
        ("secret", {"secret": "new\nline"}),
        ("secret", {"secret": "x" * 8_193}),
        ("variables", {"variables": {"BASE_URL": "http://127.0.0.1"}}),
        ("variables", {"provider": "amazon-bedrock", "variables": {"AWS_ACCESS_KEY_ID": "a"}}),
        ("variables", {"provider": "google-vertex", "variables": {}}),
        (
            "variables",
            {
                "provider": "google-vertex",
                "variables": {
                    "GOOGLE_VERTEX_PROJECT": "p",
                    "GOOGLE_VERTEX_LOCATION": "evil.example/x?",
                },
            },
        ),
        ("weight", {"weight": 1_001}),
        ("fee_ppm", {"fee_ppm": -1}),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(
    rig: Rig, field: str, given: dict[str, Any]
) -> None:
    tenant = rig.gateway.tenant(0)
    found = rig.store(tenant, "main", **({"secret": new_key()} | given))
    assert found.status == 400, found.body
    assert found.error["param"].startswith(f"provider_credential.{field}")


# --- commands -------------------------------------------------------------------------------------
OLD, NEW = "11" * 32, "22" * 32


def run(rig: Rig, *words: str, secret: str = "", keys: str = "") -> tuple[int, str]:
    """`omni-grpc` on the gateway's database, with these master keys; in this process."""
    ended = CliRunner().invoke(
        app,
        [*words, "--json"],
        input=secret,
        env={
            "DATABASE_URL": rig.gateway.database_url,
            "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
            "OMNI_PROVIDERS_FILE": str(rig.gateway.folder / "providers.yaml"),
            "OMNI_PROVIDER_SIM_BASE_URL": rig.gateway.simulator_url,
            "OMNI_CREDENTIAL_MASTER_KEY": keys or None,
        },
    )
    rig.told.append(ended.output)
    return ended.exit_code, ended.output


def test_commands_take_the_secret_from_standard_input_and_rotate_master_keys(rig: Rig) -> None:
    tenant, key = rig.gateway.tenant(), new_key()
    name = name_of(tenant, "main")
    words = ("--org", tenant.org, "--provider", "sim", "--fee-percent", "2.5")
    create = ("credentials", "create", "main", *words)
    code, said = run(rig, *create, secret=f"{key}\n")
    assert (code, "OMNI_CREDENTIAL_MASTER_KEY" in said) == (1, True)
    code, said = run(rig, *create, secret=f"{key}\n", keys=OLD)
    assert code == 0, said
    assert (json.loads(said)["hint"], json.loads(said)["fee_ppm"]) == (key[-4:], 25_000)
    before = len(rig.provider.seen)
    found = rig.chat(tenant)  # the gateway has another master key
    assert found.status == 503
    assert name in found.error["message"]
    assert len(rig.provider.seen) == before  # nobody's key took its place
    code, said = run(rig, "credentials", "rotate", keys=f"{MASTER},{NEW}")  # not the old one
    assert (code, key_id(bytes.fromhex(OLD)) in said) == (1, True)
    code, said = run(rig, "credentials", "rotate", keys=f"{MASTER},{OLD}")
    assert code == 0, said
    assert json.loads(said)["rotated"] == 1
    soon(lambda: rig.chat(tenant).status == 200)
    assert rig.provider.seen[-1] == key
    code, said = run(rig, "credentials", "list", "--org", tenant.org)
    assert [one["name"] for one in json.loads(said)] == [name]
    (listed,) = json.loads(said)
    code, said = run(rig, "credentials", "get", name)
    assert (code, json.loads(said)) == (0, listed)
    assert key not in said
    code, said = run(rig, "credentials", "update", name, "--weight", "4", keys=MASTER)
    assert json.loads(said)["weight"] == 4
    code, said = run(rig, "credentials", "delete", name)
    assert code == 0, said


def test_the_record_of_an_own_call_is_asked_for_with_its_own_credential(rig: Rig) -> None:
    tenant, key = owning(rig)
    messages = [{"role": "user", "content": asking("cut=rst,cut_after=headers")}]
    found = rig.ask(
        tenant.api_key, "/v1/chat/completions", {"model": "sim/vision", "messages": messages}
    )
    assert found.status == 409, found.body
    call = f"/v1/calls/{found.headers['x-request-id']}"
    (attempt,) = rig.ask(tenant.api_key, call).json["attempts"]
    assert (attempt["outcome"], attempt["credential"]) == ("unresolved", name_of(tenant, "main"))
    look_up = ("reconcile", "lookup", "--all")
    code, said = run(rig, *look_up)
    assert (code, json.loads(said)[0]["found"]) == (1, "not_ours")
    code, said = run(rig, *look_up, keys=MASTER)
    assert code == 0, said
    assert rig.provider.seen[-1] == key
    (attempt,) = rig.ask(tenant.api_key, call).json["attempts"]
    assert attempt["cost_nanousd"] is not None
    assert attempt["credential"] == name_of(tenant, "main")


# --- secrets --------------------------------------------------------------------------------------
def forms_of(secret: str) -> list[str]:
    """A secret as it may be found: raw, halves of it, base64, hexadecimal."""
    data, half = secret.encode(), len(secret) // 2
    whole = base64.b64encode(data).decode().rstrip("=")[:-2]  # its end depends on what follows
    halves = [secret[:half], secret[half:]]
    return [secret, *halves, whole, data.hex(), *(one.encode().hex() for one in halves)]


def dumped(rig: Rig) -> str:
    """All rows of all tables, as text; bytes in hexadecimal."""
    tables = rig.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = []
    for (table,) in tables:
        for row in rig.rows(f"SELECT to_jsonb(t)::text FROM {table} t"):
            found += [row[0]]
    return "\n".join(found)


def test_no_secret_stands_in_a_log_an_answer_an_error_or_a_table(rig: Rig) -> None:
    tenant, key = owning(rig)
    refused = new_key()
    rig.provider.refused[refused] = 401
    rig.store(tenant, "refused", refused, weight=1_000)
    rig.store(tenant, "bad", f"{key} with a blank")
    for _ in range(2):
        rig.chat(tenant)
    planted = new_key()
    rig.rows("UPDATE org SET display_name = %s WHERE slug = %s RETURNING 1", planted, tenant.org)
    places = {
        "answers": "\n".join(rig.told),
        "logs": rig.gateway.log(),
        "tables": dumped(rig),
    }
    secrets = {*rig.provider.seen, key, refused} - {HOUSE_KEY, ""}
    assert len(secrets) >= 2
    for where, text in places.items():
        for secret in secrets:
            found = [form for form in forms_of(secret) if form in text]
            assert not found, f"a secret stands in the {where}"
    assert planted in places["tables"]  # so the search finds what is there
    assert name_of(tenant, "refused") in places["logs"]
