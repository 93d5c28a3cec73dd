"""Who may do what: every RPC and every REST route with every kind of key.

The RPCs come from the contract's descriptors and the routes from the application, so one that has
no row here fails. What belongs to another organisation answers exactly as if it did not exist.
"""

import importlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import omni
import pytest
from gateway import (
    Gateway,
    HttpConnection,
    Refusal,
    Tenant,
    asking,
    bearer,
    chat_body,
    refusal,
    running,
)
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from omni.admin.v1 import admin_service_pb2 as admin
from omni.billing.v1 import billing_service_pb2 as billing
from omni.catalog.v1 import catalog_service_pb2 as catalog
from omni.router.v1 import media_pb2 as media
from omni.router.v1 import router_service_pb2 as router
from omni_grpc_client import Omni, OmniError

from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import CallId, hold_id_of, new_call_id, new_hold_id
from omni_grpc.rest_api import build_app

KEYS = ("none", "inference", "billing", "default", "other", "admin")
"""Whose keys: of organisation A with one scope or both, of organisation B, of the operator."""

OK, MISSING, LACKS, HIDDEN = "OK", "API_KEY_MISSING", "SCOPE_MISSING", "NOT_FOUND"
INFERENCE = (MISSING, OK, LACKS, OK, OK, OK)
BILLING_OF_A = (MISSING, LACKS, OK, OK, HIDDEN, OK)
ADMIN = (MISSING, LACKS, LACKS, LACKS, LACKS, OK)
INFERENCE_OF_A = (MISSING, OK, LACKS, OK, HIDDEN, OK)

PROMPT = router.ChatPrompt(
    model="sim/fast",
    messages=[router.Message(role=router.ROLE_USER, parts=[router.Part(text="Hello")])],
)


def request_id() -> str:
    return uuid.uuid4().hex


@dataclass
class Scene:
    """Organisation A, which has things, and B, which asks for them.

    `unresolved` is an attempt of A of which nobody knows what its provider did.
    """

    gateway: Gateway
    channel: grpc.Channel
    a: str
    b: str
    keys: dict[str, str | None]
    call_id: str
    unresolved: str

    def hold(self) -> str:
        """The name of a new open hold of A."""
        with Omni(self.gateway.grpc, api_key=self.keys["default"]) as client:
            return client.create_hold(1).name

    def invoke(self, method: MethodDescriptor, request: Message, key: str | None) -> object:
        path = f"/{method.containing_service.full_name}/{method.name}"
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = make(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer = call(request, metadata=bearer(key), timeout=20)
        return list(answer) if method.server_streaming else answer

    def refused(self, method: str, request: Message, key: str = "other") -> Refusal:
        return refusal(lambda: self.invoke(METHODS[method], request, self.keys[key]))


@pytest.fixture(scope="module")
def scene(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    a, b = gateway.tenant(), gateway.tenant()
    with gateway.admin() as client:
        keys: dict[str, str | None] = {"none": None, "admin": gateway.admin_key}
        for scope in ("inference", "billing"):
            keys[scope] = client.create_api_key(f"orgs/{a.org}", scopes=[scope]).secret
        keys |= {"default": a.api_key, "other": b.api_key}
        client.grant_credits("accounts/operator", 10**9)
    with Omni(gateway.grpc, api_key=a.api_key) as client:
        call_id = client.chat("sim/fast", "Hello").call_id
    unresolved = _unresolved(gateway, a, tmp_path_factory.mktemp("bills-on"))
    with grpc.insecure_channel(gateway.grpc) as channel:
        yield Scene(gateway, channel, a.org, b.org, keys, call_id, unresolved)


def _unresolved(gateway: Gateway, tenant: Tenant, folder: Path) -> str:
    """Leaves an attempt of the tenant unresolved, by a server whose provider bills to the end."""
    bills_on = {"OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "true"}
    beside = Gateway(
        gateway.database_url, gateway.simulator_url, folder, gateway.admin_key, 1, bills_on
    )
    with running(beside):
        with Omni(beside.grpc, api_key=tenant.api_key) as client, pytest.raises(OmniError):
            client.chat("sim/fast", asking("cut=rst,cut_after=headers"), timeout=5)
        with beside.admin() as client:
            return next(iter(client.unresolved_attempts(tenant.account))).name


def _methods() -> dict[str, MethodDescriptor]:
    """Every RPC of the contract, by `Service.Method`."""
    found = {}
    for root in map(Path, omni.__path__):
        for file in root.rglob("*_pb2.py"):
            module = ".".join(("omni", *file.relative_to(root).with_suffix("").parts))
            for service in importlib.import_module(module).DESCRIPTOR.services_by_name.values():
                found |= {f"{service.name}.{method.name}": method for method in service.methods}
    return found


def set_alias(scene: Scene, name: str) -> catalog.SetAliasRequest:
    return catalog.SetAliasRequest(
        alias=catalog.Alias(name=name, scope=f"orgs/{scene.a}", targets=["sim/fast"])
    )


def delete_alias(scene: Scene) -> catalog.DeleteAliasRequest:
    """For an alias that is there until this request is sent."""
    made = set_alias(scene, "passing")
    scene.invoke(METHODS["CatalogService.SetAlias"], made, scene.keys["admin"])
    return catalog.DeleteAliasRequest(name=made.alias.name, scope=made.alias.scope)


def new_policy(scene: Scene) -> admin.CreateRoutingPolicyRequest:
    """A policy that decides nothing by itself."""
    rule = admin.RoutingPolicy(cost=admin.CostRule(), active=False)
    return admin.CreateRoutingPolicyRequest(
        parent=f"orgs/{scene.a}", routing_policy_id=f"p{request_id()[:20]}", routing_policy=rule
    )


def policy_of(scene: Scene) -> admin.RoutingPolicy:
    """A policy that is there."""
    method = METHODS["AdminService.CreateRoutingPolicy"]
    made: Any = scene.invoke(method, new_policy(scene), scene.keys["admin"])
    found: admin.RoutingPolicy = made.routing_policy
    return found


def new_experiment(scene: Scene) -> admin.CreateExperimentRequest:
    """An experiment on a name that nobody asks for."""
    experiment = admin.Experiment(
        when=admin.PolicyCondition(models=["sim/nobody-asks"]),
        arms=[
            admin.ExperimentArm(name="a", share_ppm=500_000, models=["sim/nobody-asks"]),
            admin.ExperimentArm(name="b", share_ppm=500_000, models=["sim/fast"]),
        ],
    )
    return admin.CreateExperimentRequest(
        parent=f"orgs/{scene.a}", experiment_id=f"e{request_id()[:20]}", experiment=experiment
    )


def experiment_of(scene: Scene) -> admin.Experiment:
    """An experiment that is there."""
    method = METHODS["AdminService.CreateExperiment"]
    made: Any = scene.invoke(method, new_experiment(scene), scene.keys["admin"])
    found: admin.Experiment = made.experiment
    return found


METHODS = _methods()
RPCS: dict[str, tuple[Callable[[Scene], Message], tuple[str, ...]]] = {
    "RouterService.CompleteChat": (
        lambda scene: router.CompleteChatRequest(prompt=PROMPT), INFERENCE,
    ),
    "RouterService.StreamChat": (
        lambda scene: router.StreamChatRequest(prompt=PROMPT), INFERENCE,
    ),
    "RouterService.EmbedTexts": (
        lambda scene: media.EmbedTextsRequest(
            model="sim/embed", inputs=[media.EmbeddingInput(text="x")]
        ),
        INFERENCE,
    ),
    "RouterService.GenerateImages": (
        lambda scene: media.GenerateImagesRequest(model="sim/image", prompt="x"), INFERENCE,
    ),
    "RouterService.SynthesizeSpeech": (
        lambda scene: media.SynthesizeSpeechRequest(model="sim/voice", text="x", voice="alloy"),
        INFERENCE,
    ),
    "RouterService.TranscribeAudio": (
        lambda scene: media.TranscribeAudioRequest(
            model="sim/scribe", file=media.MediaFile(content=b"x", name="x.mp3")
        ),
        INFERENCE,
    ),
    "RouterService.EstimateChat": (
        lambda scene: router.EstimateChatRequest(prompt=PROMPT), INFERENCE,
    ),
    "RouterService.ExplainRoute": (
        lambda scene: router.ExplainRouteRequest(prompt=PROMPT), INFERENCE,
    ),
    "CatalogService.SyncCatalog": (
        lambda scene: catalog.SyncCatalogRequest(sources=["packages"], dry_run=True), ADMIN,
    ),
    "CatalogService.GetModel": (
        lambda scene: catalog.GetModelRequest(name="providers/sim/models/fast"), INFERENCE,
    ),
    "CatalogService.ListModels": (
        lambda scene: catalog.ListModelsRequest(page_size=1), INFERENCE,
    ),
    "CatalogService.UpdateModel": (
        lambda scene: catalog.UpdateModelRequest(
            model=catalog.Model(name="providers/sim/models/fast", tags=["seen"]),
            update_mask={"paths": ["tags"]},
        ),
        ADMIN,
    ),
    "CatalogService.ResolveModel": (
        lambda scene: catalog.ResolveModelRequest(model="sim/fast", scope=f"orgs/{scene.a}"),
        INFERENCE_OF_A,
    ),
    "CatalogService.ListModelChanges": (
        lambda scene: catalog.ListModelChangesRequest(page_size=1), ADMIN,
    ),
    "CatalogService.ListAliases": (
        lambda scene: catalog.ListAliasesRequest(scope=f"orgs/{scene.a}"),
        INFERENCE_OF_A,
    ),
    "CatalogService.SetAlias": (lambda scene: set_alias(scene, "seen"), ADMIN),
    "CatalogService.DeleteAlias": (delete_alias, ADMIN),
    "BillingService.GetBalance": (
        lambda scene: billing.GetBalanceRequest(account=f"accounts/{scene.a}"), BILLING_OF_A,
    ),
    "BillingService.ListLedgerEntries": (
        lambda scene: billing.ListLedgerEntriesRequest(parent=f"accounts/{scene.a}"), BILLING_OF_A,
    ),
    "BillingService.GetUsageRecord": (
        lambda scene: billing.GetUsageRecordRequest(call_id=scene.call_id), BILLING_OF_A,
    ),
    "BillingService.SummarizeUsage": (
        lambda scene: billing.SummarizeUsageRequest(account=f"accounts/{scene.a}"), BILLING_OF_A,
    ),
    "BillingService.ListUsageRecords": (
        lambda scene: billing.ListUsageRecordsRequest(parent=f"accounts/{scene.a}"), BILLING_OF_A,
    ),
    "BillingService.GrantCredits": (
        lambda scene: billing.GrantCreditsRequest(
            account=f"accounts/{scene.a}", amount_nanousd=1, request_id=request_id()
        ),
        ADMIN,
    ),
    "BillingService.RefundCharge": (
        lambda scene: billing.RefundChargeRequest(
            account=f"accounts/{scene.a}", call_id=scene.call_id, amount_nanousd=1,
            request_id=request_id(),
        ),
        ADMIN,
    ),
    "BillingService.ListUnresolvedAttempts": (
        lambda scene: billing.ListUnresolvedAttemptsRequest(parent=f"accounts/{scene.a}"), ADMIN,
    ),
    "BillingService.ResolveAttempt": (  # once and for all, however often it is said
        lambda scene: billing.ResolveAttemptRequest(
            name=scene.unresolved, voiding=billing.Voiding()
        ),
        ADMIN,
    ),
    "BillingService.CreateHold": (
        lambda scene: billing.CreateHoldRequest(
            parent=f"accounts/{scene.a}", amount_nanousd=1, request_id=request_id()
        ),
        BILLING_OF_A,
    ),
    "BillingService.SettleHold": (
        lambda scene: billing.SettleHoldRequest(
            name=scene.hold(), amount_nanousd=1, request_id=request_id()
        ),
        BILLING_OF_A,
    ),
    "BillingService.ReleaseHold": (
        lambda scene: billing.ReleaseHoldRequest(name=scene.hold(), request_id=request_id()),
        BILLING_OF_A,
    ),
    "AdminService.CreateOrg": (
        lambda scene: admin.CreateOrgRequest(org_id=f"o{request_id()[:20]}"), ADMIN,
    ),
    "AdminService.CreateApiKey": (
        lambda scene: admin.CreateApiKeyRequest(parent=f"orgs/{scene.a}"), ADMIN,
    ),
    "AdminService.ListApiKeys": (
        lambda scene: admin.ListApiKeysRequest(parent=f"orgs/{scene.a}"), ADMIN,
    ),
    "AdminService.CreateRoutingPolicy": (new_policy, ADMIN),
    "AdminService.UpdateRoutingPolicy": (
        lambda scene: admin.UpdateRoutingPolicyRequest(
            routing_policy=policy_of(scene), update_mask={"paths": ["description"]}
        ),
        ADMIN,
    ),
    "AdminService.DeleteRoutingPolicy": (
        lambda scene: admin.DeleteRoutingPolicyRequest(name=policy_of(scene).name), ADMIN,
    ),
    "AdminService.GetRoutingPolicy": (
        lambda scene: admin.GetRoutingPolicyRequest(name=policy_of(scene).name), ADMIN,
    ),
    "AdminService.ListRoutingPolicies": (
        lambda scene: admin.ListRoutingPoliciesRequest(parent=f"orgs/{scene.a}"), ADMIN,
    ),
    "AdminService.CreateExperiment": (new_experiment, ADMIN),
    "AdminService.UpdateExperiment": (
        lambda scene: admin.UpdateExperimentRequest(
            experiment=experiment_of(scene), update_mask={"paths": ["description"]}
        ),
        ADMIN,
    ),
    "AdminService.DeleteExperiment": (
        lambda scene: admin.DeleteExperimentRequest(name=experiment_of(scene).name), ADMIN,
    ),
    "AdminService.GetExperiment": (
        lambda scene: admin.GetExperimentRequest(name=experiment_of(scene).name), ADMIN,
    ),
    "AdminService.ListExperiments": (
        lambda scene: admin.ListExperimentsRequest(parent=f"orgs/{scene.a}"), ADMIN,
    ),
    "AdminService.GetExperimentReport": (
        lambda scene: admin.GetExperimentReportRequest(name=experiment_of(scene).name), ADMIN,
    ),
    "AdminService.RevokeApiKey": (
        lambda scene: admin.RevokeApiKeyRequest(name=_new_key(scene)), ADMIN,
    ),
}  # fmt: skip


def _new_key(scene: Scene) -> str:
    with scene.gateway.admin() as client:
        return client.create_api_key(f"orgs/{scene.a}").api_key.name


def test_every_rpc_of_the_contract_has_its_row() -> None:
    assert set(RPCS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("key", KEYS)
def test_an_rpc_is_done_for_keys_that_may_and_refused_to_others(
    scene: Scene, name: str, key: str
) -> None:
    make, expected = RPCS[name]
    wanted = dict(zip(KEYS, expected, strict=True))[key]
    request = make(scene)
    if wanted == OK:
        scene.invoke(METHODS[name], request, scene.keys[key])
        return
    found = scene.refused(name, request, key)
    codes = {MISSING: "UNAUTHENTICATED", LACKS: "PERMISSION_DENIED", HIDDEN: "NOT_FOUND"}
    assert (found.code, found.reason) == (codes[wanted], wanted)
    assert set(found.details) == {"ErrorInfo"}
    if wanted == LACKS:
        scope = {
            INFERENCE: "inference",
            INFERENCE_OF_A: "inference",
            BILLING_OF_A: "billing",
            ADMIN: "admin",
        }[expected]
        assert found.metadata["scope"] == scope
        assert f"`{scope}`" in found.message


def test_a_key_with_the_admin_scope_alone_reaches_all_accounts(scene: Scene) -> None:
    with scene.gateway.admin() as client:
        secret = client.create_api_key("orgs/operator", scopes=["admin"]).secret
    for name in METHODS:
        make, expected = RPCS[name]
        if expected in (INFERENCE, INFERENCE_OF_A):
            found = refusal(
                lambda name=name, make=make: scene.invoke(METHODS[name], make(scene), secret)
            )
            assert found.reason == LACKS
        else:
            scene.invoke(METHODS[name], make(scene), secret)


# --- what is another's, and what is not there -----------------------------------------------------
def _shape(found: Refusal, *names: str) -> object:
    """All that a refusal tells, but for the names that were asked for and the call's own id."""
    message = found.message
    for name in names:
        message = message.replace(name, "…")
    metadata = found.metadata
    assert not set(metadata) - {"call_id"}
    return found.code, found.reason, message, *sorted(found.details), *sorted(found.trailers)


@pytest.mark.parametrize("name", ["GetBalance", "ListLedgerEntries", "CreateHold"])
def test_anothers_account_answers_like_one_that_is_not_there(scene: Scene, name: str) -> None:
    request_class = GetMessageClass(METHODS[f"BillingService.{name}"].input_type)

    def shape(account: str) -> object:
        more = {"amount_nanousd": 1, "request_id": request_id()} if name == "CreateHold" else {}
        field = "account" if name == "GetBalance" else "parent"
        request = request_class(**{field: account}, **more)
        return _shape(scene.refused(f"BillingService.{name}", request), account)

    assert shape(f"accounts/{scene.a}") == shape("accounts/nobody-at-all")


@pytest.mark.parametrize("name", ["SettleHold", "ReleaseHold"])
def test_anothers_hold_answers_like_one_that_is_not_there(scene: Scene, name: str) -> None:
    request_class = GetMessageClass(METHODS[f"BillingService.{name}"].input_type)

    def shape(hold: str) -> object:
        more = {"amount_nanousd": 0} if name == "SettleHold" else {}
        request = request_class(name=hold, request_id=request_id(), **more)
        found = scene.refused(f"BillingService.{name}", request)
        account, _, hold_id = hold.partition("/holds/")
        assert found.code == "NOT_FOUND"
        return _shape(found, hold, account, hold_id)

    nothing = str(new_hold_id())
    settled, released, held = scene.hold(), scene.hold(), scene.hold()
    with Omni(scene.gateway.grpc, api_key=scene.keys["default"]) as client:
        client.settle_hold(settled, 1)
        client.release_hold(released)
    routers = hold_id_of(CallId(uuid.UUID(scene.call_id)), 1)
    ids = [hold.rpartition("/")[2] for hold in (settled, released, held)] + [str(routers)]
    in_a = {shape(f"accounts/{scene.a}/holds/{hold}") for hold in (*ids, nothing)}
    in_b = {shape(f"accounts/{scene.b}/holds/{hold}") for hold in (*ids, nothing)}
    nowhere = shape(f"accounts/nobody-at-all/holds/{nothing}")
    assert in_a == {nowhere}
    assert len(in_b) == 1


def test_anothers_call_answers_like_one_that_is_not_there(scene: Scene) -> None:
    missing = str(new_call_id())
    shapes = {
        _shape(
            scene.refused(
                "BillingService.GetUsageRecord", billing.GetUsageRecordRequest(call_id=call_id)
            ),
            call_id,
        )
        for call_id in (scene.call_id, missing)
    }
    assert len(shapes) == 1
    with HttpConnection(scene.gateway, scene.keys["other"]) as http:
        answers = [http.ask(f"/v1/calls/{call_id}") for call_id in (scene.call_id, missing)]
    assert [answer.status for answer in answers] == [404, 404]
    theirs, nobodys = (answer.error for answer in answers)
    assert theirs == {**nobodys, "message": nobodys["message"].replace(missing, scene.call_id)}
    assert set(answers[0].headers) == set(answers[1].headers)


def test_admin_calls_tell_other_keys_nothing_of_what_exists(scene: Scene) -> None:
    for name, there, nowhere in (
        ("ListApiKeys", {"parent": f"orgs/{scene.b}"}, {"parent": "orgs/nobody-at-all"}),
        ("CreateApiKey", {"parent": f"orgs/{scene.b}"}, {"parent": "orgs/nobody-at-all"}),
        ("CreateOrg", {"org_id": scene.b}, {"org_id": "nobody-at-all"}),
        (
            "RevokeApiKey",
            {"name": _new_key(scene)},
            {"name": f"orgs/{scene.a}/apiKeys/{'0' * 12}"},
        ),
    ):
        method = f"AdminService.{name}"
        request_class = GetMessageClass(METHODS[method].input_type)
        shapes = []
        for fields in (there, nowhere, {}):
            found = scene.refused(method, request_class(**fields))
            assert found.reason == LACKS
            shapes.append((found.message, found.metadata["scope"], sorted(found.details)))
        assert shapes[0] == shapes[1] == shapes[2]


# --- keys that are none ---------------------------------------------------------------------------
def test_unknown_wrong_and_revoked_keys_cannot_be_told_apart(scene: Scene) -> None:
    gateway = scene.gateway
    with gateway.admin() as client:
        revoked = client.create_api_key(f"orgs/{scene.a}")
        client.revoke_api_key(revoked.api_key)
    valid = scene.keys["default"] or ""
    last = "a" if valid[-1] != "a" else "b"
    wrong = [f"omni_{'0' * 12}_{'A' * 43}", valid[:-1] + last, revoked.secret]
    request = billing.GetBalanceRequest()
    rpc, rest = set(), []
    for key in wrong * 2:  # the second time from memory
        found = refusal(
            lambda key=key: scene.invoke(METHODS["BillingService.GetBalance"], request, key)
        )
        assert found.reason == "API_KEY_INVALID"
        rpc.add(_shape(found))
        with HttpConnection(gateway, key) as http:
            answer = http.ask("/v1/balance")
        rest.append((answer.status, answer.error, set(answer.headers)))
    assert len(rpc) == 1
    assert all(one == rest[0] for one in rest)
    assert rest[0][0] == 401


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_a_key_may_come_in_either_header(scene: Scene, name: str) -> None:
    key = scene.keys["default"] or ""
    sent = f"Bearer {key}" if name == "authorization" else key
    call = scene.channel.unary_unary("/omni.billing.v1.BillingService/GetBalance")
    assert call(b"", metadata=((name, sent),), timeout=10)
    with HttpConnection(scene.gateway, None) as http:
        assert http.ask("/v1/balance", **{name: sent}).status == 200


# --- REST -----------------------------------------------------------------------------------------
ROUTES: dict[str, tuple[str, tuple[int, ...]]] = {
    "/v1/chat/completions": ("/v1/chat/completions", (401, 200, 403, 200, 200, 200)),
    "/v1/responses": ("/v1/responses", (401, 200, 403, 200, 200, 200)),
    "/v1/responses/{id}": ("/v1/responses/resp_0", (401, 404, 403, 404, 404, 404)),
    "/v1/responses/{id}/input_items": (
        "/v1/responses/resp_0/input_items", (401, 404, 403, 404, 404, 404),
    ),
    "/v1/completions": ("/v1/completions", (401, 200, 403, 200, 200, 200)),
    "/v1/messages": ("/v1/messages", (401, 200, 403, 200, 200, 200)),
    "/v1/messages/count_tokens": (
        "/v1/messages/count_tokens", (401, 200, 403, 200, 200, 200),
    ),
    "/v1/embeddings": ("/v1/embeddings", (401, 200, 403, 200, 200, 200)),
    "/v1/images/generations": ("/v1/images/generations", (401, 200, 403, 200, 200, 200)),
    "/v1/images/edits": ("/v1/images/edits", (401, 400, 403, 400, 400, 400)),  # not a form
    "/v1/audio/speech": ("/v1/audio/speech", (401, 200, 403, 200, 200, 200)),
    "/v1/audio/transcriptions": ("/v1/audio/transcriptions", (401, 400, 403, 400, 400, 400)),
    "/v1/moderations": ("/v1/moderations", (401, 200, 403, 200, 200, 200)),
    "/v1/chat": ("/v1/chat", (401, 200, 403, 200, 200, 200)),
    "/v1/agent-step": ("/v1/agent-step", (401, 200, 403, 200, 200, 200)),
    "/v1/estimate": ("/v1/estimate", (401, 200, 403, 200, 200, 200)),
    "/v1/router/debug": ("/v1/router/debug", (401, 200, 403, 200, 200, 200)),
    "/v1/models": ("/v1/models", (401, 200, 403, 200, 200, 200)),
    "/v1/models/{id:path}": ("/v1/models/sim/fast", (401, 200, 403, 200, 200, 200)),
    "/v1/balance": ("/v1/balance", (401, 403, 200, 200, 200, 200)),
    "/v1/transactions": ("/v1/transactions", (401, 403, 200, 200, 200, 200)),
    "/v1/usage": ("/v1/usage", (401, 403, 200, 200, 200, 200)),
    "/v1/calls/{id}": ("/v1/calls/{call_id}", (401, 403, 200, 200, 404, 200)),
    "/health": ("/health", (200,) * 6),
    "/ready": ("/ready", (200,) * 6),
    "/metrics": ("/metrics", (200,) * 6),
}  # fmt: skip
BODIES = {
    "/v1/chat/completions": chat_body(),
    "/v1/responses": b'{"model": "sim/fast", "input": "Say something."}',
    "/v1/completions": b'{"model": "sim/fast", "prompt": "Say something."}',
    "/v1/messages": chat_body(max_tokens=9),
    "/v1/messages/count_tokens": chat_body(),
    "/v1/embeddings": b'{"model": "sim/embed", "input": "x"}',
    "/v1/images/generations": b'{"model": "sim/image", "prompt": "x"}',
    "/v1/images/edits": b"{}",
    "/v1/audio/speech": b'{"model": "sim/voice", "input": "x", "voice": "alloy"}',
    "/v1/audio/transcriptions": b"{}",
    "/v1/chat": chat_body(),
    "/v1/agent-step": chat_body(),
    "/v1/estimate": chat_body(),
    "/v1/router/debug": chat_body(),
    "/v1/moderations": b'{"model": "sim/moderator", "input": "x"}',
}
"""Of routes that take a body."""


def test_every_route_of_the_application_has_its_row() -> None:
    nothing: Any = None  # nothing is called
    app: Any = build_app(
        chats=nothing, media=nothing, gates=nothing, ledger=nothing, accounts=nothing,
        tokens=nothing, stored=nothing, estimates=nothing, runs=nothing, usage=nothing,
        credits_per_usd=1, reasoning_sealer=nothing, catalog=nothing,
        providers=frozenset(), ready=nothing, metrics=lambda: (b"", ""), observer=nothing,
        cors_origins=(), clock=SystemClock(),
    )  # fmt: skip
    routes = {route.path for route in app._app._others.routes}
    assert set(ROUTES) == routes | {"/v1/chat/completions"}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("key", KEYS)
def test_a_route_answers_keys_that_may_and_refuses_others(
    scene: Scene, route: str, key: str
) -> None:
    path, statuses = ROUTES[route]
    with HttpConnection(scene.gateway, scene.keys[key]) as http:
        answer = http.ask(path.format(call_id=scene.call_id), BODIES.get(route))
    assert answer.status == dict(zip(KEYS, statuses, strict=True))[key]
    if answer.status == 403:
        error = answer.json["error"]
        assert error["type"] == "permission_error"
        assert error["omni"]["reason"] == LACKS
        if not path.startswith("/v1/messages"):  # Anthropic's form of errors has no code
            assert answer.error["code"] == "scope_missing"


def test_rest_shows_each_caller_its_own_account_only(scene: Scene) -> None:
    seen = {}
    for key in ("default", "billing", "other", "admin"):
        with HttpConnection(scene.gateway, scene.keys[key]) as http:
            seen[key] = http.ask("/v1/balance").json["account"]
            entries = http.ask("/v1/transactions").json["data"]
            assert all(entry["id"].startswith(f"{seen[key]}/") for entry in entries)
            # A query cannot name another account.
            other = http.ask(f"/v1/balance?account=accounts/{scene.a}").json["account"]
            assert other == seen[key]
    assert seen == {
        "default": f"accounts/{scene.a}",
        "billing": f"accounts/{scene.a}",
        "other": f"accounts/{scene.b}",
        "admin": "accounts/operator",
    }
