"""Reads the settings once at start, from the command line, the environment and `omni.yaml`.

Every fault is told at once, by the name that the operator set, with what would be right. Nothing
reads the environment anywhere else.
"""

import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import yaml
from pydantic import (
    SecretStr,
    ValidationError,
)

from omni_grpc.settings.model import SECRET_BYTES_MIN, Settings

PREFIX: Final = "OMNI_"
CONFIG_FILE: Final = "omni.yaml"
PROVIDERS_FILE: Final = "providers.yaml"
MODELS_FILE: Final = "models.yaml"
POLICIES_FILE: Final = "policies.yaml"

_PROVIDER: Final = re.compile(r"OMNI_PROVIDER_([A-Z][A-Z0-9_]*)_(?:(BASE_URL)|BILLS_AFTER_CANCEL)")
"""A provider's id stands there in capitals, and with `_` for `-`."""


class ProviderVariables(NamedTuple):
    """The variables that a provider takes its values from: its key, and others by their names."""

    key: str | None
    others: Mapping[str, str]
    endpoints: Mapping[str, "ProviderVariables"] = MappingProxyType({})
    """Of each endpoint that has some of its own, by its name."""


class SettingsError(Exception):
    """The settings cannot be used; the message lists every fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(f"  - {fault}" for fault in faults))
        self.faults = faults


def read_settings(
    environment: Mapping[str, str],
    *,
    config: Path | None = None,
    provider_variables: Callable[[Path | None], Mapping[str, ProviderVariables]],
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """The settings of this process: command line over environment over file.

    Args:
        environment: normally os.environ.
        config: the YAML file; None reads omni.yaml of the working folder, if there is one.
        provider_variables: from which variables each provider takes its key and its other values,
            by provider id, for the operator's own file of providers; raises ValueError where that
            file cannot be used.
        overrides: what the command line gave; None values are left out.

    Raises:
        SettingsError: with every fault at once.
    """
    faults: list[str] = []
    values: dict[str, Any] = _from_file(config, faults)
    names: dict[str, str] = {name: f"{CONFIG_FILE}: {name}" for name in values}
    _from_environment(environment, values, names, faults)
    if "providers_file" not in values and Path(PROVIDERS_FILE).exists():
        values["providers_file"] = PROVIDERS_FILE
    if "policies_file" not in values and Path(POLICIES_FILE).exists():
        values["policies_file"] = POLICIES_FILE
    if "models_file" not in values and Path(MODELS_FILE).exists():
        values["models_file"] = MODELS_FILE
    try:
        own = values.get("providers_file")
        known = provider_variables(None if own is None else Path(str(own)))
    except ValueError as error:
        faults.append(str(error))
        known = {}
    _add_providers(environment, values, known)
    for name, given in (overrides or {}).items():
        if given is not None:
            values[name] = given
            names[name] = f"--{name.replace('_', '-')}"
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += [
            f"{names.get(str(fault['loc'][0]), str(fault['loc'][0]))}: "
            + fault["msg"].removeprefix("Value error, ")
            for fault in error.errors(include_input=False, include_url=False)
        ]
    if faults:
        raise SettingsError(faults)
    return settings


def _add_providers(
    environment: Mapping[str, str],
    values: dict[str, Any],
    known: Mapping[str, ProviderVariables],
) -> None:
    """What the environment says of each provider, under the provider's id."""
    _add_values(environment, values, ("provider_keys", "provider_variables"), known)
    names = ("provider_endpoint_keys", "provider_endpoint_variables")
    for provider, variables in known.items():
        own: dict[str, Any] = {name: _entry(values.get(name), provider) for name in names}
        _add_values(environment, own, names, variables.endpoints)
        for name in names:
            if own[name]:
                values[name] = {**(values.get(name) or {}), provider: own[name]}
    ids = {provider.replace("-", "_"): provider for provider in known}
    for name in ("provider_base_urls", "provider_bills_after_cancel"):
        if isinstance(values.get(name), dict):
            values[name] = {ids.get(key, key): value for key, value in values[name].items()}


def _entry(found: object, name: str) -> object:
    """What the file says under a name, where it is a mapping; what else it is is told later."""
    entry = found.get(name) if isinstance(found, dict) else None
    return entry if isinstance(entry, dict) else None


def _add_values(
    environment: Mapping[str, str],
    values: dict[str, Any],
    names: tuple[str, str],
    known: Mapping[str, ProviderVariables],
) -> None:
    """The keys and the other values of providers, or of one's endpoints, under these names."""
    keys: dict[str, Any] = {**(values.get(names[0]) or {})}
    others: dict[str, Any] = {**(values.get(names[1]) or {})}
    for owner, variables in known.items():
        if variables.key is not None and environment.get(variables.key, "").strip():
            keys[owner] = environment[variables.key]
        found = {
            name: environment[variable]
            for name, variable in variables.others.items()
            if environment.get(variable, "").strip()
        }
        if found:
            others[owner] = {**(others.get(owner) or {}), **found}
    values[names[0]], values[names[1]] = keys, others


_OTHERS: Final = frozenset({"OMNI_API_KEY", "OMNI_TEST_DATA"})
"""Variables with our prefix that are not the server's: the client's and the tests'."""


def _from_environment(
    environment: Mapping[str, str],
    values: dict[str, Any],
    names: dict[str, str],
    faults: list[str],
) -> None:
    for variable, value in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable == "DATABASE_URL":
            name = "database_url"
        elif match := _PROVIDER.fullmatch(variable):
            name = "provider_base_urls" if match[2] else "provider_bills_after_cancel"
            values[name] = {**(values.get(name) or {}), match[1].lower(): value}
            names[name] = variable
            continue
        elif not variable.startswith(PREFIX) or variable in _OTHERS:
            continue
        elif name not in Settings.model_fields or name.startswith("provider_"):
            faults.append(f"{variable}: there is no such setting{_near(name)}")
            continue
        values[name] = value
        names[name] = variable


def _from_file(config: Path | None, faults: list[str]) -> dict[str, Any]:
    path = config or Path(CONFIG_FILE)
    if config is None and not path.exists():
        return {}
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        faults.append(f"{path}: cannot be read: {error}")
        return {}
    if found is None:
        return {}
    if not isinstance(found, dict):
        faults.append(f"{path}: must be a mapping of settings to values")
        return {}
    return {str(name): value for name, value in found.items()}


def _near(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, Settings.model_fields, n=1)
    return f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""


def secret_file(path: Path) -> SecretStr:
    """The secret of a file that only its owner can read; made if it is not there.

    `dev` keeps its own key hash secret so; `serve` takes one from the settings.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return SecretStr(path.read_text("ascii").strip())
    secret = secrets.token_hex(SECRET_BYTES_MIN)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
    return SecretStr(secret)
