"""`omni-grpc` with a simulator that is waited for less than anybody could set."""

import os
import sys
from functools import partial
from typing import Final

from omni_grpc import providers
from omni_grpc.cli import main

FIRST_BYTE_S: Final = 0.4
BETWEEN_BYTES_S: Final = 0.6
BILLS_ON: Final = "IMPATIENT_BILLS_ON"
"""The variable by which a test says that the simulator bills a call to its end."""


def specs() -> tuple[providers.ProviderSpec, ...]:
    spec = providers.ProviderSpec(
        id="sim",
        dialect="openai",
        bills_after_cancel=os.environ.get(BILLS_ON) == "true",
        records="openrouter",
        timeouts=providers.Timeouts(first_byte_s=FIRST_BYTE_S, between_bytes_s=BETWEEN_BYTES_S),
    )
    return (spec,)


if __name__ == "__main__":
    providers.Providers = partial(providers.Providers, specs=specs())  # type: ignore[misc, assignment]  # in this program alone
    sys.exit(main())
