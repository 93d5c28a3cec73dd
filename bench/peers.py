"""Measures other gateways beside ours: the same provider, the same callers, the same run.

Each is installed by its ordinary package manager into a folder of its own below the user's cache,
at the version that is pinned here, and runs as its own documentation says for one worker: without a
database, so it bills nothing, while ours does. The loads go by turns, ours and theirs, so that both
meet the same noise.
"""

import argparse
import http.client
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import report
from load import Kind, Load
from machine import describe
from scenarios import Results
from service import Bench, Measured, Target, plain_environment

LITELLM: Final = "litellm[proxy]==1.106.0"
"""1.107.0 is known as a compromised release; no version is taken unseen."""

PORTKEY: Final = "@portkey-ai/gateway@1.15.2"
LOADS: Final[tuple[tuple[Kind, int], ...]] = (("unary", 1), ("unary", 64), ("stream", 16))
START_SECONDS_MAX: Final = 120.0
FLOOR, GOAL = 20.0, 40.0


def main() -> None:
    """The script."""
    options = _options()
    console = report.console()
    peers = options.only or list(_PEERS)
    results = Results()
    with Bench() as bench, console.status("installing") as status:
        machine = describe(bench.folder, bench.postgres_version)
        targets = [bench.serve()]
        for peer in peers:
            status.update(f"installing and starting {peer}")
            started = _PEERS[peer](bench)
            if started is None:
                console.print(f"{peer} cannot be installed here; it is left out.", style="yellow")
            else:
                targets.append(started)
        for kind, callers in LOADS:
            for turn in range(options.rounds):
                for target in targets:
                    status.update(f"{kind}, {callers} callers, turn {turn + 1}: {target.name}")
                    load = Load(
                        kind=kind, callers=callers, port=0, warm_s=1.5, seconds=options.seconds
                    )
                    results.rows += bench.measure(target.name, target, ("rest", load))
    _show(results, [target.name for target in targets])
    ratio = _ratio(results, targets)
    if ratio is not None:
        console.print(
            f"REST unary, 64 callers, against LiteLLM: {ratio:.0f}x "
            f"(floor {FLOOR:.0f}x, goal {GOAL:.0f}x)"
        )
    console.print(" · ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    if options.json is not None:
        options.json.write_bytes(report.as_json(machine, results))


def _show(results: Results, names: Sequence[str]) -> None:
    columns = ("callers", "calls/s", "p50 ms", "p99 ms", "processor\nµs/call", "memory", "errors")
    shown = report.table("REST, one worker each (medians)", ("load", "gateway"), columns)
    shown.add_column("ours is")
    for kind, callers in LOADS:
        ours = _median(results, names[0], kind, callers, lambda row: row.found.per_second)
        for name in names:

            def of(value: Callable[[Measured], float], name: str = name) -> float:
                return _median(results, name, kind, callers, value)  # noqa: B023 - used at once

            rate = of(lambda row: row.found.per_second)
            shown.add_row(
                kind,
                name if name != names[0] else "omni-grpc, billed",
                str(callers),
                f"{rate:,.0f}",
                f"{of(lambda row: row.found.p50_ms):.2f}",
                f"{of(lambda row: row.found.p99_ms):.2f}",
                f"{of(lambda row: row.server_us):,.0f}",
                f"{of(lambda row: row.memory_mb):,.0f} MB",
                f"{of(lambda row: row.found.error_count):.0f}",
                "" if name == names[0] else f"{ours / max(rate, 0.01):.1f}x",
            )
        shown.add_section()
    report.console().print(shown)


def _ratio(results: Results, targets: Sequence[Target]) -> float | None:
    if all(target.name != LITELLM for target in targets):
        return None
    ours, theirs = (
        _median(results, name, "unary", 64, lambda row: row.found.per_second)
        for name in (targets[0].name, LITELLM)
    )
    return ours / theirs if theirs else None


def _median(
    results: Results, name: str, kind: str, callers: int, value: Callable[[Measured], float]
) -> float:
    return statistics.median(
        value(row)
        for row in results.rows
        if (row.name, row.load.kind, row.load.callers) == (name, kind, callers)
    )


# --- the peers ----------------------------------------------------------------------------------
def _litellm(bench: Bench) -> Target | None:
    folder = _cache() / LITELLM.replace("[proxy]==", "-")
    program = folder / "bin" / "litellm"
    if not _install(
        folder,
        lambda: venv.create(folder, with_pip=True),
        [str(folder / "bin" / "pip"), "install", "--quiet", "--only-binary", ":all:", LITELLM],
    ):
        return None
    config = bench.folder / "litellm.yaml"
    upstream = {
        "model": "openai/gpt-4o-mini",
        "api_base": f"http://127.0.0.1:{bench.provider.ports['rest']}/v1",
        "api_key": "bench",
    }
    models = [{"model_name": "gpt-4o-mini", "litellm_params": upstream}]
    config.write_text(json.dumps({"model_list": models}))  # JSON is YAML
    port, key = _free_port(), f"sk-{secrets.token_hex(32)}"
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environment = plain_environment() | {"LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": key}
    process = bench.start(
        [*command, "--num_workers", "1", "--telemetry", "False"],
        environment,
        bench.folder / "litellm.log",
    )
    _await_answer(process, port, "/health/liveliness", bench.folder / "litellm.log")
    return Target(LITELLM, process.pid, {"rest": port}, key, "gpt-4o-mini")


def _portkey(bench: Bench) -> Target | None:
    folder = _cache() / PORTKEY.replace("/", "-").strip("@")
    npm = shutil.which("npm")
    if npm is None or not _install(
        folder,
        lambda: folder.mkdir(parents=True),
        [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), PORTKEY],
    ):
        return None
    port = _free_port()
    server = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    process = bench.start(
        ["node", str(server), f"--port={port}", "--headless"],
        plain_environment() | {"NODE_ENV": "production"},
        bench.folder / "portkey.log",
    )
    _await_answer(process, port, "/", bench.folder / "portkey.log")
    headers = {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{bench.provider.ports['rest']}/v1",
    }
    return Target(PORTKEY, process.pid, {"rest": port}, model="gpt-4o-mini", headers=headers)


_PEERS: Final[dict[str, Callable[[Bench], Target | None]]] = {
    "litellm": _litellm,
    "portkey": _portkey,
}


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omni-grpc-bench"


def _install(folder: Path, make: Callable[[], object], command: Sequence[str]) -> bool:
    """Installs into a folder once; whether it is there."""
    done = folder / ".installed"
    if done.exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    make()
    ran = subprocess.run(command, env=plain_environment(), check=False)
    if ran.returncode == 0:
        done.touch()
    return ran.returncode == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _await_answer(process: "subprocess.Popen[bytes]", port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            connection.close()
    raise SystemExit(f"It did not start:\n{log.read_text()[-2000:]}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/peers.py", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(_PEERS))
    parser.add_argument("--rounds", type=int, default=2, help="turns of each load")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured part of a load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
