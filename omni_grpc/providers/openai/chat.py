"""A provider that speaks OpenAI's chat completions: one endpoint, plain and streamed."""

from collections.abc import Callable
from typing import Final

from omni_grpc.providers.answer import HttpAnswer
from omni_grpc.providers.calls import ProviderAnswer, ProviderStream, UpstreamCall
from omni_grpc.providers.http import Upstream
from omni_grpc.providers.openai.decode import ChatStreamDecoder, decode_completion
from omni_grpc.providers.openai.encode import encode_chat
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.stream import HttpStream

_PATH: Final = "chat/completions"


class OpenAIChat:
    """Calls one provider of this dialect; implements `ChatProvider`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._url = upstream.url(_PATH)

    @property
    def spec(self) -> ProviderSpec:
        """What the provider is."""
        return self._upstream.spec

    def complete(
        self,
        call: UpstreamCall,
        dispatched: Callable[[], None],
        named: Callable[[str], None] | None = None,
    ) -> ProviderAnswer:
        """Prepare a plain answer; see `ChatProvider`."""
        upstream = self._upstream
        return HttpAnswer(
            upstream,
            self._url,
            encode_chat(call, stream=False, output_limit_field=upstream.spec.output_limit_field),
            decode_completion,
            call_id=call.call_id,
            seconds_left=call.seconds_left,
            dispatched=dispatched,
            named=named,
        )

    def open_stream(
        self,
        call: UpstreamCall,
        dispatched: Callable[[], None],
        named: Callable[[str], None] | None = None,
    ) -> ProviderStream:
        """Prepare a streamed answer; see `ChatProvider`."""
        upstream = self._upstream
        return HttpStream(
            upstream,
            self._url,
            encode_chat(call, stream=True, output_limit_field=upstream.spec.output_limit_field),
            ChatStreamDecoder(upstream.faults),
            call_id=call.call_id,
            seconds_left=call.seconds_left,
            dispatched=dispatched,
            named=named,
        )
