"""Runs workers until it is told to stop: one in this process, or several that share the ports.

With several, this process only watches: a worker that dies is started again, and the others go on.
Workers are spawned, never forked, since gRPC does not survive a fork; each stops by itself when
this process is gone, so that no orphan holds the ports.
"""

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

import structlog
import uvloop

from omni_grpc.core.limits import DRAIN_SECONDS_MAX
from omni_grpc.logs import configure_logs
from omni_grpc.settings import Settings

log = structlog.get_logger(__name__)

RESTART_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Pauses before a worker is started again; a worker that ran for a minute starts anew at once."""

STEADY_SECONDS: Final = 60.0
STOP_SECONDS_MAX: Final = 2 * DRAIN_SECONDS_MAX + 30.0
START_SECONDS_MAX: Final = 60.0

Ready = Callable[[int, int], None]
"""Told the gRPC and the REST port once every worker listens."""


async def run_workers(settings: Settings, ready: Ready) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Raises:
        OSError: an address cannot be bound.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for received in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(received, stopping.set)
    if settings.workers == 1:
        await _run_here(settings, ready, stopping)
    else:
        supervisor = _Supervisor(settings, ready)
        loop.add_signal_handler(signal.SIGHUP, supervisor.wake)
        await supervisor.run(stopping)


async def _run_here(settings: Settings, ready: Ready, stopping: asyncio.Event) -> None:
    worker = _worker(settings, share_port=False)
    await worker.start()
    ready(worker.grpc_port, worker.rest_port)
    await stopping.wait()
    await worker.stop()


def _worker(settings: Settings, *, share_port: bool):  # type: ignore[no-untyped-def]  # noqa: ANN202 - wiring.Worker, imported late so that metrics see their folder
    from omni_grpc.wiring.configured import configured_providers
    from omni_grpc.wiring.worker import Worker

    return Worker(settings, configured_providers(settings), share_port=share_port)


class _Supervisor:
    """Several workers on one pair of ports."""

    def __init__(self, settings: Settings, ready: Ready) -> None:
        self._ready = ready
        self._context = multiprocessing.get_context("spawn")
        # Bound but not listening, these keep the ports (also those chosen by port 0) between the
        # death of one worker and the start of the next, and receive nothing themselves.
        self._reserved = [_reserve(settings.grpc_addr), _reserve(settings.rest_addr)]
        self._settings = settings.model_copy(
            update={
                "grpc_addr": _address(self._reserved[0]),
                "rest_addr": _address(self._reserved[1]),
            }
        )
        self._processes: set[SpawnProcess] = set()
        self._metrics_folder = tempfile.mkdtemp(prefix="omni-grpc-metrics-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._metrics_folder

    async def run(self, stopping: asyncio.Event) -> None:
        """Starts all, tells when they listen, keeps them alive, stops all."""
        started = [asyncio.Event() for _ in range(self._settings.workers)]
        keepers = [
            asyncio.create_task(self._keep(number, event)) for number, event in enumerate(started)
        ]
        try:
            if await _all_set(started, stopping):
                self._ready(*(reserved.getsockname()[1] for reserved in self._reserved))
                await stopping.wait()
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            for reserved in self._reserved:
                reserved.close()
            shutil.rmtree(self._metrics_folder, ignore_errors=True)

    def wake(self) -> None:
        """Tells every worker to read the operator's files again."""
        for process in self._processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)

    async def _keep(self, number: int, started: asyncio.Event) -> None:
        """Keeps one worker running; cancelled, it stops it in order."""
        deaths = 0
        loop = asyncio.get_running_loop()
        while True:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(
                target=_run_worker, args=(self._settings, theirs), name=f"omni-grpc worker {number}"
            )
            began = loop.time()
            process.start()
            self._processes.add(process)
            theirs.close()
            try:
                await self._watch(process, ours, started)
            except asyncio.CancelledError:
                await _stop(process)
                raise
            finally:
                ours.close()
                self._processes.discard(process)
                self._forget_metrics(process)
            deaths = 0 if loop.time() - began > STEADY_SECONDS else deaths + 1
            pause = RESTART_SECONDS[min(deaths, len(RESTART_SECONDS)) - 1] if deaths else 0.0
            log.error("worker_died", worker=number, exit_code=process.exitcode, restart_in_s=pause)
            await asyncio.sleep(pause)

    async def _watch(self, process: SpawnProcess, ours: Connection, started: asyncio.Event) -> None:
        """Waits for the worker's word that it listens, then for its end."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(process.sentinel, ended.set)
        spoke = asyncio.Event()
        loop.add_reader(ours.fileno(), spoke.set)
        try:
            await asyncio.wait(
                {asyncio.ensure_future(spoke.wait()), asyncio.ensure_future(ended.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            loop.remove_reader(ours.fileno())
            if spoke.is_set() and not ended.is_set():
                with contextlib.suppress(EOFError, OSError):
                    if ours.recv():
                        started.set()
            await ended.wait()
        finally:
            loop.remove_reader(process.sentinel)
            loop.remove_reader(ours.fileno())
        process.join()

    def _forget_metrics(self, process: SpawnProcess) -> None:
        from prometheus_client import multiprocess

        if process.pid is not None:
            multiprocess.mark_process_dead(process.pid, self._metrics_folder)  # type: ignore[no-untyped-call]  # untyped there


async def _all_set(started: Sequence[asyncio.Event], stopping: asyncio.Event) -> bool:
    """Waits until every worker listens; False if it is told to stop before that.

    Raises:
        OSError: they do not come up.
    """

    async def all_listen() -> None:
        for event in started:
            await event.wait()

    async def told_to_stop() -> None:
        await stopping.wait()

    listening, told = asyncio.create_task(all_listen()), asyncio.create_task(told_to_stop())
    done, waiting = await asyncio.wait(
        {listening, told}, timeout=START_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
    )
    for task in waiting:
        task.cancel()
    if not done:
        raise OSError(
            f"the workers do not listen after {START_SECONDS_MAX:.0f} s; their log says why"
        )
    return told not in done


async def _stop(process: SpawnProcess) -> None:
    process.terminate()
    loop = asyncio.get_running_loop()
    ended = await loop.run_in_executor(None, _joined, process)
    if not ended:
        log.error("worker_killed", pid=process.pid)
        process.kill()
        process.join()


def _joined(process: SpawnProcess) -> bool:
    process.join(STOP_SECONDS_MAX)
    return process.exitcode is not None


def _run_worker(settings: Settings, parent: Connection) -> None:
    """The main function of a spawned worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the worker listens to it
    configure_logs(settings)

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        worker = _worker(settings, share_port=True)
        await worker.start()
        parent.send(True)
        loop.add_reader(parent.fileno(), stopping.set)  # readable only when the parent is gone
        await stopping.wait()
        loop.remove_reader(parent.fileno())
        await worker.stop()

    uvloop.run(serve())


def _reserve(address: str) -> socket.socket:
    """A socket on a port that nobody else listens on.

    Two services that share their ports among workers would else share them with each other.
    """
    from omni_grpc.wiring.listening import bind

    bind(address, share=False).close()
    return bind(address, share=True)


def _address(reserved: socket.socket) -> str:
    host, port = reserved.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
