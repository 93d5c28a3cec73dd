"""One call on its way through the service: its name, its caller, its time, its meter."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omni_grpc.billing import Meter
from omni_grpc.core.clock import Clock
from omni_grpc.core.errors import Deadline, OmniError
from omni_grpc.core.ids import CallId
from omni_grpc.identity import Principal
from omni_grpc.limits import Standings

if TYPE_CHECKING:
    from omni_grpc.completion.call_report import CallReport
    from omni_grpc.completion.own_credentials import Own


@dataclass(slots=True)
class Call:
    """What the gates put together and completion uses. `create_time` is in Unix seconds.

    `due` is the monotonic time at which the call is over, however it stands. `principal` is set
    by the auth gate, `meter` by the ledger gate.
    """

    id: CallId
    create_time: int
    due: float
    principal: Principal | None = None
    meter: Meter | None = None
    peer: str = ""
    """The caller's network address, without its port."""
    request_id: str | None = None
    """The caller's own name for this call: a repeat under it is not paid twice."""
    cancelled_by: OmniError | None = None
    """Why the service itself cancelled the call's task; None if its caller did."""
    is_limited: bool = True
    """Whether rate limits count it: not what the service itself asks on the way of another call."""
    limits: Standings | None = None
    """How the rate limits stand that met it."""
    own: "Own | None" = None
    """The credentials of providers that its caller brought; set before it is planned."""
    report: "CallReport | None" = None
    """What usage reports will say of it; set while its attempts are made."""
    name: str = field(init=False)
    """The id as text, as callers, providers and logs know it."""

    def __post_init__(self) -> None:
        self.name = str(self.id)

    def seconds_left(self, clock: Clock) -> float:
        """Seconds until the call is over.

        Raises:
            Deadline: it is over.
        """
        left = self.due - clock.monotonic()
        if left <= 0:
            raise Deadline("The call's deadline is over; nothing more was started.")
        return left
