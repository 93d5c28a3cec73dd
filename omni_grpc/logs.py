"""Logging for people (console) or machines (JSON lines), through structlog, to standard error."""

import logging
import os
import sys

import structlog

from omni_grpc.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Sets up structlog and the libraries' loggers; call once, first."""
    level = getattr(logging, settings.log_level.upper())
    console = settings.log_format == "console"
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # Local variables are shown otherwise, and some hold secrets.
            exception_formatter=structlog.dev.RichTracebackFormatter(show_locals=False),
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not console:  # the console renders tracebacks itself
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # The libraries: what they warn of, on the same stream; psycopg's pool repeats every failed try.
    logging.basicConfig(
        stream=sys.stderr,
        level=max(level, logging.WARNING),
        format="%(name)s: %(message)s",
        force=True,
    )
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    # gRPC's core reads it when it is loaded, here and in the workers: it tells of every handshake
    # that fails, in a form of its own, which anybody who connects could fill the log with.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
