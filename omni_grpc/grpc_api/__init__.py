"""The gRPC transport: servicers that parse, call and render, behind the interceptors."""

from omni_grpc.grpc_api.billing_servicer import BillingServicer
from omni_grpc.grpc_api.catalog_servicer import CatalogServicer
from omni_grpc.grpc_api.catalog_sync import CatalogSync
from omni_grpc.grpc_api.interceptors import CallObserver
from omni_grpc.grpc_api.policy_servicer import PolicyServicer
from omni_grpc.grpc_api.router_servicer import RouterServicer
from omni_grpc.grpc_api.server import GrpcServer

__all__ = [
    "BillingServicer",
    "CallObserver",
    "CatalogServicer",
    "CatalogSync",
    "GrpcServer",
    "PolicyServicer",
    "RouterServicer",
]
