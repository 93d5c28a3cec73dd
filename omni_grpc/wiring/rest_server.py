"""The HTTP server under the REST API: uvicorn with our protocol, set up for a gateway."""

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from omni_grpc.core.limits import DRAIN_SECONDS_MAX
from omni_grpc.rest_api import RestApp, RestProtocol
from omni_grpc.wiring.listening import tls_context

if TYPE_CHECKING:
    from omni_grpc.storage.certificates import CertificateFiles

KEEP_ALIVE_SECONDS: Final = 75
"""How long an idle REST connection is kept: longer than clients' pools keep theirs, so that a
client does not send a request on a connection that is being closed."""


class RestServer(uvicorn.Server):
    """uvicorn without its signal handlers: the worker's owner decides when to stop."""

    def __init__(self, app: RestApp, certificates: "CertificateFiles | None") -> None:
        """Serves an app; over TLS where there are certificates."""
        super().__init__(
            uvicorn.Config(
                app,
                http=RestProtocol,
                proxy_headers=False,  # whose word is taken is a setting of ours
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=int(DRAIN_SECONDS_MAX),
                ssl_context_factory=None
                if certificates is None
                else functools.partial(tls_context, certificates),
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Any:  # as in uvicorn
        """Captures none."""
        yield
