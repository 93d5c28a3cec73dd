"""A world that begins with the version of the service before, on its schema, to be upgraded.

The old version is the last commit before migration 6, as git has it; where there is no history
(in a copy of the sources alone) this world cannot be made.
"""

import asyncio
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from harness.servers import KEY_HASH_SECRET
from harness.world import ALIASES, Tenant, World
from omni_grpc.storage import migrate

OLD_COMMIT = "ae50478"
"""The last one whose newest migration is 0005."""

_FILL = """
import asyncio, json, sys
from omni_grpc.catalog import Alias, CatalogStore
from omni_grpc.cli.sources import SIMULATOR_ID, all_facts, seed_catalog
from omni_grpc.storage import Database

async def fill(url, aliases):
    facts = [one for one in all_facts(None) if one.provider == SIMULATOR_ID]
    async with Database(url, application_name="faults") as database:
        await seed_catalog(database, facts)
        store = CatalogStore(database)
        for name, targets in aliases.items():
            await store.set_alias(Alias(name=name, targets=tuple(targets)), actor="faults")

asyncio.run(fill(sys.argv[1], json.loads(sys.argv[2])))
"""

_OWN = """
import asyncio, json, sys
from omni_grpc.identity import Identity
from omni_grpc.storage import Database

async def own(url, secret, slug):
    async with Database(url, application_name="faults") as database:
        identity = Identity(database, key_hash_secret=secret.encode())
        if slug:
            org = await identity.create_org(slug)
            key = await identity.create_api_key(slug, created_by="faults")
            made = [org.account_id, org.org_id, key.secret]
        else:
            made = (await identity.bootstrap()).secret
        print(json.dumps(made))

asyncio.run(own(*sys.argv[1:]))
"""

_NEEDED = ("omni_grpc", "migrations", "gen", "clients")


@cache
def repository() -> Path | None:
    """The repository with the old version in its history; None if this is none."""
    for folder in Path(__file__).parents:
        if (folder / ".git").exists():
            found = subprocess.run(
                ["git", "-C", folder, "cat-file", "-e", f"{OLD_COMMIT}^{{commit}}"],
                capture_output=True,
                check=False,
            )
            return folder if found.returncode == 0 else None
    return None


class OldWorld(World):
    """Replica 0 is of the old version; the others wait for `upgrade`."""

    async def _migrate(self) -> None:
        """The schema of the old version, made by it."""
        await asyncio.to_thread(self._extract)
        await self._run_old("-m", "omni_grpc", "migrate")

    async def _fill_catalog(self) -> None:
        """As the old version does it: the new one's catalog needs tables that are not there yet."""
        await self._run_old("-c", _FILL, self.postgres.url(), json.dumps(ALIASES))

    async def _bootstrap(self) -> str:
        """By the old version, as all of `_OWN`: the new one's owners need the new tables."""
        made: str = json.loads(await self._run_old(*self._own("")))
        return made

    async def _tenant(self, slug: str) -> Tenant:
        return Tenant(slug, *json.loads(await self._run_old(*self._own(slug))))

    def _own(self, slug: str) -> tuple[str, ...]:
        return ("-c", _OWN, self.postgres.url(), KEY_HASH_SECRET, slug)

    async def _run_old(self, *arguments: str) -> bytes:
        """Runs it to its end; the last line that it printed."""
        environment = os.environ | {
            "PYTHONPATH": str(self._old_code),
            "DATABASE_URL": self.postgres.url(),
        }
        ran = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        printed, said = await ran.communicate()
        assert ran.returncode == 0, said.decode()
        return printed.strip().rpartition(b"\n")[2]

    @property
    def _old_code(self) -> Path:
        return self.folder / "old-code"

    def _extract(self) -> None:
        folder = repository()
        assert folder is not None, "there is no history to take the old version from"
        self._old_code.mkdir()
        packed = subprocess.run(
            ["git", "-C", folder, "archive", OLD_COMMIT, *_NEEDED], capture_output=True, check=True
        )
        subprocess.run(["tar", "-x", "-C", self._old_code], input=packed.stdout, check=True)

    async def _start_servers(self) -> None:
        first = self.servers[0]
        first.code = self._old_code
        first.environment = {
            "OMNI_KEY_HASH_SECRET": KEY_HASH_SECRET,
            "OMNI_PROVIDER_SIM_BASE_URL": self.provider.base_url,
        }
        await first.start()

    async def upgrade(self) -> None:
        """Brings the schema to that of the version under test; nothing is stopped for it."""
        await asyncio.to_thread(migrate, self.postgres.url())

    async def mend(self) -> None:
        await self.reconnect()
        await self.upgrade()
        await super().mend()
