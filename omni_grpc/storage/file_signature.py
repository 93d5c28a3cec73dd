"""What tells that a file on disk was written or replaced, without reading it."""

from pathlib import Path


def file_signature(path: Path | None) -> tuple[int, ...]:
    """What changes when a file is written or replaced; empty where there is none."""
    if path is None:
        return ()
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
