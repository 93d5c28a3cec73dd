"""Makes one server abnormal before its first line runs: its clock, its disk.

Python imports a module of this name at its start. It is put on the path of single servers by the
fault harness, which tells what is wanted in variables of the environment.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

_skew_s = float(os.environ.get("FAULTS_CLOCK_SKEW_S", "0"))
_sync_ms = float(os.environ.get("FAULTS_SYNC_MS", "0"))
_sync_log = os.environ.get("FAULTS_SYNC_LOG", "")


def _shift_clock() -> None:
    """The wall clock is off; the monotonic one is not, as after a wrong setting of the time."""
    real_time, real_time_ns, real_gmtime = time.time, time.time_ns, time.gmtime
    time.time = lambda: real_time() + _skew_s
    time.time_ns = lambda: real_time_ns() + round(_skew_s * 1e9)
    time.gmtime = lambda *at: real_gmtime(*at) if at else real_gmtime(time.time())
    from omni_grpc.core.clock import SystemClock

    SystemClock.now = lambda self: datetime.now(UTC) + timedelta(seconds=_skew_s)


def _slow_disk() -> None:
    """Syncs take long, and what they made durable is written down, for the loss of the rest."""
    real = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        time.sleep(_sync_ms / 1e3)
        real(descriptor)
        if _sync_log:
            with Path(_sync_log).open("a", encoding="utf-8") as log:
                log.write(f"{size} {path}\n")

    os.fdatasync = fdatasync


if _skew_s:
    _shift_clock()
if _sync_ms or _sync_log:
    _slow_disk()
