"""How long the tests' own databases wait: longer than the product does.

On a busy machine a first connection alone may take longer than a call of the product waits for one.
What the product's limits do is shown where they are set, with limits of those tests' own.
"""

from typing import Final

from omni_grpc.storage import Timeouts

PATIENT: Final = Timeouts(connect_s=20.0, pool_s=20.0, statement_s=20.0, call_s=40.0)
