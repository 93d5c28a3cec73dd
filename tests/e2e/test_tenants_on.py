"""Tenants over both transports of a real gateway: made, listed, changed, obeyed and ended."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from gateway import Gateway, HttpConnection, Tenant, bearer, eventually, refusal
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from omni.admin.v1 import admin_service_pb2 as pb
from omni.admin.v1 import admin_service_pb2_grpc as pb_grpc
from omni.admin.v1 import tenants_pb2 as tenants_pb
from omni.catalog.v1 import catalog_service_pb2 as catalog_pb


class Manager:
    """A tenant's key that manages, over both transports."""

    def __init__(self, gateway: Gateway, tenant: Tenant, http: HttpConnection, key: str) -> None:
        self.gateway = gateway
        self.tenant = tenant
        self.name = f"orgs/{tenant.org}"
        self.http = http
        self.key = key
        self.channel = grpc.insecure_channel(gateway.grpc)
        self.stub = pb_grpc.AdminServiceStub(self.channel)

    def call(self, rpc: str, request: Any, key: str | None = None) -> Any:
        return getattr(self.stub, rpc)(request, metadata=bearer(key or self.key))

    def refused(self, rpc: str, request: Any) -> str | None:
        return refusal(lambda: self.call(rpc, request)).reason

    def rest(self, method: str, path: str, **body: Any) -> Any:
        sent = json.dumps(body).encode() if body or method in ("POST", "PATCH") else None
        return self.http.ask(f"/v1/admin/{path}", sent, method=method)


@pytest.fixture(scope="module")
def manager(gateway: Gateway) -> Iterator[Manager]:
    tenant = gateway.tenant()
    with gateway.admin() as omni:
        scopes = ["inference", "billing", "viewing", "management"]
        key = omni.create_api_key(f"orgs/{tenant.org}", scopes=scopes).secret
    with HttpConnection(gateway, key) as http:
        made = Manager(gateway, tenant, http, key)
        yield made
        made.channel.close()


def test_a_team_lives_over_grpc(manager: Manager) -> None:
    asked = pb_team(manager.name, "red")
    team = manager.call("CreateTeam", asked).team
    assert (team.name, team.display_name) == (f"{manager.name}/teams/red", "Red")
    assert team.create_time.seconds > 0
    assert manager.refused("CreateTeam", asked) == "ALREADY_EXISTS"
    change = tenants_pb.Team(name=team.name, display_name="Crimson", etag=team.etag)
    mask = FieldMask(paths=["display_name"])
    request = tenants_pb.UpdateTeamRequest(team=change, update_mask=mask)
    assert manager.call("UpdateTeam", request).team.display_name == "Crimson"
    assert manager.refused("UpdateTeam", request) == "ETAG_MISMATCH"
    got = tenants_pb.GetTeamRequest(name=team.name)
    assert manager.call("GetTeam", got).team.display_name == "Crimson"
    manager.call("DeleteTeam", tenants_pb.DeleteTeamRequest(name=team.name))
    assert manager.refused("GetTeam", got) == "NOT_FOUND"


def pb_team(parent: str, team_id: str) -> Any:
    return tenants_pb.CreateTeamRequest(
        parent=parent, team_id=team_id, display_name=team_id.capitalize()
    )


def test_all_of_a_tenant_lives_over_rest(manager: Manager) -> None:
    org, rest = manager.name, manager.rest
    team = rest("POST", f"{org}/teams", team_id="blue", display_name="Blue").json
    assert (team["name"], team["display_name"]) == (f"{org}/teams/blue", "Blue")
    live = rest("POST", f"{team['name']}/environments", environment_id="live").json
    assert rest("GET", live["name"]).json == live
    assert rest("GET", f"{team['name']}/environments").json["data"] == [live]
    user = rest("POST", f"{org}/users", issuer="https://idp", subject="ann", role="viewer").json
    assert user["role"] == "viewer"
    changed = rest("PATCH", user["name"], role="developer").json
    assert (changed["role"], changed["subject"]) == ("developer", "ann")
    stale = rest("PATCH", user["name"], role="viewer", etag=user["etag"])
    assert (stale.status, stale.error["code"]) == (409, "etag_mismatch")
    new = rest("POST", f"{live['name']}/apiKeys", display_name="CI", models=["sim/fast"]).json
    key = new["api_key"]
    assert (key["parent"], key["models"], key["scopes"]) == (
        live["name"],
        ["sim/fast"],
        ["billing", "inference"],
    )
    busy = rest("DELETE", team["name"])
    assert (busy.status, busy.error["code"]) == (409, "still_needed")
    turned = rest("POST", f"{key['name']}:rotate", overlap="PT0S").json
    assert turned["replaced_api_key"]["expire_time"]
    assert turned["secret"] != new["secret"]
    ended = rest("POST", f"{turned['api_key']['name']}:revoke").json
    assert ended["revoke_time"]
    for name in (live["name"], team["name"], user["name"]):
        gone = rest("DELETE", name)
        assert (gone.status, gone.json) == (200, {})
        assert rest("GET", name).status == 404
    low = rest("PATCH", org, low_balance_nanousd=10**9).json
    assert (low["low_balance_nanousd"], low["display_name"]) == (10**9, manager.tenant.org)
    assert rest("PATCH", org, suspended=True).error["code"] == "scope_missing"
    listed = rest("GET", "orgs").json
    assert [one["name"] for one in listed["data"]] == [org]


def test_rest_names_what_is_wrong(manager: Manager) -> None:
    org, rest = manager.name, manager.rest
    for method, path, body, param in (
        ("POST", f"{org}/teams", {}, None),
        ("POST", f"{org}/teams", {"team_id": "X"}, "team_id"),
        ("POST", f"{org}/teams", {"team_id": "ok", "colour": "red"}, None),
        ("POST", f"{org}/users", {"issuer": "x", "subject": "y"}, "issuer"),
        ("POST", f"{org}/users", {"issuer": "https://x", "subject": "y", "role": "king"}, "role"),
        ("POST", f"{org}/apiKeys", {"expire_time": "2099-01-01T00:00:00"}, "expire_time"),
        ("POST", f"{org}/apiKeys", {"expire_time": "soon"}, "expire_time"),
        ("POST", f"{org}/apiKeys", {"scopes": ["root"]}, "scopes"),
        ("POST", f"{org}/apiKeys", {"scopes": "inference"}, "scopes"),
    ):
        found = rest(method, path, **body)
        assert found.status == 400, (path, body)
        if param is not None:
            assert found.error["param"] == param, (path, body)
    assert rest("GET", f"{org}/teams?page_size=-1").error["param"] == "page_size"
    assert rest("GET", f"{org}/teams?page_token=x").error["param"] == "page_token"
    assert rest("GET", "orgs/t-nobody/teams").status == 404


def test_a_rotated_key_works_beside_the_new_one(manager: Manager) -> None:
    made = manager.call("CreateApiKey", pb.CreateApiKeyRequest(parent=manager.name))
    turned = manager.call(
        "RotateApiKey",
        pb.RotateApiKeyRequest(name=made.api_key.name, overlap=Duration(seconds=3600)),
    )
    assert turned.replaced_api_key.HasField("expire_time")
    assert not turned.api_key.HasField("expire_time")
    for secret in (made.secret, turned.secret):
        with HttpConnection(manager.gateway, secret) as http:
            assert http.chat().status == 200


def test_a_key_with_models_calls_these_alone(manager: Manager) -> None:
    made = manager.call(
        "CreateApiKey",
        pb.CreateApiKeyRequest(parent=manager.name, models=["sim/demo"]),
    )
    with HttpConnection(manager.gateway, made.secret) as http:
        assert http.chat("sim/demo").status == 200
        refused = http.chat("sim/fast")
        assert (refused.status, refused.error["code"]) == (403, "model_not_allowed")
        assert "sim/demo" in refused.error["message"]
        chosen = http.chat("omni/auto")
        assert (chosen.status, chosen.headers["x-omni-model"]) == (200, "sim/demo")
        told = http.ask("/v1/embeddings", json.dumps({"model": "sim/embed", "input": "x"}).encode())
        assert (told.status, told.error["code"]) == (403, "model_not_allowed")


def test_a_suspended_tenant_is_told_so(gateway: Gateway) -> None:
    tenant = gateway.tenant()
    with (
        HttpConnection(gateway, tenant.api_key) as http,
        HttpConnection(gateway, gateway.admin_key) as operator,
    ):
        assert http.chat().status == 200

        def suspend(suspended: bool) -> None:
            body = json.dumps({"suspended": suspended}).encode()
            path = f"/v1/admin/orgs/{tenant.org}"
            assert operator.ask(path, body, method="PATCH").status == 200

        suspend(True)
        refused = eventually(lambda: (found := http.chat()).status == 403 and found)
        assert refused.error["code"] == "org_suspended"  # type: ignore[attr-defined]
        suspend(False)


def test_a_teams_policies_and_aliases_hold_for_its_keys_alone(manager: Manager) -> None:
    team = manager.call("CreateTeam", pb_team(manager.name, "routed")).team
    rule = pb.DeterministicRule(models=["sim/demo"])
    asked = pb.CreateRoutingPolicyRequest(
        parent=team.name,
        routing_policy_id="own",
        routing_policy=pb.RoutingPolicy(deterministic=rule),
    )
    manager.call("CreateRoutingPolicy", asked)
    with manager.gateway.admin() as omni:
        alias = catalog_pb.Alias(name="ours", scope=team.name, targets=["sim/echo"])
        omni.call(catalog_pb.SetAliasRequest(alias=alias))
    own = manager.call("CreateApiKey", pb.CreateApiKeyRequest(parent=team.name)).secret
    other = manager.call("CreateApiKey", pb.CreateApiKeyRequest(parent=manager.name)).secret
    prompt = json.dumps({"model": "omni/auto", "messages": [{"role": "user", "content": "Hi"}]})
    policy = f"{team.name}/routingPolicies/own"
    with HttpConnection(manager.gateway, own) as mine, HttpConnection(manager.gateway, other) as no:
        told = eventually(
            lambda: (
                (found := mine.ask("/v1/router/debug", prompt.encode()).json)["policy"] == policy
                and found
            )
        )
        assert told["attempts"][0]["model"] == "sim/demo"  # type: ignore[index]
        assert no.ask("/v1/router/debug", prompt.encode()).json["policy"] != policy
        aliased = eventually(lambda: (found := mine.chat("ours")).status == 200 and found)
        assert aliased.headers["x-omni-model"] == "sim/echo"  # type: ignore[attr-defined]
        assert no.chat("ours").status == 404
