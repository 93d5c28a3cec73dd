from gateway_fixtures import (
    every_gateway,
    gateway,
    own_gateway,
    simulator,
    tenant,
)

__all__ = (
    "every_gateway",
    "gateway",
    "own_gateway",
    "simulator",
    "tenant",
)
