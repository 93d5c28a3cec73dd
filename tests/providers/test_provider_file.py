"""The package's list of providers, and an operator's own file beside it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from omni_grpc.providers import Providers, ProviderSettings, ProvidersFileError, load_specs
from omni_grpc.providers.features import Feature
from omni_grpc.providers.registry import DIALECTS


def written(folder: Path, text: str) -> Path:
    file = folder / "providers.yaml"
    file.write_text(text)
    return file


def test_every_provider_of_the_package_has_a_dialect_that_is_known():
    specs = load_specs()
    assert {spec.dialect for spec in specs} <= set(DIALECTS)
    assert {
        "openai", "anthropic", "google", "google-vertex", "google-vertex-anthropic",
        "amazon-bedrock", "azure", "cohere", "openrouter", "groq", "mistral", "deepseek", "xai",
        "togetherai", "fireworks-ai", "cerebras", "perplexity", "nvidia", "ollama", "vllm", "sim",
    } == {spec.id for spec in specs}  # fmt: skip


def test_a_provider_of_ones_own_is_a_few_lines(tmp_path):
    file = written(
        tmp_path,
        """
- id: mine
  dialect: openai
  base_url: http://127.0.0.1:9/v1
  key_env: MINE_API_KEY
  bills_after_cancel: true
  refuses: [audio, seed]
""",
    )
    (mine,) = (spec for spec in load_specs(file) if spec.id == "mine")
    assert mine.refuses == ("audio", Feature.SEED.value)
    given = {"mine": ProviderSettings(api_key=SecretStr("k"))}
    assert "mine" in Providers(given, specs=load_specs(file)).ids()


def test_an_entry_of_a_known_id_changes_what_it_names_and_nothing_else(tmp_path):
    before = {spec.id: spec for spec in load_specs()}["openai"]
    file = written(tmp_path, "[{id: openai, timeouts: {first_byte_s: 7}, retries: {count_max: 5}}]")
    after = {spec.id: spec for spec in load_specs(file)}["openai"]
    assert after.timeouts.first_byte_s == 7
    assert after.timeouts.total_s == before.timeouts.total_s
    assert after.retries.count_max == 5
    assert after.base_url == before.base_url


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "list of providers"),
        ("[1]", "list of providers"),
        ("[{dialect: openai}]", "list of providers"),
        ("[{id: x}", "providers.yaml"),
        ("[{id: sim}, {id: sim}]", "twice"),
        ("[{id: x, dialect: openai}]", "'x'.*bills_after_cancel"),
        ("[{id: x, dialect: klingon, bills_after_cancel: true}]", "'x'.*klingon"),
        ("[{id: X, dialect: openai, bills_after_cancel: true}]", "'X'"),
        ("[{id: sim, timeout: {}}]", "'sim'.*timeout"),
        ("[{id: sim, timeouts: {connect_s: 0}}]", "'sim'.*connect_s"),
        ("[{id: sim, refuses: [colour]}]", "'sim'.*colour"),
        ("[{id: sim, auth: header}]", "'sim'.*auth_header"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(tmp_path, text, told):
    with pytest.raises(ProvidersFileError, match=told):
        load_specs(written(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ProvidersFileError, match="none"):
        load_specs(tmp_path / "none.yaml")


def test_an_address_needs_every_name_in_it_to_have_a_value(tmp_path):
    file = written(
        tmp_path,
        """
- id: there
  dialect: openai
  auth: none
  base_url: https://{place}.example.com/{project}/v1
  variables: {place: PLACE, project: PROJECT}
  bills_after_cancel: true
""",
    )
    specs = tuple(spec for spec in load_specs(file) if spec.id == "there")

    def ids(**values: str) -> frozenset[str]:
        variables = {name: SecretStr(value) for name, value in values.items()}
        return Providers({"there": ProviderSettings(variables=variables)}, specs=specs).ids()

    assert ids() == ids(place="eu") == frozenset()
    assert ids(place="eu", project="p") == {"there"}
