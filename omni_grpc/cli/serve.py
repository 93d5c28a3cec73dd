"""`omni-grpc serve`: the service alone, for machines that others depend on."""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog
import uvloop

from omni_grpc.cli.opening import journal_folder, provider_variables, settings_of, url_of
from omni_grpc.cli.workers import run_workers
from omni_grpc.logs import configure_logs
from omni_grpc.providers import ProviderSettingsError, load_specs
from omni_grpc.settings import Settings, SettingsError, read_settings
from omni_grpc.storage import MigrationError, pending, volatile_file_system

log = structlog.get_logger(__name__)


def run_serve(
    *, overrides: dict[str, object], ready_file: Path | None, config: Path | None
) -> None:
    """Serves until it is told to stop.

    Raises:
        SettingsError: with everything that is missing.
    """
    settings = _complete_settings(config, overrides)
    settings = settings.model_copy(update={"journal_dir": journal_folder(settings)})
    configure_logs(settings)
    log.info("starting", **settings.redacted())
    _warn_of_volatile_journal(journal_folder(settings))
    _tell_of_tls(settings)
    _check_schema(url_of(settings))

    scheme = "http" if settings.tls_cert_file is None else "https"

    def ready(grpc_port: int, rest_port: int) -> None:
        log.info("listening", grpc_port=grpc_port, rest_port=rest_port, tls=scheme == "https")
        if ready_file is not None:
            facts = {
                "grpc": f"{settings.grpc_addr.rpartition(':')[0]}:{grpc_port}",
                "rest": f"{scheme}://{settings.rest_addr.rpartition(':')[0]}:{rest_port}",
                "pid": os.getpid(),
            }
            beside = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
            beside.write_bytes(msgspec.json.encode(facts))
            beside.replace(ready_file)

    uvloop.run(run_workers(settings, ready))


def _warn_of_volatile_journal(folder: Path) -> None:
    """What a kill leaves behind must survive what kills."""
    if kind := volatile_file_system(folder):
        log.warning(
            "journal_on_volatile_file_system",
            folder=str(folder),
            file_system=kind,
            advice="set OMNI_JOURNAL_DIR to a folder on a disk that survives a restart",
        )


def _tell_of_tls(settings: Settings) -> None:
    """Keys and answers must not cross a network in plain text without somebody knowing."""
    if settings.tls_cert_file is not None:
        log.info("tls", on=True, clients_need_certificates=settings.tls_client_ca_file is not None)
        return
    beyond = [at for at in (settings.grpc_addr, settings.rest_addr) if not _is_loopback(at)]
    if beyond:
        log.warning(
            "plain_text_beyond_this_machine",
            addresses=beyond,
            advice="set OMNI_TLS_CERT_FILE and OMNI_TLS_KEY_FILE, or put TLS in front",
        )
    else:
        log.info("tls", on=False)


def _is_loopback(address: str) -> bool:
    """Whether host:port is reached from this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name, which may mean any address
        return False


def _complete_settings(config: Path | None, overrides: Mapping[str, object]) -> Settings:
    """The settings, with everything that serving needs.

    Raises:
        SettingsError: with all that is wrong and all that is missing.
    """
    try:
        settings = settings_of(config, overrides)
    except SettingsError as error:
        raise SettingsError([*error.faults, *_missing_beside(error.faults, config)]) from None
    if faults := _missing(settings):
        raise SettingsError(faults)
    return settings


def _missing_beside(faults: Sequence[str], config: Path | None) -> list[str]:
    """What is missing apart from what is wrong, which would hide it until it is mended."""
    wrong = {fault.partition(":")[0] for fault in faults}
    right = {name: value for name, value in os.environ.items() if name not in wrong}
    try:
        settings = read_settings(right, config=config, provider_variables=provider_variables)
    except SettingsError:  # the file is at fault, and may have held what seems to be missing
        return []
    return [fault for fault in _missing(settings) if fault.partition(":")[0] not in wrong]


def _missing(settings: Settings) -> list[str]:
    """Everything that is missing, for people."""
    faults: list[str] = []
    if settings.database_url is None:
        faults.append("DATABASE_URL: is missing: the PostgreSQL database (15 or newer) to use")
    if settings.key_hash_secret is None:
        faults.append(
            "OMNI_KEY_HASH_SECRET: is missing: 32 bytes or more, kept for as long as the API keys "
            "shall work; make one with: openssl rand -hex 32"
        )
    faults += _missing_for_callers(settings)
    from omni_grpc.wiring.buying import check_payments
    from omni_grpc.wiring.configured import configured_providers
    from omni_grpc.wiring.credentials import master_keys_of
    from omni_grpc.wiring.listening import certificates_of

    for read in (certificates_of, master_keys_of, check_payments):
        try:
            read(settings)
        except SettingsError as error:
            faults += error.faults
    try:
        configured = configured_providers(settings).ids()
    except ProviderSettingsError as error:
        faults += error.faults
    else:
        if not configured:
            keys = ", ".join(
                spec.key_env
                for spec in load_specs(settings.providers_file)
                if spec.key_env and spec.key_required
            )
            faults.append(f"no provider is configured: set at least one of {keys}")
    return faults


def _missing_for_callers(settings: Settings) -> list[str]:
    """What is missing to know who calls, in the ways that were set."""
    faults: list[str] = []
    if settings.oidc_issuer and not settings.oidc_audience:
        faults.append(
            "OMNI_OIDC_AUDIENCE: is missing: what the issuer's tokens must be for (their `aud`); "
            "without it tokens for other services would sign in here"
        )
    if (
        settings.wallet_sign_in
        and not settings.sign_in_domain
        and not _is_loopback(settings.rest_addr)
    ):
        faults.append(
            "OMNI_WALLET_DOMAIN: is missing: the host that wallets sign in to, such as "
            "api.example.com; a request's own word for it could be another service's"
        )
    return faults


def _check_schema(url: str) -> None:
    """Refuses a database that is not migrated; one that is away may come later."""
    try:
        waiting = pending(url)
    except MigrationError as error:
        if error.__cause__ is None:
            raise
        log.warning("database_away_at_start", error=str(error))
        return
    if waiting:
        names = ", ".join(f"{found.number:04d}_{found.name}" for found in waiting)
        raise MigrationError(
            f"The database lacks {len(waiting)} migrations ({names}). Run: omni-grpc migrate"
        )
