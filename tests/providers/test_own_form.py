"""What a tenant may bring of an account: never an address, never a file, nothing that shows."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from google_tokens import EMAIL, PRIVATE

from omni_grpc.providers import OwnAccountFault, OwnForms, ProviderSettings, load_specs
from omni_grpc.providers.own_form import GOOGLE_TOKEN_URI, secrets_of
from omni_grpc.providers.spec import ProviderSpec

SECRET = "sk-tenant-0123456789abcdef"
VERTEX = {"GOOGLE_VERTEX_PROJECT": "acme-1", "GOOGLE_VERTEX_LOCATION": "europe-west4"}
ELSEWHERE = [
    "evil.example/x?",
    "evil.example#",
    "127.0.0.1:80/",
    "a.b",
    "a/b",
    "a@b",
    "a\\b",
    "a b",
    "a%2fb",
    "-a",
    "a-",
    "ä",
    "",
    "x" * 64,
]


@pytest.fixture(scope="module")
def forms() -> OwnForms:
    return OwnForms(load_specs(), {})


def key_file(**more: object) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "acme-1",
            "private_key_id": "1",
            "private_key": PRIVATE,
            "client_email": EMAIL,
            "token_uri": GOOGLE_TOKEN_URI,
        }
        | more
    )


def test_the_address_is_the_providers_own_or_the_operators(forms: OwnForms) -> None:
    assert str(forms.get("openai").address({})) == "https://api.openai.com/v1"
    own = OwnForms(load_specs(), {"openai": ProviderSettings(base_url="http://proxy.internal/v1")})
    assert str(own.get("openai").address({})) == "http://proxy.internal/v1"


def test_names_in_an_address_are_filled_in(forms: OwnForms) -> None:
    azure = forms.get("azure").address({"AZURE_RESOURCE_NAME": "acme-eu"})
    assert str(azure) == "https://acme-eu.openai.azure.com/openai"
    bedrock = forms.get("amazon-bedrock").address({"AWS_REGION": "eu-west-1"})
    assert bedrock.host == "bedrock-runtime.eu-west-1.amazonaws.com"
    vertex = forms.get("google-vertex").address(VERTEX)
    assert vertex.host == "europe-west4-aiplatform.googleapis.com"
    assert "/projects/acme-1/locations/europe-west4/" in vertex.path


@pytest.mark.parametrize("text", ELSEWHERE)
@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("azure", "AZURE_RESOURCE_NAME"),
        ("amazon-bedrock", "AWS_REGION"),
        ("google-vertex", "GOOGLE_VERTEX_LOCATION"),
        ("google-vertex", "GOOGLE_VERTEX_PROJECT"),
    ],
)
def test_no_variable_leads_elsewhere(
    forms: OwnForms, provider: str, variable: str, text: str
) -> None:
    given = (VERTEX if provider == "google-vertex" else {}) | {variable: text}
    with pytest.raises(OwnAccountFault) as caught:
        forms.get(provider).address(given)
    assert caught.value.field == "variables"
    assert variable in caught.value.message


@pytest.mark.parametrize(
    "base_url",
    [
        "https://{host}/v1",
        "https://{host}:8080/v1",
        "https://api.{host}/v1",
        "https://{host}-x/v1",
        "{host}",
    ],
)
def test_an_address_whose_host_ends_in_a_variable_is_for_nobodys_account(base_url: str) -> None:
    spec = ProviderSpec(
        id="p",
        dialect="openai",
        base_url=base_url,
        variables={"host": "P_HOST"},
        key_env="P_KEY",
        bills_after_cancel=False,
    )
    with pytest.raises(OwnAccountFault) as caught:
        OwnForms((spec,), {}).get("p")
    assert caught.value.field == "provider"


@pytest.mark.parametrize("provider", ["nobody", "ollama", "vllm"])
def test_without_an_address_there_is_no_account(forms: OwnForms, provider: str) -> None:
    with pytest.raises(OwnAccountFault) as caught:
        forms.get(provider)
    assert caught.value.field == "provider"
    assert provider not in forms.ids


@pytest.mark.parametrize(
    ("provider", "header"),
    [
        ("openai", ("Authorization", f"Bearer {SECRET}")),
        ("anthropic", ("x-api-key", SECRET)),
        ("google", ("x-goog-api-key", SECRET)),
        ("azure", ("api-key", SECRET)),
        ("amazon-bedrock", ("Authorization", f"Bearer {SECRET}")),
    ],
)
def test_a_key_goes_where_its_provider_wants_it(
    forms: OwnForms, provider: str, header: tuple[str, str]
) -> None:
    assert dict([header]) == forms.get(provider).credentials(SECRET, {}).headers


async def test_keys_of_aws_sign(forms: OwnForms) -> None:
    given = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SESSION_TOKEN": "t1"}
    found = forms.get("amazon-bedrock").credentials(SECRET, given)
    signed = await found.sign("POST", "https://h.example/x", {}, b"{}")
    assert "Credential=AKIATEST/" in signed["Authorization"]
    assert signed["X-Amz-Security-Token"] == "t1"
    with pytest.raises(OwnAccountFault):
        forms.get("amazon-bedrock").credentials(SECRET, {"AWS_ACCESS_KEY_ID": "AKIATEST"})


def test_a_key_file_names_no_token_endpoint_of_its_own(forms: OwnForms) -> None:
    vertex = forms.get("google-vertex")
    for evil in ({"token_uri": "http://127.0.0.1/"}, {"universe_domain": "evil.example"}):
        found = vertex.credentials(key_file(**evil), VERTEX)
        account = found._account  # type: ignore[attr-defined]  # what google-auth would ask
        assert account._token_uri == GOOGLE_TOKEN_URI
        assert account._universe_domain == "googleapis.com"


@pytest.mark.parametrize(
    "secret",
    ["/etc/passwd", "{}", "[]", "null", key_file(private_key="x"), key_file(private_key=None)],
)
def test_what_is_no_key_file_is_refused_and_not_shown(forms: OwnForms, secret: str) -> None:
    with pytest.raises(OwnAccountFault) as caught:
        forms.get("google-vertex").credentials(secret, VERTEX)
    assert caught.value.field == "secret"
    assert "passwd" not in caught.value.message


def of_many_bits() -> str:
    """A key that is one, of two of Mersenne's primes, so that it need not be looked for."""
    p, q = 2**2203 - 1, 2**2281 - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(65537, p * q)
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public)
    return pem(numbers.private_key(unsafe_skip_rsa_key_validation=True))


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> str:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def test_a_key_that_takes_seconds_to_look_at_is_not_looked_at(forms: OwnForms) -> None:
    """Meanwhile the worker would do nothing else."""
    with pytest.raises(OwnAccountFault, match="more than 2048 bits"):
        forms.get("google-vertex").credentials(key_file(private_key=of_many_bits()), VERTEX)


def test_keys_of_another_kind_are_refused(forms: OwnForms) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for text in (pem(curve), pem(curve, b"a password")):
        with pytest.raises(OwnAccountFault) as caught:
            forms.get("google-vertex").credentials(key_file(private_key=text), VERTEX)
        assert caught.value.field == "secret"


def test_a_path_is_no_variable(forms: OwnForms) -> None:
    given = VERTEX | {"GOOGLE_APPLICATION_CREDENTIALS": "/etc/passwd"}
    with pytest.raises(OwnAccountFault) as caught:
        forms.get("google-vertex").credentials(key_file(), given)
    assert caught.value.field == "variables"


@pytest.mark.parametrize("secret", ["", " ", "q z", "q\nz", "a\r\nX-Evil: 1", "ключ", "x" * 8_193])
def test_a_secret_is_one_printable_word(forms: OwnForms, secret: str) -> None:
    with pytest.raises(OwnAccountFault) as caught:
        forms.get("openai").credentials(secret, {})
    assert caught.value.field == "secret"
    assert not secret.strip() or secret not in caught.value.message


def test_a_secret_and_its_halves_are_kept_out_of_what_a_provider_says(forms: OwnForms) -> None:
    found = secrets_of(forms.get("openai").credentials(SECRET, {}))
    assert found == (SECRET, SECRET[:13], SECRET[13:])
    assert secrets_of(forms.get("openai").credentials("short", {})) == ("short",)
