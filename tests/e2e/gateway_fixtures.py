"""Fixtures for tests against a real gateway; a folder's conftest imports those it wants."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gateway import KEY_HASH_SECRET, Gateway, SimulatorThread, Tenant, running
from nursed import run
from patient_database import patient_database
from quick_clusters import MIGRATED, quick_server

from omni_grpc.audit import AuditLog, AuditStore
from omni_grpc.billing.invariants import check
from omni_grpc.catalog import CatalogStore
from omni_grpc.cli.sources import all_facts, seed_catalog
from omni_grpc.identity import Identity
from omni_grpc.storage import Database, EmbeddedPostgres

DIALECTS_FILE = """
- id: deep
  dialect: responses
  key_env: DEEP_API_KEY
  bills_after_cancel: false
  models:
    - id: thinker
      context_tokens_max: 128000
      output_tokens_max: 16384
      inputs: [text, image, file]
      tools: true
      structured_output: true
      reasoning: true
      usd_per_million: {prompt: "1", cached_read: "0.1", completion: "4"}
"""
"""A provider of a dialect that none of the package's has."""


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with quick_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> tuple[str, str]:
    """A migrated, seeded database with an operator, to be copied; and the admin key in it."""
    url = postgres.create_database("e2e_template", template=MIGRATED)

    async def fill() -> str:
        async with patient_database(url, "tests") as database:
            await seed_catalog(database, all_facts(None))
            identity = Identity(database, key_hash_secret=KEY_HASH_SECRET.encode())
            return (await identity.bootstrap()).secret

    return "e2e_template", asyncio.run(fill())


@pytest.fixture(scope="session")
def simulator() -> Iterator[SimulatorThread]:
    thread = SimulatorThread()
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture(scope="session")
def gateway(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """One gateway for all tests that do not break it; its books are checked at the end."""
    name, admin_key = template
    folder = tmp_path_factory.mktemp("gateway")
    url = postgres.create_database(f"e2e_{folder.name}", template=name)
    with running(Gateway(url, simulator.base_url, folder, admin_key)) as started:
        yield started
    check_books(url, folder)


@pytest.fixture(scope="session")
def every_gateway(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway all of whose providers are at the simulator."""
    name, admin_key = template
    folder = tmp_path_factory.mktemp("dialects")
    url = postgres.create_database(f"e2e_{folder.name}", template=name)
    (folder / "providers.yaml").write_text(DIALECTS_FILE)
    origin = simulator.base_url.removesuffix("/v1")
    environment = {
        "OPENAI_API_KEY": "k",
        "OMNI_PROVIDER_OPENAI_BASE_URL": f"{origin}/v1",
        "AZURE_API_KEY": "k",
        "OMNI_PROVIDER_AZURE_BASE_URL": f"{origin}/openai",
        "DEEP_API_KEY": "k",
        "OMNI_PROVIDER_DEEP_BASE_URL": f"{origin}/v1",
        "ANTHROPIC_API_KEY": "k",
        "OMNI_PROVIDER_ANTHROPIC_BASE_URL": origin,
        "GEMINI_API_KEY": "k",
        "OMNI_PROVIDER_GOOGLE_BASE_URL": f"{origin}/v1beta",
        "COHERE_API_KEY": "k",
        "OMNI_PROVIDER_COHERE_BASE_URL": origin,
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "AKIATEST",  # what the simulator takes for the secret
        "OMNI_PROVIDER_AMAZON_BEDROCK_BASE_URL": origin,
    }
    made = Gateway(url, simulator.base_url, folder, admin_key, environment=environment)
    migrated(made)
    with running(made) as started:
        yield started
    check_books(url, folder)


def migrated(gateway: Gateway) -> None:
    """The catalog knows the models of the operator's own file."""
    ended = run(
        "migrate",
        environment=os.environ | {"DATABASE_URL": gateway.database_url},
        folder=gateway.folder,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture
def own_gateway(
    postgres: EmbeddedPostgres,
    template: tuple[str, str],
    simulator: SimulatorThread,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Gateway]:
    """A gateway of the test's own, not started yet; its books are checked at the end."""
    name, admin_key = template
    database = f"e2e_{abs(hash(request.node.nodeid)):x}"
    url = postgres.create_database(database, template=name)
    made = Gateway(url, simulator.base_url, tmp_path, admin_key)
    yield made
    made.stop()
    check_books(url, tmp_path)
    postgres.drop_database(database)


@pytest.fixture
def tenant(gateway: Gateway) -> Tenant:
    return gateway.tenant()


def check_books(url: str, folder: Path) -> None:
    """What `omni-grpc doctor` checks of books and audit logs finds nothing.

    In this process: the command itself takes seconds to start, after each of a hundred gateways.
    """

    async def found() -> list[object]:
        async with Database(url, application_name="the tests' doctor") as database:
            wrong: list[object] = list(await check(database, prices=CatalogStore(database).prices))
            logs = AuditLog(AuditStore(database))
            async for org_id, verdict in logs.verify_all():
                if verdict.first_broken is not None:
                    wrong.append((org_id, verdict))
            return wrong

    with ThreadPoolExecutor(1) as pool:  # some tests run in a loop of their own
        assert pool.submit(asyncio.run, found()).result(60) == []
