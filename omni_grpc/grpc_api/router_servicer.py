"""RouterService: reads the prompt, asks completion, writes the events."""

import hashlib
from contextlib import aclosing
from typing import Any

import grpc
from omni.router.v1 import router_service_pb2 as pb
from omni.router.v1 import router_service_pb2_grpc as pb_grpc

from omni_grpc.completion import (
    Call,
    Chats,
    Estimates,
    Media,
    PageTokens,
    checked_request_id,
    page_size,
)
from omni_grpc.core.chat import ChatCompletion, ChatStarted
from omni_grpc.grpc_api import chat_response, route_response
from omni_grpc.grpc_api.chat_request import chat_request
from omni_grpc.grpc_api.first_message import whole
from omni_grpc.grpc_api.interceptors import current_call
from omni_grpc.grpc_api.media_servicer import MediaRpcs


class RouterServicer(MediaRpcs, pb_grpc.RouterServiceServicer):  # type: ignore[misc]  # writes instead of yielding
    """Serves chats, and by `MediaRpcs` all else."""

    def __init__(
        self,
        chats: Chats,
        media: Media,
        estimates: Estimates,
        tokens: PageTokens,
        *,
        credits_per_usd: int,
    ) -> None:
        super().__init__(media)
        self._chats = chats
        self._estimates = estimates
        self._tokens = tokens
        self._credits_per_usd = credits_per_usd

    async def CompleteChat(
        self,
        request: pb.CompleteChatRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.CompleteChatResponse:
        """Completes a chat whole."""
        completion = await self._chats.complete(_call(request), chat_request(request.prompt))
        return pb.CompleteChatResponse(completion=chat_response.completion(completion))

    async def StreamChat(  # type: ignore[override]  # writes instead of yielding
        self, request: pb.StreamChatRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Streams a chat; what arrives together from the provider leaves as few messages."""
        events = self._chats.stream(_call(request), chat_request(request.prompt))
        async with aclosing(events):
            async for event in events:
                if isinstance(event, tuple):
                    for delta in event:
                        await context.write(chat_response.delta(delta))
                elif isinstance(event, ChatStarted):
                    await whole(context.write(chat_response.started(event)))
                elif isinstance(event, ChatCompletion):
                    await context.write(
                        pb.StreamChatResponse(completion=chat_response.completion(event))
                    )

    async def EstimateChat(
        self,
        request: pb.EstimateChatRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.EstimateChatResponse:
        """Tells what a chat would be routed to and cost."""
        found = await self._estimates.estimate(current_call(), chat_request(request.prompt))
        estimate = route_response.estimate(found, credits_per_usd=self._credits_per_usd)
        return pb.EstimateChatResponse(estimate=estimate)

    async def ExplainRoute(
        self,
        request: pb.ExplainRouteRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> pb.ExplainRouteResponse:
        """Tells how a chat would be routed, and what else was considered."""
        size = page_size(request.page_size)
        prompt = request.prompt.SerializeToString(deterministic=True)
        query = ("route", hashlib.sha256(prompt).hexdigest())
        first = self._tokens.open_number(query, request.page_token) or 0
        found = await self._estimates.explain(current_call(), chat_request(request.prompt))
        more = first + size < len(found.considered)
        token = self._tokens.seal(query, first + size) if more else ""
        return route_response.explanation(found, first, size, token)


def _call(request: pb.CompleteChatRequest | pb.StreamChatRequest) -> Call:
    """The current call, with the name that its caller gave it."""
    call = current_call()
    if request.request_id:
        call.request_id = checked_request_id(request.request_id, field="request_id")
    return call
