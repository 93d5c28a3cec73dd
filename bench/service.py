"""Everything that a bench measures, started for it: database, provider, service, callers.

The service is what an operator runs: `omni-grpc serve` with one worker, on a PostgreSQL with fsync
on, prepared by the commands that an operator would use. All of it ends with the bench.
"""

import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec
from load import Found, Load
from machine import ProcessTree, busy_s

from omni_grpc.storage import EmbeddedPostgres

Transport = Literal["rest", "grpc"]

HERE: Final = Path(__file__).parent
GRANT_USD: Final = "100000"
MODEL: Final = "openai/gpt-4o-mini"
START_SECONDS_MAX: Final = 60.0
END_SECONDS_MAX: Final = 120.0


def plain_environment() -> dict[str, str]:
    """The environment without settings and keys that would change what is measured."""
    ours_or_theirs = ("OMNI_", "LITELLM_", "PORTKEY_", "DATABASE_URL", "REDIS_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours_or_theirs) and not name.endswith("_API_KEY")
    } | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One load, and what its target and the database used meanwhile."""

    name: str
    transport: Transport
    load: Load
    found: Found
    server_cpu_s: float
    postgres_cpu_s: float
    memory_mb: float
    foreign_cores: float
    """Cores that processes used which are none of the bench's."""

    @property
    def server_us(self) -> float:
        """Processor time of the target for one call, in microseconds."""
        return 1e6 * self.server_cpu_s / max(1, self.found.calls)

    @property
    def postgres_us(self) -> float:
        """Processor time of PostgreSQL for one call, in microseconds."""
        return 1e6 * self.postgres_cpu_s / max(1, self.found.calls)


class Target(msgspec.Struct, frozen=True):
    """What can be called: the service, or the provider without it."""

    name: str
    pid: int
    ports: dict[Transport, int]
    api_key: str = "none"
    model: str = MODEL
    headers: dict[str, str] = {}


class Bench:
    """The things of one bench; a context manager that ends them all."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._logs = 0

    def __enter__(self) -> Self:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
        temporary = tempfile.TemporaryDirectory(prefix="omni-bench-", ignore_cleanup_errors=True)
        self.folder = Path(self._stack.enter_context(temporary))
        try:
            self.provider = self._start_provider()
            self._start_postgres()
            self._prepare()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # --- what is called -------------------------------------------------------------------------
    def serve(self, *, billed: bool = True) -> Target:
        """Starts the service with one worker."""
        ready = self.folder / f"ready-{secrets.token_hex(4)}.json"
        command = [self._omni] if billed else [sys.executable, str(HERE / "unbilled.py")]
        command += ["serve", "--workers", "1", "--ready-file", str(ready)]
        command += ["--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0"]
        process = self.start(command, self.environment, ready.with_suffix(".log"))
        deadline = time.monotonic() + START_SECONDS_MAX
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"The service did not start:\n{ready.with_suffix('.log').read_text()}"
                )
            time.sleep(0.02)
        facts = json.loads(ready.read_text())
        ports: dict[Transport, int] = {
            name: int(facts[name].rpartition(":")[2]) for name in ("rest", "grpc")
        }
        return Target("billed" if billed else "ledger off", process.pid, ports, self._api_key)

    def start(
        self, command: Sequence[str], environment: dict[str, str], log: Path
    ) -> "subprocess.Popen[bytes]":
        """Starts a process that ends with the bench; what it says goes to `log`."""
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=file, stderr=file
            )
        self._stack.callback(_end, process)
        return process

    def measure(self, name: str, target: Target, *loads: tuple[Transport, Load]) -> list[Measured]:
        """Runs loads at once against a target; what it used is told of all of them together."""
        generators = [_Generator(target, transport, load) for transport, load in loads]
        server, postgres, ours = ProcessTree(target.pid), self._postgres, ProcessTree(os.getpid())
        for generator in generators:
            generator.await_word("ready")
        for generator in generators:
            generator.go()
        for generator in generators:
            generator.await_word("measuring")
        before = (server.cpu_s(), postgres.cpu_s(), busy_s(), ours.cpu_s(), time.monotonic())
        for generator in generators:
            generator.await_word("measured")
        after = (server.cpu_s(), postgres.cpu_s(), busy_s(), ours.cpu_s(), time.monotonic())
        memory_mb = server.memory_mb()
        server_s, postgres_s, busy, ours_s, seconds = (
            end - start for start, end in zip(before, after, strict=True)
        )
        return [
            Measured(
                name=name,
                transport=generator.transport,
                load=generator.load,
                found=generator.found(),
                server_cpu_s=server_s,
                postgres_cpu_s=postgres_s,
                memory_mb=memory_mb,
                foreign_cores=max(0.0, (busy - ours_s - postgres_s) / seconds),
            )
            for generator in generators
        ]

    # --- the books ------------------------------------------------------------------------------
    def balance_nanousd(self) -> int:
        """What the account has."""
        return int(self.omni_json("credits", "balance", "--org", "bench")["posted_nanousd"])

    def prices_nanousd(self) -> tuple[int, int]:
        """The prices of a million prompt and completion tokens."""
        wanted = f'model = "{MODEL}"'
        offer = self.omni_json("catalog", "list", "--filter", wanted)[0]
        return tuple(  # type: ignore[return-value]  # two
            round(float(offer[f"{kind}_usd_per_mtok"]) * 1e9) for kind in ("prompt", "completion")
        )

    def doctor(self) -> str:
        """What the product's own check of the books says; empty if it finds nothing wrong."""
        ran = subprocess.run(
            [self._omni, "doctor"],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return "" if ran.returncode == 0 else ran.stdout + ran.stderr

    # --- starting -------------------------------------------------------------------------------
    def _start_provider(self) -> Target:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "mock_provider.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(_end, process)
        if process.stdout is None:
            raise RuntimeError("the provider was started with a pipe")
        port = int(process.stdout.readline())
        return Target("provider", process.pid, {"rest": port})

    def _start_postgres(self) -> None:
        server = EmbeddedPostgres(self.folder / "postgres")
        self._stack.enter_context(server)
        self.database_url = server.url()
        pid_file = self.folder / "postgres" / "cluster" / "postmaster.pid"
        self._postgres = ProcessTree(int(pid_file.read_text().split()[0]))
        self.postgres_version = (pid_file.parent / "PG_VERSION").read_text().strip()

    def _prepare(self) -> None:
        self._omni = str(Path(sys.executable).with_name("omni-grpc"))
        self.environment = plain_environment() | {
            "DATABASE_URL": self.database_url,
            "OMNI_KEY_HASH_SECRET": secrets.token_hex(32),
            "OMNI_JOURNAL_DIR": str(self.folder / "journal"),
            "OMNI_LOG_LEVEL": "warning",
            "OPENAI_API_KEY": "bench",
            "OMNI_PROVIDER_OPENAI_BASE_URL": f"http://127.0.0.1:{self.provider.ports['rest']}/v1",
        }
        self.omni_json("migrate")
        self.omni_json("keys", "bootstrap")
        self.omni_json("orgs", "create", "bench")
        self.omni_json("credits", "grant", "--org", "bench", "--usd", GRANT_USD)
        self._api_key = self.omni_json("keys", "create", "--org", "bench")["secret"]

    def omni_json(self, *arguments: str) -> Any:
        """What a command of the product says."""
        ran = subprocess.run(
            [self._omni, *arguments, "--json"],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise SystemExit(f"omni-grpc {' '.join(arguments)} failed:\n{ran.stdout}{ran.stderr}")
        return json.loads(ran.stdout)


class _Generator:
    """A load generator's process."""

    def __init__(self, target: Target, transport: Transport, load: Load) -> None:
        self.transport = transport
        self.load = msgspec.structs.replace(
            load,
            port=target.ports[transport],
            api_key=target.api_key,
            model=target.model,
            headers=target.headers,
        )
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / f"load_{transport}.py"), msgspec.json.encode(self.load)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def await_word(self, word: str) -> None:
        """Waits until the generator says where it is."""
        said = self._line()
        if said != word:
            raise SystemExit(f"A load generator said {said!r} where {word!r} was due.")

    def go(self) -> None:
        """Lets it begin."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    def found(self) -> Found:
        """What it found, at its end."""
        found = msgspec.json.decode(self._line(), type=Found)
        self._process.wait(END_SECONDS_MAX)
        return found

    def _line(self) -> str:
        return self._process.stdout.readline().rstrip("\n") if self._process.stdout else ""


def _end(process: "subprocess.Popen[Any]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
