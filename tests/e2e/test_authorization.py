"""Who may do what: every RPC and every REST route with every kind of caller.

The RPCs come from the contract's descriptors and the routes from the application, so one that has
no row here fails. What belongs to another organisation answers exactly as if it did not exist, and
is not touched.
"""

import inspect
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import msgspec
import psycopg
import pytest
from authorization_rows import (
    CODES,
    HIDDEN,
    LACKS,
    MASTER_KEY,
    MISSING,
    OK,
    ROWS,
    Row,
    new_credential,
)
from authorization_scene import (
    CALLERS,
    FOREIGN,
    MAY,
    METHODS,
    Scene,
    a_scene,
    request_id,
)
from gateway import (
    Gateway,
    HttpConnection,
    Refusal,
    SimulatorThread,
    chat_body,
    eventually,
    refusal,
    running,
)
from gateway_fixtures import check_books
from google.protobuf import text_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from omni.billing.v1 import billing_service_pb2 as billing
from omni_grpc_client import Omni
from pydantic import SecretStr

from omni_grpc.administration import Operation
from omni_grpc.core.clock import SystemClock
from omni_grpc.core.ids import CallId, hold_id_of, new_call_id, new_hold_id
from omni_grpc.grpc_api.struct_messages import struct_of
from omni_grpc.rest_api import build_app
from omni_grpc.settings import Settings
from omni_grpc.storage import EmbeddedPostgres
from omni_grpc.wiring.operations import Parts, operations_of


@pytest.fixture(scope="module")
def scene(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    name, admin_key = template
    url = postgres.create_database("e2e_authorization", template=name)
    folder = tmp_path_factory.mktemp("authorization")
    environment = {
        "OMNI_CREDENTIAL_MASTER_KEY": MASTER_KEY,
        "OMNI_CREDENTIAL_FEE_PPM": "50000",
        "OMNI_WEBHOOK_PRIVATE_HOSTS": "true",
        "OMNI_ADDRESS_FAILURES_PER_MINUTE": "0",
    }
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    with running(made), a_scene(made, tmp_path_factory.mktemp("bills-on")) as found:
        yield found
    check_books(url, folder)


def expected(row: Row, caller: str) -> tuple[str, ...]:
    """What a caller is told."""
    if caller == "none":
        return (MISSING,)
    if caller not in MAY[row.permission]:
        return (LACKS,)
    if caller in FOREIGN and row.owned:
        return (HIDDEN,)
    return row.done


def test_every_rpc_of_the_contract_has_its_row() -> None:
    assert set(ROWS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_an_rpc_is_done_for_callers_who_may_and_refused_to_others(scene: Scene, name: str) -> None:
    row = ROWS[name]
    for caller in CALLERS:
        wanted = expected(row, caller)
        request = row.make(scene)
        if name == "AdminService.EndSession" and caller not in ("none", "operator"):
            continue  # a session would be over: tests/identity tries it
        if wanted == (OK,):
            answer = scene.invoke(name, request, scene.keys[caller])
            if caller in FOREIGN:
                assert scene.a not in str(answer)
            continue
        found = scene.refused(name, request, caller)
        assert found.reason in wanted, (caller, found.reason, found.message)
        if found.reason in CODES:
            assert found.code == CODES[found.reason]
        if wanted == (LACKS,) and row.done != (LACKS,):
            assert f"`{found.metadata['scope']}`" in found.message


def test_a_tenants_own_credential_costs_what_the_operator_set(scene: Scene) -> None:
    made = scene.invoke(
        "AdminService.CreateProviderCredential", new_credential(scene), scene.keys["owner"]
    )
    assert made.provider_credential.fee_ppm == 50_000


ONCE = {"AdminService.RotateApiKey", "CatalogService.DeleteAlias"}
"""What cannot be done to the same thing twice."""


def test_a_key_with_the_admin_scope_alone_reaches_all_accounts(scene: Scene) -> None:
    with scene.gateway.admin() as client:
        secret = client.create_api_key("orgs/operator", scopes=["admin"]).secret
    for name in METHODS:
        row = ROWS[name]
        if row.permission == "infer":
            found = refusal(lambda name=name, row=row: scene.invoke(name, row.make(scene), secret))
            assert found.reason == LACKS
        elif row.done == (OK,) and name not in ONCE:
            scene.invoke(name, row.make(scene), secret)


# --- the same over REST ---------------------------------------------------------------------------
def _operations() -> dict[str, Operation[Any]]:
    """Every operation, by its RPC's whole name; none of them can be run."""
    parts = Parts(
        settings=Settings(key_hash_secret=SecretStr("k" * 32)),
        **{name: NOTHING for name in Parts.__dataclass_fields__ if name != "settings"},
    )
    by_rpc = {one.rpc: one for one in operations_of(parts)}
    return {name: by_rpc[method.name] for name, method in METHODS.items() if method.name in by_rpc}


class _Nothing:
    """Stands for rooms that are not asked."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self


NOTHING: Any = _Nothing()
OPERATIONS = _operations()


def ask(http: HttpConnection, operation: Operation[Any], request: Message) -> Any:
    """Asks for an operation by its route, with what its message says."""
    verb, _, path = operation.http.partition(" ")
    values = msgspec.to_builtins(struct_of(request, operation.asked))
    mask = values.pop("update_mask", ())
    path = _filled(path, values)
    if operation.body is not None:
        values = values[operation.body]
        if mask:
            values = {name: values[name] for name in mask}
    values = {name: value for name, value in values.items() if value not in (None, "", 0, [], ())}
    if verb in ("GET", "DELETE"):
        return http.ask(path + (f"?{urlencode(values)}" if values else ""), method=verb)
    return http.ask(path, json.dumps(values).encode(), method=verb)


def _filled(path: str, values: dict[str, Any]) -> str:
    """A route's path, whose variables are taken out of what is asked."""
    while "{" in path:
        before, _, rest = path.partition("{")
        variable, _, after = rest.partition("}")
        place, names = values, variable.partition("=")[0].split(".")
        for name in names[:-1]:
            place = place[name]
        path = before + str(place.pop(names[-1])) + after
    return path


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operations_route_answers_as_its_rpc_does(scene: Scene, name: str) -> None:
    row = ROWS[name]
    for caller in CALLERS:
        wanted = expected(row, caller)
        if name == "AdminService.EndSession" and caller not in ("none", "operator"):
            continue
        with HttpConnection(scene.gateway, scene.keys[caller]) as http:
            answer = ask(http, OPERATIONS[name], row.make(scene))
        if wanted == (OK,):
            assert answer.status == 200, (caller, answer.json)
            if caller in FOREIGN:
                assert scene.a not in json.dumps(answer.json)
        else:
            assert answer.json["error"]["omni"]["reason"] in wanted, (caller, answer.json)


# --- nothing of another's is changed, seen or inferred --------------------------------------------
SUMMED_UP = {"usage_sum"}
"""What a worker makes of A's own calls, whenever it comes to it."""


def dump(scene: Scene) -> dict[str, Any]:
    """All rows of A, of every table that has an organisation or a wallet."""
    found = {}
    with psycopg.connect(scene.gateway.database_url) as sql:
        org, wallet = sql.execute(
            "SELECT id, account_id FROM org WHERE slug = %s", (scene.a,)
        ).fetchone() or (0, 0)
        columns = sql.execute(
            """
            SELECT table_name, column_name FROM information_schema.columns
             WHERE table_schema = 'public' AND column_name IN ('org_id', 'wallet', 'account_id')
            """
        ).fetchall()
        for table, column in columns:
            if table in SUMMED_UP:
                continue
            owner = org if column == "org_id" else wallet
            query = (
                f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t "
                f"WHERE {column} = {owner}"
            )
            found[f"{table}.{column}"] = sql.execute(query.encode()).fetchone()
    return found


def write_reports(scene: Scene) -> None:
    """Has all calls so far reported: that is done a moment later, in the order of their ends."""
    with Omni(scene.gateway.grpc, api_key=scene.keys["default"]) as client:
        last = uuid.UUID(client.chat("sim/fast", "The last of them.").call_id)

    def is_reported() -> bool:
        with psycopg.connect(scene.gateway.database_url) as sql:
            query = "SELECT FROM routed_call WHERE call_id = %s"
            return sql.execute(query, (last,)).fetchone() is not None

    assert eventually(is_reported)


def test_nothing_of_an_organisation_is_changed_by_others(scene: Scene) -> None:
    requests = {name: row.make(scene) for name, row in ROWS.items() if row.owned}
    write_reports(scene)
    before = dump(scene)
    assert before["team.org_id"][0] > 0
    for name, request in requests.items():
        for caller in ("none", *FOREIGN):
            scene.refused(name, request, caller)
            if name in OPERATIONS:
                with HttpConnection(scene.gateway, scene.keys[caller]) as http:
                    ask(http, OPERATIONS[name], request)
    assert dump(scene) == before


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.owned])
def test_what_is_anothers_answers_like_what_is_not_there(scene: Scene, name: str) -> None:
    theirs = ROWS[name].make(scene)
    text = text_format.MessageToString(theirs)
    if scene.a not in text:
        return  # named by an id of its own: tried below
    nobodys = text_format.Parse(text.replace(scene.a, "nobody-at-all"), type(theirs)())
    for caller in FOREIGN:
        shapes = [
            _shape(scene.refused(name, request, caller), org)
            for request, org in ((theirs, scene.a), (nobodys, "nobody-at-all"))
        ]
        assert shapes[0] == shapes[1]


def _shape(found: Refusal, *names: str) -> object:
    """All that a refusal tells, but for the names that were asked for and the call's own id."""
    message = found.message
    for name in names:
        message = message.replace(name, "…")
    metadata = found.metadata
    assert not set(metadata) - {"call_id", "scope"}
    scope = metadata.get("scope")
    return found.code, found.reason, scope, message, *sorted(found.details), *sorted(found.trailers)


@pytest.mark.parametrize("name", ["SettleHold", "ReleaseHold"])
def test_anothers_hold_answers_like_one_that_is_not_there(scene: Scene, name: str) -> None:
    request_class = GetMessageClass(METHODS[f"BillingService.{name}"].input_type)

    def shape(hold: str) -> object:
        more = {"amount_nanousd": 0} if name == "SettleHold" else {}
        request = request_class(name=hold, request_id=request_id(), **more)
        found = scene.refused(f"BillingService.{name}", request, "other key")
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
                "BillingService.GetUsageRecord",
                billing.GetUsageRecordRequest(call_id=call_id),
                "other key",
            ),
            call_id,
        )
        for call_id in (scene.call_id, missing)
    }
    assert len(shapes) == 1
    with HttpConnection(scene.gateway, scene.keys["other key"]) as http:
        answers = [http.ask(f"/v1/calls/{call_id}") for call_id in (scene.call_id, missing)]
    assert [answer.status for answer in answers] == [404, 404]
    theirs, nobodys = (answer.error for answer in answers)
    assert theirs == {**nobodys, "message": nobodys["message"].replace(missing, scene.call_id)}
    assert set(answers[0].headers) == set(answers[1].headers)


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
        found = refusal(lambda key=key: scene.invoke("BillingService.GetBalance", request, key))
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


# --- the other routes -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Path:
    """A route with its variables filled in, and what whoever may is told, and others `hidden`."""

    path: str
    permission: str = "infer"
    status: int = 200
    hidden: int | None = None


ROUTES: dict[str, Path] = {
    "/v1/chat/completions": Path("/v1/chat/completions"),
    "/v1/responses": Path("/v1/responses"),
    "/v1/responses/{id}": Path("/v1/responses/resp_0", status=404),
    "/v1/responses/{id}/input_items": Path("/v1/responses/resp_0/input_items", status=404),
    "/v1/completions": Path("/v1/completions"),
    "/v1/messages": Path("/v1/messages"),
    "/v1/messages/count_tokens": Path("/v1/messages/count_tokens"),
    "/v1/embeddings": Path("/v1/embeddings"),
    "/v1/images/generations": Path("/v1/images/generations"),
    "/v1/images/edits": Path("/v1/images/edits", status=400),  # not a form
    "/v1/audio/speech": Path("/v1/audio/speech"),
    "/v1/audio/transcriptions": Path("/v1/audio/transcriptions", status=400),
    "/v1/moderations": Path("/v1/moderations"),
    "/v1/chat": Path("/v1/chat"),
    "/v1/agent-step": Path("/v1/agent-step"),
    "/v1/estimate": Path("/v1/estimate"),
    "/v1/router/debug": Path("/v1/router/debug"),
    "/v1/models": Path("/v1/models", "see models"),
    "/v1/models/{id:path}": Path("/v1/models/sim/fast", "see models"),
    "/v1/balance": Path("/v1/balance", "see money"),
    "/v1/transactions": Path("/v1/transactions", "see money"),
    "/v1/usage": Path("/v1/usage", "see money"),
    "/v1/calls/{id}": Path("/v1/calls/{call_id}", "see money", hidden=404),
}
OPEN_ROUTES = {"/health", "/ready", "/metrics"}
"""Open to all who can connect; none shows anything of a tenant."""
PAYING_ROUTES = {"/v1/topup", "/v1/webhooks/stripe"}
"""There where payments are taken: tried in test_top_up_x402 and test_card_top_ups."""
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
    app = build_app_of_nothing()
    routes = {route.path for route in app._app._others.routes}
    assert set(ROUTES) | OPEN_ROUTES | PAYING_ROUTES == routes | {"/v1/chat/completions"}


def build_app_of_nothing() -> Any:
    """The application; nothing is called."""
    given: dict[str, Any] = {
        name: NOTHING
        for name, parameter in inspect.signature(build_app).parameters.items()
        if parameter.default is inspect.Parameter.empty
    }
    return build_app(**given | {"operations": (), "cors_origins": (), "clock": SystemClock()})


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_answers_callers_who_may_and_refuses_others(scene: Scene, route: str) -> None:
    row = ROUTES[route]
    for caller in CALLERS:
        with HttpConnection(scene.gateway, scene.keys[caller]) as http:
            answer = http.ask(row.path.format(call_id=scene.call_id), BODIES.get(route))
        if caller == "none":
            assert answer.status == 401
        elif caller in MAY[row.permission]:
            wanted = row.hidden if caller in FOREIGN and row.hidden else row.status
            assert answer.status == wanted, (caller, answer.json)
        else:
            assert answer.status == 403, caller
            error = answer.json["error"]
            assert error["type"] == "permission_error"
            assert error["omni"]["reason"] == LACKS
            if not row.path.startswith("/v1/messages"):  # Anthropic's errors have no code
                assert answer.error["code"] == "scope_missing"


@pytest.mark.parametrize("route", sorted(OPEN_ROUTES))
def test_probes_are_open_to_all(scene: Scene, route: str) -> None:
    with HttpConnection(scene.gateway, None) as http:
        assert http.ask(route).status == 200


def test_rest_shows_each_caller_its_own_account_only(scene: Scene) -> None:
    seen = {}
    for caller in ("default", "billing", "viewer", *FOREIGN, "operator"):
        with HttpConnection(scene.gateway, scene.keys[caller]) as http:
            seen[caller] = http.ask("/v1/balance").json["account"]
            entries = http.ask("/v1/transactions").json["data"]
            assert all(entry["id"].startswith(f"{seen[caller]}/") for entry in entries)
            # A query cannot name another account.
            other = http.ask(f"/v1/balance?account={scene.account}").json["account"]
            assert other == seen[caller]
    assert seen == {
        **dict.fromkeys(("default", "billing", "viewer"), scene.account),
        **dict.fromkeys(FOREIGN, f"accounts/{scene.b}"),
        "operator": "accounts/operator",
    }
