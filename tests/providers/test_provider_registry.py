import pytest
from pydantic import SecretStr

from omni_grpc.providers import Providers, ProviderSettings, ProviderSpec, load_specs
from omni_grpc.providers.registry import ProviderSettingsError


def settings(**more) -> ProviderSettings:
    if "api_key" in more:
        more["api_key"] = SecretStr(more["api_key"])
    return ProviderSettings(**more)


def test_the_file_names_openai_and_the_simulator():
    specs = {spec.id: spec for spec in load_specs()}
    assert specs["openai"].base_url == "https://api.openai.com/v1"
    assert specs["openai"].key_env == "OPENAI_API_KEY"
    assert specs["openai"].bills_after_cancel is False
    assert specs["sim"].base_url is None
    assert specs["sim"].key_env is None


@pytest.mark.parametrize(
    ("given", "configured"),
    [
        ({}, set()),
        ({"openai": settings(api_key="sk-1")}, {"openai"}),
        ({"openai": settings(api_key="")}, set()),
        ({"openai": settings(api_key="  ")}, set()),
        ({"openai": settings(base_url="http://127.0.0.1:1/v1")}, set()),
        ({"sim": settings()}, set()),
        ({"sim": settings(base_url="http://127.0.0.1:1/v1")}, {"sim"}),
        (
            {"openai": settings(api_key="k"), "sim": settings(base_url="http://[::1]:1")},
            {"openai", "sim"},
        ),
    ],
)
def test_a_provider_is_configured_when_it_has_an_address_and_its_key(given, configured):
    providers = Providers(given)
    assert providers.ids() == configured
    for name in configured:
        assert providers.get(name).spec.id == name
    for name in {"openai", "sim", "none"} - configured:
        with pytest.raises(KeyError):
            providers.get(name)


@pytest.mark.parametrize(
    "address",
    [
        "api.openai.com/v1",
        "ftp://host/v1",
        "http:///v1",
        "https://user:secret@host/v1",
        "https://host/v1?key=1",
        "https://host/v1#x",
        "https://host:99999/v1",
        "nonsense",
    ],
)
def test_an_address_that_cannot_be_is_refused(address):
    with pytest.raises(ProviderSettingsError, match="base URL of provider 'sim'") as caught:
        Providers({"sim": settings(base_url=address)})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["a b", "a\nb", "schlüssel", "a\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key):
    with pytest.raises(ProviderSettingsError) as caught:
        Providers({"openai": settings(api_key=key)})
    assert key not in str(caught.value)


def test_every_fault_is_told_at_once():
    with pytest.raises(ProviderSettingsError) as caught:
        Providers(
            {"sim": settings(base_url="x"), "opanai": settings(), "openai": settings(api_key="ä")}
        )
    assert len(caught.value.faults) == 3
    assert "'opanai'; there are amazon-bedrock, anthropic," in str(caught.value)


@pytest.mark.parametrize("base", ["/v1", "/v1/", ""])
async def test_the_endpoint_lies_below_the_base_url(start, connect, call, dispatched, base):
    from raw_provider import answer, plain

    async def script(peer) -> None:
        await peer.request()
        await peer.send(plain(answer()))

    _, raw = await start(script)
    provider = await connect(raw.url.removesuffix("/v1") + base)
    await provider.complete(call(), dispatched)
    assert raw.requests[0].path == base.rstrip("/") + "/chat/completions"


async def test_providers_open_and_close_twice_without_harm():
    providers = Providers({"sim": settings(base_url="http://127.0.0.1:1/v1")})
    await providers.close()
    await providers.open()
    await providers.close()
    await providers.close()


def test_a_provider_without_a_key_sends_none():
    spec = ProviderSpec(
        id="x", dialect="openai", base_url="http://127.0.0.1:1", bills_after_cancel=True
    )
    providers = Providers({}, specs=(spec,))
    assert "Authorization" not in providers.get("x")._upstream._headers
