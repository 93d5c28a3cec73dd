"""Every RPC of administration and of buying, with whatever a message can hold: typed errors only.

The messages are made from the contract's descriptors, with names of what is there among the texts,
so that many get past the first check.
"""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import hypothesis.strategies as st
import pytest
from authorization_scene import METHODS, Scene, a_scene
from gateway import Gateway, HttpAnswer, HttpConnection, Refusal, SimulatorThread, running
from gateway_fixtures import check_books
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings

from omni_grpc.storage import EmbeddedPostgres

FUZZED = sorted(
    name
    for name in METHODS
    if name.startswith("AdminService.")
    or name.partition(".")[2].endswith(("TopUp", "TopUps", "Statement", "Receipt"))
)
EXAMPLES = 15
DEPTH_MAX = 3
TYPED = {
    "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED",
}  # fmt: skip
"""An error of the caller's; UNKNOWN, INTERNAL and UNAVAILABLE would be ours."""

NASTY = [
    "", " ", "x", "a" * 64, "A" * 300, "-", "..", "../..", "orgs/", "orgs/a b", "%", "%s", "{}",
    "'", '"; DROP TABLE org; --', "\x00", "\n", "\u202e", "é", "😀", "\ud7ff", "orgs/*", "0", "-1",
    "9" * 30, "UTC", "Europe/Berlin", "Mars/Olympus", "openai/gpt-4o", "*/*", "sim/*",
    "https://example.com/hook", "http://169.254.169.254/latest", "https://user:pw@example.com",
    "2026-01", "2026-13", "9999-12", "budget.warning", "wallet:solana", "e30=", "stripe",
]  # fmt: skip
NUMBERS = [0, 1, -1, 2**31 - 1, -(2**31), 1000, 50]
BIG_NUMBERS = [*NUMBERS, 2**63 - 1, -(2**63), 10**15, 10**15 + 1, 10**9, 10**10]


@pytest.fixture(scope="module")
def scene(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    name, admin_key = template
    url = postgres.create_database("e2e_fuzz", template=name)
    folder = tmp_path_factory.mktemp("fuzz")
    environment = {
        "OMNI_CREDENTIAL_MASTER_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "OMNI_WEBHOOK_PRIVATE_HOSTS": "true",
    }
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    with running(made), a_scene(made) as found:
        yield found
        assert "call_failed" not in made.log()
    check_books(url, folder)


def texts(scene: Scene) -> st.SearchStrategy[str]:
    there = [scene.org, scene.account, f"{scene.account}/autoTopUp", *scene.names.values()]
    return st.one_of(
        st.sampled_from(there),
        st.sampled_from([text for text in NASTY if _encodes(text)]),
        st.text(max_size=40).filter(_encodes),
    )


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def messages(descriptor: Descriptor, words: st.SearchStrategy[str], depth: int = 0) -> Any:
    """Messages of a type, with any of their fields set."""
    kind = GetMessageClass(descriptor)
    values = {
        field.name: found
        for field in descriptor.fields
        if (found := _values(field, words, depth)) is not None
    }
    return st.fixed_dictionaries({}, optional=values).map(lambda given: _message(kind, given))


def _message(kind: type[Message], given: dict[str, Any]) -> Message:
    made = kind()
    for name, value in given.items():
        try:
            made.MergeFrom(kind(**{name: value}))
        except (ValueError, TypeError):  # what no message can hold
            continue
    return made


def _values(field: FieldDescriptor, words: st.SearchStrategy[str], depth: int) -> Any:
    one = _one(field, words, depth)
    if one is None:
        return None
    if field.is_repeated:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return st.dictionaries(words, words, max_size=3)
        return st.lists(one, max_size=3)
    return one


def _one(field: FieldDescriptor, words: st.SearchStrategy[str], depth: int) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return words
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case FieldDescriptor.CPPTYPE_INT32:
            return st.sampled_from(NUMBERS)
        case FieldDescriptor.CPPTYPE_INT64:
            return st.sampled_from(BIG_NUMBERS)
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return st.floats()
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.sampled_from([value.number for value in field.enum_type.values] + [99])
        case FieldDescriptor.CPPTYPE_MESSAGE if depth < DEPTH_MAX:
            return messages(field.message_type, words, depth + 1)
        case _:
            return None


@pytest.mark.parametrize("name", FUZZED)
def test_whatever_is_asked_of_administration_is_done_or_refused_by_its_kind(
    scene: Scene, name: str
) -> None:
    """By the owner of A, who may do much, and by the operator, who may do all."""
    descriptor = METHODS[name].input_type
    # A session that ends is no caller any more.
    callers = ["operator"] if name == "AdminService.EndSession" else ["owner", "operator"]

    @settings(
        max_examples=EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(messages(descriptor, texts(scene)), st.sampled_from(callers))
    def try_it(request: Message, caller: str) -> None:
        try:
            scene.invoke(name, request, scene.keys[caller])
        except grpc.RpcError as failure:
            found = Refusal.of(failure)
            assert found.code in TYPED, (found, request)
            assert found.reason, (found, request)

    try_it()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/admin/orgs/{a}/teams", "/v1/admin/orgs/{a}/budgets", "/v1/admin/orgs/{a}/rateLimits",
        "/v1/admin/orgs/{a}/webhooks", "/v1/admin/orgs/{a}/users", "/v1/admin/orgs/{a}/apiKeys",
        "/v1/admin/orgs/{a}/providerCredentials", "/v1/top_ups",
    ],
)  # fmt: skip
def test_bodies_that_are_none_are_refused(scene: Scene, path: str) -> None:
    bodies = [
        b"", b"{", b"[]", b"null", b"1", b'"x"', b'{"unknown": 1}', b'{"parent": 7}', b"\xff\xfe",
        b'{"a":' * 2000, b'{"display_name": "\\u0000"}', b'{"budget": []}', b'{"webhook": null}',
        b'{"rate_limit": {"requests_per_minute": 1e99}}', b'{"budget": {"amount_nanousd": 1.5}}',
    ]  # fmt: skip
    with HttpConnection(scene.gateway, scene.gateway.admin_key) as http:
        for body in bodies:
            if not body and path.endswith("apiKeys"):
                continue  # a key of the default kind needs no more than its place
            answer = http.ask(path.format(a=scene.a), body, method="POST")
            assert answer.status == 400, (body[:40], answer.status, answer.json)
            assert answer.error["message"]


def test_a_name_or_a_filter_with_nul_is_refused_and_not_looked_for(scene: Scene) -> None:
    """The database knows no such text; the contract's messages and a path can hold it."""
    org = f"/v1/admin/{scene.org}"
    paths = [
        f"{org}/budgets/a%00b", f"{org}/webhooks/a%00b", f"{org}/rateLimits/a%00b",
        f"{org}/providerCredentials/a%00b", f"{org}/auditEntries?actor=%00",
        f"{org}/auditEntries?resource=a%00",
    ]  # fmt: skip
    with HttpConnection(scene.gateway, scene.keys["owner"]) as http:
        for path in paths:
            answer = http.ask(path)
            assert (answer.status, answer.error["code"]) == (400, "invalid_value"), path
    asked: list[tuple[str, dict[str, Any]]] = [
        ("GetBudget", {"name": f"{scene.org}/budgets/a\0b"}),
        ("ListAuditEntries", {"parent": scene.org, "actor": "\0"}),
        ("UpdateBudget", {"budget": {"name": f"{scene.org}/budgets/a\0b"}}),
        ("GetWebhook", {"name": f"{scene.org}/webhooks/a\0b"}),
    ]
    for rpc, fields in asked:
        kind = GetMessageClass(METHODS[f"AdminService.{rpc}"].input_type)
        with pytest.raises(grpc.RpcError) as caught:
            scene.invoke(f"AdminService.{rpc}", kind(**fields), scene.keys["owner"])
        assert Refusal.of(caught.value).reason == "FIELD_INVALID", rpc


def test_numbers_and_texts_that_no_row_can_hold_are_refused(scene: Scene) -> None:
    """JSON's numbers have no end, and a list may say one thing a hundred thousand times."""
    org = f"/v1/admin/{scene.org}"
    with HttpConnection(scene.gateway, scene.keys["owner"]) as http:

        def change(path: str, method: str, body: dict[str, Any]) -> HttpAnswer:
            return http.ask(path, json.dumps(body).encode(), method=method)

        top_up = f"/v1/{scene.account}/autoTopUp"
        for field in ("threshold_nanousd", "month_max_nanousd"):
            for value in (2**63, 10**30):
                assert change(top_up, "PATCH", {field: value}).error["param"] == field
        budget = {"display_name": "\x1b]0;x\x07", "amount_nanousd": 1, "period": "day"}
        made = change(f"{org}/budgets", "POST", {"budget_id": "escaped", "budget": budget})
        assert made.error["param"] == "budget.display_name"
        hook = {"webhook_id": "often", "webhook": {"url": "https://example.com/"}}
        assert change(f"{org}/webhooks", "POST", hook).status == 200
        told = change(f"{org}/webhooks/often", "PATCH", {"events": ["budget.warning"] * 100_000})
        assert told.json["events"] == ["budget.warning"]
