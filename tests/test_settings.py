from pathlib import Path

import pytest

from omni_grpc.settings import (
    ProviderVariables,
    Settings,
    SettingsError,
    read_settings,
    secret_file,
)

KNOWN = {
    "openai": ProviderVariables("OPENAI_API_KEY", {}),
    "amazon-bedrock": ProviderVariables(None, {"region": "AWS_REGION", "key": "AWS_KEY"}),
}
SECRET = "s" * 32


def read(environment: dict[str, str], config: Path | None = None, **overrides: object) -> Settings:
    return read_settings(
        environment, config=config, provider_variables=lambda _own: KNOWN, overrides=overrides
    )


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "omni.yaml").write_text("workers: 2\nmarkup_ppm: 5\nrest_addr: 127.0.0.1:1\n")
    found = read({"OMNI_WORKERS": "3", "OMNI_MARKUP_PPM": "7"}, workers=4, rest_addr=None)
    assert (found.workers, found.markup_ppm, found.rest_addr) == (4, 7, "127.0.0.1:1")


def test_every_fault_is_told_at_once_by_the_name_that_was_set(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("log_level: loud\nno_such: 1\n")
    with pytest.raises(SettingsError) as refused:
        read(
            {
                "OMNI_GRPC_ADDR": "nowhere",
                "OMNI_WORKERS": "0",
                "OMNI_KEY_HASH_SECRET": "short",
                "DATABASE_URL": "mysql://x",
                "OMNI_WORKER": "1",
            },
            file,
        )
    told = str(refused.value)
    for name in (
        "OMNI_GRPC_ADDR", "OMNI_WORKERS", "OMNI_KEY_HASH_SECRET", "DATABASE_URL",
        "OMNI_WORKER: there is no such setting; did you mean OMNI_WORKERS?", "log_level",
        "no_such",
    ):  # fmt: skip
        assert name in told
    assert len(refused.value.faults) == 7
    assert "short" not in told
    assert "mysql" not in told


def test_providers_are_read_by_their_customary_names() -> None:
    found = read({"OPENAI_API_KEY": "sk-1", "OMNI_PROVIDER_SIM_BASE_URL": "http://127.0.0.1:1/v1"})
    assert found.provider_keys["openai"].get_secret_value() == "sk-1"
    assert found.provider_base_urls == {"sim": "http://127.0.0.1:1/v1"}
    assert read({"OPENAI_API_KEY": " "}).provider_keys == {}


def test_what_another_address_does_after_a_cancel_can_be_set() -> None:
    found = read({"OMNI_PROVIDER_OPENAI_BILLS_AFTER_CANCEL": "true"})
    assert found.provider_bills_after_cancel == {"openai": True}
    with pytest.raises(SettingsError, match="OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL"):
        read({"OMNI_PROVIDER_SIM_BILLS_AFTER_CANCEL": "perhaps"})


def test_secrets_do_not_show() -> None:
    found = read(
        {
            "DATABASE_URL": "postgresql://u:hunter2@h/d",
            "OMNI_KEY_HASH_SECRET": SECRET,
            "OPENAI_API_KEY": "sk-hunter2",
        }
    )
    for shown in (repr(found), str(found), str(found.redacted())):
        assert "hunter2" not in shown
        assert SECRET not in shown


def test_origins_are_split(tmp_path: Path) -> None:
    assert read({"OMNI_CORS_ORIGINS": "https://a.example, https://b.example"}).cors_origins == (
        "https://a.example",
        "https://b.example",
    )


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just text"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "omni.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"omni\.yaml"):
        read({})


def test_a_local_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    first = secret_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first.get_secret_value()) == 64
    assert secret_file(path) == first


def test_what_a_providers_entry_names_is_taken_from_the_environment() -> None:
    found = read(
        {
            "AWS_REGION": "eu-west-1",
            "AWS_KEY": " ",
            "OPENAI_API_KEY": "sk-1",
            "OMNI_PROVIDER_AMAZON_BEDROCK_BASE_URL": "http://127.0.0.1:1",
            "OMNI_PROVIDER_AMAZON_BEDROCK_BILLS_AFTER_CANCEL": "false",
        }
    )
    variables = found.provider_variables["amazon-bedrock"]
    assert {name: value.get_secret_value() for name, value in variables.items()} == {
        "region": "eu-west-1"
    }
    assert found.provider_base_urls == {"amazon-bedrock": "http://127.0.0.1:1"}
    assert found.provider_bills_after_cancel == {"amazon-bedrock": False}
    assert "eu-west-1" not in str(found.redacted())


def test_a_file_of_providers_is_found_in_the_working_folder_or_named(tmp_path: Path) -> None:
    assert read({}).providers_file is None
    (tmp_path / "providers.yaml").write_text("[]")
    assert read({}).providers_file == Path("providers.yaml")
    assert read({"OMNI_PROVIDERS_FILE": "own.yaml"}).providers_file == Path("own.yaml")


def test_a_file_of_providers_that_cannot_be_used_is_told_with_every_other_fault() -> None:
    def broken(own: Path | None) -> dict[str, ProviderVariables]:
        raise ValueError(f"{own}: no list")

    with pytest.raises(SettingsError) as refused:
        read_settings(
            {"OMNI_PROVIDERS_FILE": "own.yaml", "OMNI_WORKERS": "0"}, provider_variables=broken
        )
    assert "own.yaml: no list" in str(refused.value)
    assert "OMNI_WORKERS" in str(refused.value)


def test_the_page_of_settings_names_every_one() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    plain = {name for name in Settings.model_fields if not name.startswith("provider_")}
    missing = [name for name in plain if f"| `OMNI_{name.upper()}` |" not in page]
    assert missing == ["database_url"], "DATABASE_URL has no prefix; all others belong there"
