from gateway_fixtures import (
    every_gateway,
    gateway,
    own_gateway,
    postgres,
    simulator,
    template,
    tenant,
)

__all__ = (
    "every_gateway",
    "gateway",
    "own_gateway",
    "postgres",
    "simulator",
    "template",
    "tenant",
)
