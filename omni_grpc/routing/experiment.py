"""An A/B experiment: which arm a unit is in, and when.

Assignment is a pure function of the experiment's salt and the unit, so it is the same in every
worker and replica, for as long as the experiment runs, whatever other experiments there are.
"""

from datetime import datetime
from typing import Final

import msgspec

from omni_grpc.core.money import PPM
from omni_grpc.routing.policy import unit_interval
from omni_grpc.routing.policy_model import GLOBAL_SCOPE, When

COLLECTION: Final = "experiments"

CONTROL: Final = "control"
"""The arm of the units that no other arm has: they are served as if there were no experiment."""


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the units, and how they are served: by a policy, or by models in this order.

    Attributes:
        name: its name; never `control`.
        share_ppm: its part of all units, in millionths.
        policy: a policy's name, of the experiment's scope or one around it, or its full name.
        models: where there is no policy: a chain, as of a deterministic policy.
    """

    name: str
    share_ppm: int
    policy: str = ""
    models: tuple[str, ...] = ()


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment, as an operator writes it.

    Attributes:
        name: its id within the scope.
        scope: whose calls, as in policies.
        arms: how units are served; the units that they leave are in the arm `control`.
        salt: what assignment depends on beside the unit; the full name if empty. Experiments of
            the same salt and shares have the same units in their arms.
        when: for which calls.
        start_time: from when on; None for at once.
        end_time: until when; None for no end.
        description: for people.
    """

    name: str
    arms: tuple[Arm, ...]
    scope: str = GLOBAL_SCOPE
    salt: str = ""
    when: When = When()
    start_time: datetime | None = None
    end_time: datetime | None = None
    description: str = ""

    @property
    def full_name(self) -> str:
        """`{scope}/experiments/{name}`, unique."""
        return f"{self.scope}/{COLLECTION}/{self.name}"

    @property
    def control(self) -> str:
        """The arm that others are compared with: `control`, or the first where none is left."""
        shared = sum(arm.share_ppm for arm in self.arms)
        return CONTROL if shared < PPM else self.arms[0].name

    @property
    def arm_names(self) -> tuple[str, ...]:
        """All arms, the one that others are compared with first."""
        names = (self.control, *(arm.name for arm in self.arms))
        return tuple(dict.fromkeys(names))

    def runs(self, now: datetime) -> bool:
        """Whether calls are assigned now."""
        return (self.start_time is None or self.start_time <= now) and (
            self.end_time is None or now < self.end_time
        )

    def arm_of(self, unit: str) -> Arm | None:
        """The arm of a unit; None for `control`."""
        place = unit_interval(f"experiment\0{self.salt or self.full_name}\0{unit}") * PPM
        for arm in self.arms:
            if place < arm.share_ppm:
                return arm
            place -= arm.share_ppm
        return None
