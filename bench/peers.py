"""Runs LiteLLM's proxy through the same load as the service, in the same run.

It is installed from PyPI, pinned, into an environment of its own below the user's cache folder, and
configured as its documentation asks for speed: one worker, no database, no logging, the same
provider. It bills nothing; the service bills every call. Both are asked in turn, so that a machine
that grows slower meanwhile does so for both.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import report
import structlog
from machine import describe
from rich.table import Table
from scenarios import FULL, QUICK
from service import Bench, Measured, Target

LITELLM: Final = "litellm[proxy]==1.106.0"
START_SECONDS_MAX: Final = 120.0
MODEL: Final = "gpt-4o-mini"
LOADS: Final = (("unary", 64), ("stream", 16))
FLOOR: Final = 20.0
GOAL: Final = 40.0

_CONFIG: Final = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{base_url}", api_key: bench}}
litellm_settings: {{telemetry: false, set_verbose: false}}
general_settings: {{disable_spend_logs: true}}
"""


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(prog="bench/peers.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about half a minute of load")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    console = report.console()
    with console.status(f"Installing {LITELLM} (some minutes, once)"):
        program = _installed()
    with Bench() as bench:
        machine = describe(bench.folder, bench.postgres_version)
        ours = bench.serve()
        with console.status("Starting LiteLLM's proxy"):
            theirs = _litellm(bench, program)
        found: dict[tuple[str, str], list[Measured]] = {}
        for round_ in range(options.rounds):
            for kind, callers in LOADS:
                for target in (ours, theirs):
                    with console.status(f"round {round_ + 1}: {target.name}, {kind}, {callers}"):
                        load = plan.load(kind, callers)  # type: ignore[arg-type]  # of Kind
                        (row,) = bench.measure(kind, target, ("rest", load))
                    found.setdefault((target.name, kind), []).append(row)
    console.print(" · ".join(f"{name} {value}" for name, value in machine.items()))
    _show(console, found, ours.name, theirs.name)


def _installed() -> Path:
    """LiteLLM's program, in an environment of its own."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "omni-grpc-bench" / LITELLM.replace("[", "-").replace("]", "-")
    program = folder / "bin" / "litellm"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run(
            [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", LITELLM], check=True
        )
    return program


def _litellm(bench: Bench, program: Path) -> Target:
    config = bench.folder / "litellm.yaml"
    base_url = f"http://127.0.0.1:{bench.provider.ports['rest']}/v1"
    config.write_text(_CONFIG.format(model=MODEL, base_url=base_url))
    port = _free_port()
    log = bench.folder / "litellm.log"
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")
    } | {
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # its own copy: there may be no network
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # spares it a key check
    }
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    process = bench.start([*command, "--num_workers", "1"], environment, log)
    until = time.monotonic() + START_SECONDS_MAX
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"LiteLLM did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)
    return Target("LiteLLM", process.pid, {"rest": port}, "none", MODEL)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _show(
    console: "report.Console",
    found: dict[tuple[str, str], list[Measured]],
    ours: str,
    theirs: str,
) -> None:
    table = Table("REST load", "callers", "omni-grpc /s", "LiteLLM /s", "ratio", "floor", "goal")
    for kind, callers in LOADS:
        rates = {
            name: [row.found.calls / row.found.seconds for row in found[name, kind]]
            for name in (ours, theirs)
        }
        ratio = statistics.median(
            a / b for a, b in zip(rates[ours], rates[theirs], strict=True) if b
        )
        bounds = (f"{FLOOR:g}x", f"{GOAL:g}x") if kind == "unary" else ("", "")
        table.add_row(
            kind,
            str(callers),
            f"{statistics.median(rates[ours]):,.0f}",
            f"{statistics.median(rates[theirs]):,.1f}",
            f"{ratio:.1f}x",
            *bounds,
        )
    console.print(table)
    for rows in found.values():
        errors = {name: count for row in rows for name, count in row.found.errors.items()}
        if errors:
            console.print(f"errors: {errors}")


if __name__ == "__main__":
    main()
