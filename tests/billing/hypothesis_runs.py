"""How long Hypothesis looks. In `make test`: a fixed set of short histories, the same each time.

`OMNI_TEST_EXAMPLES=2000` looks at that many new ones for each machine, longer ones, for as long as
it takes; run it before a change of the ledger is released:

    OMNI_TEST_EXAMPLES=2000 .venv/bin/python -m pytest -n 2 tests/billing/test_hypothesis_*

A failure is shrunk, and printed as the calls of the machine's rules that bring it about.
"""

import os

from hypothesis import HealthCheck, Phase, settings

EXAMPLES = int(os.environ.get("OMNI_TEST_EXAMPLES", "0"))
"""How many histories to try; 0 is the short, fixed set."""


def histories(*, examples: int, steps: int) -> settings:
    """Settings of a state machine: so many histories of at most so many steps, or as was asked."""
    return settings(
        max_examples=EXAMPLES or examples,
        stateful_step_count=2 * steps if EXAMPLES else steps,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,  # a database beside other tests is slow at times
        print_blob=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
