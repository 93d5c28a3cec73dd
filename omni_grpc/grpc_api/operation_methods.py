"""Services whose RPCs are operations: one behaviour for all, between messages and structs."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from omni_grpc.administration import Caller, Operation, Operations, Page
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.grpc_api.struct_messages import fill, set_field, struct_of

Behaviour = Callable[[Message, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Message]]


def add_service(
    server: grpc.aio.Server, service: ServiceDescriptor, servicer: object, operations: Operations
) -> None:
    """Serves a service: each RPC by its operation, or by the servicer's method of its name."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        operation = operations.get(method.name)
        behave = (
            getattr(servicer, method.name, None)
            if operation is None
            else behaviour_of(operation, method)
        )
        if behave is None:
            continue
        make = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        handlers[method.name] = make(
            behave,
            request_deserializer=GetMessageClass(method.input_type).FromString,
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service.full_name, handlers),)
    )


def behaviour_of(operation: Operation[Any], method: MethodDescriptor) -> Behaviour:
    """What serves an RPC of the contract by its operation."""
    response_class = GetMessageClass(method.output_type)

    async def behave(
        request: Message,
        context: "grpc.aio.ServicerContext[Any, Any]",  # noqa: ARG001 - grpc's signature
    ) -> Message:
        call = current_call()
        if call.principal is None:
            raise RuntimeError("an operation stands behind the auth gate")
        caller = Caller(call.principal, call.peer, call.name)
        done = await operation.run(caller, struct_of(request, operation.asked))
        response = response_class()
        if operation.result is None:
            fill(response, done)
        elif isinstance(done, Page):
            set_field(response, operation.result, done.items)
            set_field(response, "next_page_token", done.next_page_token)
        else:
            set_field(response, operation.result, done)
        return response

    return behave
