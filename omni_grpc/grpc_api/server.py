"""The gRPC server: our four services behind the gates, health and reflection beside them."""

from __future__ import annotations  # grpc's own types are no generics at run time

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection as reflection_v1alpha
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from omni.admin.v1 import admin_service_pb2
from omni.billing.v1 import billing_service_pb2
from omni.catalog.v1 import catalog_service_pb2, catalog_service_pb2_grpc
from omni.router.v1 import router_service_pb2, router_service_pb2_grpc

from omni_grpc.administration import Operations
from omni_grpc.completion import Gates
from omni_grpc.core.clock import Clock
from omni_grpc.core.limits import CALLS_AT_ONCE_MAX, METADATA_BYTES_MAX, REQUEST_BYTES_MAX
from omni_grpc.grpc_api import interceptors
from omni_grpc.grpc_api.billing_servicer import BillingServicer
from omni_grpc.grpc_api.catalog_servicer import CatalogServicer
from omni_grpc.grpc_api.interceptors import CallObserver
from omni_grpc.grpc_api.operation_methods import add_service
from omni_grpc.grpc_api.policy_servicer import PolicyServicer
from omni_grpc.grpc_api.router_servicer import RouterServicer
from omni_grpc.topups import WalletDesk

if TYPE_CHECKING:
    from omni_grpc.storage.certificates import CertificateFiles

SERVICES = tuple(
    pb.DESCRIPTOR.services_by_name[name].full_name
    for pb, name in (
        (router_service_pb2, "RouterService"),
        (billing_service_pb2, "BillingService"),
        (catalog_service_pb2, "CatalogService"),
        (admin_service_pb2, "AdminService"),
    )
)
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"

CONNECTION_AGE_MS_MAX = 30 * 60 * 1000
"""SO_REUSEPORT balances connections, not calls: long-lived ones are asked to connect anew."""

CONNECTION_AGE_GRACE_MS = 10 * 60 * 1000
"""A running stream may end first: the longest call there is."""


class GrpcServer:
    """Serves the contract on one port; `start`, `set_serving`, `stop` in that order."""

    def __init__(
        self,
        *,
        gates: Gates,
        router: RouterServicer,
        billing: BillingServicer,
        catalog: CatalogServicer,
        admin: PolicyServicer,
        operations: Operations,
        clock: Clock,
        observer: CallObserver,
        reflection: bool,
        share_port: bool,
        certificates: CertificateFiles | None,
        wallets: WalletDesk | None = None,
    ) -> None:
        self._certificates = certificates
        self._lifetime = interceptors.LifetimeInterceptor(clock, observer)
        self._server = grpc.aio.server(
            interceptors=(
                self._lifetime,
                interceptors.ErrorsInterceptor(wallets),
                interceptors.ContextInterceptor(gates),
                interceptors.DeadlineInterceptor(gates),
                interceptors.AuthInterceptor(gates, operations),
                interceptors.AdmissionInterceptor(gates),
                interceptors.LedgerInterceptor(gates),
            ),
            options=(
                ("grpc.so_reuseport", int(share_port)),
                ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", METADATA_BYTES_MAX),
                ("grpc.max_concurrent_streams", CALLS_AT_ONCE_MAX),
                # A client that vanished without a word is noticed within a minute and a half; one
                # that pings more often than every ten seconds is told to go away.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.max_connection_age_ms", CONNECTION_AGE_MS_MAX),
                ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_MS),
            ),
        )
        router_service_pb2_grpc.add_RouterServiceServicer_to_server(router, self._server)
        catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server(catalog, self._server)
        add_service(
            self._server,
            billing_service_pb2.DESCRIPTOR.services_by_name["BillingService"],
            billing,
            operations,
        )
        add_service(
            self._server,
            admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
            admin,
            operations,
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflection:
            self._add_reflection()

    async def start(self, address: str) -> int:
        """Binds and serves; returns the port.

        Raises:
            OSError: the address cannot be bound.
        """
        try:
            if self._certificates is None:
                port = self._server.add_insecure_port(address)
            else:
                credentials = server_credentials(self._certificates)
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: {error}") from None
        await self._server.start()
        return port

    async def set_serving(self, serving: bool) -> None:
        """Tells health watchers, overall and for each service."""
        state = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in ("", *SERVICES):
            await self._health.set(service, state)

    async def stop(self, grace_seconds: float) -> None:
        """Takes no new calls, lets running ones end for a while, and waits for their last lines."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)
        await self._lifetime.settled()

    def _add_reflection(self) -> None:
        """Serves reflection as v1, which tools ask for first, and as v1alpha, its elder name.

        The messages are the same; grpcio-reflection knows only the elder name.
        """
        _describe_reflection_v1()
        names = (*SERVICES, health.SERVICE_NAME, REFLECTION_V1, reflection_v1alpha.SERVICE_NAME)
        servicer = reflection_v1alpha.aio.ReflectionServicer(names)
        # grpcio-reflection's types leave this function out
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
            servicer, self._server
        )
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    REFLECTION_V1, {"ServerReflectionInfo": handler}
                ),
            )
        )


def server_credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """TLS 1.2 or newer with what the files hold at each connection."""
    served = files.current()

    def configuration() -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(served.key, served.chain)], root_certificates=served.client_authorities
        )

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        found = files.current()
        if found is served:
            return None
        served = found
        return configuration()

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        renewed,  # type: ignore[arg-type]  # its types leave None out, which means no change
        require_client_authentication=files.asks_clients,
    )


def _describe_reflection_v1() -> None:
    """Makes v1 known to the descriptor pool, so that it can be described as all that is listed."""
    elder = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(elder)
    text = text_format.MessageToString(elder)
    for separator in "./":
        text = text.replace(f"reflection{separator}v1alpha", f"reflection{separator}v1")
    file = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
