"""The classifier of the operator's choice, over real sockets: asked first, billed, never waited for
too long, and never in the way of an answer."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import grpc
import pytest
from gateway import (
    Gateway,
    HttpAnswer,
    HttpConnection,
    SimulatorThread,
    Tenant,
    asking,
    bearer,
    chat_body,
    eventually,
    running,
)
from gateway_fixtures import check_books, simulator
from limited import limit
from omni.billing.v1 import billing_service_pb2 as pb
from omni.billing.v1 import billing_service_pb2_grpc as pb_grpc

from omni_grpc.completion.classifying import FAILURES_MAX
from omni_grpc.settings import Settings, SettingsError, read_settings
from omni_grpc.storage import EmbeddedPostgres

__all__ = ("simulator",)

ASKED = "sim/fast"
SECONDS = 1.0
"""How long a classifier that may be silent is waited for."""


@pytest.fixture(scope="module")
def url(postgres: EmbeddedPostgres, template: tuple[str, str]) -> str:
    return postgres.create_database("e2e_classifying", template=template[0])


@pytest.fixture(scope="module")
def gateway(
    url: str,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway whose classifier answers."""
    folder = tmp_path_factory.mktemp("answers")
    with classifying(url, template, simulator, folder, seconds=20.0) as started:
        yield started


@pytest.fixture
def failing(
    url: str, template: tuple[str, str], simulator: SimulatorThread, tmp_path: Path
) -> Iterator[Gateway]:
    """A gateway of the test's own: a classifier that failed is left alone for a while."""
    with classifying(url, template, simulator, tmp_path) as started:
        yield started


@contextmanager
def classifying(
    url: str,
    template: tuple[str, str],
    simulator: SimulatorThread,
    folder: Path,
    seconds: float = SECONDS,
) -> Iterator[Gateway]:
    """A running gateway; its books are checked at the end."""
    environment = {"OMNI_CLASSIFIER": f"model:{ASKED}", "OMNI_CLASSIFIER_SECONDS": str(seconds)}
    made = Gateway(url, simulator.base_url, folder, template[1], environment=environment)
    with running(made) as started:
        yield started
    check_books(url, folder)


def labelled(task: str, **fields: object) -> str:
    """What the simulator shall say, to the question about a prompt and to the prompt itself."""
    said = {"task": task, "complexity": 0.1, "needs_reasoning": False, **fields}
    return "say=" + quote(json.dumps(said))


def ask(gateway: Gateway, tenant: Tenant, text: str, model: str = "omni/auto") -> HttpAnswer:
    with HttpConnection(gateway, tenant.api_key) as http:
        answer = http.ask("/v1/chat/completions", chat_body(model, text))
    assert answer.status == 200, answer.body
    return answer


def reports(gateway: Gateway, tenant: Tenant, model: str, count: int) -> list[pb.UsageRecord]:
    """The tenant's calls that named `model`, once that are `count` with their reports."""

    def found() -> tuple[list[pb.UsageRecord]] | None:
        with grpc.insecure_channel(gateway.grpc) as channel:
            listed = pb_grpc.BillingServiceStub(channel).ListUsageRecords(
                pb.ListUsageRecordsRequest(), metadata=bearer(tenant.api_key), timeout=30
            )
        held = [
            one
            for one in listed.usage_records
            if one.HasField("call_report") and one.call_report.requested_model == model
        ]
        return (held,) if len(held) == count else None

    there = eventually(found)
    assert isinstance(there, tuple)
    records: list[pb.UsageRecord] = there[0]
    return records


def tasks(records: list[pb.UsageRecord]) -> list[str]:
    return [one.call_report.task for one in records]


def test_what_the_model_says_is_believed_and_its_cost_is_a_call_of_its_own(
    gateway: Gateway,
) -> None:
    tenant = gateway.tenant()
    text = asking(labelled("translation"), "hey, how are you?")
    first = ask(gateway, tenant, text)
    (routed,) = reports(gateway, tenant, "omni/auto", 1)
    (question,) = reports(gateway, tenant, ASKED, 1)
    assert tasks([routed]) == ["translation"]
    assert question.cost_nanousd > 0
    assert routed.cost_nanousd == round(1e9 * float(first.headers["x-omni-cost-usd"]))

    ask(gateway, tenant, text)  # an equal prompt is not asked about again
    assert tasks(reports(gateway, tenant, "omni/auto", 2)) == ["translation"] * 2
    assert len(reports(gateway, tenant, ASKED, 1)) == 1

    other = gateway.tenant()  # but another account pays for its own question
    ask(gateway, other, text)
    assert len(reports(gateway, other, ASKED, 1)) == 1


def test_the_question_counts_in_no_limit_and_a_refused_call_asks_none(gateway: Gateway) -> None:
    tenant = gateway.tenant()
    limit(gateway, tenant, requests_per_minute=1, tokens_per_minute=100_000, concurrent_count=1)
    ask(gateway, tenant, asking(labelled("translation"), "hey, how are you?"))
    with HttpConnection(gateway, tenant.api_key) as http:
        text = asking(labelled("translation"), "and how is your day?")
        assert http.ask("/v1/chat/completions", chat_body("omni/auto", text)).status == 429
    assert len(reports(gateway, tenant, "omni/auto", 1)) == 1
    assert len(reports(gateway, tenant, ASKED, 1)) == 1


def test_a_request_that_names_its_model_is_not_asked_about(gateway: Gateway) -> None:
    tenant = gateway.tenant()
    ask(gateway, tenant, asking(labelled("image")), "sim/echo")
    assert len(reports(gateway, tenant, "sim/echo", 1)) == 1
    assert reports(gateway, tenant, ASKED, 0) == []


def test_a_prompt_is_not_shown_to_a_classifier_that_its_caller_rules_out(
    gateway: Gateway,
) -> None:
    tenant = gateway.tenant()
    text = asking(labelled("translation", complexity=0.2))
    with HttpConnection(gateway, tenant.api_key) as http:
        limited = chat_body("omni/auto", text, omni={"denied_models": [ASKED]})
        answer = http.ask("/v1/chat/completions", limited)
    assert answer.status == 200, answer.body
    assert len(reports(gateway, tenant, "omni/auto", 1)) == 1
    assert reports(gateway, tenant, ASKED, 0) == []


def test_nonsense_and_silence_leave_it_to_the_local_analysis_and_then_nobody_is_asked(
    failing: Gateway,
) -> None:
    tenant = failing.tenant()
    ask(failing, tenant, asking("say=I%20will%20not%20tell."))
    ask(failing, tenant, asking("status=400,once=refusal"))
    for number in range(FAILURES_MAX):
        ask(failing, tenant, asking(f"hang_after=request,once=silence{number}"))
    failed = FAILURES_MAX + 2
    assert failing.log().count("task_classified_locally") == failed
    ask(failing, tenant, asking(labelled("agent_step")))
    assert failing.log().count("task_classified_locally") == failed
    routed = reports(failing, tenant, "omni/auto", failed + 1)
    assert all(tasks(routed))
    assert "agent_step" not in tasks(routed)


def test_a_caller_whose_time_ends_does_not_end_the_question_for_another(
    failing: Gateway, simulator: SimulatorThread
) -> None:
    """Both wait for one question, which brings nothing: one has no time left, one an answer."""
    tenant = failing.tenant()
    text = asking("hang_after=request,once=shared-question")
    answers: list[HttpAnswer] = []

    def hurry() -> None:
        with HttpConnection(failing, tenant.api_key) as http:
            answers.append(
                http.ask(
                    "/v1/chat/completions",
                    chat_body("omni/auto", text),
                    x_omni_timeout_ms=str(int(SECONDS * 600)),
                )
            )

    hurried = threading.Thread(target=hurry)
    hurried.start()
    eventually(lambda: simulator.record_asked("shared-question"))
    patient = ask(failing, tenant, text)
    hurried.join(30)
    assert patient.status == 200
    (refused,) = answers
    assert refused.status == 504, refused.body
    assert tasks(reports(failing, tenant, "omni/auto", 1)) != [""]


@pytest.mark.parametrize("value", ["", "gpt-4o-mini", "model:", "model: ", "model:omni/auto"])
def test_a_classifier_that_cannot_be_asked_is_refused_at_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match="OMNI_CLASSIFIER"):
        read_settings({"OMNI_CLASSIFIER": value}, provider_variables=lambda _own: {})


def test_without_a_word_the_local_analysis_holds() -> None:
    assert Settings().classifier == "local"
