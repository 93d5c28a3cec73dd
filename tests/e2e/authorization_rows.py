"""By RPC: a request for what is another organisation's, and what its caller needs for it."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from authorization_scene import (
    Scene,
    new_id,
    request_id,
)
from google.protobuf.message import Message
from omni.admin.v1 import admin_service_pb2 as admin
from omni.admin.v1 import audit_pb2 as audit
from omni.admin.v1 import budgets_pb2 as budgets
from omni.admin.v1 import provider_credentials_pb2 as credentials
from omni.admin.v1 import rate_limits_pb2 as limits
from omni.admin.v1 import tenants_pb2 as tenants
from omni.admin.v1 import webhooks_pb2 as webhooks
from omni.billing.v1 import billing_service_pb2 as billing
from omni.billing.v1 import statements_pb2 as statements
from omni.billing.v1 import top_ups_pb2 as top_ups
from omni.catalog.v1 import catalog_service_pb2 as catalog
from omni.router.v1 import media_pb2 as media
from omni.router.v1 import router_service_pb2 as router

OK, MISSING, LACKS, HIDDEN = "OK", "API_KEY_MISSING", "SCOPE_MISSING", "NOT_FOUND"
CODES = {MISSING: "UNAUTHENTICATED", LACKS: "PERMISSION_DENIED", HIDDEN: "NOT_FOUND"}
MASTER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

PROMPT = router.ChatPrompt(
    model="sim/fast",
    messages=[router.Message(role=router.ROLE_USER, parts=[router.Part(text="Hello")])],
)
NO_ETAG = "999999"
"""Of no revision: whoever may delete is told so, and the thing is there for the next."""


@dataclass(frozen=True)
class Row:
    """An RPC's request for what is A's, and what it needs.

    `owned`: whether it names what is A's. `done`: what whoever may do it is told.
    """

    make: Callable[[Scene], Message]
    permission: str
    owned: bool = True
    done: tuple[str, ...] = (OK,)


def set_alias(scene: Scene, name: str) -> catalog.SetAliasRequest:
    return catalog.SetAliasRequest(
        alias=catalog.Alias(name=name, scope=f"orgs/{scene.a}", targets=["sim/fast"])
    )


def delete_alias(scene: Scene) -> catalog.DeleteAliasRequest:
    """For an alias that is there until it is deleted; making one has all servers read anew."""
    made = set_alias(scene, "passing")
    if "alias" not in scene.names:
        scene.names["alias"] = made.alias.name
        scene.invoke("CatalogService.SetAlias", made, scene.keys["operator"])
    return catalog.DeleteAliasRequest(name=made.alias.name, scope=made.alias.scope)


def new_policy(scene: Scene) -> admin.CreateRoutingPolicyRequest:
    """A policy that decides nothing by itself."""
    rule = admin.RoutingPolicy(cost=admin.CostRule(), active=False)
    return admin.CreateRoutingPolicyRequest(
        parent=f"orgs/{scene.a}", routing_policy_id=new_id("p"), routing_policy=rule
    )


def policy_of(scene: Scene) -> admin.RoutingPolicy:
    """A policy that is there: one for all, since an organisation has no more than fifty."""
    if "policy" not in scene.names:
        made = scene.made("CreateRoutingPolicy", new_policy(scene))
        scene.names["policy"] = made.routing_policy.name
    request = admin.GetRoutingPolicyRequest(name=scene.names["policy"])
    found: admin.RoutingPolicy = scene.made("GetRoutingPolicy", request).routing_policy
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
        parent=f"orgs/{scene.a}", experiment_id=new_id("e"), experiment=experiment
    )


def experiment_of(scene: Scene) -> admin.Experiment:
    """An experiment that is there, likewise."""
    if "experiment" not in scene.names:
        made = scene.made("CreateExperiment", new_experiment(scene))
        scene.names["experiment"] = made.experiment.name
    request = admin.GetExperimentRequest(name=scene.names["experiment"])
    found: admin.Experiment = scene.made("GetExperiment", request).experiment
    return found


def new_credential(scene: Scene) -> credentials.CreateProviderCredentialRequest:
    return credentials.CreateProviderCredentialRequest(
        parent=f"{scene.org}/teams/idle",
        provider_credential_id=new_id("c"),
        provider_credential=credentials.ProviderCredential(provider="sim", secret="s" * 40),
    )


ROWS: dict[str, Row] = {
    "RouterService.CompleteChat": Row(
        lambda scene: router.CompleteChatRequest(prompt=PROMPT), "infer", owned=False
    ),
    "RouterService.StreamChat": Row(
        lambda scene: router.StreamChatRequest(prompt=PROMPT), "infer", owned=False
    ),
    "RouterService.EmbedTexts": Row(
        lambda scene: media.EmbedTextsRequest(
            model="sim/embed", inputs=[media.EmbeddingInput(text="x")]
        ),
        "infer", owned=False,
    ),
    "RouterService.GenerateImages": Row(
        lambda scene: media.GenerateImagesRequest(model="sim/image", prompt="x"),
        "infer", owned=False,
    ),
    "RouterService.SynthesizeSpeech": Row(
        lambda scene: media.SynthesizeSpeechRequest(model="sim/voice", text="x", voice="alloy"),
        "infer", owned=False,
    ),
    "RouterService.TranscribeAudio": Row(
        lambda scene: media.TranscribeAudioRequest(
            model="sim/scribe", file=media.MediaFile(content=b"x", name="x.mp3")
        ),
        "infer", owned=False,
    ),
    "RouterService.EstimateChat": Row(
        lambda scene: router.EstimateChatRequest(prompt=PROMPT), "infer", owned=False
    ),
    "RouterService.ExplainRoute": Row(
        lambda scene: router.ExplainRouteRequest(prompt=PROMPT), "infer", owned=False
    ),
    "CatalogService.SyncCatalog": Row(
        lambda scene: catalog.SyncCatalogRequest(sources=["packages"], dry_run=True),
        "operate", owned=False,
    ),
    "CatalogService.GetModel": Row(
        lambda scene: catalog.GetModelRequest(name="providers/sim/models/fast"),
        "see models", owned=False,
    ),
    "CatalogService.ListModels": Row(
        lambda scene: catalog.ListModelsRequest(page_size=1), "see models", owned=False
    ),
    "CatalogService.UpdateModel": Row(
        lambda scene: catalog.UpdateModelRequest(
            model=catalog.Model(name="providers/sim/models/fast", tags=["seen"]),
            update_mask={"paths": ["tags"]},
        ),
        "operate", owned=False,
    ),
    "CatalogService.ResolveModel": Row(
        lambda scene: catalog.ResolveModelRequest(model="sim/fast", scope=f"orgs/{scene.a}"),
        "see models",
    ),
    "CatalogService.ListModelChanges": Row(
        lambda scene: catalog.ListModelChangesRequest(page_size=1), "operate", owned=False
    ),
    "CatalogService.ListAliases": Row(
        lambda scene: catalog.ListAliasesRequest(scope=f"orgs/{scene.a}"), "see models"
    ),
    "CatalogService.SetAlias": Row(lambda scene: set_alias(scene, "seen"), "operate"),
    "CatalogService.DeleteAlias": Row(delete_alias, "operate"),
    "BillingService.GetBalance": Row(
        lambda scene: billing.GetBalanceRequest(account=scene.account), "see money"
    ),
    "BillingService.ListLedgerEntries": Row(
        lambda scene: billing.ListLedgerEntriesRequest(parent=scene.account), "see money"
    ),
    "BillingService.GetUsageRecord": Row(
        lambda scene: billing.GetUsageRecordRequest(call_id=scene.call_id), "see money"
    ),
    "BillingService.SummarizeUsage": Row(
        lambda scene: billing.SummarizeUsageRequest(account=scene.account), "see money"
    ),
    "BillingService.ListUsageRecords": Row(
        lambda scene: billing.ListUsageRecordsRequest(parent=scene.account), "see money"
    ),
    "BillingService.GrantCredits": Row(
        lambda scene: billing.GrantCreditsRequest(
            account=scene.account, amount_nanousd=1, request_id=request_id()
        ),
        "operate",
    ),
    "BillingService.RefundCharge": Row(
        lambda scene: billing.RefundChargeRequest(
            account=scene.account, call_id=scene.call_id, amount_nanousd=1,
            request_id=request_id(),
        ),
        "operate",
    ),
    "BillingService.ListUnresolvedAttempts": Row(
        lambda scene: billing.ListUnresolvedAttemptsRequest(parent=scene.account), "operate"
    ),
    "BillingService.ResolveAttempt": Row(  # once and for all, however often it is said
        lambda scene: billing.ResolveAttemptRequest(
            name=scene.unresolved, voiding=billing.Voiding()
        ),
        "operate",
    ),
    "BillingService.CreateHold": Row(
        lambda scene: billing.CreateHoldRequest(
            parent=scene.account, amount_nanousd=1, request_id=request_id()
        ),
        "spend",
    ),
    "BillingService.SettleHold": Row(
        lambda scene: billing.SettleHoldRequest(
            name=scene.hold(), amount_nanousd=1, request_id=request_id()
        ),
        "spend",
    ),
    "BillingService.ReleaseHold": Row(
        lambda scene: billing.ReleaseHoldRequest(name=scene.hold(), request_id=request_id()),
        "spend",
    ),
    "BillingService.CreateTopUp": Row(
        lambda scene: top_ups.CreateTopUpRequest(
            parent=scene.account, amount_nanousd=10**10, request_id=request_id()
        ),
        "spend", done=("FEATURE_UNSUPPORTED",),  # this gateway takes no payments
    ),
    "BillingService.GetTopUp": Row(
        lambda scene: top_ups.GetTopUpRequest(name=scene.names["top-up"]), "see money"
    ),
    "BillingService.ListTopUps": Row(
        lambda scene: top_ups.ListTopUpsRequest(parent=scene.account), "see money"
    ),
    "BillingService.ConfirmTopUp": Row(
        lambda scene: top_ups.ConfirmTopUpRequest(name=scene.names["top-up"], x402_payment="e30="),
        "spend", done=("FIELD_INVALID",),
    ),
    "BillingService.ListPendingTopUps": Row(
        lambda scene: top_ups.ListPendingTopUpsRequest(parent=scene.account), "operate"
    ),
    "BillingService.SettleTopUp": Row(
        lambda scene: top_ups.SettleTopUpRequest(
            name=scene.names["top-up"], payment_id="5" * 87, reason="r"
        ),
        "operate", done=("FEATURE_UNSUPPORTED", "FIELD_INVALID"),  # nobody presented a payment
    ),
    "BillingService.VoidTopUp": Row(
        lambda scene: top_ups.VoidTopUpRequest(name=scene.names["top-up"], reason="r"),
        "operate", done=("FIELD_INVALID",),  # likewise
    ),
    "BillingService.GetAutoTopUp": Row(
        lambda scene: top_ups.GetAutoTopUpRequest(name=f"{scene.account}/autoTopUp"), "see money"
    ),
    "BillingService.UpdateAutoTopUp": Row(
        lambda scene: top_ups.UpdateAutoTopUpRequest(
            auto_top_up=top_ups.AutoTopUp(
                name=f"{scene.account}/autoTopUp", threshold_nanousd=10**9
            ),
            update_mask={"paths": ["threshold_nanousd"]},
        ),
        "manage",
    ),
    "BillingService.GetStatement": Row(
        lambda scene: statements.GetStatementRequest(account=scene.account, month="2026-01"),
        "see money",
    ),
    "BillingService.GetReceipt": Row(
        lambda scene: statements.GetReceiptRequest(name=scene.names["top-up"]),
        "see money", done=("FAILED_PRECONDITION", "FIELD_INVALID", "NOT_FOUND"),  # not paid
    ),
    "AdminService.CreateOrg": Row(
        lambda scene: admin.CreateOrgRequest(org_id=new_id("o")), "operate", owned=False
    ),
    "AdminService.GetOrg": Row(lambda scene: admin.GetOrgRequest(name=scene.org), "see"),
    "AdminService.ListOrgs": Row(
        lambda scene: admin.ListOrgsRequest(page_size=1), "see", owned=False
    ),
    "AdminService.UpdateOrg": Row(
        lambda scene: admin.UpdateOrgRequest(
            org=admin.Org(name=scene.org, display_name="A"), update_mask={"paths": ["display_name"]}
        ),
        "manage",
    ),
    "AdminService.CreateTeam": Row(
        lambda scene: tenants.CreateTeamRequest(parent=scene.org, team_id=new_id("t")), "manage"
    ),
    "AdminService.GetTeam": Row(
        lambda scene: tenants.GetTeamRequest(name=scene.names["team"]), "see"
    ),
    "AdminService.ListTeams": Row(
        lambda scene: tenants.ListTeamsRequest(parent=scene.org), "see"
    ),
    "AdminService.UpdateTeam": Row(
        lambda scene: tenants.UpdateTeamRequest(
            team=tenants.Team(name=scene.names["team"], display_name="Core"),
            update_mask={"paths": ["display_name"]},
        ),
        "manage",
    ),
    "AdminService.DeleteTeam": Row(
        lambda scene: tenants.DeleteTeamRequest(name=scene.names["team"], etag=NO_ETAG),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.CreateEnvironment": Row(
        lambda scene: tenants.CreateEnvironmentRequest(
            parent=scene.names["team"], environment_id=new_id("e")
        ),
        "manage",
    ),
    "AdminService.GetEnvironment": Row(
        lambda scene: tenants.GetEnvironmentRequest(name=scene.names["environment"]), "see"
    ),
    "AdminService.ListEnvironments": Row(
        lambda scene: tenants.ListEnvironmentsRequest(parent=scene.names["team"]), "see"
    ),
    "AdminService.UpdateEnvironment": Row(
        lambda scene: tenants.UpdateEnvironmentRequest(
            environment=tenants.Environment(name=scene.names["environment"], display_name="P"),
            update_mask={"paths": ["display_name"]},
        ),
        "manage",
    ),
    "AdminService.DeleteEnvironment": Row(
        lambda scene: tenants.DeleteEnvironmentRequest(
            name=scene.names["environment"], etag=NO_ETAG
        ),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.CreateUser": Row(
        lambda scene: tenants.CreateUserRequest(
            parent=scene.org, issuer="wallet:solana", subject=a_wallet()
        ),
        "manage",
    ),
    "AdminService.GetUser": Row(
        lambda scene: tenants.GetUserRequest(name=scene.names["user"]), "see"
    ),
    "AdminService.ListUsers": Row(lambda scene: tenants.ListUsersRequest(parent=scene.org), "see"),
    "AdminService.UpdateUser": Row(
        lambda scene: tenants.UpdateUserRequest(
            user=tenants.User(name=scene.names["user"], display_name="U"),
            update_mask={"paths": ["display_name"]},
        ),
        "manage",
    ),
    "AdminService.DeleteUser": Row(
        lambda scene: tenants.DeleteUserRequest(name=scene.names["user"], etag=NO_ETAG),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.CreateSession": Row(  # no key has one, and no session makes another
        lambda scene: tenants.CreateSessionRequest(),
        "be known", owned=False, done=("SCOPE_MISSING",),
    ),
    "AdminService.EndSession": Row(
        lambda scene: tenants.EndSessionRequest(), "be known", owned=False, done=("FIELD_INVALID",)
    ),
    "AdminService.CreateApiKey": Row(
        lambda scene: admin.CreateApiKeyRequest(parent=scene.org, scopes=["viewing"]), "manage"
    ),
    "AdminService.GetApiKey": Row(
        lambda scene: admin.GetApiKeyRequest(name=scene.names["key"]), "see"
    ),
    "AdminService.ListApiKeys": Row(
        lambda scene: admin.ListApiKeysRequest(parent=scene.org), "see"
    ),
    "AdminService.RotateApiKey": Row(
        lambda scene: admin.RotateApiKeyRequest(name=a_viewing_key(scene)), "manage"
    ),
    "AdminService.RevokeApiKey": Row(
        lambda scene: admin.RevokeApiKeyRequest(name=scene.new_key()), "manage"
    ),
    "AdminService.CreateRateLimit": Row(
        lambda scene: limits.CreateRateLimitRequest(
            parent=scene.org, rate_limit_id=new_id("l"),
            rate_limit=limits.RateLimit(requests_per_minute=10**6),
        ),
        "manage",
    ),
    "AdminService.GetRateLimit": Row(
        lambda scene: limits.GetRateLimitRequest(name=scene.names["rate limit"]), "see"
    ),
    "AdminService.ListRateLimits": Row(
        lambda scene: limits.ListRateLimitsRequest(parent=scene.org), "see"
    ),
    "AdminService.UpdateRateLimit": Row(
        lambda scene: limits.UpdateRateLimitRequest(
            rate_limit=limits.RateLimit(name=scene.names["rate limit"], requests_per_minute=10**7),
            update_mask={"paths": ["requests_per_minute"]},
        ),
        "manage",
    ),
    "AdminService.DeleteRateLimit": Row(
        lambda scene: limits.DeleteRateLimitRequest(name=scene.names["rate limit"], etag=NO_ETAG),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.CreateBudget": Row(
        lambda scene: budgets.CreateBudgetRequest(
            parent=f"{scene.org}/teams/idle", budget_id=new_id("b"),
            budget=budgets.Budget(token_count=10**9, period=budgets.BUDGET_PERIOD_TOTAL),
        ),
        "manage",
    ),
    "AdminService.GetBudget": Row(
        lambda scene: budgets.GetBudgetRequest(name=scene.names["budget"]), "see"
    ),
    "AdminService.ListBudgets": Row(
        lambda scene: budgets.ListBudgetsRequest(parent=scene.org), "see"
    ),
    "AdminService.UpdateBudget": Row(
        lambda scene: budgets.UpdateBudgetRequest(
            budget=budgets.Budget(name=scene.names["budget"], amount_nanousd=10**13),
            update_mask={"paths": ["amount_nanousd"]},
        ),
        "manage",
    ),
    "AdminService.DeleteBudget": Row(
        lambda scene: budgets.DeleteBudgetRequest(name=scene.names["budget"], etag=NO_ETAG),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.CreateProviderCredential": Row(new_credential, "manage"),
    "AdminService.GetProviderCredential": Row(
        lambda scene: credentials.GetProviderCredentialRequest(name=scene.names["credential"]),
        "see",
    ),
    "AdminService.ListProviderCredentials": Row(
        lambda scene: credentials.ListProviderCredentialsRequest(parent=scene.org), "see"
    ),
    "AdminService.UpdateProviderCredential": Row(
        lambda scene: credentials.UpdateProviderCredentialRequest(
            provider_credential=credentials.ProviderCredential(
                name=scene.names["credential"], weight=2
            ),
            update_mask={"paths": ["weight"]},
        ),
        "manage",
    ),
    "AdminService.DeleteProviderCredential": Row(
        lambda scene: credentials.DeleteProviderCredentialRequest(
            name=scene.names["credential"], etag=NO_ETAG
        ),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.CreateWebhook": Row(
        lambda scene: webhooks.CreateWebhookRequest(
            parent=scene.org, webhook_id=new_id("w"),
            webhook=webhooks.Webhook(url="http://127.0.0.1:9/", active=False),
        ),
        "manage",
    ),
    "AdminService.GetWebhook": Row(
        lambda scene: webhooks.GetWebhookRequest(name=scene.names["webhook"]), "see"
    ),
    "AdminService.ListWebhooks": Row(
        lambda scene: webhooks.ListWebhooksRequest(parent=scene.org), "see"
    ),
    "AdminService.UpdateWebhook": Row(
        lambda scene: webhooks.UpdateWebhookRequest(
            webhook=webhooks.Webhook(name=scene.names["webhook"], url="http://127.0.0.1:9/other"),
            update_mask={"paths": ["url"]},
        ),
        "manage",
    ),
    "AdminService.DeleteWebhook": Row(
        lambda scene: webhooks.DeleteWebhookRequest(name=scene.names["webhook"], etag=NO_ETAG),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.ListWebhookDeliveries": Row(
        lambda scene: webhooks.ListWebhookDeliveriesRequest(parent=scene.names["webhook"]), "see"
    ),
    "AdminService.ReplayWebhookDelivery": Row(
        lambda scene: webhooks.ReplayWebhookDeliveryRequest(name=scene.names["delivery"]), "manage",
        done=("FIELD_INVALID",),  # its webhook is turned off
    ),
    "AdminService.ListAuditEntries": Row(
        lambda scene: audit.ListAuditEntriesRequest(parent=scene.org, page_size=1), "see"
    ),
    "AdminService.VerifyAuditLog": Row(
        lambda scene: audit.VerifyAuditLogRequest(parent=scene.org), "see"
    ),
    "AdminService.CreateRoutingPolicy": Row(new_policy, "manage"),
    "AdminService.UpdateRoutingPolicy": Row(
        lambda scene: admin.UpdateRoutingPolicyRequest(
            routing_policy=policy_of(scene), update_mask={"paths": ["description"]}
        ),
        "manage",
    ),
    "AdminService.DeleteRoutingPolicy": Row(
        lambda scene: admin.DeleteRoutingPolicyRequest(
            name=policy_of(scene).name, etag=NO_ETAG
        ),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.GetRoutingPolicy": Row(
        lambda scene: admin.GetRoutingPolicyRequest(name=policy_of(scene).name), "see"
    ),
    "AdminService.ListRoutingPolicies": Row(
        lambda scene: admin.ListRoutingPoliciesRequest(parent=scene.org), "see"
    ),
    "AdminService.CreateExperiment": Row(new_experiment, "manage"),
    "AdminService.UpdateExperiment": Row(
        lambda scene: admin.UpdateExperimentRequest(
            experiment=experiment_of(scene), update_mask={"paths": ["description"]}
        ),
        "manage",
    ),
    "AdminService.DeleteExperiment": Row(
        lambda scene: admin.DeleteExperimentRequest(
            name=experiment_of(scene).name, etag=NO_ETAG
        ),
        "manage", done=("ETAG_MISMATCH",),
    ),
    "AdminService.GetExperiment": Row(
        lambda scene: admin.GetExperimentRequest(name=experiment_of(scene).name), "see"
    ),
    "AdminService.ListExperiments": Row(
        lambda scene: admin.ListExperimentsRequest(parent=scene.org), "see"
    ),
    "AdminService.GetExperimentReport": Row(
        lambda scene: admin.GetExperimentReportRequest(name=experiment_of(scene).name), "see"
    ),
}  # fmt: skip


def a_wallet() -> str:
    """An address that nobody has: 32 bytes in base58."""
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = uuid.uuid4().int << 127 | 1 << 254
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = letters[digit] + text
    return text


def a_viewing_key(scene: Scene) -> str:
    """A key that whoever may manage may make again: nobody gives what he has not."""
    request = admin.CreateApiKeyRequest(parent=scene.org, scopes=["viewing"])
    return str(scene.made("CreateApiKey", request).api_key.name)
