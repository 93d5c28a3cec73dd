"""Calls that know nothing of the contract but what the server tells, as grpcurl makes them.

Also the health service, which probes and load balancers ask.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from gateway import Gateway, Tenant, bearer, refusal, running
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.reflection_pb2 import (
    ServerReflectionRequest,
    ServerReflectionResponse,
)

SERVICES = (
    "omni.admin.v1.AdminService",
    "omni.billing.v1.BillingService",
    "omni.catalog.v1.CatalogService",
    "omni.router.v1.RouterService",
)
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
PROMPT = {
    "model": "sim/fast",
    "messages": [{"role": "ROLE_USER", "parts": [{"text": "Say something."}]}],
}
COST = 10 * 150 + 40 * 600


class Reflection:
    """What a server tells of itself, in a pool of its own; v1 and v1alpha differ in name only."""

    def __init__(self, channel: grpc.Channel, version: str) -> None:
        self._channel = channel
        self._ask = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )
        self._pool = DescriptorPool()
        self._known: set[str] = set()

    def ask(self, **request: str) -> ServerReflectionResponse:
        (answer,) = self._ask(iter([ServerReflectionRequest(**request)]), timeout=10)
        return answer

    def services(self) -> list[str]:
        listed = self.ask(list_services="").list_services_response
        return [service.name for service in listed.service]

    def learn(self, symbol: str) -> None:
        """Asks for the file of a symbol, and for what that needs."""
        self._add(self.ask(file_containing_symbol=symbol))

    def call(
        self, service: str, method: str, request: dict[str, Any], key: str | None
    ) -> list[dict[str, Any]]:
        """Calls a method with JSON, and reads every answer as JSON."""
        found = self._pool.FindServiceByName(service).FindMethodByName(method)
        make = self._channel.unary_stream if found.server_streaming else self._channel.unary_unary
        message = ParseDict(request, GetMessageClass(found.input_type)())
        call = make(
            f"/{service}/{method}",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=GetMessageClass(found.output_type).FromString,
        )
        answer = call(message, metadata=bearer(key), timeout=20)
        return [MessageToDict(one) for one in (answer if found.server_streaming else [answer])]

    def _add(self, answer: ServerReflectionResponse) -> None:
        assert answer.HasField("file_descriptor_response"), answer
        encoded = answer.file_descriptor_response.file_descriptor_proto
        files = {file.name: file for file in map(FileDescriptorProto.FromString, encoded)}
        for file in files.values():
            self._add_file(file, files)

    def _add_file(self, file: FileDescriptorProto, others: dict[str, FileDescriptorProto]) -> None:
        if file.name in self._known:
            return
        for needed in file.dependency:
            if needed in others:
                self._add_file(others[needed], others)
            elif needed not in self._known:
                self._add(self.ask(file_by_filename=needed))
        self._known.add(file.name)
        self._pool.Add(file)


@pytest.fixture
def channel(gateway: Gateway) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(gateway.grpc) as made:
        yield made


@pytest.fixture(params=["v1", "v1alpha"])
def reflection(channel: grpc.Channel, request: pytest.FixtureRequest) -> Reflection:
    return Reflection(channel, request.param)


def test_all_services_are_listed_and_described_without_a_key(reflection: Reflection) -> None:
    assert set(reflection.services()) == {
        *SERVICES,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for service in SERVICES:
        reflection.learn(service)
        assert reflection._pool.FindServiceByName(service).methods


@pytest.mark.parametrize("name", ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"])
def test_what_is_listed_can_be_described(reflection: Reflection, name: str) -> None:
    answer = reflection.ask(file_containing_symbol=name)
    assert answer.HasField("file_descriptor_response"), answer


@pytest.mark.parametrize(
    "request_fields",
    [
        {"file_containing_symbol": "omni.nothing.v1.Nothing"},
        {"file_containing_symbol": "\N{SNOWMAN}"},
        {"file_by_filename": "../../etc/passwd"},
        {"all_extension_numbers_of_type": "omni.nothing.v1.Nothing"},
    ],
)
def test_what_is_not_there_is_not_found(
    reflection: Reflection, request_fields: dict[str, str]
) -> None:
    answer = reflection.ask(**request_fields)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_a_chat_is_streamed_and_its_cost_seen_by_reflection_alone(
    reflection: Reflection, tenant: Tenant
) -> None:
    for service in ("omni.router.v1.RouterService", "omni.billing.v1.BillingService"):
        reflection.learn(service)
    events = reflection.call(
        "omni.router.v1.RouterService", "StreamChat", {"prompt": PROMPT}, tenant.api_key
    )
    assert set(events[0]) == {"started"}
    assert "".join(event["delta"].get("text", "") for event in events[1:-1])
    completion = events[-1]["completion"]
    assert completion["callId"] == events[0]["started"]["callId"]
    assert int(completion["costNanousd"]) == COST
    (answer,) = reflection.call("omni.billing.v1.BillingService", "GetBalance", {}, tenant.api_key)
    assert answer["balance"]["account"] == tenant.account
    assert int(answer["balance"]["availableNanousd"]) == 10**9 - COST


def test_refusals_carry_details_that_reflection_alone_can_name(
    reflection: Reflection, tenant: Tenant
) -> None:
    service = "omni.router.v1.RouterService"
    reflection.learn(service)
    found = refusal(lambda: reflection.call(service, "CompleteChat", {}, tenant.api_key))
    assert (found.reason, found.field) == ("FIELD_INVALID", "prompt.model")
    assert refusal(lambda: reflection.call(service, "CompleteChat", {}, None)).reason == (
        "API_KEY_MISSING"
    )


# --- health ---------------------------------------------------------------------------------------
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_is_told_overall_and_for_each_service(channel: grpc.Channel, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert stub.Check(request, timeout=10).status == SERVING
    watch = stub.Watch(request, timeout=10)
    assert next(watch).status == SERVING
    watch.cancel()


def test_an_unknown_service_has_no_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="omni.nothing.v1.Nothing")
    assert refusal(lambda: stub.Check(request, timeout=10)).code == "NOT_FOUND"
    watch = stub.Watch(request, timeout=10)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_watchers_hear_of_a_stop_and_reflection_is_off_unless_set(own_gateway: Gateway) -> None:
    own_gateway.environment = {"OMNI_REFLECTION": "false"}
    with running(own_gateway), grpc.insecure_channel(own_gateway.grpc) as channel:
        for version in ("v1", "v1alpha"):
            silent = Reflection(channel, version)
            assert refusal(silent.services).code == "UNIMPLEMENTED"
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [
            stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=30)
            for service in ("", *SERVICES)
        ]
        assert {next(watch).status for watch in watches} == {SERVING}
        # They listen when it is told: what lies unread is lost where a connection ends.
        with ThreadPoolExecutor(len(watches)) as pool:
            told = [pool.submit(next, watch) for watch in watches]
            own_gateway.stop()
            assert {one.result().status for one in told} == {NOT_SERVING}


# --- the tool itself ------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def grpcurl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """grpcurl's path: the one that is installed, or in CI one that is built for the session."""
    installed = shutil.which("grpcurl")
    if installed:
        return installed
    if os.environ.get("CI") != "true" or not shutil.which("go"):
        pytest.skip(
            "grpcurl is not on the PATH, so it is not run against the server (with CI=true and go "
            "it is built); the other tests of this file make the calls that it makes"
        )
    folder = tmp_path_factory.mktemp("go")
    subprocess.run(
        ["go", "install", GRPCURL],
        env={**os.environ, "GOBIN": str(folder)},
        check=True,
        timeout=500,
    )
    return str(folder / "grpcurl")


@pytest.mark.timeout(600)
def test_grpcurl_lists_describes_and_calls(gateway: Gateway, tenant: Tenant, grpcurl: str) -> None:
    def run(*words: str, data: object = None) -> subprocess.CompletedProcess[str]:
        options = () if data is None else ("-d", json.dumps(data))
        command = [grpcurl, "-plaintext", *options, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    address, method = gateway.grpc, "omni.router.v1.RouterService/StreamChat"
    listed = run(address, "list")
    assert set(SERVICES) < set(listed.stdout.split())
    everything = run(address, "describe")
    assert everything.returncode == 0, everything.stderr
    described = run(address, "describe", "omni.router.v1.ChatPrompt")
    assert "repeated .omni.router.v1.Message messages = 2;" in described.stdout
    key = ("-H", f"authorization: Bearer {tenant.api_key}")
    streamed = run(*key, address, method, data={"prompt": PROMPT})
    assert streamed.returncode == 0, streamed.stderr
    assert f'nanousd": "{COST}"' in streamed.stdout.lower()
    refused = run(address, method, data={"prompt": PROMPT})
    assert refused.returncode == 64 + grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert "API_KEY_MISSING" in refused.stderr
