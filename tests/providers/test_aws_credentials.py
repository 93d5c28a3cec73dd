"""AWS's signature covers what is sent, and agrees with AWS's own client in every byte."""

import logging
import subprocess
import sys
from collections.abc import AsyncIterator

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from provider_calls import make_call, make_spec
from pydantic import SecretStr
from yarl import URL

from omni_grpc.core.clock import SystemClock
from omni_grpc.providers import (
    Misconfigured,
    ProviderFault,
    Providers,
    ProviderSettings,
    ProviderSpec,
)
from omni_grpc.providers.aws_credentials import AwsCredentials
from omni_grpc.providers.bedrock import BedrockChat
from omni_grpc.providers.chat import DialectChat
from omni_grpc.providers.credentials import CredentialsError
from omni_grpc.providers.faults import Faults
from omni_grpc.providers.http import Upstream
from omni_grpc.simulator import Simulator

KEY = "AKIDEXAMPLE"
MODELS = [
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1",
    "us.amazon.nova-lite-v1:0",
    "sim/fast",
]


def aws(secret: str = KEY, token: str | None = None, key: str = KEY) -> AwsCredentials:
    return AwsCredentials(key, secret, token, "eu-west-1")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(key=KEY) as running:
        yield running


@pytest.fixture
async def chat_of(simulator: Simulator):
    """Makes a client with whatever credentials."""
    opened: list[Upstream] = []

    async def chat_of(credentials, **spec: object) -> DialectChat:
        faults = Faults("p", credentials.secrets, SystemClock())
        upstream = Upstream(make_spec(**spec), URL(simulator.origin), credentials, faults)
        await upstream.open()
        opened.append(upstream)
        return DialectChat(upstream, BedrockChat())

    yield chat_of
    for upstream in opened:
        await upstream.close()


async def test_the_signature_is_the_one_that_botocore_computes_of_what_is_returned():
    url = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/a%3A0/converse"
    given = {"X-Client-Request-Id": "r1", "x-amzn-bedrock-thing": "y"}
    made = await aws("secret", "token").sign("POST", url, given, b"{}")
    assert made["Content-Type"] == "application/json"
    assert made["X-Amz-Security-Token"] == "token"
    assert "X-Client-Request-Id" not in made
    names = made["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert names == "content-type;host;x-amz-date;x-amz-security-token;x-amzn-bedrock-thing"
    assert (
        f"Credential={KEY}/{made['X-Amz-Date'][:8]}/eu-west-1/bedrock/aws4_request"
        in (made["Authorization"])
    )
    auth = SigV4Auth(ReadOnlyCredentials(KEY, "secret", "token"), "bedrock", "eu-west-1")
    again = AWSRequest("POST", url, {n: v for n, v in made.items() if n != "Authorization"}, b"{}")
    again.context["timestamp"] = made["X-Amz-Date"]
    wanted = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    assert made["Authorization"].endswith(f"Signature={wanted}")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_path_is_the_one_that_botocore_sends(model, stream):
    client = botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name="eu-west-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    sent: list[str] = []

    def stop(request, **_):
        sent.append(request.url)
        raise KeyboardInterrupt

    client.meta.events.register("before-send.*.*", stop)
    with pytest.raises(KeyboardInterrupt):
        (client.converse_stream if stream else client.converse)(modelId=model, messages=[])
    upstream = Upstream(
        make_spec(),
        URL("https://bedrock-runtime.eu-west-1.amazonaws.com"),
        aws(),
        Faults("p", (), SystemClock()),
    )
    path = BedrockChat().encode(make_call(model=model), make_spec(), stream=stream).path
    assert str(upstream.url(path)) == sent[0]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("token", [None, "session+token/=="])
async def test_a_checking_provider_believes_what_was_really_sent(chat_of, simulator, model, token):
    chat = await chat_of(aws(token=token))
    found = await chat.complete(make_call(model=model), lambda: None)
    assert found.choices[0].answer.text
    stream = await chat.open_stream(make_call(model=model), lambda: None)
    assert [one async for one in stream]
    assert stream.ended
    assert [record.model for record in simulator.log] == [model, model]


@pytest.mark.parametrize("credentials", [aws("another"), aws("x" * 20, key="SOMEBODY")])
async def test_another_secret_is_not_believed(chat_of, credentials):
    chat = await chat_of(credentials)
    with pytest.raises(ProviderFault) as caught:
        await chat.complete(make_call(), lambda: None)
    assert type(caught.value) is Misconfigured
    assert caught.value.status == 403


async def test_a_body_that_was_changed_on_the_way_is_not_believed(chat_of):
    class Other(AwsCredentials):
        async def sign(self, method, url, headers, body):
            return await super().sign(method, url, headers, body + b" ")

    chat = await chat_of(Other(KEY, KEY, None, "eu-west-1"))
    with pytest.raises(Misconfigured):
        await chat.complete(make_call(), lambda: None)


async def test_the_settings_of_a_provider_make_its_signature(simulator):
    spec = ProviderSpec(
        id="p",
        dialect="bedrock",
        auth="aws",
        variables={"region": "R", "access_key": "A", "secret_key": "S"},
        bills_after_cancel=True,
    )
    values = {"region": "eu-west-1", "access_key": KEY, "secret_key": KEY}
    for missing in values:
        some = {name: SecretStr(value) for name, value in values.items() if name != missing}
        lacking = {"p": ProviderSettings(base_url=simulator.origin, variables=some)}
        assert Providers(lacking, specs=(spec,)).ids() == frozenset()
    given = {name: SecretStr(value) for name, value in values.items()}
    providers = Providers(
        {"p": ProviderSettings(base_url=simulator.origin, variables=given)}, specs=(spec,)
    )
    await providers.open()
    try:
        found = await providers.get("p").complete(make_call(), lambda: None)
        assert found.usage is not None
    finally:
        await providers.close()


@pytest.mark.parametrize("bad", ["", "a b", "a\n", "é"])
@pytest.mark.parametrize("place", range(4))
def test_what_no_header_can_carry_is_refused_without_being_told(place, bad):
    values = [KEY, "secret", "token", "eu-west-1"]
    values[place] = bad
    with pytest.raises(ValueError, match="AWS_") as caught:
        AwsCredentials(*values)
    assert "secret" not in str(caught.value).replace("AWS_SECRET", "")


async def test_an_address_without_a_host_is_told():
    with pytest.raises(CredentialsError):
        await aws().sign("POST", "/model", {}, b"")


async def test_what_is_signed_is_never_logged(caplog):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore.auth").setLevel(logging.DEBUG)
    await aws("hidden-secret", "hidden-token").sign("POST", "https://host/model", {}, b"{}")
    assert "hidden" not in caplog.text


def test_all_keys_are_secrets():
    assert set(aws("s3cret", "t0ken").secrets) == {KEY, "s3cret", "t0ken"}


def test_a_process_without_aws_does_not_import_botocore():
    code = (
        "import sys; from omni_grpc.providers import Providers; Providers({});"
        "assert not [name for name in sys.modules if name.startswith('boto')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
