"""What both clients take and show: one constructor, one repr that tells no secret."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import grpc

from omni_grpc_client.connection import DEFAULT_TIMEOUTS, Connection, Timeouts


class Client(ABC):
    """Base of `AsyncOmni` and `Omni`. Nothing is connected before the first call.

    Args:
        target: gRPC target, such as `host:port` or `unix:/path`; else the variable
            `OMNI_GRPC_ADDR`, else `127.0.0.1:50051`.
        api_key: the key; else the variable `OMNI_API_KEY`.
        tls: True for TLS with gRPC's built-in roots, or credentials of your own. Without it a
            target on this machine (loopback, unix socket) is spoken to in plaintext and any other
            over TLS, because the key goes with every call and whoever reads it on the way can
            spend the credits.
        insecure: allows plaintext to another machine, where the network itself is trusted.
        timeouts: default times by kind of call.
        wait_for_ready: lets calls wait, up to their timeout, for a service that cannot be reached
            yet, rather than fail at once: for start-up in any order. It also waits out a wrong
            address or certificate, so give such calls a short timeout.
        channel_options: gRPC channel options to add; they win over the client's own.

    Raises:
        ApiKeyMissing: no key was given.
        ValueError: the target, the key or the TLS options cannot be right.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        api_key: str | None = None,
        tls: bool | grpc.ChannelCredentials = False,
        insecure: bool = False,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        wait_for_ready: bool = False,
        channel_options: Sequence[tuple[str, str | int]] = (),
    ) -> None:
        self._connection = Connection(
            target,
            api_key=api_key,
            tls=tls,
            insecure=insecure,
            timeouts=timeouts,
            wait_for_ready=wait_for_ready,
            channel_options=channel_options,
        )
        self._start()

    @abstractmethod
    def _start(self) -> None:
        """Makes what sends the calls."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection!r})"
