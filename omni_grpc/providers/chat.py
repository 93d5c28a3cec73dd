"""One provider, ready to be called: its connections and the dialect that it speaks."""

from collections.abc import Callable

import msgspec

from omni_grpc.core.chat import ChatRequest
from omni_grpc.providers.answer import HttpAnswer
from omni_grpc.providers.calls import ProviderAnswer, ProviderStream, UpstreamCall
from omni_grpc.providers.dialect import Dialect
from omni_grpc.providers.features import REASONING, Asked, Feature, Support, features_of
from omni_grpc.providers.http import Upstream
from omni_grpc.providers.spec import ProviderSpec
from omni_grpc.providers.stream import HttpStream


class DialectChat:
    """The `ChatProvider` of every dialect."""

    def __init__(self, upstream: Upstream, dialect: Dialect) -> None:
        self._upstream = upstream
        self._dialect = dialect
        self._carried = carried_features(upstream.spec, dialect)

    @property
    def spec(self) -> ProviderSpec:
        """What the provider is."""
        return self._upstream.spec

    def refused(self, request: ChatRequest) -> Asked | None:
        """The first thing that this provider cannot do; see `ChatProvider`."""
        return first_refused(self._carried, request)

    def fitted(self, request: ChatRequest, *, reasons: bool) -> tuple[ChatRequest, tuple[str, ...]]:
        """The request as this provider takes it, and what was left out; see `ChatProvider`."""
        carried = self._carried if reasons else self._carried - REASONING
        takes = self._dialect.takes_extra
        ignored = tuple(name for name in request.extra if name not in takes)
        if ignored:
            extra = {name: raw for name, raw in request.extra.items() if name in takes}
            request = msgspec.structs.replace(request, extra=extra)
        if not request.optional:
            return request, ignored
        left_out = tuple(
            one
            for one in features_of(request)
            if one.feature not in carried and one.field in request.optional
        )
        names = dict.fromkeys((*ignored, *(one.field for one in left_out)))
        return without_optional(request, left_out), tuple(names)

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
            self._dialect.encode(call, upstream.spec, stream=False),
            self._dialect.decode,
            call=call,
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
            self._dialect.encode(call, upstream.spec, stream=True),
            self._dialect.parser(),
            self._dialect.decoder(upstream.faults),
            call=call,
            dispatched=dispatched,
            named=named,
        )


def carried_features(spec: ProviderSpec, dialect: Dialect) -> frozenset[Feature]:
    """What a provider can be asked for, in its dialect."""
    refused = set(spec.refuses)
    return frozenset(
        feature
        for feature, support in dialect.support.items()
        if support is not Support.REFUSED and feature.value not in refused
    )


def first_refused(carried: frozenset[Feature], request: ChatRequest) -> Asked | None:
    """The first thing that a request asks, not as optional, and that is not carried."""
    for one in features_of(request):
        if one.feature not in carried and one.field not in request.optional:
            return one
    return None


def without_optional(request: ChatRequest, refused: tuple[Asked, ...]) -> ChatRequest:
    """The request without what was refused; only settings can be, content is never left out."""
    changes: dict[str, object] = {}
    sampling: dict[str, object] = {}
    nothing = ChatRequest(model="", messages=())
    for one in refused:
        name = _NAMES.get(one.field, one.field)
        if hasattr(nothing.sampling, name):
            sampling[name] = getattr(nothing.sampling, name)
        else:
            changes[name] = getattr(nothing, name)
    if sampling:
        changes["sampling"] = msgspec.structs.replace(request.sampling, **sampling)
    return msgspec.structs.replace(request, **changes)


_NAMES = {"safety_settings": "safety"}
